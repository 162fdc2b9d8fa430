"""What runs that have not sealed hold: the objects that their kept receipts name, while they may be used."""

from __future__ import annotations

from datetime import datetime

from pachvault.backup.backup_messages import Receipt
from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.vault.vault import Vault


def held(vault: Vault, now: datetime) -> dict[str, datetime]:
    """Packs, index objects and tables of receipts younger than the grace, and until when they are held."""
    names: dict[str, datetime] = {}
    for info in vault.objects(layout.RUNS, layout.Kind.RECEIPT):
        if now - info.modified_at >= vault.config.grace:
            continue
        try:
            receipt = Receipt.read(vault.get(info.name), info.name)
        except DamageError:
            continue  # gone since the listing, or not one that a run would use
        of_receipt = [
            *(layout.pack_path(each.digest) for each in receipt.packs),
            *(layout.index_path(each.digest) for each in receipt.index),
            *(layout.table_path(each.digest) for each in receipt.tables),
        ]
        until = info.modified_at + vault.config.grace
        names |= {name: max(until, names.get(name, until)) for name in of_receipt}
    return names


def stale(vault: Vault, now: datetime) -> list[str]:
    """What runs left so long ago that none may use it any more."""
    return [info.name for info in vault.objects(layout.RUNS) if now - info.modified_at >= vault.config.grace]
