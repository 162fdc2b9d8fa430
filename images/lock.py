"""Writes the image's lock files: every package, its one version, and the digests of its wheels.

The versions are what pip resolves today from pyproject.toml; the digests cover both architectures the
image is built for. It decides nothing about the image, which installs exactly what the files say.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.11"
ARCHITECTURES = ("x86_64", "aarch64")
NEWEST_GLIBC = 36  # glibc 2.36 is bookworm's: no wheel may ask for a newer one
OLDEST_GLIBC = 17
NOT_IMPORTED = {"markdown-it-py", "mdurl", "pygments"}
"""What rich requires for Markdown and for coloured code. The image shows neither, and goes without."""
SBOM = ("cyclonedx-bom>=7",)
"""Lists the image's packages while it is built; it is not in the image."""


def resolve(requirements: list[str], architecture: str) -> dict[str, tuple[str, str]]:
    """Name to (version, sha256) of every wheel that pip would install on the architecture."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON]
    for abi in ("cp311", "abi3", "none"):
        command += ["--abi", abi]
    for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1):
        command += ["--platform", f"manylinux_2_{minor}_{architecture}"]
    command += ["--platform", f"manylinux2014_{architecture}"]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command += ["--target", scratch, "--report", str(report), *requirements]
        subprocess.run(command, check=True)
        installs = json.loads(report.read_text())["install"]
    found = {}
    for item in installs:
        metadata = item["metadata"]
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        found[metadata["name"].lower().replace("_", "-")] = (metadata["version"], digest)
    return found


def lock(requirements: list[str]) -> str:
    """The text of a lock file for the requirements; fails where architectures disagree on a version."""
    per_architecture = [resolve(requirements, architecture) for architecture in ARCHITECTURES]
    lines = ["# Written by images/lock.py from pyproject.toml."]
    for name in sorted({name for found in per_architecture for name in found} - NOT_IMPORTED):
        pins = [found[name] for found in per_architecture if name in found]
        versions = {version for version, _ in pins}
        if len(pins) != len(ARCHITECTURES) or len(versions) != 1:
            sys.exit(f"lock: {name} is not the same on {' and '.join(ARCHITECTURES)}: {sorted(versions)}")
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted({digest for _, digest in pins}))
        lines.append(f"{name}=={versions.pop()} {hashes}")
    return "\n".join(lines) + "\n"


def main() -> None:
    if sys.version_info[:2] != tuple(int(part) for part in PYTHON.split(".")):
        sys.exit(f"lock: run it with Python {PYTHON}, whose environment markers the image has")
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    for name, requirements in (
        ("runtime.lock", project["project"]["dependencies"]),
        ("build.lock", [*project["build-system"]["requires"], *SBOM]),
    ):
        (HERE / name).write_text(lock(requirements))


if __name__ == "__main__":
    main()
