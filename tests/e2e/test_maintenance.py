"""Pipeline maintenance and `pachvault maintenance`: what a tick does, and what it does not do twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault
from e2e.cluster import Cluster
from e2e.deployed import Home
from made import age_all, flip
from pachvault import policy as policies
from pachvault.errors import DeniedError
from pachvault.format import layout
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance import maintenance_steps, pins
from pachvault.maintenance.maintenance import exit_code, maintenance
from pachvault.maintenance.verify import audits
from pachvault.policy import HOME_PROJECT
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("maintenance")]

LAST = "retention: {keep_last: 1}\n"
NO_DRILL = "maintenance: {drill_within: off}\n"
STEPS = ["clocks", "verify", "drill", "forget", "prune", "mirror", "restores", "token"]
DONE = {**dict.fromkeys(STEPS, "done"), "drill": "skipped"}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a job left."""

    report: dict[str, Any]
    findings: list[dict[str, Any]]

    @property
    def steps(self) -> dict[str, str]:
        """The status of each."""
        return {step["name"]: step["status"] for step in self.report["steps"]}

    def summary(self, name: str) -> str:
        return str(next(step["summary"] for step in self.report["steps"] if step["name"] == name))


class Deployed(Home):
    """With pipelines maintenance and maintenance_verdict, made from the specs that users deploy."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, "maintenance", "maintenance_verdict")

    def ended(self, job: str) -> Ran:
        done = self.pipelines.wait(HOME_PROJECT, "maintenance", job)
        assert done.is_success, done.reason
        files = self.home.tree("maintenance", job)
        assert set(files) == {"/report.json", "/report.md", "/findings.json"}
        ran = Ran(json.loads(files["/report.json"]), json.loads(files["/findings.json"]))
        verdict = self.pipelines.wait(HOME_PROJECT, "maintenance_verdict", job)
        assert verdict.is_success == (ran.report["exit_code"] == 0), files["/report.md"].decode()
        return ran


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    cluster = Cluster(tmp_path_factory.mktemp("maintenance"))
    deployment = Deployed(cluster)
    # without a policy there is nothing to do
    deployment.pipelines.wait(HOME_PROJECT, "maintenance", deployment.tick())
    yield deployment
    cluster.close()


@pytest.fixture
def backup(deployed: Deployed, tmp_path: Path) -> Backup:
    """A project of the test's own, backed up three times."""
    project = deployed.cluster.project()
    project.repo("data")
    new_backup = Backup.of(project, tmp_path / "vault")
    for number in range(3):
        project.commit("data", {f"/{number}": b"%d" % number * 1000})
        new_backup.run_policy(name=project.name)
    return new_backup


def policy(backup: Backup, more: str = LAST + NO_DRILL) -> str:
    """The policy that the backups were made by."""
    name = backup.project.name
    return f"version: 1\nname: {name}\ntarget: {backup.vault.url}\nsources: ['{name}/*']\n{more}"


def test_a_tick_verifies_forgets_and_prunes(deployed: Deployed, backup: Backup) -> None:
    ran = deployed.ended(deployed.policy(policy(backup)))
    assert (ran.report["status"], ran.findings) == ("done", [])
    assert ran.steps == DONE
    assert ran.summary("verify").startswith("3 snapshots, 3 of 3 packs")
    assert ran.summary("forget") == "forgot 2 of 3 snapshots"
    assert len(backup.vault.snapshots()) == 1
    assert set(ran.report["audits"]) == set(backup.vault.files("audits"))
    assert len(ran.report["audits"]) == 2
    assert ran.report["policy"] == backup.project.name
    backup.assert_restorable()
    # the next day: packs were just read, the forgotten ones can still be brought back
    again = deployed.ended(deployed.tick())
    assert again.summary("forget") == "forgot 0 of 1 snapshots"
    assert ", 0 of 3 packs" in again.summary("verify")
    assert len(backup.vault.files("forgotten")) == 2


