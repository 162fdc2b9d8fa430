"""Stage `restore_fetch`: one `REQUEST/work/NNNN.json` in; `receipts/NNNN.json`, `.md` out, parts staged."""

from __future__ import annotations

from pachvault.errors import CorruptError, DamageError, PachvaultError
from pachvault.pach.access.address import Address
from pachvault.pach.connection import Connection
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.request.request_reports import receipt_report
from pachvault.restore.request.retry_policy import value_or_error
from pachvault.restore.restore_messages import FetchReceipt, FetchShare
from pachvault.restore.stage.staging import fetch
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.syntax.quantities import counted
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    files = list(worker.inputs("restore_plan", "*/work/*.json"))
    if len(files) != 1:
        raise PachvaultError(
            f"expected exactly one share in this datum, found {len(files)}", where="/pfs/restore_plan"
        )
    folder = files[0].parent.parent.name
    try:
        share = FetchShare.read(files[0].read_bytes(), files[0].name)
    except CorruptError as error:  # of another version: that must not stand in the way of other requests
        lost = FetchReceipt(request_id=folder, number=0, problem=str(error))
        worker.write(f"{folder}/receipts/{files[0].name}", lost.encode())
        return f"{folder}: {error}"
    receipt = FetchReceipt(request_id=share.request_id, number=share.number)
    staged = value_or_error(lambda: _fetch(worker, share))
    if isinstance(staged, PachvaultError):
        is_damage = isinstance(staged, DamageError)
        receipt = receipt.model_copy(update={"problem": str(staged), "is_damage": is_damage})
    else:
        receipt = receipt.model_copy(update={"staged": staged})
    place = f"{folder}/receipts/{share.number:04d}"
    worker.write(f"{place}.json", receipt.encode())
    worker.write(f"{place}.md", receipt_report(folder, receipt, has_part=share.part is not None))
    parts = f"{counted(int(receipt.staged), 'part')} staged"
    return f"{folder}: share {share.number}: {receipt.problem or parts}"


def _fetch(worker: Worker, share: FetchShare) -> bool:
    if share.part is None:
        return False
    vault = open_vault(open_store(share.vault))
    # a sidecar serves files but not its version: `connect` would refuse it
    with Connection(Address.parse(worker.sidecar), worker.token) as connection:
        return fetch(Source(connection), Target(connection), vault, share, Quiet())
