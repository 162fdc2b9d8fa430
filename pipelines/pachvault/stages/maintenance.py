"""Stage `maintenance`: a tick and the policy in; `report.json`, `findings.json` and audits out."""

from __future__ import annotations

from pachvault import cluster_project, policy
from pachvault.errors import DamageError, NoVaultError, UsageError, VaultKeyError
from pachvault.maintenance.maintenance import maintenance, refused
from pachvault.maintenance.maintenance_report import MaintenanceResult
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    try:
        finished = _maintenance(worker)
    except (UsageError, NoVaultError, VaultKeyError, DamageError) as error:
        finished = refused(str(error), worker.tick("tick"))
    worker.write("report.json", finished.report.encode())
    worker.write("findings.json", finished.findings_json())
    return f"{finished.report.status}: {finished.report.summary}"


def _maintenance(worker: Worker) -> MaintenanceResult:
    chosen = policy.parse(worker.policy_text(), "policy.yaml")
    vault = open_vault(open_store(chosen.target))
    with connect(worker.pachd, worker.token) as connection:
        cluster_project.check_in_force(Source(connection), vault, chosen.name)
    tick = worker.tick("tick")
    return maintenance(worker.pachd, worker.token, vault, chosen, Quiet(), tick=tick)