def test_what_is_forgotten_is_reclaimed_in_time_and_what_is_kept_stays(
    deployed: Deployed, backup: Backup
) -> None:
    backup.project.delete_repo("data")
    backup.project.repo("data")
    backup.project.commit("data", {"/new": b"new" * 1000})
    backup.run_policy(name=backup.project.name)
    deployed.ended(deployed.policy(policy(backup)))
    assert len(backup.vault.files("packs")) == 4
    vault = backup.vault.vault
    age_all(vault, vault.config.grace + timedelta(hours=1))
    assert "marked" in deployed.ended(deployed.tick()).summary("prune")
    age_all(vault, vault.config.grace + timedelta(hours=1))
    done = deployed.ended(deployed.tick())
    assert done.report["status"] == "done"
    assert len(backup.vault.files("packs")) == 1
    assert backup.vault.files("forgotten") == {}
    assert backup.command("--quiet", "verify", "--level", "data").code == 0
    content = pachvault(
        "--vault", backup.vault.url, "cat", "latest", f"{backup.project.name}/data@master:/new"
    )
    assert content.raw == b"new" * 1000


def test_a_bad_policy_is_refused_in_a_record_and_a_good_one_goes_on(
    deployed: Deployed, backup: Backup
) -> None:
    bad = deployed.ended(deployed.policy(policy(backup, "retention: {keep_dayly: 3}\n")))
    assert bad.report["status"] == "refused"
    assert "policy.yaml:5: unknown field 'retention.0.keep_dayly'" in bad.report["summary"]
    assert len(backup.vault.snapshots()) == 3
    missing = deployed.ended(deployed.policy(policy(backup).replace("/vault\n", "/none\n")))
    assert (missing.report["status"], missing.findings) == ("refused", [])
    assert "no such place" in missing.report["summary"]
    assert deployed.ended(deployed.policy(policy(backup))).report["status"] == "done"


def test_the_same_tick_does_nothing_twice(deployed: Deployed, backup: Backup) -> None:
    deployed.ended(deployed.policy(policy(backup)))
    before = backup.vault.files()
    again = deployed.ended(deployed.policy(policy(backup) + "# the same\n"))
    assert (again.report["status"], again.report["steps"]) == ("covered", [])
    assert backup.vault.files() == before


@pytest.mark.slow
def test_ticks_that_follow_closely_do_no_harm(deployed: Deployed, backup: Backup) -> None:
    jobs = [deployed.policy(policy(backup)), *(deployed.tick_now() for _ in range(3))]
    ran = [deployed.ended(job) for job in jobs]
    assert {outcome.report["status"] for outcome in ran} <= {"done", "covered"}
    assert len(backup.vault.snapshots()) == 1
    assert len(backup.vault.files("forgotten")) == 2
    backup.assert_restorable()


def test_nothing_is_forgotten_of_a_damaged_vault(deployed: Deployed, backup: Backup) -> None:
    pack = min(backup.vault.files("packs"))
    flip(backup.vault.folder / pack, 20)
    ran = deployed.ended(deployed.policy(policy(backup)))
    assert ran.report["status"] == "damaged"
    assert [finding["object"] for finding in ran.findings] == [pack]
    assert ran.findings[0]["advice"]
    assert (ran.steps["verify"], ran.steps["forget"]) == ("done", "skipped")
    assert len(backup.vault.snapshots()) == 3
    # the verdict on the same tick is no better because there is nothing to do; `ended` compares the two
    again = deployed.ended(deployed.policy(policy(backup) + "# the same\n"))
    assert (again.report["status"], again.report["exit_code"]) == ("covered", 13)
    assert pack in again.report["summary"]
    # what failed is read again at the next tick
    again = deployed.ended(deployed.tick())
    assert ", 1 of 3 packs" in again.summary("verify")
    assert again.report["status"] == "damaged"


