"""The image's lock file: it fits pyproject.toml, and both architectures can be built from it."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKED = {
    canonicalize_name(name): (version, line.count("--hash=sha256:"))
    for line in (ROOT / "images" / "runtime.lock").read_text().splitlines()
    if not line.startswith("#")
    for name, version in [line.split()[0].split("==")]
}
REQUIRED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("text", REQUIRED)
def test_every_requirement_is_locked_in_a_version_that_it_allows(text: str) -> None:
    requirement = Requirement(text)
    version, _ = LOCKED[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("name", LOCKED)
def test_a_package_with_machine_code_is_locked_for_both_architectures(name: str) -> None:
    wheel = importlib.metadata.distribution(name).read_text("WHEEL") or ""
    is_pure = "Root-Is-Purelib: true" in wheel
    _, hashes = LOCKED[name]
    assert hashes == (1 if is_pure else 2)
