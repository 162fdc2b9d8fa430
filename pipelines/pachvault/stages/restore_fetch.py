"""Stage `restore_fetch`: one `REQUEST/work/NNNN.json` in; `REQUEST/receipts/NNNN.json` out, parts staged."""

from __future__ import annotations

from pachvault.errors import CorruptError, DamageError, PachvaultError
from pachvault.pach.connection import Address, Connection
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.request.retry_policy import verdict
from pachvault.restore.restore_messages import FetchReceipt, FetchWork
from pachvault.restore.stage.staging import fetch
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    files = list(worker.inputs("restore_plan", "*/work/*.json"))
    if len(files) != 1:
        raise PachvaultError(f"a datum is one share, {len(files)} came", where="/pfs/restore_plan")
    folder = files[0].parent.parent.name
    try:
        work = FetchWork.read(files[0].read_bytes(), files[0].name)
    except CorruptError as error:  # of another version: that must not stand in the way of other requests
        lost = FetchReceipt(request_id=folder, number=0, problem=str(error))
        worker.write(f"{folder}/receipts/{files[0].name}", lost.encode())
        return f"{folder}: {error}"
    receipt = FetchReceipt(request_id=work.request_id, number=work.number)
    given = verdict(lambda: _fetch(worker, work))
    if isinstance(given, PachvaultError):
        is_damage = isinstance(given, DamageError)
        receipt = receipt.model_copy(update={"problem": str(given), "is_damage": is_damage})
    else:
        receipt = receipt.model_copy(update={"staged": given})
    worker.write(f"{folder}/receipts/{work.number:04d}.json", receipt.encode())
    return f"{folder}: share {work.number}: {receipt.problem or f'{receipt.staged} parts staged'}"


def _fetch(worker: Worker, work: FetchWork) -> int:
    if work.share is None or work.plan is None:
        return 0
    vault = open_vault(open_store(work.share.vault))
    # a sidecar serves files but not its version: `connect` would refuse it
    with Connection(Address.parse(worker.sidecar), worker.token) as connection:
        return fetch(Source(connection), Target(connection), vault, work.plan, work.share, Quiet())