def test_a_step_that_fails_is_recorded_hides_no_other_and_is_tried_again(
    deployed: Deployed, backup: Backup
) -> None:
    refusal = {"method": "ListRepo", "times": 1000, "code": "PERMISSION_DENIED", "message": "not for you"}
    with deployed.cluster.faults(refusal):
        ran = deployed.ended(deployed.policy(policy(backup)))
    assert ran.report["status"] == "failed"
    assert ran.steps == {**DONE, "mirror": "failed", "restores": "failed"}
    assert "not for you" in ran.summary("restores")
    again = deployed.ended(deployed.policy(policy(backup) + "# the same\n"))
    assert again.report["status"] == "done"


def test_without_retention_nothing_is_forgotten_and_pins_hold(deployed: Deployed, backup: Backup) -> None:
    ran = deployed.ended(deployed.policy(policy(backup, "maintenance: {prune: off, drill_within: off}\n")))
    assert ran.steps == {**DONE, "forget": "skipped", "prune": "skipped"}
    assert len(backup.vault.snapshots()) == 3
    oldest = backup.vault.snapshots()[0]
    pins.pin(backup.vault.vault, oldest)
    deployed.ended(deployed.policy(policy(backup)))
    deployed.ended(deployed.tick())
    assert oldest in backup.vault.snapshots()
    assert len(backup.vault.snapshots()) == 2


