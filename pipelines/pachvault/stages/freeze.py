"""Stage `freeze`: a tick and the policy in; `plan.json`, `report.md` and `work/NNNN.json` out."""

from __future__ import annotations

from datetime import datetime

from pachvault import cluster_project, policy
from pachvault.backup.freeze.freeze import Frozen, freeze, refused
from pachvault.backup.freeze.freeze_report import freeze_report
from pachvault.errors import DamageError, NoVaultError, UsageError, VaultKeyError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import Policy
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    tick, chosen = worker.tick("tick"), None
    try:
        chosen = policy.parse(worker.policy_text(), "policy.yaml")
        frozen = _freeze(worker, chosen, tick)
    except (UsageError, NoVaultError, VaultKeyError, DamageError) as error:
        frozen = refused(worker.job_id, error, tick, chosen)
    worker.write("plan.json", frozen.plan.encode())
    worker.write("report.md", freeze_report(frozen.plan))
    for share in frozen.shares:
        worker.write(f"work/{share.number:04d}.json", share.encode())
    return f"{frozen.plan.status}: {frozen.plan.summary}"


def _freeze(worker: Worker, chosen: Policy, tick: datetime | None) -> Frozen:
    vault = open_vault(open_store(chosen.target))
    with connect(worker.pachd, worker.token) as connection:
        source, target = Source(connection), Target(connection)
        cluster_project.check_in_force(source, vault, chosen.name)
        return freeze(source, target, vault, policy=chosen, run_id=worker.job_id, tick=tick)
