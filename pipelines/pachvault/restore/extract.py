"""Extract: branches of a snapshot into a plain folder, with no Pachyderm anywhere."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from blake3 import blake3

from pachvault.errors import CorruptError, DamageError, PachvaultError, UsageError
from pachvault.format.ids import RepoName
from pachvault.policy import matches
from pachvault.progress import Progress
from pachvault.vault.reader import BlobReader
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
    """Why there are no files: what is damaged in the vault."""


@dataclass(slots=True)
class Extracted:
    """What an extraction did."""

    files: int = 0
    bytes: int = 0
    failed: list[str] = field(default_factory=list)
    """A line for each file that could not be written: where, and why."""
    is_damaged: bool = False


def choose(
    snapshot: Snapshot, sources: Sequence[str], includes: Sequence[str], excludes: Sequence[str]
) -> Iterator[Chosen]:
    """The branches that match `sources` (policy patterns; all where empty), with the chosen files.

    What is damaged of one repo or branch leaves out just that: its `damage` says why.

    `includes` and `excludes` are patterns over paths, in which * matches any characters, / too.
    Raises UsageError where a source matches nothing.
    """
    unmatched = set(sources)
    for entry in snapshot.manifest.repos:
        repo = RepoName(entry.project, entry.repo)
        meant = [pattern for pattern in sources if matches(pattern.partition("@")[0], repo, "")]
        if sources and not meant:
            continue
        try:
            history = snapshot.repo(repo)
            _ = history.commits  # read here, where damage is that of one repo
        except DamageError as error:
            unmatched.difference_update(meant)
            yield Chosen(repo, "*", "", [], str(error))
            continue
        for branch in history.record.branches:
            hits = [pattern for pattern in sources if matches(pattern, repo, branch.name)]
            unmatched.difference_update(hits)
            if branch.head is None or (sources and not hits):
                continue
            try:
                tree = history.tree(branch.head).select(["path", "size", "digest", "blobs"])
            except DamageError as error:
                yield Chosen(repo, branch.name, branch.head, [], str(error))
                continue
            files = [row for row in tree.to_pylist() if _wanted(row["path"], includes, excludes)]
            yield Chosen(repo, branch.name, branch.head, files)
    if unmatched:
        raise UsageError(
            f"nothing in snapshot {snapshot.short_id} matches {sorted(unmatched)[0]!r}",
            hint="project/repo@branch; `pachvault show` lists what there is",
        )


def check_destination(destination: Path, *, overwrite: bool) -> None:
    """UsageError unless `destination` is new or empty, or files in it may be replaced."""
    try:
        if destination.exists() and not destination.is_dir():
            raise UsageError("is a file", where=str(destination))
        if destination.is_dir() and any(destination.iterdir()) and not overwrite:
            raise UsageError("is not empty", where=str(destination), hint="--overwrite replaces files in it")
        destination.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=str(destination)) from error


def extract(
    reader: BlobReader, chosen: Chosen, destination: Path, progress: Progress, workers: int
) -> Extracted:
    """Write a branch's files below `destination/project/repo/branch`, each whole or not at all.

    A file that cannot be had is reported in the result, and the others are written all the same.
    """
    root = _below(destination, f"{chosen.repo.project}/{chosen.repo.repo}/{chosen.branch}")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        if refused.errno == errno.ENAMETOOLONG:
            return Extracted(failed=[f"{chosen.repo}@{chosen.branch}: {refused.strerror}"])
        raise UsageError(f"cannot be made: {refused.strerror}", where=str(root)) from refused
    files = _by_place(reader, chosen.files)
    done = Extracted()

    def task(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], PachvaultError | None]]:
        return [(row, _attempt(reader, root, row, progress)) for row in rows]

    tasks = [files[at : at + _FILES_A_TASK] for at in range(0, len(files), _FILES_A_TASK)]
    with ThreadPoolExecutor(workers, "extract") as pool:
        for results in pool.map(task, tasks):
            for row, error in results:
                if error is None:
                    done.files += 1
                    done.bytes += row["size"]
                else:
                    done.failed.append(f"{chosen.repo}@{chosen.branch}:{row['path']}: {error}")
                    done.is_damaged |= isinstance(error, DamageError)
    return done


def _wanted(path: str, includes: Sequence[str], excludes: Sequence[str]) -> bool:
    if any(fnmatchcase(path, pattern) for pattern in excludes):
        return False
    return not includes or any(fnmatchcase(path, pattern) for pattern in includes)


def _by_place(reader: BlobReader, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files in the order of their first blobs in the vault, so that a frame is decoded once."""
    if not files or not len(reader.index):
        return files
    rows = reader.index.rows([row["blobs"][0] if row["blobs"] else row["digest"] for row in files])
    order = np.argsort(reader.index.place_order()[rows], kind="stable")
    return [files[number] for number in order]


def _attempt(
    reader: BlobReader, root: Path, row: dict[str, Any], progress: Progress
) -> PachvaultError | None:
    try:
        _write(reader, _below(root, row["path"]), row)
    except PachvaultError as error:
        return error
    except OSError as error:
        return PachvaultError(os.strerror(error.errno) if error.errno else str(error))
    progress.add(row["size"], 1)
    return None


def _below(root: Path, path: str) -> Path:
    """The file's place; DamageError for a path that would leave the folder."""
    parts = PurePosixPath(path.lstrip("/")).parts
    if not parts or ".." in parts or "\0" in path:
        raise CorruptError(f"{path!r} would lie outside its folder")
    return root.joinpath(*parts)


def _write(reader: BlobReader, path: Path, row: dict[str, Any]) -> None:
    for folder in reversed(path.parents):  # one by one: a path may have a thousand parts
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    names = row["blobs"] or ([row["digest"]] if row["size"] else [])
    hasher = blake3() if row["blobs"] else None
    size = 0
    try:
        with temporary.open("xb") as file:
            for data in reader.stream(names):
                file.write(data)
                size += len(data)
                if hasher is not None:
                    hasher.update(data)
        if size != row["size"] or (hasher is not None and hasher.digest() != row["digest"]):
            raise CorruptError("the blobs do not add up to the file that the table promises")
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
