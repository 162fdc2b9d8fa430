"""Missing manifests: what an audit listed is compared with what is there now.

Sequence numbers alone are no proof of a loss, because forget and prune delete manifests rightly. But what is
forgotten stays in `forgotten/` for the grace period. So a manifest that an audit listed in `snapshots/` less
than a grace period ago must be in one of the two folders.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.audits import StoredAudit
from pachvault.maintenance.verify.findings import Damage, tried
from pachvault.vault import clock, snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

KIND = "manifest-missing"
_CERTAIN = 0.9
"""The part of the grace period within which nothing can have gone rightly: a forget that continues an
interrupted one counts from the time of the first, which may be a tenth of the grace period earlier."""


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    """The manifests of a vault, and those that are missing."""

    damages: list[Damage]
    paths: list[str] | None
    """All that are there, for the audit of this verification. None where one is missing, so that the next
    verification finds it missing, too; and where the folders could not be listed."""
    listing: str = ""
    """The audit that lists the missing ones."""


def check(
    vault: Vault, reported: Collection[str] = (), *, stored: Sequence[StoredAudit] | None = None
) -> ManifestCheck:
    """Compare with the newest list of an audit. `reported`: short ids of snapshots that are findings already;
    `stored`: all audits, where the caller has read them.

    Asks the store for its time only where a manifest seems to be missing.
    """
    manifests, damages = _listed(vault)
    if manifests is None:
        return ManifestCheck(damages, None)
    # an audit that does not read, or a listing of them that fails, is a finding of verify_documents
    if stored is None:
        stored, _ = tried(Damage(kind="listing", object=layout.AUDITS), partial(audits.load, vault))
    now = datetime.now(UTC)
    if list(_missing(audits.newest_list(stored or (), now), manifests)):
        now = _store_now(vault, now)
        # once more: a snapshot that was brought back between the two listings was in neither
        again, damages = _listed(vault)
        manifests = again if again is not None else manifests
    newest = audits.newest_list(stored or (), now)
    missing = [damage for damage in _missing(newest, manifests) if damage.snapshots.isdisjoint(reported)]
    paths = [manifest.path for manifest in manifests]
    if newest is None or not missing:
        return ManifestCheck(damages, paths)
    # format 9.9: for so long a forgotten manifest must still be in `forgotten/`; afterwards prune may have
    # deleted it
    if now - audits.counts_from(newest) >= vault.config.grace * _CERTAIN:
        return ManifestCheck([*damages, _note(newest, missing)], paths)
    return ManifestCheck([*damages, *missing], None, newest.name)


def record(vault: Vault, level: str, now: datetime) -> None:
    """Write an audit that lists the manifests, and nothing else; `now` is the store's time."""
    manifests = [
        name.path for folder in (layout.SNAPSHOTS, layout.FORGOTTEN) for name in _names(vault, folder)
    ]
    audits.record(vault, level, [], manifests, at=now)


def _listed(vault: Vault) -> tuple[list[SnapshotName] | None, list[Damage]]:
    """Every manifest. Forgotten ones last: forget writes in `forgotten/`, then deletes in `snapshots/`."""
    manifests: list[SnapshotName] = []
    for folder in (layout.SNAPSHOTS, layout.FORGOTTEN):
        names, failed = tried(Damage(kind="listing", object=folder), partial(_names, vault, folder))
        if names is None:
            return None, failed
        manifests += names
    return manifests, []


def _names(vault: Vault, folder: str) -> list[SnapshotName]:
    named = (snapshots.parse_path(info.name) for info in vault.objects(folder))
    return [name for name in named if name is not None]


def _missing(listing: StoredAudit | None, present: Sequence[SnapshotName]) -> Iterator[Damage]:
    """What an audit lists, or what the sequence numbers after its list show, and what is not there."""
    if listing is None:
        return
    at = f"{audits.counts_from(listing):%Y-%m-%d %H:%M} UTC"
    listed = [
        name for path in listing.audit.snapshots or () if (name := snapshots.parse_path(path)) is not None
    ]
    # erase gives a manifest another digest, never another time or number
    places = {(name.frozen_at, name.sequence) for name in present}
    for name in listed:
        if name.path.startswith(f"{layout.SNAPSHOTS}/") and (name.frozen_at, name.sequence) not in places:
            yield Damage(
                kind=KIND,
                object=name.path,
                message=f"the audit of {at} lists this snapshot; now it is neither there nor forgotten",
                is_vital=True,
                snapshots=frozenset([name.id[:12]]),
            )
    for first, last in _gaps(max((name.sequence for name in listed), default=0), present):
        numbers = f"number {first}" if first == last else f"numbers {first} to {last}"
        yield Damage(
            kind=KIND,
            object=layout.SNAPSHOTS,
            message=f"{numbers} in the order of sealing, later than the audit of {at}: no such snapshot is "
            "there or forgotten",
            is_vital=True,
        )


def _gaps(highest: int, present: Iterable[SnapshotName]) -> Iterator[tuple[int, int]]:
    """The ranges of numbers above `highest` that no manifest has, below the highest that one has."""
    numbers = sorted({name.sequence for name in present if name.sequence > highest})
    for before, after in pairwise([highest, *numbers]):
        if after - before > 1:
            yield before + 1, after - 1


def _note(listing: StoredAudit, missing: Sequence[Damage]) -> Damage:
    """One note for all of them: nothing is known of their fate."""
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    message = (
        f"gone since the audit of {audits.counts_from(listing):%Y-%m-%d %H:%M} UTC{more}: "
        "forgotten and pruned meanwhile, or lost"
    )
    return Damage(kind=KIND, object=missing[0].object, message=message, is_stray=True)


def _store_now(vault: Vault, now: datetime) -> datetime:
    """The store's time; `now` where the store does not allow to write, which reading the time needs."""
    try:
        return clock.store_now(vault, is_cleared=False)
    except PachvaultError as error:
        _log.info("the store's time is unknown, this machine's time is used: %s", error)
        return now
