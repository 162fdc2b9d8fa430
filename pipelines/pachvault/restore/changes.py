"""What a commit of a snapshot changes against another: rows to put, paths to delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import table
from pachvault.vault.snapshots import RepoHistory


@dataclass(frozen=True, slots=True)
class Changes:
    """`puts`: rows (schema table.FILES) sorted by path; `deletes`: paths, sorted."""

    puts: pa.Table
    deletes: list[str]

    @property
    def bytes(self) -> int:
        """Size of the files to put."""
        return pc.sum(self.puts["size"]).as_py() or 0


def changes(history: RepoHistory, commit: str, parent: str | None, patterns: Sequence[str] = ()) -> Changes:
    """The change that turns the tree of `parent` (nothing, where None) into that of `commit`.

    Only paths that match one of `patterns`, where there are any.
    """
    row = history.by_id[commit]
    if history.commits["base"][row].as_py() == parent:
        rows = history.changes(row)
        gone = rows.filter(pc.equal(rows["kind"], table.DELETED))["path"].to_pylist()
        found = Changes(rows.filter(pc.equal(rows["kind"], table.FILE)).sort_by("path"), sorted(gone))
    else:
        old = history.tree(parent) if parent is not None else table.FILES.empty_table()
        found = between(old, history.tree(commit))
    if not patterns:
        return found
    hits = [_matches(path, patterns) for path in found.puts["path"].to_pylist()]
    return Changes(
        found.puts.filter(pa.array(hits, pa.bool_())),
        [path for path in found.deletes if _matches(path, patterns)],
    )


def between(old: pa.Table, new: pa.Table) -> Changes:
    """The change from one tree to another (both schema table.FILES)."""
    before = dict(zip(old["path"].to_pylist(), old["digest"].to_pylist(), strict=True))
    keep = [
        before.get(path) != digest
        for path, digest in zip(new["path"].to_pylist(), new["digest"].to_pylist(), strict=True)
    ]
    after = set(new["path"].to_pylist())
    return Changes(new.filter(pa.array(keep, pa.bool_())), sorted(before.keys() - after))


def in_range(found: Changes, lower: str, upper: str) -> Changes:
    """The part of a change with `lower <= path`, and `path < upper` where that is given."""
    paths = found.puts["path"]
    inside = pc.greater_equal(paths, lower)
    if upper:
        inside = pc.and_(inside, pc.less(paths, upper))
    deletes = [path for path in found.deletes if path >= lower and (not upper or path < upper)]
    return Changes(found.puts.filter(inside), deletes)


def ranges(found: Changes, size_bytes: int) -> list[tuple[str, str, int]]:
    """Path ranges (lower, upper, bytes) of about `size_bytes` each; the outer ones are open."""
    cuts: list[tuple[str, int]] = [("", 0)]
    for path, size in zip(found.puts["path"].to_pylist(), found.puts["size"].to_pylist(), strict=True):
        if cuts[-1][1] >= size_bytes:
            cuts.append((path, 0))
        cuts[-1] = (cuts[-1][0], cuts[-1][1] + size)
    uppers = [lower for lower, _ in cuts[1:]] + [""]
    return [(lower, upper, size) for (lower, size), upper in zip(cuts, uppers, strict=True)]


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern.replace("**", "*")) for pattern in patterns)
