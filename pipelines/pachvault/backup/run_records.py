"""The objects under `runs/`: announcements of runs in progress, and receipts of finished shares.

They are advice: no snapshot depends on them. Maintenance deletes those of runs that died.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pachvault.backup.backup_messages import Receipt, WrittenObject
from pachvault.errors import BusyError, DamageError, StoreError, TakenError
from pachvault.format import layout
from pachvault.format.documents import Time
from pachvault.messages import StageMessage
from pachvault.store.store import ObjectInfo
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault import clock, snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_ALIVE = timedelta(hours=24)
"""A run that has not sealed after so long no longer covers a tick."""


class Announcement(StageMessage):
    """A run that froze and has not sealed yet, or died."""

    run_id: str
    policy: str
    selection: str = ""
    cluster_id: str
    frozen_at: Time


def announce(
    vault: Vault, run_id: str, policy: str, cluster_id: str, frozen_at: datetime, selection: str = ""
) -> None:
    """Announce a run that has frozen, once. The age of the run is counted from this object."""
    name = layout.announcement_path(run_id)
    # a datum that is tried again must not make its run younger: the first attempt may have read records
    if vault.store.stat(name):
        return
    announcement = Announcement(
        run_id=run_id, policy=policy, selection=selection, cluster_id=cluster_id, frozen_at=frozen_at
    )
    data = announcement.encode()
    vault.store.put(name, [data], len(data))


def is_announced(vault: Vault, run_id: str) -> bool:
    """Whether a run has frozen and has not finished."""
    return vault.store.stat(layout.announcement_path(run_id)) is not None


def check_age(vault: Vault, run_id: str) -> datetime:
    """The store's time. Raises BusyError for a run that is too old to be sealed.

    Prune deletes what has been a pending delete for the whole grace period. A run younger than half of it
    either read that list when it began, or is sealed before an object listed since is deleted. An older run
    may rely on deleted objects.
    """
    announced = vault.store.stat(layout.announcement_path(run_id))
    now = clock.store_now(vault, is_cleared=False)
    _check_in_time(vault, run_id, announced, now)
    return now


def check_sealed(vault: Vault, run_id: str, manifest: str) -> None:
    """Delete a manifest that was written too late, and raise BusyError.

    The run was delayed after `check_age`; objects that the manifest reaches may have been deleted meanwhile.
    """
    announced, sealed = vault.store.stat(layout.announcement_path(run_id)), vault.store.stat(manifest)
    try:
        if sealed is None:
            raise _not_sealed(run_id, "its manifest is missing")
        _check_in_time(vault, run_id, announced, sealed.modified_at)
    except BusyError:
        vault.delete(manifest)
        raise


def _check_in_time(vault: Vault, run_id: str, announced: ObjectInfo | None, at: datetime) -> None:
    """Raise BusyError where a run must not be sealed at this time of the store's clock."""
    if announced is None:
        raise _not_sealed(
            run_id,
            f"its announcement is missing from {vault.store.url}, as this stage sees it",
            hint="a folder must be one shared volume in the workers of all stages (docs/operating.md); if it "
            "is, the run was cleaned up, and the next one reuses what it stored",
        )
    # format 9.6; the proof after 9.8 needs the half
    limit = vault.config.grace / 2
    age = at - announced.modified_at
    if age > limit:
        most = f"more than {rounded_in_words(limit)} ago, half the grace period of the vault"
        raise _not_sealed(run_id, f"its freeze was {most}: {rounded_in_words(age)} ago")
    if age < -limit:
        raise _not_sealed(run_id, "the store's clock was set back")


