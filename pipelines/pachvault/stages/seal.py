"""Stage `seal`: freeze's plan and export's receipts in; `snapshot.json` out, a manifest in the vault."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pachvault.backup.backup_messages import Plan, Receipt
from pachvault.backup.seal.seal import seal
from pachvault.errors import BusyError, DamageError, PachvaultError
from pachvault.format.manifest import Problem
from pachvault.store.open_store import open_store
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import open_vault
from pachvault.worker import Worker

_LISTED = 10


def run(worker: Worker) -> str:
    """Carry out the stage; what it did, in a line."""
    plans = list(worker.inputs("freeze", "plan.json"))
    if len(plans) != 1:
        raise PachvaultError(
            f"expected exactly one plan.json of freeze in this datum, found {len(plans)}", where="/pfs/freeze"
        )
    plan = Plan.read(plans[0].read_bytes(), plans[0].name)
    result: dict[str, object] = {"run": plan.run_id, "status": plan.status, "summary": plan.summary}
    if plan.status == "work":
        receipts = [
            Receipt.read(path.read_bytes(), path.name) for path in worker.inputs("export", "receipts/*.json")
        ]
        try:
            result |= summary(seal(open_vault(open_store(plan.target)), plan, receipts))
        except (DamageError, BusyError) as error:
            status = "damaged" if isinstance(error, DamageError) else "busy"
            result |= {"status": status, "summary": f"not sealed: {error}"}
    worker.write("snapshot.json", (json.dumps(result, indent=1) + "\n").encode())
    return f"{result['status']}: {result['summary']}"


def _listed(problems: Sequence[Problem]) -> str:
    """The first problems and notes, for the log; snapshot.json has all of them."""
    lines = [f"; {problem.kind}: {problem.where}: {problem.message}" for problem in problems[:_LISTED]]
    more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    return "".join(lines) + more


def summary(snapshot: Snapshot) -> dict[str, object]:
    """A sealed snapshot in plain terms."""
    manifest = snapshot.manifest
    totals = manifest.totals
    return {
        "status": "partial" if manifest.partial else "sealed",
        "summary": (
            f"snapshot {snapshot.short_id}: {len(manifest.repos)} repos, {totals.commits_new} new commits, "
            f"{totals.bytes_read:,} bytes read, {totals.bytes_stored:,} bytes stored"
        )
        + _listed(manifest.problems),
        "snapshot": snapshot.name.id,
        "frozen_at": manifest.frozen_at.isoformat(),
        "problems": [problem.model_dump(exclude_none=True) for problem in manifest.problems],
        "totals": totals.model_dump(),
    }
