"""What runs leave in the vault for each other: announcements, and receipts of finished shares.

All of it is advice: a snapshot never depends on it. What died runs left stays until maintenance collects it.
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
from pachvault.vault import clock, snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_ALIVE = timedelta(hours=24)
"""A run that has not sealed after so long covers no tick any more."""


class Announcement(StageMessage):
    """A run that froze and has not sealed yet, or died."""

    run_id: str
    policy: str
    cluster_id: str
    frozen_at: Time


def announce(vault: Vault, run_id: str, policy: str, cluster_id: str, frozen_at: datetime) -> None:
    """Say that a run has frozen; written once a run. The run's age is counted from here."""
    name = layout.announcement_path(run_id)
    if vault.store.stat(name):
        return
    said = Announcement(run_id=run_id, policy=policy, cluster_id=cluster_id, frozen_at=frozen_at).encode()
    vault.store.put(name, [said], len(said))


def is_announced(vault: Vault, run_id: str) -> bool:
    """Whether a run has frozen and has not finished."""
    return vault.store.stat(layout.announcement_path(run_id)) is not None


def check_age(vault: Vault, run_id: str) -> datetime:
    """The store's time. Raises BusyError for a run that may not be sealed any more.

    Prune need not have waited for it then.
    What prune deletes has been marked for the whole grace. A run of less than half of it had the marks
    before its eyes when it began, or is sealed well before anything is deleted that was marked since.
    """
    announced = vault.store.stat(layout.announcement_path(run_id))
    now = clock.store_now(vault, is_cleared=False)
    if announced is None or not _is_in_time(now - announced.modified_at, vault):
        raise BusyError(
            f"the run froze more than {vault.config.grace / 2} ago, or its announcement has gone, "
            "or the store's clock was set back: not sealed",
            where=f"run {run_id}",
            hint="the next run takes up what this one has stored",
        )
    return now


def check_sealed(vault: Vault, run_id: str, manifest: str) -> None:
    """Takes back a manifest that was written too late, with BusyError: its run was held up since `check_age`.

    What it reaches may have been deleted meanwhile.
    """
    announced, sealed = vault.store.stat(layout.announcement_path(run_id)), vault.store.stat(manifest)
    if not (announced and sealed and _is_in_time(sealed.modified_at - announced.modified_at, vault)):
        vault.delete(manifest)
        raise BusyError(
            "the run was held up just before it was sealed, and for too long: not sealed",
            where=f"run {run_id}",
            hint="the next run takes up what this one has stored",
        )


def _is_in_time(age: timedelta, vault: Vault) -> bool:
    """Whether a run of this age may be sealed; not one from so far in the future."""
    return abs(age) <= vault.config.grace / 2


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of a policy's cron, and what is needed to say whether it is covered."""

    at: datetime
    """By the cluster's clock."""
    now: datetime
    """By the store's clock."""
    interval: timedelta
    """That the policy promises."""

    def is_covered_by(self, frozen_at: datetime) -> bool:
        """Whether a snapshot that was frozen then makes another one needless.

        It must be of the tick or later, and not of the future. A wrong clock of the cluster could make
        every tick seem older than the newest snapshot: so it must be younger than half the interval, too.
        """
        age = self.now - frozen_at
        return frozen_at >= self.at and -clock.TOLERANCE <= age <= self.interval / 2

    def is_covered_by_run(self, frozen_at: datetime, announced_at: datetime) -> bool:
        """Whether a run that announced itself then, and has not sealed yet, makes another one needless."""
        is_alive = -clock.TOLERANCE <= self.now - announced_at <= _ALIVE
        return is_alive and frozen_at >= self.at and not clock.is_future(frozen_at, self.now)


def covering(vault: Vault, policy: str, run_id: str, tick: Tick, cluster_id: str) -> str | None:
    """The sealed snapshot or unfinished run that covers a tick, in words; None for none."""
    for name in reversed(snapshots.names(vault)):
        if not tick.is_covered_by(name.frozen_at + timedelta(seconds=1)):
            continue  # names tell seconds
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError:
            continue  # a snapshot that cannot be read covers nothing
        mine = (manifest.policy, manifest.cluster.id) == (policy, cluster_id)
        if mine and tick.is_covered_by(manifest.frozen_at) and not manifest.partial:
            return f"snapshot {name.id[:12]}"
    for info in vault.objects(layout.RUNS, layout.Kind.ANNOUNCEMENT):
        try:
            run = Announcement.read(vault.get(info.name), info.name)
        except DamageError:
            continue  # sealed since the listing, or of another version: it covers nothing
        mine = (run.policy, run.cluster_id) == (policy, cluster_id) and run.run_id != run_id
        if mine and tick.is_covered_by_run(run.frozen_at, info.modified_at):
            return f"run {run.run_id}, frozen at {run.frozen_at:%H:%M:%S}, not sealed yet,"
    return None


def finish(vault: Vault, run_id: str) -> None:
    """Take back a run's announcement once it has sealed; a store that does not delete it keeps it."""
    try:
        vault.delete(layout.announcement_path(run_id))
    except StoreError as error:
        _log.warning("the announcement of run %s stays: %s", run_id, error)


def kept_receipt(vault: Vault, key: str) -> Receipt | None:
    """The receipt of an equal share of an earlier run, if all that it names is still there."""
    name = layout.receipt_path(key)
    try:
        receipt = Receipt.read(vault.get(name), name)
    except DamageError:
        return None  # there is none, or one of another version
    groups = (
        (layout.table_path, receipt.tables),
        (layout.index_path, receipt.index),
        (layout.pack_path, receipt.packs),
    )
    whole = all(_is_there(vault, path(each.digest), each) for path, objects in groups for each in objects)
    return receipt if whole else None


def keep_receipt(vault: Vault, receipt: Receipt) -> None:
    """Keep a share's receipt for runs to come, where the store lets us replace an outdated one."""
    drop_receipt(vault, receipt.key)
    data = receipt.encode()
    with suppress(TakenError):  # another worker was quicker
        vault.store.put(layout.receipt_path(receipt.key), [data], len(data))


def drop_receipt(vault: Vault, key: str) -> None:
    """Forget a receipt that is outdated or turned out wrong; one without a key was not kept."""
    if not key:
        return
    try:
        vault.delete(layout.receipt_path(key))
    except StoreError as error:  # the next reader checks what it names
        _log.warning("an outdated receipt stays: %s", error)


def _is_there(vault: Vault, name: str, said: WrittenObject) -> bool:
    found = vault.store.stat(name)
    return found is not None and found.size == said.size and name not in vault.avoid
