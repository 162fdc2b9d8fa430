"""What the kept receipts of unsealed runs reference: prune keeps it while a later run may use it."""

from __future__ import annotations

from datetime import datetime

from pachvault.backup.backup_messages import Receipt
from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.vault.vault import Vault


def held(vault: Vault, now: datetime) -> dict[str, datetime]:
    """Packs, index objects and tables of receipts younger than the grace period; until when each is kept."""
    held_until: dict[str, datetime] = {}
    for info in vault.objects(layout.RUNS, layout.Kind.RECEIPT):
        # format 9.7: receipts younger than the grace period. An older one is deleted by this prune (`stale`)
        if now - info.modified_at >= vault.config.grace:
            continue
        try:
            receipt = Receipt.read(vault.get(info.name), info.name)
        except DamageError:
            continue  # deleted since the listing, or damaged: no run uses it
        referenced = [
            *(layout.pack_path(pack.digest) for pack in receipt.packs),
            *(layout.index_path(index_object.digest) for index_object in receipt.index),
            *(layout.table_path(table.digest) for table in receipt.tables),
        ]
        until = info.modified_at + vault.config.grace
        # several receipts may name one object: the youngest of them decides
        held_until |= {name: max(until, held_until.get(name, until)) for name in referenced}
    return held_until


def stale(vault: Vault, now: datetime) -> list[str]:
    """Announcements and receipts older than the grace period: no run may use them any more."""
    return [info.name for info in vault.objects(layout.RUNS) if now - info.modified_at >= vault.config.grace]