def _not_sealed(
    run_id: str, why: str, hint: str = "the next run reuses what this one has stored"
) -> BusyError:
    return BusyError(f"the run is not sealed: {why}", where=f"run {run_id}", hint=hint)


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of a policy's cron, and the values that decide whether it is covered."""

    at: datetime
    """By the cluster's clock."""
    now: datetime
    """By the store's clock."""
    interval: timedelta
    """That the policy promises."""

    def is_covered_by(self, frozen_at: datetime) -> bool:
        """Whether no other snapshot is needed where one was frozen at this time.

        It must have been frozen at the tick or later, and not in the future. With a wrong clock of the
        cluster every tick could be older than the newest snapshot: so that one must also be younger than
        half the interval.
        """
        age = self.now - frozen_at
        return frozen_at >= self.at and -clock.TOLERANCE <= age <= self.interval / 2

    def is_covered_by_run(self, frozen_at: datetime, announced_at: datetime) -> bool:
        """Whether no other run is needed where an unsealed one was frozen and announced at these times."""
        is_alive = -clock.TOLERANCE <= self.now - announced_at <= _ALIVE
        return is_alive and frozen_at >= self.at and not clock.is_future(frozen_at, self.now)


def covering(
    vault: Vault, policy: str, run_id: str, tick: Tick, cluster_id: str, selection: str = ""
) -> str | None:
    """The sealed snapshot or unfinished run that covers a tick, as text; None where there is none.

    One by a policy that selected something else covers none: the policy was changed since.
    """
    wanted = (policy, selection, cluster_id)
    for name in reversed(snapshots.names(vault)):
        if not tick.is_covered_by(name.frozen_at + timedelta(seconds=1)):
            continue  # names have whole seconds
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError:
            continue  # a snapshot that cannot be read covers nothing
        # a partial one does not cover a tick: the next run may read what it lacks
        is_of_policy = (manifest.policy, manifest.selection, manifest.cluster.id) == wanted
        if is_of_policy and tick.is_covered_by(manifest.frozen_at) and not manifest.partial:
            return f"snapshot {name.id[:12]}"
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        try:
            run = Announcement.read(vault.get(info.name), info.name)
        except DamageError:
            continue  # sealed since the listing, or of another version: it covers nothing
        is_of_policy = (run.policy, run.selection, run.cluster_id) == wanted and run.run_id != run_id
        if is_of_policy and tick.is_covered_by_run(run.frozen_at, info.modified_at):
            # read long after, so nothing that is true only now
            at = f"{run.frozen_at:%Y-%m-%d %H:%M:%S}"
            return f"run {run.run_id}, which froze at {at} UTC and was in progress at this tick,"
    return None


def finish(vault: Vault, run_id: str) -> None:
    """Delete the announcement of a run that has sealed. Where the store refuses, it stays."""
    try:
        vault.delete(layout.announcement_path(run_id))
    except StoreError as error:
        # an append-only target does. The object is advisory, and covers no tick after 24 hours.
        _log.warning("the announcement of run %s stays: %s", run_id, error)


def kept_receipt(vault: Vault, key: str) -> Receipt | None:
    """The receipt of an equal share of an earlier run, if every object that it names is still there."""
    name = layout.receipt_path(key)
    try:
        receipt = Receipt.read(vault.get(name), name)
    except DamageError:
        return None  # absent, or of another version
    groups = (
        (layout.table_path, receipt.tables),
        (layout.index_path, receipt.index),
        (layout.pack_path, receipt.packs),
    )
    is_complete = all(
        _is_there(vault, path(written.digest), written) for path, objects in groups for written in objects
    )
    return receipt if is_complete else None


def keep_receipt(vault: Vault, receipt: Receipt) -> None:
    """Keep a share's receipt for later runs; an outdated one is replaced."""
    # put does not overwrite. Between the two calls there is no receipt, which costs an equal share time.
    drop_receipt(vault, receipt.key)
    data = receipt.encode()
    with suppress(TakenError):  # another worker wrote it first
        vault.store.put(layout.receipt_path(receipt.key), [data], len(data))


def drop_receipt(vault: Vault, key: str) -> None:
    """Delete a receipt that is outdated or wrong. One without a key was never kept."""
    if not key:
        return
    try:
        vault.delete(layout.receipt_path(key))
    except StoreError as error:  # whoever reads it checks the objects that it names
        _log.warning("an outdated receipt stays: %s", error)


def _is_there(vault: Vault, name: str, written: WrittenObject) -> bool:
    info = vault.store.stat(name)
    return info is not None and info.size == written.size and name not in vault.pending_deletes
