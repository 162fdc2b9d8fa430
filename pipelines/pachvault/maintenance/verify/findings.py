"""The results of a verification as values: what is wrong, its impact, what to do. Nothing is checked here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, DamageError, PachvaultError
from pachvault.format import digests, table
from pachvault.format.digests import Digests

NAMED = 20
"""How many files, commits and blobs a finding names; it counts them all."""


class Severity(StrEnum):
    """What a finding means for what can be restored."""

    DAMAGE = "damage"
    """Something that a snapshot needs is lost or wrong, or the vault cannot be read until it is repaired."""
    DEGRADED = "degraded"
    """Nothing is lost, but the last intact copy is in a pack that is a pending delete."""
    UNREADABLE = "unreadable"
    """It could not be read; its content is unknown."""
    CHANGE = "change"
    """The source is no longer what it was at the freeze, as sources are."""
    NOTE = "note"
    """Nothing that a snapshot needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str
    severity: Severity = Severity.DAMAGE
    object: str
    """An object of the vault, or a place in the cluster."""
    message: str
    snapshots: tuple[str, ...] = ()
    """The short ids of the affected ones, oldest first."""
    repos: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    """project/repo@commit, at most NAMED of them."""
    commits_count: int = 0
    files: tuple[str, ...] = ()
    """project/repo@commit:/path of the commits that put them, at most NAMED of them."""
    files_count: int = 0
    blobs: tuple[str, ...] = ()
    """Lost ones, at most NAMED of them."""
    blobs_count: int = 0

    @property
    def advice(self) -> str:
        """What to do."""
        if self.severity is Severity.NOTE:
            return _NOTES.get(
                self.kind, "nothing: no snapshot needs it; prune deletes what no snapshot needs"
            )
        if self.severity is Severity.DEGRADED and self.kind in _DOCUMENTS:
            return "`pachvault repair` deletes it; a pin is written again"
        if self.severity is Severity.DEGRADED:
            return "`pachvault repair` copies what is needed to another pack; prune keeps the last copy"
        if self.severity is Severity.UNREADABLE:
            return "verify again; if it fails again, check the storage and its permissions"
        return _ADVICE.get(self.kind, _HEAL)

    def as_fields(self) -> dict[str, Any]:
        """For JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"advice": self.advice}


_DOCUMENTS = frozenset(f"{kind}-damaged" for kind in ("mark", "pin", "audit", "run"))
_HEAL = "`pachvault repair --dry-run` shows what the cluster still has"
"""For what is lost with a pack, or a part of one."""
_WRITER = "restore the affected files from another snapshot, and report a bug: pachvault wrote wrong data"
_COPY = "put the object back from a copy of the vault; other snapshots may have"
_NOTES = {
    "stray": "delete it if you do not need it: pachvault neither reads nor deletes it",
    "forgotten-manifest-damaged": "nothing: the snapshot cannot be brought back, and prune deletes it",
    "manifest-missing": "nothing, if it was forgotten; else put the manifest back from a copy of the vault",
}
_ADVICE = {
    "manifest-missing": "put the manifest back from a copy of the vault before prune deletes what it needs; "
    "if it is pinned and cannot come back, `pachvault snapshots unpin` it",
    "manifest-misnamed": "rename it as the message shows, before prune deletes what it needs",
    "index-damaged": "`pachvault repair` rebuilds the index from the packs; nothing is lost",
    "index-wrong": "`pachvault repair` rebuilds the index from the packs; nothing is lost",
    "blob-missing": "`pachvault repair` looks for it in all packs, then in the cluster",
    "chain-damaged": "back up again; restore the affected files from another snapshot",
    "head-wrong": "restore the branch from another snapshot, and report a bug: pachvault wrote wrong data",
    "sizes-wrong": _WRITER,
    "rows-wrong": _WRITER,
    "file-wrong": _WRITER,
    "paths-wrong": _WRITER,
    "paths-repeated": _WRITER,
    "paths-conflict": _WRITER,
    "manifest-damaged": "the snapshot is lost: put the object back from a copy of the vault, or forget it",
    "record-damaged": f"{_COPY} the repo",
    "commit-list-damaged": f"{_COPY} the repo",
    "table-damaged": f"{_COPY} the commits",
    "source-differs": "restore the commit from the vault: the cluster's copy is the one that changed",
    "mirror-differs": "delete the branch of the backup repo; the next backup mirrors it again",
    "repo-deleted": "if that was not intended: `pachvault restore`",
    "branch-deleted": "if that was not intended: `pachvault restore`",
    "branch-rewritten": "if that was not intended: `pachvault rollback`",
    "erased-here": "delete them in the cluster, too, if they must not exist anywhere; else nothing",
    "branch-moved-on": "nothing: the next backup saves it",
}


NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)
NO_BLOBS: Digests = digests.of([])


class FileName(NamedTuple):
    """A file of a commit."""

    repo: str
    commit: str
    path: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A finding before its impact is known."""

    kind: str
    object: str
    message: str = ""
    is_read: bool = True
    """False where the object could not be read."""
    is_vital: bool = False
    """Whether it is damage whatever it affects."""
    is_degraded: bool = False
    """Whether no data is lost by it, but something that keeps data safe is."""
    is_stray: bool = False
    """Whether it is nothing that a snapshot could need."""
    places: NDArray[np.int64] = field(default_factory=lambda: NO_ROWS)
    """Rows of the index (see BlobPlaces) that cannot be used because of it."""
    missing: Digests = field(default_factory=lambda: NO_BLOBS)
    """Blobs that tables name and no index has."""
    snapshots: frozenset[str] = frozenset()
    repo: str = ""
    listing: bytes = b""
    """The digest of a commit list."""
    table: bytes = b""
    """The digest of a file table. It affects `commits`, or where these are unknown, all commits in it."""
    files: tuple[FileName, ...] = ()
    """At most NAMED of them."""
    files_count: int = 0
    commits: frozenset[tuple[str, str]] = frozenset()
    """Repo and id of those whose files are affected; empty where they are unknown."""

    def of_files(self, rows: pa.Table) -> Damage:
        """The same with the files in these rows of a file table."""
        named = rows.select(FileName._fields)
        commits = named.group_by(["repo", "commit"], use_threads=False).aggregate([]).to_pylist()
        return replace(
            self,
            files=tuple(FileName(**row) for row in named.slice(0, NAMED).to_pylist()),
            files_count=named.num_rows,
            commits=frozenset((row["repo"], row["commit"]) for row in commits),
        )


NO_FILES: pa.Table = table.FILES.empty_table().select(FileName._fields)

Answer = TypeVar("Answer")


def tried(about: Damage, read: Callable[[], Answer]) -> tuple[Answer | None, list[Damage]]:
    """The result of `read`, or the damage that it raises.

    `about` names the object and what it affects; its kind gets the suffix -damaged or -unreadable.
    """
    try:
        return read(), []
    except PachvaultError as error:
        return None, [damage_of(about, error)]


def damage_of(about: Damage, error: PachvaultError) -> Damage:
    """The error that reading an object raised, as damage of this object."""
    if isinstance(error, DamageError):
        return replace(about, kind=f"{about.kind}-damaged", message=error.what, is_vital=True)
    return replace(about, kind=f"{about.kind}-unreadable", message=error.what, is_read=False)


def exit_code(findings: Iterable[Finding]) -> int:
    """13 where something is damaged, 3 where it is degraded or could only not be read, else 0."""
    severities = {finding.severity for finding in findings}
    if Severity.DAMAGE in severities:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if severities & {Severity.DEGRADED, Severity.UNREADABLE} else EXIT_OK
