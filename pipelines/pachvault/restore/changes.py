"""The change from one commit of a snapshot to another: rows to put, paths to delete; and spans of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.format import table
from pachvault.pach.source import after
from pachvault.syntax.selection import Paths
from pachvault.vault.repo_history import RepoHistory

FILE_BYTES = 2_000
"""The time that a file costs besides its content, as the bytes that could be written in it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """`puts`: rows (schema table.FILES) sorted by path; `deletes`: paths, sorted."""

    puts: pa.Table
    deletes: list[str]
    is_added: bool = False
    """Nothing is replaced: there was nothing before, or only the beginning of the same large file."""

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

    Only paths that match `patterns` (see selection.Paths), where there are any.
    """
    row = history.row_of(commit)
    # the stored delta is the wanted change: no tree has to be computed (format 7.1.3)
    if history.commits["base"][row].as_py() == parent:
        rows = history.changes(row)
        gone = rows.filter(pc.equal(rows["kind"], table.DELETED))["path"].to_pylist()
        change = Changes(rows.filter(pc.equal(rows["kind"], table.FILE)).sort_by("path"), sorted(gone))
    else:
        old = history.tree(parent) if parent is not None else table.FILES.empty_table()
        change = between(old, history.tree(commit))
    change = replace(change, is_added=parent is None)
    if not patterns:
        return change
    paths = Paths(tuple(patterns))
    is_chosen = [paths.has(path) for path in change.puts["path"].to_pylist()]
    return replace(
        change,
        puts=change.puts.filter(pa.array(is_chosen, pa.bool_())),
        deletes=[path for path in change.deletes if paths.has(path)],
    )


def between(old: pa.Table, new: pa.Table) -> Changes:
    """The change from one tree to another (both schema table.FILES)."""
    before = pc.index_in(new["path"], old["path"].combine_chunks())
    # a path that the old tree lacks has a null here, and counts as changed
    same = pc.fill_null(pc.equal(new["digest"], old["digest"].take(before)), fill_value=False)
    gone = pc.invert(pc.is_in(old["path"], new["path"].combine_chunks()))
    return Changes(new.filter(pc.invert(same)), sorted(old["path"].filter(gone).to_pylist()))


def part_of(change: Changes, span: Span) -> Changes:
    """The part of a change that a span holds."""
    paths = change.puts["path"]
    inside = pc.greater_equal(paths, span.lower)
    if span.upper:
        inside = pc.and_(inside, pc.less(paths, span.upper))
    puts = change.puts.filter(inside)
    if span.blobs is not None:
        first, last = span.blobs
        rows = [row | {"blobs": row["blobs"][first:last]} for row in puts.to_pylist()]
        puts = pa.Table.from_pylist(rows, schema=table.FILES)
    is_added = change.is_added or (span.blobs is not None and span.blobs[0] > 0)
    deletes = [
        path for path in change.deletes if span.lower <= path and (not span.upper or path < span.upper)
    ]
    return Changes(puts, deletes, is_added)


def spans(change: Changes, size_bytes: int) -> list[Span]:
    """Spans of about `size_bytes` each that together are the change, in order.

    A larger file is split between its blobs, which are taken to be of one size. Each file counts for a
    little more than its bytes, because many small ones take time, too.
    """
    parts: list[Span] = []
    lower, held, weight = "", 0, 0
    columns = (change.puts["path"], change.puts["size"], pc.list_value_length(change.puts["blobs"]))
    for path, size, blobs in zip(*(column.to_pylist() for column in columns), strict=True):
        if size > size_bytes and blobs:
            # spans cover all paths, also where nothing is put: deletes are found by them
            parts += [Span(lower, path, held)] if path > lower else []
            parts += _parts_of_file(path, size, blobs, size_bytes)
            lower, held, weight = after(path), 0, 0
            continue
        if weight >= size_bytes:
            parts.append(Span(lower, path, held))
            lower, held, weight = path, 0, 0
        held += size
        weight += size + FILE_BYTES
    return [*parts, Span(lower, "", held)]


def _parts_of_file(path: str, size: int, blobs: int, size_bytes: int) -> list[Span]:
    count = min(-(-size // size_bytes), blobs)
    bounds = [blobs * number // count for number in range(count + 1)]
    return [
        Span(path, after(path), size * (last - first) // blobs, (first, last))
        for first, last in pairwise(bounds)
    ]
