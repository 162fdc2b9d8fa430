"""Stage `upkeep`: a tick and the policy in; `report.json` and `findings.json` out, audits in the vault."""

from __future__ import annotations

from pachvault import home, policy
from pachvault.errors import DamageError, NoVaultError, UsageError, VaultKeyError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.progress import Quiet
from pachvault.store.store import open_store
from pachvault.upkeep.report import Round
from pachvault.upkeep.run import refused, upkeep
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    try:
        done = _upkeep(worker)
    except (UsageError, NoVaultError, VaultKeyError, DamageError) as error:
        done = refused(str(error), worker.tick("tick"))
    worker.write("report.json", done.report.encode())
    worker.write("findings.json", done.findings_json())
    return f"{done.report.status}: {done.report.summary}"


def _upkeep(worker: Worker) -> Round:
    chosen = policy.parse(worker.policy_text(), "policy.yaml")
    vault = open_vault(open_store(chosen.target))
    with connect(worker.pachd, worker.token) as connection:
        home.check_in_force(Source(connection), vault, chosen.name)
    tick = worker.tick("tick")
    return upkeep(worker.pachd, worker.token, vault, chosen, Quiet(), tick=tick)
