"""The problems of a run as tables, for the reports of its stages."""

from __future__ import annotations

from collections.abc import Iterable

from pachvault.format.manifest import Problem
from pachvault.markdown import Table

_COLUMNS = ("Where", "Kind", "Why")


def problem_tables(problems: Iterable[Problem]) -> list[Table]:
    """What is not in the snapshot, and the notes."""
    rows: dict[bool, list[tuple[str, str, str]]] = {False: [], True: []}
    for problem in problems:
        rows[problem.is_note].append((problem.where, problem.kind, problem.message))
    return [Table("Missing from the snapshot", _COLUMNS, rows[False]), Table("Notes", _COLUMNS, rows[True])]
