"""Verify against the source: a snapshot, the live repos and the backup repo. What differs, and whether that
is change, as sources do, or damage: one commit id with two contents.

Nothing is changed, in the vault or in the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.errors import DamageError, PachvaultError, SourceGoneError, UsageError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.compare.compare_files import (
    FileDifference,
    Judge,
    differences,
    listed_files,
    read_files,
)
from pachvault.maintenance.compare.compare_heads import compare_heads
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.retrying_store import patient
from pachvault.maintenance.verify.findings import NAMED, Finding, Severity
from pachvault.mirror import mirrors
from pachvault.pach.source import CommitRef, Source
from pachvault.runtime.progress import Progress
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

_JUDGED = 200
"""So many differing files of a commit are read from the vault to say which side is to blame."""


@dataclass(slots=True)
class Compared:
    """How a snapshot compares with its source."""

    findings: list[Finding] = field(default_factory=list)
    branches: int = 0
    unchanged: int = 0
    """Branches whose head is still that of the snapshot."""
    commits: int = 0
    """Compared, those of the backup repo included."""
    bytes: int = 0
    seconds: float = 0.0

    def audited(self, snapshot: Snapshot) -> AuditEntry:
        """For the audit record."""
        bad = [each for each in self.findings if each.severity is not Severity.CHANGE]
        is_damaged = any(each.severity is Severity.DAMAGE for each in bad)
        return AuditEntry(
            name=snapshot.name.path,
            result="damaged" if is_damaged else "unreadable" if bad else "ok",
            message=f"{bad[0].object}: {bad[0].message}" if bad else "",
        )


def compare(
    source: Source, vault: Vault, snapshot: Snapshot, progress: Progress, *, is_quick: bool = False
) -> Compared:
    """Compare every branch head of a snapshot with what the cluster has under its id.

    File by file by the digest of what is read, or, where `is_quick`, by what the cluster lists. Raises
    UsageError where the snapshot is of another cluster.
    """
    cluster = source.connection.cluster_id()
    if cluster != snapshot.manifest.cluster.id:
        raise UsageError(
            f"snapshot {snapshot.short_id} was taken from cluster {snapshot.manifest.cluster.id}",
            where=f"this is cluster {cluster}",
            hint="give the address of the other one",
        )
    began = time.monotonic()
    vault, _ = patient(vault)
    progress.start("verify: source", sum(entry.size_bytes for entry in snapshot.manifest.repos))
    done = Compared()
    live = {info.name for info in source.repos()}
    judge, held, erased = Judge(vault), mirrors(source), EraseSelection.erased(snapshot.manifest)
    for entry in snapshot.manifest.repos:
        repo = RepoName(entry.project, entry.repo)
        try:
            history = RepoHistory(vault, vault.repo_record(entry.record))
            heads = compare_heads(
                source, snapshot.short_id, repo, history.record.branches, is_there=repo in live
            )
        except PachvaultError as error:
            done.findings.append(_failed(snapshot, repo, layout.record_path(entry.record), "record", error))
            continue
        done.findings += heads.findings
        done.unchanged += heads.unchanged
        saved = [branch.head for branch in history.record.branches if branch.head]
        done.branches += len(saved)
        for commit in dict.fromkeys(saved):
            check = _Commit(
                source, judge, snapshot, history, commit, progress, is_quick=is_quick, erased=erased
            )
            mirror = held.get(f"{repo}@{commit}")
            check.compare(done, is_there=commit in heads.present, mirror=mirror)
    done.seconds = time.monotonic() - began
    return done


@dataclass(frozen=True)
class _Commit:
    """One head, in the vault and in the cluster."""

    source: Source
    judge: Judge
    snapshot: Snapshot
    history: RepoHistory
    commit: str
    progress: Progress
    is_quick: bool
    erased: Sequence[EraseSelection]
    """What was taken out of the vault since the seal."""

    def compare(self, done: Compared, *, is_there: bool, mirror: CommitRef | None) -> None:
        """Compare the commit itself, where it is there, and its mirror."""
        if not is_there and mirror is None:
            return
        try:
            tree = self.history.tree(self.commit)
        except PachvaultError as error:
            done.findings.append(_failed(self.snapshot, self.history.name, self._place, "table", error))
            return
        live = CommitRef(self.history.name.project, self.history.name.repo, self.commit)
        is_equal = False
        if is_there:
            found = self._files(done, live, tree, "source-differs")
            is_equal = not found
            done.findings += found
        if mirror is None:
            return
        try:
            if self._counts(mirror) and (not is_equal or self.source.diff(mirror, live)):
                done.findings += self._files(done, mirror, tree, "mirror-differs")
        except SourceGoneError:
            return  # deleted since it was listed: no restore takes it
        except PachvaultError as error:
            done.findings.append(_failed(self.snapshot, self.history.name, str(mirror), "mirror", error))

    def _counts(self, mirror: CommitRef) -> bool:
        """Whether restores would take a mirror: one of another size was given up when it was made."""
        return self.source.commit(mirror).size_bytes == self.history.size_of(self.commit)

    def _files(self, done: Compared, ref: CommitRef, tree: pa.Table, kind: str) -> list[Finding]:
        listing = listed_files if self.is_quick else read_files
        try:
            found = differences(self.source, ref, tree, listing(self.source, ref, self.progress))
            erased = [each for each in found if self._is_erased(each)]
            ours, theirs = self._blamed([each for each in found if not self._is_erased(each)], tree)
        except PachvaultError as error:
            return [_failed(self.snapshot, self.history.name, str(ref), "source", error)]
        done.commits += 1
        done.bytes += pc.sum(tree["size"]).as_py() or 0
        return [
            *self._finding("vault-differs", str(ref), ours),
            *self._finding(kind, str(ref), theirs),
            *self._erased(str(ref), erased),
        ]

    def _is_erased(self, difference: FileDifference) -> bool:
        """Whether only the cluster has a file because it was erased from the vault."""
        return difference.row is None and any(
            each.has(self.history.name, difference.path) for each in self.erased
        )

    def _blamed(
        self, found: Sequence[FileDifference], tree: pa.Table
    ) -> tuple[list[FileDifference], list[FileDifference]]:
        """The differences that the vault is to blame for, and those that the cluster is to blame for."""
        said = self.history.size_of(self.commit)
        is_complete = said == (pc.sum(tree["size"]).as_py() or 0)
        ours: list[FileDifference] = []
        theirs: list[FileDifference] = []
        for number, each in enumerate(found):
            # a file that the vault lacks: was it part of the size that the commit had at the freeze?
            is_ours = not is_complete
            if each.row is not None:
                is_ours = number < _JUDGED and not self.judge.has(each.row)
            (ours if is_ours else theirs).append(each)
        return ours, theirs

    def _finding(self, kind: str, where: str, found: Sequence[FileDifference]) -> Iterator[Finding]:
        if not found:
            return
        counts = {
            "files have another content": sum(1 for each in found if each.row and each.live),
            "files are only in the vault": sum(1 for each in found if not each.live),
            "files are only in the cluster": sum(1 for each in found if not each.row),
        }
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        side = "the vault has not" if kind == "vault-differs" else "the vault has"
        yield self._of(found, kind, where, f"{said}; {side} what was sealed")

    def _erased(self, where: str, found: Sequence[FileDifference]) -> Iterator[Finding]:
        if found:
            said = f"{len(found)} files were erased from the vault, and the cluster still has them"
            yield self._of(found, "erased-here", where, said, Severity.CHANGE)

    def _of(
        self,
        found: Sequence[FileDifference],
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
            commits=(self._place,),
            commits_count=1,
            files=tuple(f"{self._place}:{each.path}" for each in found[:NAMED]),
            files_count=len(found),
        )

    @property
    def _place(self) -> str:
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
