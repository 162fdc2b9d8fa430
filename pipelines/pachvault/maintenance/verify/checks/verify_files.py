"""The contents of files of several blobs: intact blobs in a wrong order, or twice, are another file.

The digest of a whole file is computed from its blobs. Each distinct file is read once, whatever the number of
commits that have it. Memory: a few frames, and about 100 bytes for each distinct file of several blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.errors import DamageError, PachvaultError
from pachvault.format import layout, table
from pachvault.format.digests import Rows
from pachvault.format.ids import digest
from pachvault.maintenance.verify.checks.verify_structure import Structure
from pachvault.maintenance.verify.findings import Damage, FileName, damage_of
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.runtime.progress import Progress
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.vault import Vault

_COLUMNS = ["repo", "commit", "path", "kind", "size", "digest", "blobs"]
_READS_AT_ONCE = 4
_CONTENT = ["size", "digest", "blobs"]


@dataclass(frozen=True, slots=True)
class WrongFiles:
    """Files of one table that do not have their digests, or could not be read."""

    damage: Damage
    packs: frozenset[str]
    """Where their first blobs are."""


def check_files(
    vault: Vault,
    structure: Structure,
    places: CheckedPlaces,
    is_chosen: Callable[[str], bool],
    progress: Progress,
) -> Iterator[WrongFiles]:
    """Read the files of several blobs whose first blob is in a chosen pack.

    `places` has the result of reading the packs: files with a lost blob are affected by that, and not read.
    """
    unread = {damage.table for damage in structure.damages if damage.kind.startswith("table-")}
    check = _FileCheck(
        vault, places, np.array([is_chosen(path) for path in places.pack_paths], bool), progress
    )
    with ThreadPoolExecutor(_READS_AT_ONCE, "verify") as pool:
        for name in structure.graph.tables:
            if name not in unread:
                try:
                    yield from check.table(name, pool)
                except PachvaultError as error:  # it could be read a moment ago
                    about = Damage(kind="table", object=layout.table_path(name), table=name)
                    yield WrongFiles(damage_of(about, error), frozenset())


@dataclass(slots=True)
class _FileCheck:
    vault: Vault
    places: CheckedPlaces
    is_chosen: NDArray[np.bool_]
    """For each pack, by its number."""
    progress: Progress
    _reader: BlobReader = field(init=False)
    _is_lost: NDArray[np.bool_] = field(init=False)
    _intact: set[bytes] = field(default_factory=set)
    """What was read: a digest of each file's digest and blobs."""
    _wrong: dict[bytes, PachvaultError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reader = BlobReader(self.vault, self.places)
        self._is_lost = self.places.lost()

    def table(self, name: bytes, pool: ThreadPoolExecutor) -> Iterator[WrongFiles]:
        """Check the files of a table."""
        wrong: dict[bool, list[tuple[pa.Table, PachvaultError, set[str]]]] = {}
        for rows in self.vault.file_batches(name, _COLUMNS):
            for files, error, packs in self._wrong_files(rows, pool):
                wrong.setdefault(isinstance(error, DamageError), []).append((files, error, packs))
        for is_read, parts in wrong.items():
            files = pa.concat_tables(part for part, *_ in parts)
            first = FileName(**files.slice(0, 1).to_pylist()[0])
            problem = "do not have their digests" if is_read else "could not be read"
            about = Damage(
                kind="file-wrong" if is_read else "file-unreadable",
                object=layout.table_path(name),
                message=f"{files.num_rows} files {problem}: {first}: {parts[0][1].what}",
                is_read=is_read,
                is_vital=is_read,
                table=name,
            )
            yield WrongFiles(about.of_files(files), frozenset().union(*(packs for *_, packs in parts)))

    def _wrong_files(
        self, rows: pa.Table, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[pa.Table, PachvaultError, set[str]]]:
        """Of a row group the files of each wrong content, with the error, and the pack of the first blob."""
        is_file = pc.equal(rows["kind"], table.FILE)
        rows = rows.filter(pc.and_kleene(is_file, pc.greater(pc.list_value_length(rows["blobs"]), 0)))
        if not rows.num_rows:
            return
        rows = rows.combine_chunks()
        blobs = table.as_array(pc.list_flatten(rows["blobs"]))
        ends = np.cumsum(pc.list_value_length(rows["blobs"]).to_numpy())
        starts = np.append(0, ends[:-1])
        blob_places = self.places.find(blobs)
        if not len(self.places):
            return  # all blobs are missing, which is a finding
        # -1 takes the last row in both look-ups; such files are excluded by the first condition
        is_gone = (blob_places < 0) | self._is_lost[blob_places]
        first_packs = self.places.rows.pack_codes[blob_places[starts]]
        # reduceat needs a non-empty part for each row: files without `blobs` were left out above
        is_read = ~np.logical_or.reduceat(is_gone, starts) & self.is_chosen[first_packs]
        contents = table.as_array(rows["digest"])
        by_key: dict[bytes, list[int]] = {}
        for row in np.flatnonzero(is_read).tolist():
            # one key of fixed size for files of any number of blobs
            key = digest(contents[row].tobytes() + blobs[starts[row] : ends[row]].tobytes())
            by_key.setdefault(key, []).append(row)
        self._read(rows, by_key, blob_places[starts], pool)
        for key, numbers in by_key.items():
            if key in self._wrong:
                files = rows.select(FileName._fields).take(numbers)
                yield files, self._wrong[key], {self.places.pack_paths[first_packs[numbers[0]]]}

    def _read(
        self, rows: pa.Table, by_key: dict[bytes, list[int]], first_places: Rows, pool: ThreadPoolExecutor
    ) -> None:
        """Read the contents that were not read before, in the order in which they are in the packs."""
        new = [key for key in by_key if key not in self._intact and key not in self._wrong]
        order = self.places.place_order(first_places[[by_key[key][0] for key in new]])
        keys: Sequence[bytes] = [new[number] for number in order]
        files = rows.select(_CONTENT)
        errors = pool.map(lambda key: self._error(files.slice(by_key[key][0], 1)), keys)
        for key, error in zip(keys, errors, strict=True):
            if error is None:
                self._intact.add(key)
            else:
                self._wrong[key] = error

    def _error(self, file: pa.Table) -> PachvaultError | None:
        """How a file differs from its row; None where it does not."""
        (row,) = file.to_pylist()
        try:
            for data in self._reader.file(row["size"], row["digest"], row["blobs"]):
                self.progress.add(len(data), 0)
        except PachvaultError as error:
            return error
        self.progress.add(0, 1)
        return None
