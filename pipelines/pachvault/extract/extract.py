"""Extracts branches of a snapshot into a plain folder. Needs no Pachyderm."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
from blake3 import blake3

from pachvault.errors import CorruptError, DamageError, FullError, PachvaultError
from pachvault.extract.folder import Folder, PlaceError
from pachvault.format.ids import RepoName
from pachvault.runtime.progress import Progress
from pachvault.syntax.selection import Paths, SourcePattern
from pachvault.vault import suggestions
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot

_FILES_A_TASK = 64


@dataclass(frozen=True, slots=True)
class Chosen:
    """A branch to extract, and the tree of its head."""

    repo: RepoName
    branch: str
    commit: str
    files: list[dict[str, Any]]
    damage: str = ""
    """Why there are no files: the damage in the vault. Empty where there is none."""


@dataclass(slots=True)
class Extracted:
    """The result of an extraction."""

    files: int = 0
    """Files that are in the folder as the snapshot has them, including those that were there before."""
    bytes: int = 0
    kept: int = 0
    """Files that were there before."""
    failed: list[str] = field(default_factory=list)
    """A line for each file, or folder of files, that could not be written: where, and why."""
    is_damaged: bool = False

    def note(self, place: str, error: PachvaultError | str, consequence: str = "") -> None:
        """Add a line about what could not be written."""
        self.failed.append(f"{place}: {error}" + (f": {consequence}" if consequence else ""))
        self.is_damaged |= isinstance(error, DamageError)

    def add(self, other: Extracted) -> None:
        """Add the result of another branch."""
        self.files += other.files
        self.bytes += other.bytes
        self.kept += other.kept
        self.failed += other.failed
        self.is_damaged |= other.is_damaged


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The result of a file."""

    row: dict[str, Any]
    error: PachvaultError | None = None
    is_kept: bool = False


def choose(
    snapshot: Snapshot, sources: Sequence[str], includes: Sequence[str], excludes: Sequence[str]
) -> list[Chosen]:
    """The branches or commits that `sources` match (all branches, where empty), with the chosen files.

    A damaged repo or branch has no files: its `damage` is the reason. The others are chosen all the same.

    `includes` and `excludes` are path patterns (see selection.Paths). Raises UsageError that names every
    source and pattern that matches nothing.
    """
    wanted = [SourcePattern.parse(source) for source in sources] or [SourcePattern("*", "*")]
    included, excluded = Paths.of(includes), Paths.of(excludes)
    chosen: list[Chosen] = []
    matched: set[SourcePattern] = set()
    unmatched_includes, unmatched_excludes = included, excluded
    for entry in snapshot.manifest.repos:
        repo = RepoName(entry.project, entry.repo)
        matching = [source for source in wanted if source.means_repo(repo)]
        if not matching:
            continue
        try:
            history = snapshot.repo(repo)
            _ = history.commits  # read here, where damage affects one repo only
        except DamageError as error:
            matched.update(matching)
            chosen.append(Chosen(repo, "*", "", [], str(error)))
            continue
        for branch, head in _branches(history, matching, matched).items():
            try:
                tree = history.tree(head).select(["path", "size", "digest", "blobs"])
            except DamageError as error:
                chosen.append(Chosen(repo, branch, head, [], str(error)))
                continue
            files = tree["path"].to_pylist()
            unmatched_includes = unmatched_includes.unmatched(files)
            unmatched_excludes = unmatched_excludes.unmatched(files)
            # no patterns match every path: without `excludes and` nothing would be left
            is_chosen = [included.has(file) and not (excludes and excluded.has(file)) for file in files]
            rows = tree.filter(pa.array(is_chosen, pa.bool_())).to_pylist()
            chosen.append(Chosen(repo, branch, head, rows))
    unmatched = [source for source in wanted if source not in matched] if sources else []
    if unmatched:
        raise suggestions.no_source(snapshot, unmatched)
    unmatched_paths = [*unmatched_includes.patterns, *unmatched_excludes.patterns]
    if unmatched_paths and not any(branch.damage for branch in chosen):  # damaged branches may have them
        raise suggestions.no_path(snapshot, wanted, unmatched_paths)
    return chosen


def _branches(
    history: RepoHistory, patterns: Sequence[SourcePattern], matched: set[SourcePattern]
) -> dict[str, str]:
    """The heads of the branches that any pattern matches. Patterns with a match are added to `matched`."""
    heads: dict[str, str] = {}
    for source in patterns:
        matches = {branch.name: branch.head for branch in history.branches(source) if branch.head is not None}
        if matches:
            matched.add(source)
        heads |= matches
    return heads