def test_the_shell_does_the_same_and_a_dry_run_nothing(
    deployed: Deployed, backup: Backup, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy(backup, LAST))
    command = ["--pachd", deployed.cluster.address, "--quiet", "maintenance", "--policy", str(file)]
    before = backup.vault.files()
    dry = pachvault(*command, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    steps = {step["name"]: (step["status"], step["summary"]) for step in dry.kind("step")}
    assert {name: status for name, (status, _) in steps.items()} == dict.fromkeys(STEPS, "planned")
    assert steps["forget"][1] == "would forget 2 of 3 snapshots"
    assert dry.only("maintenance_summary")["is_dry_run"]
    assert backup.vault.files() == before
    done = pachvault(*command)
    assert done.code == 0, done.err
    assert [line.split()[:2] for line in done.out.splitlines()[1:9]] == [[step, "done"] for step in STEPS]
    assert len(backup.vault.snapshots()) == 1
    flip(backup.vault.folder / backup.vault.snapshot().name.path, 30)
    damaged = pachvault(*command)
    assert damaged.code == 13
    assert "manifest-damaged" in damaged.out
    file.write_text(policy(backup, "maintenance: {prune: never}\n"))
    assert "maintenance.prune': allowed are on and off" in pachvault(*command).says(2)


def test_a_target_that_forbids_deletion_is_verified_and_says_so(deployed: Deployed, backup: Backup) -> None:
    class AppendOnly(FolderStore):
        def delete(self, name: str) -> None:
            raise DeniedError("no right to delete", where=name)

    vault = replace(backup.vault.vault, store=AppendOnly(backup.vault.folder))
    chosen = policies.parse(policy(backup), "policy.yaml")
    done = maintenance(deployed.cluster.address, None, vault, chosen, Quiet(), tick=datetime.now(UTC)).report
    assert [(step.name, step.status) for step in done.steps] == [
        ("clocks", "done"),
        ("verify", "done"),
        ("drill", "skipped"),
        ("forget", "failed"),
        ("prune", "failed"),
        ("mirror", "done"),
        ("restores", "done"),
        ("token", "done"),
    ]
    assert all("does not allow deletion" in step.summary for step in done.steps[3:5])
    assert (done.status, exit_code(done)) == ("failed", 3)
    assert len(backup.vault.snapshots()) == 3
    assert backup.vault.files(layout.FORGOTTEN) == {}


def test_a_drill_is_done_when_it_is_due(deployed: Deployed, backup: Backup) -> None:
    first = deployed.ended(deployed.policy(policy(backup, "")))
    assert first.steps["drill"] == "done"
    assert "all restored correctly" in first.summary("drill")
    assert len(first.report["audits"]) == 3
    again = deployed.ended(deployed.tick())
    assert again.steps["drill"] == "skipped"
    assert "within 30 days" in again.summary("drill")


def test_the_backup_repo_is_trimmed_to_what_the_policy_keeps(deployed: Deployed, backup: Backup) -> None:
    kept = deployed.ended(deployed.policy(policy(backup)))
    assert kept.summary("mirror").startswith("deleted 0 commits of the backup repo, kept ")
    short = NO_DRILL.replace("off}", "off, mirror_keep: 1s}")
    trimmed = deployed.ended(deployed.policy(policy(backup, short)))
    assert trimmed.report["status"] == "covered"
    trimmed = deployed.ended(deployed.tick())
    assert not trimmed.summary("mirror").startswith("deleted 0 ")


def test_a_bug_in_a_step_is_recorded_and_hides_no_other(
    deployed: Deployed, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setitem(maintenance_steps.STEPS, "forget", broken)
    chosen = policies.parse(policy(backup), "policy.yaml")
    done = maintenance(deployed.cluster.address, None, backup.vault.vault, chosen, Quiet()).report
    assert {step.name: step.status for step in done.steps} == {**DONE, "forget": "failed"}
    assert done.steps[3].summary == "RuntimeError: two lines (a bug)"
    assert done.summary == "failed, the next run tries again: forget"


def test_a_drill_that_finds_damage_keeps_snapshots_from_being_forgotten(
    deployed: Deployed, backup: Backup
) -> None:
    for pack in backup.vault.files("packs"):
        flip(backup.vault.folder / pack, 12)  # in the first frame
    # the packs were all read a moment ago, as far as the audits say
    audits.record(
        backup.vault.vault,
        "packs",
        [AuditEntry(name=name, result="ok") for name in backup.vault.files("packs")],
    )
    ran = deployed.ended(deployed.policy(policy(backup, LAST)))
    assert ran.summary("verify").startswith("3 snapshots, 0 of 3 packs")
    assert (ran.steps["drill"], ran.steps["forget"]) == ("failed", "skipped")
    assert ran.report["status"] == "damaged"
    assert len(backup.vault.snapshots()) == 3


def test_what_other_verifications_know_keeps_snapshots_from_being_forgotten_too(
    deployed: Deployed, backup: Backup
) -> None:
    pack = min(backup.vault.files("packs"))
    audits.record(backup.vault.vault, "data", [AuditEntry(name=pack, result="damaged")])
    ran = deployed.ended(deployed.policy(policy(backup)))
    assert ran.steps["forget"] == "skipped"
    assert f"while the vault is damaged: {pack} (" in ran.summary("forget")
    assert len(backup.vault.snapshots()) == 3
    audits.record(backup.vault.vault, "data", [AuditEntry(name=pack, result="ok")])
    assert deployed.ended(deployed.tick()).summary("forget") == "forgot 2 of 3 snapshots"


def test_a_drill_that_finds_nothing_to_try_says_so(deployed: Deployed, tmp_path: Path) -> None:
    project = deployed.cluster.project()
    project.repo("data")
    project.commit("data", {})
    backup = Backup.of(project, tmp_path / "vault")
    backup.run_policy(name=project.name)
    ran = deployed.ended(deployed.policy(policy(backup, "")))
    assert ran.steps["drill"] == "skipped"
    assert ran.summary("drill").startswith("nothing to restore: there is no file with content")


def test_a_tick_from_the_future_covers_nothing(deployed: Deployed, backup: Backup) -> None:
    vault = backup.vault.vault
    chosen = policies.parse(policy(backup), "policy.yaml")
    now = datetime.now(UTC)

    def status(tick: datetime) -> str:
        return maintenance(deployed.cluster.address, None, vault, chosen, Quiet(), tick=tick).report.status

    assert status(now + timedelta(days=1)) == "done"
    assert status(now) == "done"
    assert status(now - timedelta(hours=1)) == "covered"
    assert status(now) == "covered"
