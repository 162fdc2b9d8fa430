"""What a drill takes: some files of some branches, and one small commit, at random. Reads tables only."""

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
"""Files are taken from at most so many repos,"""
_FILES = 10
"""and at most so many from each."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A restore to try."""

    snapshot: str
    repo: RepoName
    commit: str
    paths: tuple[str, ...]
    """Empty for the whole commit."""
    files_count: int
    size_bytes: int
    scratch: str
    """The repo to restore into: no other drill has one of its name."""

    @property
    def name(self) -> str:
        """What it restores, in a line."""
        return f"{self.repo}@{self.commit}" + (f": {len(self.paths)} files" if self.paths else "")


def sample(snapshot: Snapshot, seed: int | None, max_bytes: int) -> tuple[list[Trial], list[AuditEntry]]:
    """What to restore, of at most `max_bytes` together; and what could not even be read.

    Where no file is so small it is the smallest that has any content, whatever its size. The same seed takes
    the same of a snapshot.
    """
    chance = random.Random(seed if seed is not None else secrets.randbits(64))  # noqa: S311  (no secret)
    trials: list[Trial] = []
    unread: list[AuditEntry] = []
    commit: Trial | None = None
    entries = chance.sample(snapshot.manifest.repos, len(snapshot.manifest.repos))
    for entry in entries:
        repo = RepoName(entry.project, entry.repo)
        if len(trials) >= _REPOS and commit is not None:
            break
        try:
            history = RepoHistory(snapshot.vault, snapshot.vault.repo_record(entry.record))
            if len(trials) < _REPOS:
                trials += _files(chance, snapshot, history, max_bytes // (2 * _REPOS))
            commit = commit or _commit(chance, snapshot, history, max_bytes // 2)
        except PachvaultError as error:
            unread.append(_unread(repo, error))
    if commit is not None:
        trials.append(commit)
    if not any(trial.size_bytes for trial in trials):
        smallest, failed = _smallest(snapshot)
        trials += [smallest] if smallest else []
        unread += [each for each in failed if each not in unread]
    return trials, unread


def _unread(repo: RepoName, error: PachvaultError) -> AuditEntry:
    is_damage = isinstance(error, DamageError)
    return AuditEntry(name=str(repo), result="damaged" if is_damage else "unreadable", message=str(error))


def _smallest(snapshot: Snapshot) -> tuple[Trial | None, list[AuditEntry]]:
    """The smallest file with content of all heads, if there is one; and what could not be read."""
    best: Trial | None = None
    unread: list[AuditEntry] = []
    for entry in snapshot.manifest.repos:
        try:
            history = RepoHistory(snapshot.vault, snapshot.vault.repo_record(entry.record))
            for head in sorted({branch.head for branch in history.record.branches if branch.head}):
                files = history.tree(head).select(["path", "size"])
                files = files.filter(pc.greater(files["size"], 0))
                if files.num_rows:
                    row = files.slice(int(np.argmin(files["size"].to_numpy())), 1).to_pylist()[0]
                    if best is None or row["size"] < best.size_bytes:
                        best = _trial(snapshot, history, head, (row["path"],), 1, row["size"])
        except PachvaultError as error:
            unread.append(_unread(RepoName(entry.project, entry.repo), error))
    return best, unread


def _files(
    chance: random.Random, snapshot: Snapshot, history: RepoHistory, max_bytes: int
) -> Iterator[Trial]:
    """Some files of a branch's head, if any is small enough."""
    heads = [branch.head for branch in history.record.branches if branch.head]
    if not heads:
        return
    commit = chance.choice(heads)
    tree = history.tree(commit)
    # typed: of an empty tree nothing tells what the numbers are
    order = np.array(chance.sample(range(tree.num_rows), min(tree.num_rows, 4 * _FILES)), np.int64)
    taken: list[dict[str, Any]] = []
    left = max_bytes
    for row in tree.select(["path", "size"]).take(order).to_pylist():
        if len(taken) < _FILES and row["size"] <= left:
            taken.append(row)
            left -= row["size"]
    if taken:
        paths = tuple(sorted(row["path"] for row in taken))
        yield _trial(snapshot, history, commit, paths, len(taken), max_bytes - left)


def _commit(chance: random.Random, snapshot: Snapshot, history: RepoHistory, max_bytes: int) -> Trial | None:
    """One whole commit of the history, if any is small enough and did not fail."""
    commits = history.commits
    is_small = pc.and_(pc.greater(commits["size"], 0), pc.less_equal(commits["size"], max_bytes))
    is_good = pc.and_(commits["listed"], pc.equal(commits["error"], ""))
    found = commits.filter(pc.and_(is_small, is_good)).select(["commit", "size"])
    if not found.num_rows:
        return None
    row = found.slice(chance.randrange(found.num_rows), 1).to_pylist()[0]
    count = history.tree(row["commit"]).num_rows
    return _trial(snapshot, history, row["commit"], (), count, row["size"])


def _trial(
    snapshot: Snapshot, history: RepoHistory, commit: str, paths: tuple[str, ...], files: int, size: int
) -> Trial:
    scratch = f"{history.name.repo[:40]}-{secrets.token_hex(6)}"
    return Trial(snapshot.name.id, history.name, commit, paths, files, size, scratch)
