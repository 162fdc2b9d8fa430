"""Stage `maintenance`: a tick and the policy in; reports, `findings.json` and audits out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pachvault import cluster_project, policy
from pachvault.errors import DamageError, NoVaultError, UsageError, VaultKeyError
from pachvault.maintenance.maintenance import maintenance, refused
from pachvault.maintenance.maintenance_report import MaintenanceResult
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.policy import Policy
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    tick, chosen = worker.tick("tick"), None
    try:
        chosen = policy.parse(worker.policy_text(), "policy.yaml")
        finished = _maintenance(worker, chosen, tick)
    except (UsageError, NoVaultError, VaultKeyError, DamageError) as error:
        finished = refused(error, tick, chosen)
    finished = replace(finished, report=finished.report.model_copy(update={"job": worker.job_id}))
    worker.write("report.json", finished.report.encode())
    worker.write("report.md", finished.markdown())
    worker.write("findings.json", finished.findings_json())
    return f"{finished.report.status}: {finished.report.summary}"


def _maintenance(worker: Worker, chosen: Policy, tick: datetime | None) -> MaintenanceResult:
    vault = open_vault(open_store(chosen.target))
    with connect(worker.pachd, worker.token) as connection:
        cluster_project.check_in_force(Source(connection), vault, chosen.name)
    return maintenance(worker.pachd, worker.token, vault, chosen, Quiet(), tick=tick)
