"""Status: what the vault tells of itself, and what is overdue by a policy."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from e2e.cli import pachvault
from made import Repo, back_up, flip, new_vault
from pachvault import policy
from pachvault.backup import run_records
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import AuditEntry, PendingDelete
from pachvault.maintenance.maintenance import LEVEL as MAINTENANCE
from pachvault.maintenance.repair import repair
from pachvault.maintenance.status import Status, status
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.verify import Level, examine, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import pending_deletes
from pachvault.vault.vault import Vault

POLICY = policy.validate({"version": 1, "target": "x", "sources": ["*/*"], "interval": "1h"}, "test")


def made(folder: Path) -> Vault:
    vault = new_vault(folder)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"content"})
    back_up(vault, repo)
    return vault


def now(vault: Vault, *, later: timedelta = timedelta(0)) -> Status:
    return status(vault, POLICY, datetime.now(UTC) + later)


def test_an_empty_vault_says_that_there_is_no_snapshot(tmp_path: Path) -> None:
    result = status(new_vault(tmp_path), None, datetime.now(UTC))
    assert (result.snapshots, result.latest, result.damaged) == (0, None, [])
    assert result.due == ["there is no snapshot"]


def test_what_a_policy_promises_is_due_and_what_was_done_is_not(tmp_path: Path) -> None:
    vault = made(tmp_path)
    assert [line.split()[0] for line in now(vault).due] == ["the", "1", "no"]
    verify(vault, Level.PACKS, Quiet())
    audits.record(
        vault, audits.PACKS, [AuditEntry(name=i.name, result="ok") for i in vault.store.list(layout.PACKS)]
    )
    audits.record(vault, audits.DRILL, [AuditEntry(name="drill", result="ok")])
    result = now(vault)
    assert [line.split()[0] for line in result.due] == ["the"], "frozen in the past, as made vaults are"
    assert (result.verified.packs, result.verified.packs_total) == (1, 1)
    assert result.drilled_at is not None
    late = now(vault, later=timedelta(days=40))
    assert [line.split()[0] for line in late.due] == ["the", "1", "no"]


def test_known_damage_and_runs_under_way_are_named(tmp_path: Path) -> None:
    vault = made(tmp_path)
    [pack] = list(vault.store.list(layout.PACKS))
    flip(tmp_path / "vault" / pack.name, 20)
    audits.record(
        vault, audits.DATA, [AuditEntry(name=pack.name, result="damaged", message="wrong checksum")]
    )
    run_records.announce(vault, "run-9", "default", "cluster", datetime(2026, 1, 1, tzinfo=UTC))
    result = now(vault)
    assert result.damaged == [f"{pack.name}: wrong checksum"]
    assert result.running == ["run run-9, policy default, frozen 2026-01-01 00:00 UTC"]


def note(vault: Vault, level: str, name: str, result: str, message: str = "") -> None:
    audits.record(
        vault, level, [AuditEntry.model_validate({"name": name, "result": result, "message": message})]
    )


def test_a_damaged_structure_is_shown_until_one_was_found_whole(tmp_path: Path) -> None:
    vault = made(tmp_path)
    note(vault, Level.PACKS, "structure", "ok")
    note(vault, Level.STRUCTURE, "structure", "damaged", "records/ab: gone")
    assert now(vault).damaged == ["structure: records/ab: gone"]
    note(vault, Level.DATA, "structure", "ok")
    assert now(vault).damaged == []


def test_a_damaged_snapshot_is_shown_once_and_only_while_it_is_there(tmp_path: Path) -> None:
    vault = made(tmp_path)
    [name] = [info.name for info in vault.store.list(layout.SNAPSHOTS)]
    note(vault, Level.STRUCTURE, name, "damaged", "records/ab: gone")
    assert now(vault).damaged == [f"{name}: records/ab: gone"]
    flip(tmp_path / "vault" / name, 30)
    assert len(now(vault).damaged) == 1
    vault.store.delete(name)
    assert now(vault).damaged == []


def test_a_missing_pack_is_damage_until_the_structure_was_found_whole(tmp_path: Path) -> None:
    vault = made(tmp_path)
    [pack] = list(vault.store.list(layout.PACKS))
    vault.store.delete(pack.name)
    audits.record(vault, Level.STRUCTURE, examine(vault, Level.STRUCTURE, Quiet()).audited)
    assert now(vault).damaged == [f"{pack.name}: the index names it"]
    note(vault, Level.STRUCTURE, "structure", "ok")
    assert now(vault).damaged == []


def test_a_pack_that_nobody_needs_is_not_missed(tmp_path: Path) -> None:
    vault = made(tmp_path)
    [pack] = list(vault.store.list(layout.PACKS))
    other = Repo(RepoName("p", "other"))
    other.commit({"/b": b"other"})
    back_up(vault, other)
    vault.store.delete(next(iter(vault.store.list(layout.SNAPSHOTS))).name)
    vault.store.delete(pack.name)
    done = examine(vault, Level.STRUCTURE, Quiet())
    assert [finding.kind for finding in done.findings] == ["pack-missing"]
    assert [(entry.name, entry.result) for entry in done.audited] == [("structure", "ok")]
    # one that failed and that prune deleted
    note(vault, Level.PACKS, pack.name, "damaged")
    assert now(vault).damaged == [f"{pack.name}: damaged"]
    pending_deletes.write(vault, [PendingDelete(name=pack.name, reason="deleted")])
    assert now(vault).damaged == []


def test_what_a_repair_saved_waits_to_be_deleted(tmp_path: Path) -> None:
    vault = made(tmp_path)
    [pack] = list(vault.store.list(layout.PACKS))
    flip(tmp_path / "vault" / pack.name, -1)
    audits.record(vault, Level.PACKS, examine(vault, Level.PACKS, Quiet()).audited)
    result = now(vault)
    assert (len(result.damaged), result.waiting) == (1, [])
    repair.execute(repair.plan(vault.store, Level.PACKS, Quiet()), None, Quiet())
    result = now(vault)
    assert (result.damaged, result.waiting) == ([], [pack.name])
    # what a repair could not save is damage still
    note(vault, audits.REPAIR, "p/r@1:/a", "damaged", "1 blobs are lost")
    result = now(vault)
    assert (len(result.damaged), result.waiting) == (1, [])


def test_a_drill_that_failed_is_shown_until_one_passes(tmp_path: Path) -> None:
    vault = made(tmp_path)
    note(vault, audits.DRILL, "p/r@1", "ok")
    passed_at = now(vault).drilled_at
    assert passed_at is not None
    lines = [
        AuditEntry(name="p/r@2", result="ok"),
        AuditEntry(name="p/r@3", result="damaged", message="differs"),
    ]
    audits.record(vault, audits.DRILL, lines)
    result = now(vault)
    assert result.damaged == ["restore drill: p/r@3: differs"]
    assert result.drilled_at == passed_at
    assert result.drill_failed_at is not None
    note(vault, audits.DRILL, "p/r@4", "unreadable", "no rights")
    result = now(vault)
    assert result.damaged == []
    assert any(line.endswith("UTC failed: p/r@4: no rights") for line in result.due)
    note(vault, audits.DRILL, "p/r@5", "ok")
    result = now(vault)
    assert (result.drill_failed_at, result.damaged) == (None, [])
    assert result.drilled_at is not None
    assert result.drilled_at > passed_at


def test_a_round_of_maintenance_that_failed_is_shown_until_one_of_its_policy_goes_well(
    tmp_path: Path,
) -> None:
    vault = made(tmp_path)
    note(vault, MAINTENANCE, "cluster/nightly", "ok")
    good_at = now(vault).maintained_at
    assert good_at is not None
    note(vault, MAINTENANCE, "cluster/nightly", "unreadable")
    note(vault, MAINTENANCE, "cluster/other", "ok")
    result = now(vault)
    assert result.maintained_at is not None
    assert result.maintenance_failed_at is not None
    assert good_at < result.maintenance_failed_at < result.maintained_at
    assert any(line.startswith("the maintenance of policy nightly failed at 20") for line in result.due)
    note(vault, MAINTENANCE, "cluster/nightly", "ok")
    assert now(vault).maintenance_failed_at is None


def test_the_command_shows_what_failed_and_json_is_plain(tmp_path: Path) -> None:
    vault = made(tmp_path)
    note(vault, audits.DRILL, "p/r@1", "unreadable", "no rights")
    note(vault, MAINTENANCE, "cluster/nightly", "unreadable")
    shown = pachvault("--vault", vault.store.url, "status")
    assert shown.code == 3
    for line in (
        "drill passed never",
        "drill FAILED 20",
        "maintenance never",
        "maintenance FAILED 20",
    ):
        assert f"\n{line}" in re.sub(" +", " ", shown.out)
    [status_object] = pachvault("--vault", vault.store.url, "status", "--json").kind("status")
    assert status_object["verified"]["within_seconds"] == 30 * 86400
    assert status_object["drill_failed_at"][10] == status_object["latest"]["frozen_at"][10] == "T"
    assert status_object["drilled_at"] is None
