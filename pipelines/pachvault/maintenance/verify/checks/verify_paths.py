"""Paths within one commit: each at most once, and none both a file and a folder.

Of a path only a hash of 8 bytes is held: of the paths of one table, and of commits whose rows are in several
tables. Where hashes coincide, the tables are read again and the paths compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.format import layout, table
from pachvault.maintenance.verify.findings import NAMED, Damage, FileName
from pachvault.vault.vault import Vault

COLUMNS = ["repo", "commit", "path", "kind"]
_DEPTH = 2048
"""Folders above the first so many of a path are not compared: the time for hostile paths is bounded."""
_SUSPECTS = 1000
"""How many coinciding hashes of a table or a commit are looked up."""

Hashes = NDArray[np.int64]
Commit = tuple[str, str]


@dataclass(slots=True)
class PathHashes:
    """The hashes of a table's paths, or of a commit's."""

    files: list[Hashes] = field(default_factory=list)
    deleted: list[Hashes] = field(default_factory=list)
    folders: list[Hashes] = field(default_factory=list)
    """Of all folders above the files."""

    def add(self, rows: pa.Table) -> None:
        """Add rows of a file table (COLUMNS)."""
        files, deleted = _keys(rows)
        self.files.append(_hashes(files))
        self.deleted.append(_hashes(deleted))
        self.folders += [_hashes(folders) for folders in _folders(files)]

    def suspects(self) -> tuple[Hashes, Hashes]:
        """The hashes that occur twice, and those of a file and of a folder."""
        values, counts = np.unique(_joined([*self.files, *self.deleted]), return_counts=True)
        return values[counts > 1], np.intersect1d(_joined(self.files), _joined(self.folders))


@dataclass(slots=True)
class PathCheck:
    """Checks the paths of file tables, given one after the other, a few rows at a time."""

    vault: Vault
    spread: dict[Commit, list[bytes]]
    """The commits whose rows are in several tables, with these."""
    _table: PathHashes = field(default_factory=PathHashes)
    _commits: dict[Commit, PathHashes] = field(default_factory=dict)

    def add(self, rows: pa.Table) -> None:
        """Add rows of the table at hand."""
        rows = rows.select(COLUMNS)
        if self.spread:
            for row in rows.group_by(["repo", "commit"], use_threads=False).aggregate([]).to_pylist():
                commit = row["repo"], row["commit"]
                if commit in self.spread:
                    is_of_commit = _is_of(rows, commit)
                    self._commits.setdefault(commit, PathHashes()).add(rows.filter(is_of_commit))
                    rows = rows.filter(pc.invert(is_of_commit))
        self._table.add(rows)

    def end_of_table(self, digest: bytes) -> list[Damage]:
        """What is wrong with the paths of the commits that have rows in this table only."""
        hashes, self._table = self._table, PathHashes()
        about = Damage(kind="", object=layout.table_path(digest), table=digest, is_vital=True)
        return list(_damages(about, hashes, lambda: self.vault.file_batches(digest, COLUMNS)))

    def end(self) -> list[Damage]:
        """What is wrong with the paths of the other commits."""
        damages: list[Damage] = []
        for commit, hashes in self._commits.items():
            tables = self.spread[commit]
            about = Damage(kind="", object=layout.table_path(tables[0]), table=tables[0], is_vital=True)
            damages += _damages(about, hashes, lambda commit=commit: self._rows_of(commit))  # type: ignore[misc]
        return damages

    def _rows_of(self, commit: Commit) -> Iterator[pa.Table]:
        for digest in self.spread[commit]:
            for rows in self.vault.file_batches(digest, COLUMNS):
                yield rows.filter(_is_of(rows, commit))


def _damages(about: Damage, hashes: PathHashes, read: Callable[[], Iterable[pa.Table]]) -> Iterator[Damage]:
    repeated, conflicting = hashes.suspects()
    if not len(repeated) and not len(conflicting):
        return
    times: Counter[str] = Counter()
    files: set[str] = set()
    folders: set[str] = set()
    for rows in read():
        of_files, of_deleted = _keys(rows)
        times.update(_looked_up([of_files, of_deleted], repeated))
        files.update(_looked_up([of_files], conflicting))
        folders.update(_looked_up(_folders(of_files), conflicting))
    twice = sorted(key for key, count in times.items() if count > 1)
    if twice:
        yield _named(
            about, "paths-repeated", "are in the rows of one commit more than once", twice, len(repeated)
        )
    both = sorted(files & folders)
    if both:
        yield _named(about, "paths-conflict", "are a file and a folder of one commit", both, len(conflicting))


def _named(about: Damage, kind: str, problem: str, keys: list[str], count: int) -> Damage:
    """The finding; where more paths are suspects than were looked up, their number is that of the hashes."""
    names = [FileName(*key.split("\0", 2)) for key in keys]
    total = count if count > _SUSPECTS else len(names)
    return Damage(
        kind=kind,
        object=about.object,
        message=f"{total} paths {problem}: {names[0]}",
        is_vital=True,
        table=about.table,
        files=tuple(names[:NAMED]),
        files_count=total,
        commits=frozenset() if total > len(names) else frozenset((name.repo, name.commit) for name in names),
    )


def _is_of(rows: pa.Table, commit: Commit) -> pa.ChunkedArray:
    return pc.and_(pc.equal(rows["repo"], commit[0]), pc.equal(rows["commit"], commit[1]))


def _keys(rows: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Repo, commit and path as one text: of files, and of deleted ones."""
    keys = pc.binary_join_element_wise(rows["repo"], rows["commit"], rows["path"], "\0")
    is_file = pc.equal(rows["kind"], table.FILE)
    return keys.filter(is_file), keys.filter(pc.invert(is_file))


def _folders(keys: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Every folder above files, level by level, each at most once a level; without the root."""
    level = keys
    for _ in range(_DEPTH):
        parts = pc.split_pattern(level, "/", max_splits=1, reverse=True)
        level = pc.unique(pc.list_element(parts, 0))
        # a path begins with a slash after the last zero byte: without one the root is reached
        level = level.filter(pc.match_substring(level, "\0/"))
        if not len(level):
            return
        yield level


def _hashes(keys: pa.ChunkedArray | pa.Array) -> Hashes:
    # Python hashes text with a key that is random in each process: nobody can prepare paths that coincide
    return np.fromiter(map(hash, keys.to_pylist()), np.int64, len(keys))


def _looked_up(groups: Iterable[pa.ChunkedArray | pa.Array], hashes: Hashes) -> Iterator[str]:
    """The keys that have one of the first hashes."""
    for keys in groups:
        suspects = np.flatnonzero(np.isin(_hashes(keys), hashes[:_SUSPECTS]))
        yield from keys.take(pa.array(suspects)).to_pylist()


def _joined(parts: list[Hashes]) -> Hashes:
    return np.concatenate([np.empty(0, np.int64), *parts])
