"""Every clause of docs/format.md, sections 9 and 11, has a test that is named by its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
CLAUSE = re.compile(r"^- ((9|11)\.\d+) ", re.MULTILINE)


def clauses() -> list[str]:
    numbers = CLAUSE.findall((TESTS.parent / "docs" / "format.md").read_text())
    return [number for number, _ in numbers]


def named() -> set[str]:
    name = re.compile(r"def test_clause_(\d+)_(\d+)_\w+\(")
    files = TESTS.rglob("test_*.py")
    return {f"{section}.{number}" for file in files for section, number in name.findall(file.read_text())}


def test_the_document_has_clauses_in_order() -> None:
    for section in ("9", "11"):
        numbers = [int(clause.partition(".")[2]) for clause in clauses() if clause.startswith(f"{section}.")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 4


@pytest.mark.parametrize("clause", clauses())
def test_each_clause_has_a_test_of_its_number(clause: str) -> None:
    assert clause in named()


def test_no_test_is_named_by_a_clause_that_is_not_there() -> None:
    assert {clause for clause in named() if clause.startswith(("9.", "11."))} <= {*clauses()}
