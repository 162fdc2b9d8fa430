"""Compares a snapshot with its source: the repos of the cluster, and the backup repo.

A branch that moved is a change. A commit whose content differs is damage, on one side or the other: commits
are immutable. Nothing is changed, in the vault or in the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import DamageError, NotAllowedError, PachvaultError, SourceGoneError, UsageError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.compare.compare_files import (
    FileDifference,
    VaultFileCheck,
    differences,
    listed_files,
    read_files,
)
from pachvault.maintenance.compare.compare_heads import compare_heads
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.retrying_store import with_retries
from pachvault.maintenance.verify.findings import NAMED, Finding, Severity
from pachvault.mirror import mirrors
from pachvault.pach.source import CommitRef, Source
from pachvault.runtime.progress import Progress
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

_FILES_CHECKED = 200
"""Of the differing files of a commit, at most so many are read from the vault to find the damaged side."""


@dataclass(slots=True)
class SourceComparison:
    """The result of comparing a snapshot with its source."""

    findings: list[Finding] = field(default_factory=list)
    branches: int = 0
    unchanged: int = 0
    """Branches whose head is still that of the snapshot."""
    commits: int = 0
    """How many were compared, those of the backup repo included."""
    bytes: int = 0
    seconds: float = 0.0

    def audited(self, snapshot: Snapshot) -> AuditEntry:
        """The result as an audit records it."""
        bad = [finding for finding in self.findings if finding.severity is not Severity.CHANGE]
        is_damaged = any(finding.severity is Severity.DAMAGE for finding in bad)
        return AuditEntry(
            name=snapshot.name.path,
            result="damaged" if is_damaged else "unreadable" if bad else "ok",
            message=f"{bad[0].object}: {bad[0].message}" if bad else "",
        )


def compare(
    source: Source, vault: Vault, snapshot: Snapshot, progress: Progress, *, is_quick: bool = False
) -> SourceComparison:
    """Compare the head of every branch of a snapshot with the commit of that id in the cluster.

    Every file is read from the cluster and its digest compared; with `is_quick`, only what the cluster lists
    is compared. Raises UsageError where the snapshot is of another cluster.
    """
    cluster = source.connection.cluster_id()
    if cluster != snapshot.manifest.cluster.id:
        raise UsageError(
            f"snapshot {snapshot.short_id} was taken from cluster {snapshot.manifest.cluster.id}",
            where=f"this is cluster {cluster}",
            hint="give the address of the other one",
        )
    began = time.monotonic()
    vault, _ = with_retries(vault)
    progress.start("verify: source", sum(entry.size_bytes for entry in snapshot.manifest.repos))
    comparison = SourceComparison()
    live_repos, hidden = {info.name for info in source.repos()}, source.hidden_projects()
    file_check, mirror_refs = VaultFileCheck(vault), mirrors(source)
    erased = EraseSelection.erased(snapshot.manifest)
    for entry in snapshot.manifest.repos:
        repo = RepoName(entry.project, entry.repo)
        if repo not in live_repos and repo.project in hidden:
            error = NotAllowedError(f"project {repo.project} hides its repos from this caller")
            comparison.findings.append(_failed(snapshot, repo, str(repo), "source", error))
            continue
        try:
            history = RepoHistory(vault, vault.repo_record(entry.record))
            heads = compare_heads(
                source, snapshot.short_id, repo, history.record.branches, is_there=repo in live_repos
            )
        except PachvaultError as error:
            comparison.findings.append(
                _failed(snapshot, repo, layout.record_path(entry.record), "record", error)
            )
            continue
        comparison.findings += heads.findings
        comparison.unchanged += heads.unchanged
        saved_heads = [branch.head for branch in history.record.branches if branch.head]
        comparison.branches += len(saved_heads)
        # several branches may have the same head
        for commit in dict.fromkeys(saved_heads):
            check = _CommitCheck(
                source, file_check, snapshot, history, commit, progress, is_quick=is_quick, erased=erased
            )
            mirror = mirror_refs.get(f"{repo}@{commit}")
            check.compare(comparison, is_there=commit in heads.present, mirror=mirror)
    comparison.seconds = time.monotonic() - began
    return comparison


@dataclass(frozen=True)
class _CommitCheck:
    """Compares one head: the vault's commit with the cluster's, and with its mirror."""

    source: Source
    file_check: VaultFileCheck
    snapshot: Snapshot
    history: RepoHistory
    commit: str
    progress: Progress
    is_quick: bool
    erased: Sequence[EraseSelection]
    """What was erased from the vault since the seal."""

    def compare(self, comparison: SourceComparison, *, is_there: bool, mirror: CommitRef | None) -> None:
        """Compare the commit, if the cluster has it, and its mirror, if there is one."""
        if not is_there and mirror is None:
            return
        try:
            tree = self.history.tree(self.commit)
        except PachvaultError as error:
            comparison.findings.append(
                _failed(self.snapshot, self.history.name, self._commit_name, "table", error)
            )
            return
        live = CommitRef(self.history.name.project, self.history.name.repo, self.commit)
        is_equal = False
        if is_there:
            findings = self._files(comparison, live, tree, "source-differs")
            is_equal = not findings
            comparison.findings += findings
        if mirror is None:
            return
        try:
            # a mirror that pachd finds equal to an equal commit need not be read
            if self._is_usable(mirror) and (not is_equal or self.source.diff(mirror, live)):
                comparison.findings += self._files(comparison, mirror, tree, "mirror-differs")
        except SourceGoneError:
            return  # deleted since it was listed: no restore uses it
        except PachvaultError as error:
            comparison.findings.append(
                _failed(self.snapshot, self.history.name, str(mirror), "mirror", error)
            )

    def _is_usable(self, mirror: CommitRef) -> bool:
        """Whether restores would use a mirror: a backup gives up one whose size differs from its source's."""
        return self.source.commit(mirror).size_bytes == self.history.size_of(self.commit)

    def _files(
        self, comparison: SourceComparison, ref: CommitRef, tree: pa.Table, kind: str
    ) -> list[Finding]:
        files = listed_files if self.is_quick else read_files
        try:
            all_files = differences(self.source, ref, tree, files(self.source, ref, self.progress))
            erased = [file for file in all_files if self._is_erased(file)]
            in_vault, in_cluster = self._by_damaged_side(
                [file for file in all_files if not self._is_erased(file)], tree
            )
        except PachvaultError as error:
            return [_failed(self.snapshot, self.history.name, str(ref), "source", error)]
        comparison.commits += 1
        comparison.bytes += pc.sum(tree["size"]).as_py() or 0
        return [
            *self._finding("vault-differs", str(ref), in_vault),
            *self._finding(kind, str(ref), in_cluster),
            *self._erased(str(ref), erased),
        ]

    def _is_erased(self, difference: FileDifference) -> bool:
        """Whether only the cluster has a file because it was erased from the vault."""
        return difference.row is None and any(
            selection.has(self.history.name, difference.path) for selection in self.erased
        )

    def _by_damaged_side(
        self, files: Sequence[FileDifference], tree: pa.Table
    ) -> tuple[list[FileDifference], list[FileDifference]]:
        """The differences where the vault is damaged, and those where the cluster is."""
        is_tree_complete = self.history.size_of(self.commit) == (pc.sum(tree["size"]).as_py() or 0)
        in_vault: list[FileDifference] = []
        in_cluster: list[FileDifference] = []
        for number, file in enumerate(files):
            # the vault lacks the file: it was lost if the tree is smaller than the commit was at the freeze
            is_vault_damaged = not is_tree_complete
            if file.row is not None:
                is_vault_damaged = number < _FILES_CHECKED and not self.file_check.is_intact(file.row)
            (in_vault if is_vault_damaged else in_cluster).append(file)
        return in_vault, in_cluster

    def _finding(self, kind: str, where: str, files: Sequence[FileDifference]) -> Iterator[Finding]:
        if not files:
            return
        counts = {
            "files have another content": sum(1 for file in files if file.row and file.live),
            "files are only in the vault": sum(1 for file in files if not file.live),
            "files are only in the cluster": sum(1 for file in files if not file.row),
        }
        summary = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        side = "the vault has not" if kind == "vault-differs" else "the vault has"
        yield self._of(files, kind, where, f"{summary}; {side} what was sealed")

    def _erased(self, where: str, files: Sequence[FileDifference]) -> Iterator[Finding]:
        if files:
            message = f"{len(files)} files were erased from the vault, and the cluster still has them"
            yield self._of(files, "erased-here", where, message, Severity.CHANGE)

    def _of(
        self,
        files: Sequence[FileDifference],
        kind: str,
        where: str,
        message: str,
        severity: Severity = Severity.DAMAGE,
    ) -> Finding:
        return Finding(
            kind=kind,
            severity=severity,
            object=where,
            message=message,
            snapshots=(self.snapshot.short_id,),
            repos=(str(self.history.name),),
            commits=(self._commit_name,),
            commits_count=1,
            files=tuple(f"{self._commit_name}:{file.path}" for file in files[:NAMED]),
            files_count=len(files),
        )

    @property
    def _commit_name(self) -> str:
        return f"{self.history.name}@{self.commit}"


def _failed(snapshot: Snapshot, repo: RepoName, where: str, kind: str, error: PachvaultError) -> Finding:
    is_damage = isinstance(error, DamageError)
    return Finding(
        kind=f"{kind}-damaged" if is_damage else f"{kind}-unreadable",
        severity=Severity.DAMAGE if is_damage else Severity.UNREADABLE,
        object=where,
        message=error.what,
        snapshots=(snapshot.short_id,),
        repos=(str(repo),),
    )
