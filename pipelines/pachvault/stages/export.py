"""Stage `export`: one `work/NNNN.json` in; `receipts/NNNN.json` and `.md` out, objects in the vault."""

from __future__ import annotations

import logging

from pachvault.backup.backup_messages import ExportShare, Receipt
from pachvault.backup.export.export import export_share
from pachvault.backup.export.share_report import share_report
from pachvault.errors import PachvaultError
from pachvault.pach.access.address import Address
from pachvault.pach.connection import Connection
from pachvault.pach.source import Source
from pachvault.runtime import logs
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.syntax.quantities import counted
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker

_log = logging.getLogger(__name__)


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    files = list(worker.inputs("freeze", "work/*.json"))
    if len(files) != 1:
        raise PachvaultError(
            f"expected exactly one share in this datum, found {len(files)}", where="/pfs/freeze/work"
        )
    share = ExportShare.read(files[0].read_bytes(), files[0].name)
    receipt = _export(worker, share)
    worker.write(f"receipts/{share.number:04d}.json", receipt.encode())
    worker.write(f"receipts/{share.number:04d}.md", share_report(receipt, share.target))
    failed = [item for item in receipt.items if item.problem is not None]
    for item in failed:
        with logs.context(source=f"{item.project}/{item.repo}"):
            _log.info("commit %s is not exported: %s: %s", item.commit, item.problem_kind, item.problem)
    items = f"{counted(len(receipt.items), 'item')}, {len(failed)} failed"
    return f"share {share.number}: {items}, {receipt.bytes_read:,} bytes read"


def _export(worker: Worker, share: ExportShare) -> Receipt:
    if not share.items:
        return Receipt(run_id=share.run_id, number=share.number, key="", items=[])
    vault = open_vault(open_store(share.target))
    # a sidecar serves files but not its version: `connect` would refuse it
    with Connection(Address.parse(worker.sidecar), worker.token) as connection:
        return export_share(Source(connection), vault, share, Quiet())