def extract(
    reader: BlobReader, chosen: Chosen, folder: Folder, progress: Progress, workers: int
) -> Extracted:
    """Write a branch's files below `project/repo/branch` of a folder, each completely or not at all.

    A file that is there already, equal in size and digest, is left as it is. A file that cannot be read or
    written is reported in the result, and the others are written all the same. Raises FullError, at once,
    where the disk is full.
    """
    result = Extracted()
    place = f"{chosen.repo}@{chosen.branch}"
    try:
        root = _parts(f"{chosen.repo.project}/{chosen.repo.repo}/{chosen.branch}")
        # made first: a branch without files is a folder, too, and one that cannot be entered is one line, not
        # one for each file
        with folder.entered(root):
            pass
    except (PlaceError, CorruptError) as error:
        result.note(place, error, "the branch is left out")
        return result
    files = _by_place(reader, chosen.files)
    unwritten: Counter[str] = Counter()
    stopped = threading.Event()

    def task(rows: Sequence[dict[str, Any]]) -> list[_Attempt]:
        return [_attempt(reader, folder, root, row) for row in rows if not stopped.is_set()]

    tasks = [files[at : at + _FILES_A_TASK] for at in range(0, len(files), _FILES_A_TASK)]
    with ThreadPoolExecutor(workers, "extract") as pool:
        try:
            for results in pool.map(task, tasks):
                for attempt in results:
                    if isinstance(attempt.error, PlaceError):
                        unwritten[str(attempt.error)] += 1
                    elif attempt.error is not None:
                        result.note(f"{place}:{attempt.row['path']}", attempt.error)
                    else:
                        result.files += 1
                        result.bytes += attempt.row["size"]
                        result.kept += attempt.is_kept
                        progress.add(attempt.row["size"], 1)
        except BaseException:
            stopped.set()  # the other tasks need not go on
            raise
    # one line for a folder that cannot be entered, however many files belong in it
    for where, count in unwritten.items():
        result.note(place, f"{where}: {count:,} files are not written")
    return result


def _by_place(reader: BlobReader, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files in the order of their first blobs in the vault, so that a frame is decoded once."""
    if not files or not len(reader.index):
        return files
    rows = reader.index.find_all([row["blobs"][0] if row["blobs"] else row["digest"] for row in files])
    order = reader.index.place_order(rows)
    return [files[number] for number in order]


def _attempt(reader: BlobReader, folder: Folder, root: Sequence[str], row: dict[str, Any]) -> _Attempt:
    """Write a file, unless it is there. Raises FullError; any other error is in the result."""
    try:
        names = (*root, *_parts(row["path"]))
        with folder.entered(names[:-1]) as parent:
            if folder.has(parent, names[-1], row["size"], row["digest"]):
                return _Attempt(row, is_kept=True)
            with folder.written(parent, names[-1]) as file:
                _write(reader, file, row)
    # the next files would not fit either: the extraction ends with one line
    except FullError:
        raise
    except PachvaultError as error:
        return _Attempt(row, error)
    except OSError as error:
        return _Attempt(row, PachvaultError(os.strerror(error.errno) if error.errno else str(error)))
    return _Attempt(row)


def _parts(path: str) -> tuple[str, ...]:
    """The components of a path; CorruptError where it leads outside its folder or has a zero byte."""
    parts = PurePosixPath(path.lstrip("/")).parts
    # format 7.1.2: no writer makes such a path, but a vault may be hostile
    if not parts or ".." in parts:
        raise CorruptError(f"{path!r} would lie outside its folder")
    if "\0" in path:
        raise CorruptError(f"{path!r} has a zero byte")
    return parts


def _write(reader: BlobReader, file: BinaryIO, row: dict[str, Any]) -> None:
    blobs = row["blobs"] or ([row["digest"]] if row["size"] else [])
    # the digest of a file of one blob is the blob's (format 7.1.1), which the reader has checked
    hasher = blake3() if row["blobs"] else None
    size = 0
    for data in reader.stream(blobs):
        file.write(data)
        size += len(data)
        if hasher is not None:
            hasher.update(data)
    if size != row["size"] or (hasher is not None and hasher.digest() != row["digest"]):
        raise CorruptError("the blobs do not add up to the file that the table has")
