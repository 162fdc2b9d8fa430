"""Chooses at random what a drill restores: some files of branches, and a small commit. Reads only tables."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pachvault.errors import DamageError, PachvaultError
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot

_REPOS = 3
"""Files are chosen from at most so many repos."""
_FILES = 10
"""From each repo, at most."""


@dataclass(frozen=True, slots=True)
class SampleRestore:
    """A restore that a drill does."""

    snapshot: str
    repo: RepoName
    commit: str
    paths: tuple[str, ...]
    """Empty for all files of the commit."""
    files_count: int
    size_bytes: int
    scratch: str
    """The repo to restore into. Its name is random, so that drills can run at the same time."""

    @property
    def name(self) -> str:
        """What it restores, in a line."""
        return f"{self.repo}@{self.commit}" + (f": {len(self.paths)} files" if self.paths else "")


def sample(
    snapshot: Snapshot, seed: int | None, max_bytes: int
) -> tuple[list[SampleRestore], list[AuditEntry]]:
    """The restores to do, of at most `max_bytes` together; and the repos that cannot be read.

    Where no file is small enough, the smallest file with content is chosen, whatever its size. The same seed
    chooses the same of a snapshot.
    """
    generator = random.Random(seed if seed is not None else secrets.randbits(64))  # noqa: S311  (no secret)
    restores: list[SampleRestore] = []
    unread: list[AuditEntry] = []
    commit_restore: SampleRestore | None = None
    entries = generator.sample(snapshot.manifest.repos, len(snapshot.manifest.repos))
    for entry in entries:
        repo = RepoName(entry.project, entry.repo)
        if len(restores) >= _REPOS and commit_restore is not None:
            break
        try:
            history = RepoHistory(snapshot.vault, snapshot.vault.repo_record(entry.record))
            if len(restores) < _REPOS:
                # half the bytes for files of three repos, the other half for one whole commit
                restores += _files(generator, snapshot, history, max_bytes // (2 * _REPOS))
            commit_restore = commit_restore or _commit(generator, snapshot, history, max_bytes // 2)
        except PachvaultError as error:
            unread.append(_unread(repo, error))
    if commit_restore is not None:
        restores.append(commit_restore)
    if not any(restore.size_bytes for restore in restores):
        smallest, also_unread = _smallest(snapshot)
        restores += [smallest] if smallest else []
        unread += [audited for audited in also_unread if audited not in unread]
    return restores, unread


def _unread(repo: RepoName, error: PachvaultError) -> AuditEntry:
    is_damage = isinstance(error, DamageError)
    return AuditEntry(name=str(repo), result="damaged" if is_damage else "unreadable", message=str(error))


def _smallest(snapshot: Snapshot) -> tuple[SampleRestore | None, list[AuditEntry]]:
    """The smallest file with content of all heads, if there is one; and the repos that cannot be read."""
    smallest: SampleRestore | None = None
    unread: list[AuditEntry] = []
    for entry in snapshot.manifest.repos:
        try:
            history = RepoHistory(snapshot.vault, snapshot.vault.repo_record(entry.record))
            for head in sorted({branch.head for branch in history.record.branches if branch.head}):
                files = history.tree(head).select(["path", "size"])
                files = files.filter(pc.greater(files["size"], 0))
                if files.num_rows:
                    row = files.slice(int(np.argmin(files["size"].to_numpy())), 1).to_pylist()[0]
                    if smallest is None or row["size"] < smallest.size_bytes:
                        smallest = _restore(snapshot, history, head, (row["path"],), 1, row["size"])
        except PachvaultError as error:
            unread.append(_unread(RepoName(entry.project, entry.repo), error))
    return smallest, unread


def _files(
    generator: random.Random, snapshot: Snapshot, history: RepoHistory, max_bytes: int
) -> Iterator[SampleRestore]:
    """A restore of some files of a random branch head, if any file is small enough."""
    heads = [branch.head for branch in history.record.branches if branch.head]
    if not heads:
        return
    commit = generator.choice(heads)
    tree = history.tree(commit)
    # typed: of an empty list numpy makes floats, which are no row numbers
    order = np.array(generator.sample(range(tree.num_rows), min(tree.num_rows, 4 * _FILES)), np.int64)
    chosen: list[dict[str, Any]] = []
    bytes_left = max_bytes
    for row in tree.select(["path", "size"]).take(order).to_pylist():
        if len(chosen) < _FILES and row["size"] <= bytes_left:
            chosen.append(row)
            bytes_left -= row["size"]
    if chosen:
        paths = tuple(sorted(row["path"] for row in chosen))
        yield _restore(snapshot, history, commit, paths, len(chosen), max_bytes - bytes_left)


def _commit(
    generator: random.Random, snapshot: Snapshot, history: RepoHistory, max_bytes: int
) -> SampleRestore | None:
    """A restore of one random commit with all its files, if any is small enough and did not fail."""
    commits = history.commits
    is_small = pc.and_(pc.greater(commits["size"], 0), pc.less_equal(commits["size"], max_bytes))
    is_good = pc.and_(commits["listed"], pc.equal(commits["error"], ""))
    candidates = commits.filter(pc.and_(is_small, is_good)).select(["commit", "size"])
    if not candidates.num_rows:
        return None
    row = candidates.slice(generator.randrange(candidates.num_rows), 1).to_pylist()[0]
    count = history.tree(row["commit"]).num_rows
    return _restore(snapshot, history, row["commit"], (), count, row["size"])


def _restore(
    snapshot: Snapshot, history: RepoHistory, commit: str, paths: tuple[str, ...], files: int, size: int
) -> SampleRestore:
    scratch = f"{history.name.repo[:40]}-{secrets.token_hex(6)}"
    return SampleRestore(snapshot.name.id, history.name, commit, paths, files, size, scratch)
