"""What a verification finds, as values: what it is, whom it hits, what to do. No checking is done here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, DamageError, PachvaultError
from pachvault.format import digests
from pachvault.format.digests import Digests

NAMED = 20
"""How many files, commits and blobs a finding names; it counts them all."""


class Severity(StrEnum):
    """What a finding means for what can be restored."""

    DAMAGE = "damage"
    """Something that a snapshot needs is lost, or the vault cannot be read until it is repaired."""
    DEGRADED = "degraded"
    """Nothing is lost, but the last good copy is in a pack that waits for deletion."""
    UNREADABLE = "unreadable"
    """It could not be looked at: nothing is known of it."""
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
    """What it is about: an object of the vault, or a place in the cluster."""
    message: str
    snapshots: tuple[str, ...] = ()
    """The short ids of those hit, oldest first."""
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
            return _NOTES.get(self.kind, "nothing: no snapshot needs it; prune removes what nobody needs")
        if self.severity is Severity.DEGRADED and self.kind in _DOCUMENTS:
            return "`pachvault repair` removes it, and makes a pin anew"
        if self.severity is Severity.DEGRADED:
            return "`pachvault repair` copies what is needed to a pack that stays; prune keeps the last copy"
        if self.severity is Severity.UNREADABLE:
            return "run it again; if it stays, look at the storage and at the rights"
        return _ADVICE.get(self.kind, _HEAL)

    def as_fields(self) -> dict[str, Any]:
        """For JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"advice": self.advice}


_DOCUMENTS = frozenset(f"{kind}-damaged" for kind in ("mark", "pin", "audit", "run"))
_HEAL = "`pachvault repair --dry-run` shows what the cluster can still give back"
"""For what is lost with a pack, or a part of one."""
_NOTES = {
    "stray": "delete it, if it is of no use to you: nothing here reads or removes it",
    "forgotten-manifest-damaged": "nothing: the snapshot cannot be brought back, and prune removes it",
}
_ADVICE = {
    "manifest-missing": "put it back from a copy of the vault, or `pachvault snapshots unpin` it",
    "manifest-misnamed": "give it the name that the message says, before a prune takes what it needs",
    "index-damaged": "`pachvault repair` rebuilds the index from the packs; nothing is lost",
    "index-wrong": "`pachvault repair` rebuilds the index from the packs; nothing is lost",
    "blob-missing": "`pachvault repair` looks for it in all packs, then in the cluster",
    "chain-damaged": "back up again; restore what it hits from another snapshot",
    "sizes-wrong": "restore what it hits from another snapshot, and report it: a writer went wrong",
    "rows-wrong": "restore what it hits from another snapshot, and report it: a writer went wrong",
    "manifest-damaged": "the snapshot is lost: put the object back from a copy of the vault, or forget it",
    "record-damaged": "put the object back from a copy of the vault; other snapshots may have the repo",
    "commit-list-damaged": "put the object back from a copy of the vault; other snapshots may have the repo",
    "table-damaged": "put the object back from a copy of the vault; other snapshots may have the commits",
    "source-differs": "restore the commit from the vault: the cluster's copy is the one that changed",
    "mirror-differs": "delete the branch of the backup repo; the next backup mirrors it again",
    "repo-deleted": "if that was not meant: `pachvault restore`",
    "branch-deleted": "if that was not meant: `pachvault restore`",
    "branch-rewritten": "if that was not meant: `pachvault rollback`",
    "erased-here": "delete them in the cluster, too, if they must be nowhere; else nothing",
    "branch-moved-on": "nothing: the next backup saves it",
}


NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)
NO_BLOBS: Digests = digests.of([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A finding to be, before it is known whom it hits."""

    kind: str
    object: str
    message: str = ""
    is_read: bool = True
    """False where the object could not be looked at."""
    is_vital: bool = False
    """Whether it is damage whatever it hits."""
    is_degraded: bool = False
    """Whether no data is lost by it, but something that keeps data safe is."""
    is_stray: bool = False
    """Whether it is nothing that a snapshot could need."""
    places: NDArray[np.int64] = field(default_factory=lambda: NO_ROWS)
    """Rows of the index (see Places) that are no good because of it."""
    missing: Digests = field(default_factory=lambda: NO_BLOBS)
    """Blobs that tables name and no index knows."""
    snapshots: frozenset[str] = frozenset()
    repo: str = ""
    listing: bytes = b""
    """A commit list."""
    table: bytes = b""


Answer = TypeVar("Answer")


def tried(about: Damage, read: Callable[[], Answer]) -> tuple[Answer | None, list[Damage]]:
    """What `read` gives, or the damage that keeps it from that.

    `about` says what is read and whose it is; its kind goes on as -damaged or -unreadable.
    """
    try:
        return read(), []
    except PachvaultError as error:
        return None, [damage_of(about, error)]


def damage_of(about: Damage, error: PachvaultError) -> Damage:
    """An error that an object gave when it was read, as damage of this object."""
    if isinstance(error, DamageError):
        return replace(about, kind=f"{about.kind}-damaged", message=error.what, is_vital=True)
    return replace(about, kind=f"{about.kind}-unreadable", message=error.what, is_read=False)


def exit_code(findings: Iterable[Finding]) -> int:
    """13 where something is damaged, 3 where it is degraded or could only not be read, else 0."""
    severities = {finding.severity for finding in findings}
    if Severity.DAMAGE in severities:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if severities & {Severity.DEGRADED, Severity.UNREADABLE} else EXIT_OK
