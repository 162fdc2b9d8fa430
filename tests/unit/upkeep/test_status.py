"""Status: what the vault tells of itself, and what is overdue by a policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from made import Repo, back_up, flip, new_vault
from pachvault import policy
from pachvault.backup import runs
from pachvault.format import layout
from pachvault.format.documents import Audited
from pachvault.format.ids import RepoName
from pachvault.progress import Quiet
from pachvault.upkeep import audits
from pachvault.upkeep.status import Status, status
from pachvault.upkeep.verify import Level, verify
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
    found = status(new_vault(tmp_path), None, datetime.now(UTC))
    assert (found.snapshots, found.latest, found.damaged) == (0, None, [])
    assert found.due == ["there is no snapshot"]


def test_what_a_policy_promises_is_due_and_what_was_done_is_not(tmp_path: Path) -> None:
    vault = made(tmp_path)
    assert [line.split()[0] for line in now(vault).due] == ["a", "1", "no"]
    verify(vault, Level.PACKS, Quiet())
    audits.record(
        vault, audits.PACKS, [Audited(name=i.name, result="ok") for i in vault.store.list(layout.PACKS)]
    )
    audits.record(vault, audits.DRILL, [Audited(name="drill", result="ok")])
    found = now(vault)
    assert [line.split()[0] for line in found.due] == ["a"], "frozen in the past, as made vaults are"
    assert (found.verified.packs, found.verified.packs_total) == (1, 1)
    assert found.drilled_at is not None
    late = now(vault, later=timedelta(days=40))
    assert [line.split()[0] for line in late.due] == ["a", "1", "no"]


def test_known_damage_and_runs_under_way_are_named(tmp_path: Path) -> None:
    vault = made(tmp_path)
    [pack] = list(vault.store.list(layout.PACKS))
    flip(tmp_path / "vault" / pack.name, 20)
    audits.record(vault, audits.DATA, [Audited(name=pack.name, result="damaged", message="wrong checksum")])
    runs.announce(vault, "run-9", "default", "cluster", datetime(2026, 1, 1, tzinfo=UTC))
    found = now(vault)
    assert found.damaged == [f"{pack.name}: wrong checksum"]
    assert found.running == ["run run-9, policy default, frozen 2026-01-01 00:00 UTC"]
