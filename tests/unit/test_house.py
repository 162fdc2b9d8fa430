"""The code's layout: names that are unique, plain, and listed where a newcomer looks for them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "pipelines"
PACKAGES = ("pachvault", "embedded_pachyderm")
# fmt: off
RIDDLES = frozenset({
    "answer", "calendar", "carry", "census", "cut", "damage", "elsewhere", "foreign", "found", "handover",
    "heap", "hidden", "holds", "home", "intake", "journal", "known", "lasting", "lean", "leftovers",
    "moving", "pace", "patience", "printable", "reach", "rows", "shipped", "sound", "trim", "under_way",
    "upkeep", "utils", "verdict", "whole", "wire", "work",
})
# fmt: on
"""Names that say nothing to who has not been inside."""
MOST_FILES = 13


def modules(package: str) -> list[Path]:
    return sorted((SOURCES / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_class_name_stands_once_in_a_package(package: str) -> None:
    names = Counter(
        node.name
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_called_by_a_name_that_tells_nothing(package: str) -> None:
    assert [path.name for path in modules(package) if path.stem in RIDDLES] == []


def test_no_test_file_is_called_by_a_name_that_tells_nothing() -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [str(path) for path in files if path.stem.removeprefix("test_") in RIDDLES] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_a_heap_of_files(package: str) -> None:
    counts = Counter(path.parent for path in modules(package) if path.name != "__init__.py")
    crowded = {
        str(folder.relative_to(SOURCES)): count for folder, count in counts.items() if count > MOST_FILES
    }
    assert crowded == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_opens_with_what_it_is(package: str) -> None:
    bare = [path.name for path in modules(package) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert bare == []


def test_every_module_of_the_product_is_in_the_codemap() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    missing = [
        str(path.relative_to(SOURCES / "pachvault"))
        for path in modules("pachvault")
        if path.name != "__init__.py" and not re.search(rf"\b{path.stem}\b", text)
    ]
    assert missing == []


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_that_a_guide_names_exists(document: str) -> None:
    named = set(re.findall(r"`([\w/.-]+/[\w.-]+\.(?:py|md|json|yaml|toml))`", (ROOT / document).read_text()))
    # files of a vault and of a pipeline's output are none of the repository's
    outputs = {name for name in named if name.startswith(("runs/", "work/", "receipts/", "snapshots/"))}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [f"/{line}" for line in tracked.stdout.splitlines()]
    assert [
        name for name in sorted(named - outputs) if not any(file.endswith(f"/{name}") for file in files)
    ] == []
