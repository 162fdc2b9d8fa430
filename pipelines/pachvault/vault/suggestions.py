"""Hints for errors about what a snapshot does not have: similar names, and the newest snapshot that has it.

The search is bounded; where it ends early the hint reports how far it went.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from pachvault.errors import DamageError, UsageError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import RepoEntry
from pachvault.syntax import selection
from pachvault.syntax.selection import Paths, SourcePattern
from pachvault.vault import snapshots
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot, SnapshotName

_log = logging.getLogger(__name__)

_SNAPSHOTS = 500
_TREES = 100
"""The most snapshots, and trees of commits, that a search reads."""
_NEAR = 3
_LISTED = 5
_CHILDREN = 5000


def no_source(snapshot: Snapshot, sources: Sequence[SourcePattern], notes: Sequence[str] = ()) -> UsageError:
    """The error for sources that match nothing in a snapshot; `notes` are added to its hint."""
    names = [str(source) for source in sources]
    advice = [_advice(snapshot, source, Paths(), _near_sources(snapshot, source)) for source in sources]
    return UsageError(
        f"nothing in snapshot {snapshot.short_id} matches {selection.quoted(names)}",
        hint="; ".join([_joined(names, advice), *notes]),
    )


def no_path(snapshot: Snapshot, sources: Sequence[SourcePattern], paths: Sequence[str]) -> UsageError:
    """The error for paths that match no file of the sources. The snapshot has all sources."""
    files = list(_files(snapshot, sources))
    where = ", ".join(map(str, sources)) or "any branch"
    advice = [
        _advice(snapshot, source, Paths((path,)), _near_paths(path, files))
        for path in paths
        for source in (sources or [SourcePattern("*", "*")])[:1]
    ]
    return UsageError(
        f"no file of {where} in snapshot {snapshot.short_id} matches {selection.quoted(paths)}",
        hint=_joined(paths, advice),
    )


def repo(snapshot: Snapshot, name: RepoName) -> RepoHistory:
    """A repo's history; UsageError with a hint where the snapshot does not have the repo."""
    for entry in snapshot.manifest.repos:
        if (entry.project, entry.repo) == (name.project, name.repo):
            return snapshot.repo(name)
    raise no_source(snapshot, [SourcePattern(name.project, name.repo)])


def commit(snapshot: Snapshot, history: RepoHistory, reference: str) -> str:
    """The commit of a branch or an id; UsageError with a hint where the snapshot has none."""
    source = SourcePattern(history.name.project, history.name.repo, reference)
    for branch in history.branches(source):
        if branch.head is None:
            raise UsageError(f"branch {source} has no readable commit in snapshot {snapshot.short_id}")
        return branch.head
    raise no_source(snapshot, [source])


def _joined(names: Sequence[str], advice: Sequence[str]) -> str:
    if len(names) == 1:
        return advice[0]
    return "; ".join(f"{name}: {text}" for name, text in zip(names, advice, strict=True))


def _advice(snapshot: Snapshot, source: SourcePattern, paths: Paths, near: str) -> str:
    search = _Search(snapshot, source, paths)
    newest = search.newest()
    if newest is not None:
        when = f"{newest.frozen_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{near}snapshot {newest.id[:12]} of {when} is the newest that has it"
    return f"{near}{search.extent} has it"


def _near_sources(snapshot: Snapshot, source: SourcePattern) -> str:
    repos = {f"{entry.project}/{entry.repo}": entry for entry in snapshot.manifest.repos}
    wanted = f"{source.project}/{source.repo}"
    if wanted not in repos or source.reference is None:
        # names of one project begin alike, so all would count as similar
        prefix = f"{source.project}/"
        repos_in_project = [
            name.removeprefix(prefix) for name in repos if name.startswith(prefix) and name != wanted
        ]
        if repos_in_project:
            return _did_you_mean(
                [prefix + name for name in get_close_matches(source.repo, repos_in_project, _NEAR)]
            )
        return _did_you_mean(get_close_matches(wanted, repos, _NEAR))
    try:
        history = RepoHistory(snapshot.vault, snapshot.vault.repo_record(repos[wanted].record))
    except DamageError:
        return ""
    branches = [branch.name for branch in history.record.branches]
    if source.reference in branches:
        return "the branch has no readable commit in this snapshot; "
    near = get_close_matches(source.reference, branches, _NEAR)
    if near:
        return _did_you_mean([f"{wanted}@{branch}" for branch in near])
    more = ", …" if len(branches) > _LISTED else ""
    return f"branches: {', '.join(branches[:_LISTED]) or 'none'}{more}; "


