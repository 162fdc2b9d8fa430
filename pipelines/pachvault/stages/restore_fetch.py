"""Stage `restore_fetch`: one `REQUEST/work/NNNN.json` in; `REQUEST/receipts/NNNN.json` out, parts staged."""

from __future__ import annotations

from pachvault.errors import PachvaultError
from pachvault.pach.connection import Address, Connection
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.progress import Quiet
from pachvault.restore.staging import fetch
from pachvault.restore.verdict import verdict
from pachvault.restore.work import FetchReceipt, FetchShare
from pachvault.store.store import open_store
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    files = list(worker.inputs("restore_plan", "*/work/*.json"))
    if len(files) != 1:
        raise PachvaultError(f"a datum is one share, {len(files)} came", where="/pfs/restore_plan")
    folder = files[0].parent.parent.name
    share = FetchShare.read(files[0].read_bytes(), files[0].name)
    receipt = verdict(lambda: _fetch(worker, share))
    if isinstance(receipt, PachvaultError):
        receipt = FetchReceipt(
            request_id=share.request_id, number=share.number, staged=0, lost=[str(receipt)]
        )
    worker.write(f"{folder}/receipts/{share.number:04d}.json", receipt.encode())
    parts = f"{len(share.parts)} parts, {receipt.staged} staged now, {len(receipt.lost)} lost"
    return f"{folder}: share {share.number}: {parts}"


def _fetch(worker: Worker, share: FetchShare) -> FetchReceipt:
    if not share.parts:
        return FetchReceipt(request_id=share.request_id, number=share.number, staged=0)
    vault = open_vault(open_store(share.vault))
    # a sidecar serves files but not its version: `connect` would refuse it
    with Connection(Address.parse(worker.sidecar), worker.token) as connection:
        return fetch(Source(connection), Target(connection), vault, share, Quiet())
