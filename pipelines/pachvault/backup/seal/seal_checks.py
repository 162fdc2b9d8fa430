"""The checks before a manifest is written: all that it reaches is durable and intact (format.md, 11.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pachvault.backup.backup_messages import Plan, Receipt
from pachvault.errors import AbsentError, BusyError, CorruptError, PachvaultError
from pachvault.format import layout
from pachvault.store.store import object_url
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault


def check_receipts(plan: Plan, receipts: Sequence[Receipt]) -> None:
    """There is one receipt of each share of the run.

    Raises BusyError where they are of another run, PachvaultError where some are missing.
    """
    others = sorted({receipt.run_id for receipt in receipts} - {plan.run_id})
    if others:
        # Pachyderm pairs a new commit of freeze with the last one of a pipeline that is stopped
        raise BusyError(
            f"pipeline export is stopped: its newest receipts are of run {others[-1]}",
            where=f"run {plan.run_id}",
            hint="`pachctl start pipeline export --project pachvault` has the newest run exported and sealed",
        )
    if sorted(receipt.number for receipt in receipts) != list(range(plan.shares)):
        raise PachvaultError(f"{len(receipts)} receipts came for {plan.shares} shares", where=plan.run_id)


def check_tables(vault: Vault, tables: Iterable[bytes]) -> None:
    """Every file table that the records reach is there, inherited ones too. Raises AbsentError.

    The bytes of inherited ones were checked when the run began, see `base_lookup`.
    """
    listed = {info.name for info in vault.objects(layout.TABLES)}
    lost = [path for name in tables if (path := layout.table_path(name)) not in listed]
    if lost:
        raise AbsentError(
            f"{len(lost)} file tables have gone since the freeze: the run is not sealed",
            where=object_url(vault.store.url, min(lost)),
            hint="the next run exports their commits again",
        )


def check_objects(vault: Vault, receipts: Sequence[Receipt]) -> None:
    """The objects that the receipts name are intact and no pending deletes, and every blob has a pack.

    Packs are checked by their sizes, index objects and tables by their digests. Raises CorruptError, or
    BusyError for a pending delete.
    """
    groups = (
        (layout.pack_path, (pack.digest for receipt in receipts for pack in receipt.packs)),
        (layout.index_path, (part.digest for receipt in receipts for part in receipt.index)),
        (layout.table_path, (part.digest for receipt in receipts for part in receipt.tables)),
    )
    pending = vault.pending_deletes & {path(name) for path, names in groups for name in names}
    if pending:
        raise BusyError(
            "the object became a pending delete after the run began: the run is not sealed",
            where=object_url(vault.store.url, min(pending)),
            hint="the next run stores again what it needs",
        )
    # sizes alone: to read back every pack would double the traffic of a run. verify reads them later.
    sizes = {pack.digest: pack.size for receipt in receipts for pack in receipt.packs}
    for name, size in sizes.items():
        _check_size(vault, name, size)
    for name in {part.digest for receipt in receipts for part in receipt.index}:
        vault.read(layout.index_path(name))
    names = {part.digest for receipt in receipts for part in receipt.tables}
    if not names:
        return
    index = blob_index.load_digests(vault)  # without packs that are missing, short or pending deletes
    for name in names:
        wanted = vault.blobs_of_table(name)
        if index.has_all(wanted):
            continue
        # with all packs: a blob that is there in a marked one is no damage, and the next run stores it again
        if blob_index.load_digests(replace(vault, pending_deletes=frozenset())).has_all(wanted):
            raise BusyError(
                "a pack that the run needs became a pending delete since the run began: it is not sealed",
                where=layout.table_path(name),
                hint="the next run stores again what it needs",
            )
        raise CorruptError(
            "a blob of the table is in no pack that is there: the run is not sealed",
            where=layout.table_path(name),
        )


def _check_size(vault: Vault, name: bytes, size: int) -> None:
    path = layout.pack_path(name)
    info = vault.store.stat(path)
    if info is None or info.size != size:
        state = "missing" if info is None else f"{info.size} bytes long where {size} were written"
        raise CorruptError(
            f"the pack is {state}: the run is not sealed", where=object_url(vault.store.url, path)
        )
