"""Stage `seal`: freeze's plan and export's receipts in; `snapshot.json` and `report.md` out, a manifest."""

from __future__ import annotations

from pachvault.backup.backup_messages import Plan, Receipt
from pachvault.backup.seal.backup_result import BackupResult
from pachvault.backup.seal.seal import seal
from pachvault.errors import BusyError, DamageError, PachvaultError
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    plans = list(worker.inputs("freeze", "plan.json"))
    if len(plans) != 1:
        raise PachvaultError(
            f"expected exactly one plan.json of freeze in this datum, found {len(plans)}", where="/pfs/freeze"
        )
    result = _result(worker, Plan.read(plans[0].read_bytes(), plans[0].name))
    worker.write("snapshot.json", result.encode())
    worker.write("report.md", result.report())
    return f"{result.status}: {result.summary}"


def _result(worker: Worker, plan: Plan) -> BackupResult:
    if plan.status != "work":
        return BackupResult.of(plan, worker.job_id)
    receipts = [
        Receipt.read(path.read_bytes(), path.name) for path in worker.inputs("export", "receipts/*.json")
    ]
    try:
        snapshot = seal(open_vault(open_store(plan.target)), plan, receipts)
    except (DamageError, BusyError) as error:
        status = "damaged" if isinstance(error, DamageError) else "busy"
        return BackupResult.not_sealed(plan, worker.job_id, status, error)
    return BackupResult.sealed(plan, worker.job_id, snapshot)
