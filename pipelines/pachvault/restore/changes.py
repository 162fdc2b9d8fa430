"""What a commit of a snapshot changes against another: rows to put, paths to delete; and cut into spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import table
from pachvault.pach.source import after
from pachvault.syntax.selection import Paths
from pachvault.vault.snapshots import RepoHistory

FILE_BYTES = 2_000
"""About what could be written in the time that a file itself takes."""


@dataclass(frozen=True, slots=True)
class Changes:
    """`puts`: rows (schema table.FILES) sorted by path; `deletes`: paths, sorted."""

    puts: pa.Table
    deletes: list[str]
    is_added: bool = False
    """Nothing is to be replaced: there was nothing, or it is the beginning of the same large file."""

    @property
    def bytes(self) -> int:
        """Size of the files to put."""
        return pc.sum(self.puts["size"]).as_py() or 0


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a change: `lower <= path`, `path < upper` ("" for open)."""

    lower: str
    upper: str
    size_bytes: int
    blobs: tuple[int, int] | None = None
    """Of the one file at `lower`, only these blobs: from the first up to the last, exclusive."""


def changes(history: RepoHistory, commit: str, parent: str | None, patterns: Sequence[str] = ()) -> Changes:
    """The change that turns the tree of `parent` (nothing, where None) into that of `commit`.

    Only paths that `patterns` mean (see selection.Paths), where there are any.
    """
    row = history.row_of(commit)
    if history.commits["base"][row].as_py() == parent:
        rows = history.changes(row)
        gone = rows.filter(pc.equal(rows["kind"], table.DELETED))["path"].to_pylist()
        found = Changes(rows.filter(pc.equal(rows["kind"], table.FILE)).sort_by("path"), sorted(gone))
    else:
        old = history.tree(parent) if parent is not None else table.FILES.empty_table()
        found = between(old, history.tree(commit))
    found = replace(found, is_added=parent is None)
    if not patterns:
        return found
    paths = Paths(tuple(patterns))
    hits = [paths.has(path) for path in found.puts["path"].to_pylist()]
    return replace(
        found,
        puts=found.puts.filter(pa.array(hits, pa.bool_())),
        deletes=[path for path in found.deletes if paths.has(path)],
    )


def between(old: pa.Table, new: pa.Table) -> Changes:
    """The change from one tree to another (both schema table.FILES)."""
    before = pc.index_in(new["path"], old["path"].combine_chunks())
    same = pc.fill_null(pc.equal(new["digest"], old["digest"].take(before)), fill_value=False)
    gone = pc.invert(pc.is_in(old["path"], new["path"].combine_chunks()))
    return Changes(new.filter(pc.invert(same)), sorted(old["path"].filter(gone).to_pylist()))


def part_of(found: Changes, span: Span) -> Changes:
    """The part of a change that a span holds."""
    paths = found.puts["path"]
    inside = pc.greater_equal(paths, span.lower)
    if span.upper:
        inside = pc.and_(inside, pc.less(paths, span.upper))
    puts = found.puts.filter(inside)
    if span.blobs is not None:
        first, last = span.blobs
        rows = [row | {"blobs": row["blobs"][first:last]} for row in puts.to_pylist()]
        puts = pa.Table.from_pylist(rows, schema=table.FILES)
    is_added = found.is_added or (span.blobs is not None and span.blobs[0] > 0)
    deletes = [path for path in found.deletes if path >= span.lower and (not span.upper or path < span.upper)]
    return Changes(puts, deletes, is_added)


def spans(found: Changes, size_bytes: int) -> list[Span]:
    """Spans of about `size_bytes` each that together are the change, in order.

    A file larger than that is cut between its blobs, which are taken to be of one size. Each file counts
    for a little more than its bytes: many small ones take their time, too.
    """
    cuts: list[Span] = []
    lower, held, weight = "", 0, 0
    columns = (found.puts["path"], found.puts["size"], pc.list_value_length(found.puts["blobs"]))
    for path, size, blobs in zip(*(column.to_pylist() for column in columns), strict=True):
        if size > size_bytes and blobs:
            cuts += [Span(lower, path, held)] if path > lower else []
            cuts += _cut(path, size, blobs, size_bytes)
            lower, held, weight = after(path), 0, 0
            continue
        if weight >= size_bytes:
            cuts.append(Span(lower, path, held))
            lower, held, weight = path, 0, 0
        held += size
        weight += size + FILE_BYTES
    return [*cuts, Span(lower, "", held)]


def _cut(path: str, size: int, blobs: int, size_bytes: int) -> list[Span]:
    count = min(-(-size // size_bytes), blobs)
    bounds = [blobs * number // count for number in range(count + 1)]
    return [
        Span(path, after(path), size * (last - first) // blobs, (first, last))
        for first, last in pairwise(bounds)
    ]