def _near_paths(path: str, files: Sequence[str]) -> str:
    """Names that resemble the first missing part of a path, in the folder where it is missing."""
    folder = ""
    for part in path.strip("/").split("/"):
        rest = (file[len(folder) + 1 :] for file in files if file.startswith(f"{folder}/"))
        children = {name.partition("/")[0] for name in rest}
        if part not in children:
            near = get_close_matches(part, sorted(children)[:_CHILDREN], _NEAR)
            return _did_you_mean([f"{folder}/{name}" for name in near])
        folder = f"{folder}/{part}"
    return ""


def _did_you_mean(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(names)}?; " if names else ""


def _files(snapshot: Snapshot, sources: Sequence[SourcePattern]) -> Iterable[str]:
    for entry in snapshot.manifest.repos:
        for source in sources:
            if source.means_repo(RepoName(entry.project, entry.repo)):
                try:
                    history = RepoHistory(snapshot.vault, snapshot.vault.repo_record(entry.record))
                    for branch in history.branches(source):
                        yield from history.tree(branch.head)["path"].to_pylist() if branch.head else []
                except DamageError as error:
                    _log.info("skipped when looking for similar names: %s", error)


@dataclass
class _Search:
    """The search for the newest other snapshot that has a source, or a path of it."""

    snapshot: Snapshot
    source: SourcePattern
    paths: Paths
    _is_in_record: dict[bytes, bool] = field(default_factory=dict)
    _is_in_commit: dict[str, bool] = field(default_factory=dict)
    _searched_count: int = 0
    _is_bounded: bool = False

    @property
    def extent(self) -> str:
        """The snapshots that were searched without a match, as text."""
        return (
            f"none of the {self._searched_count} newest snapshots"
            if self._is_bounded
            else "no other snapshot"
        )

    def newest(self) -> SnapshotName | None:
        """The newest snapshot that has it; None where none of those that were searched has."""
        vault = self.snapshot.vault
        for name in reversed(snapshots.names(vault)):
            if self._searched_count == _SNAPSHOTS or len(self._is_in_commit) >= _TREES:
                self._is_bounded = True
                return None
            self._searched_count += 1
            if name.id == self.snapshot.name.id:
                continue
            try:
                if any(map(self._has, snapshots.load(vault, name).manifest.repos)):
                    return name
            except DamageError as error:  # advice: what is damaged is verify's to name
                _log.info("skipped when looking for other snapshots: %s", error)
        return None

    def _has(self, entry: RepoEntry) -> bool:
        if not self.source.means_repo(RepoName(entry.project, entry.repo)):
            return False
        if entry.record not in self._is_in_record:
            self._is_in_record[entry.record] = self._record_has(entry.record)
        return self._is_in_record[entry.record]

    def _record_has(self, record: bytes) -> bool:
        vault = self.snapshot.vault
        history = RepoHistory(vault, vault.repo_record(record))
        try:
            heads = [branch.head for branch in history.branches(self.source) if branch.head]
        except UsageError:  # the digits match several commits
            return False
        if not self.paths.patterns:
            return bool(heads)
        for head in heads:
            key = f"{history.name}@{head}"
            if key not in self._is_in_commit:
                files = history.tree(head)["path"].to_pylist()
                self._is_in_commit[key] = not self.paths.unmatched(files).patterns
            if self._is_in_commit[key]:
                return True
        return False
