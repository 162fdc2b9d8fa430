"""A whole backup from a shell: the three stages one after the other, shares over processes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from pachvault.backup import run_records
from pachvault.backup.backup_messages import ExportShare, Receipt
from pachvault.backup.export.export import export_share
from pachvault.backup.freeze.freeze import freeze
from pachvault.backup.seal.seal import seal
from pachvault.pach.connection import Connection, connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.pach.worker_processes import spread
from pachvault.policy import Policy
from pachvault.runtime import logs
from pachvault.runtime.progress import Progress
from pachvault.store.open_store import open_store
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault, open_vault


def new_run_id() -> str:
    """An id for a run from a shell; in a worker the job's id serves."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def back_up(address: str, token: str | None, policy: Policy, progress: Progress, workers: int) -> Snapshot:
    """Freeze, export and seal. See the stages for what they raise."""
    vault = open_vault(open_store(policy.target))
    run_id = new_run_id()
    with logs.context(run=run_id), connect(address, token) as connection:
        try:
            return _run(connection, token, vault, policy, run_id, progress, workers)
        except BaseException:
            run_records.finish(vault, run_id)  # it will not go on: a new run is another one
            raise


def _run(
    connection: Connection,
    token: str | None,
    vault: Vault,
    policy: Policy,
    run_id: str,
    progress: Progress,
    workers: int,
) -> Snapshot:
    progress.start("freeze", 0)
    source = Source(connection)
    frozen = freeze(source, Target(connection), vault, policy=policy, run_id=run_id)
    progress.say(f"frozen: {frozen.plan.summary}")
    progress.start("export", frozen.plan.expected_bytes)
    if workers <= 1 or len(frozen.shares) <= 1:
        receipts = [export_share(source, vault, share, progress) for share in frozen.shares]
    else:
        address = connection.address.url
        receipts = spread(_export, None, frozen.shares, address, token, progress, workers)
    progress.start("seal", 0)
    return seal(vault, frozen.plan, receipts)


def _export(connection: Connection, _: None, share: ExportShare, progress: Progress) -> Receipt:
    return export_share(Source(connection), open_vault(open_store(share.target)), share, progress)
