"""The pipelines of specs/, run by the embedded Pachyderm as users deploy them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from python_pachyderm.proto.v2.pps import pps_pb2

from e2e.backup import Backup
from e2e.cluster import Cluster, eventually
from e2e.deployed import STAGES, Deployed, Ran
from pachvault.policy import HOME_PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("pipelines")]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A server of this module's own, with the pipelines in it and one tick done."""
    cluster = Cluster(tmp_path_factory.mktemp("pipelines"))
    deployment = Deployed(cluster)
    deployment.ended(deployment.tick())
    yield deployment
    cluster.close()


@pytest.fixture
def backup(deployed: Deployed, tmp_path: Path) -> Backup:
    """A project of the test's own with two files, and a vault."""
    project = deployed.cluster.project()
    project.repo("data")
    project.commit("data", {"/a": b"1", "/d/b": b"22"})
    return Backup.of(project, tmp_path / "vault")


def policy(backup: Backup, target: str | None = None) -> str:
    """A policy for the test's project, whose name is the project's."""
    return (
        f"version: 1\nname: {backup.project.name}\ntarget: {target or backup.vault.url}\n"
        f"sources: ['{backup.project.everything()}']\n"
    )


def test_a_policy_and_ticks_seal_snapshots(deployed: Deployed, backup: Backup) -> None:
    first = deployed.ended(deployed.policy(policy(backup)))
    assert first.snapshot["status"] == "sealed", first.snapshot
    assert first.snapshot["snapshot"] == backup.vault.snapshot().name.id
    assert backup.vault.snapshot().manifest.run_id == first.job
    backup.assert_restorable()
    before = backup.vault.files()
    unchanged = deployed.ended(deployed.tick())
    assert unchanged.snapshot["status"] == "sealed"
    new = backup.vault.files().keys() - before.keys()
    assert [name.split("/")[0] for name in new] == ["snapshots"]
    assert [receipt["items"] for receipt in unchanged.receipts] == [[]]
    backup.project.commit("data", {"/c": b"333"}, delete=["/a"])
    changed = deployed.ended(deployed.tick())
    assert changed.snapshot["totals"]["commits_new"] == 1
    backup.assert_restorable()
    # the tick is covered by now, but not for a policy that selects something else
    more = deployed.ended(deployed.policy(policy(backup) + "exclude: ['another/*']\n"))
    assert more.snapshot["status"] == "sealed"
    again = deployed.ended(deployed.policy(policy(backup) + "exclude: ['another/*']\n# a comment\n"))
    assert again.snapshot["status"] == "covered"


def test_a_bad_policy_is_refused_in_a_record_and_a_good_one_goes_on(
    deployed: Deployed, backup: Backup
) -> None:
    bad = deployed.ended(deployed.policy(policy(backup) + "hystory: all\n"))
    assert bad.snapshot["status"] == "refused"
    assert "policy.yaml:5: unknown field 'hystory'" in bad.snapshot["summary"]
    assert backup.vault.snapshots() == []
    [reason] = deployed.errors("backup_verdict", bad.job)
    assert "refused: policy.yaml:5: unknown field 'hystory'" in reason
    assert "pachctl run cron freeze --project pachvault" in reason
    first = bad.report.splitlines()[0]
    assert "refused (exit code 2): policy.yaml:5: unknown field 'hystory'" in first
    good = deployed.ended(deployed.policy(policy(backup)))
    assert good.snapshot["status"] == "sealed"
    assert good.verdict.is_success
    assert backup.vault.url in good.report
    assert good.snapshot["snapshot"] in good.report
    backup.assert_restorable()


def test_a_missing_vault_and_an_unsupported_target_are_refused(
    deployed: Deployed, backup: Backup, tmp_path: Path
) -> None:
    missing = deployed.ended(deployed.policy(policy(backup, (tmp_path / "none").as_uri())))
    assert missing.snapshot["status"] == "refused"
    assert "no such place" in missing.snapshot["summary"]
    assert not (tmp_path / "none").exists()
    wrong = deployed.ended(deployed.policy(policy(backup, "gopher://host/vault")))
    assert wrong.snapshot["status"] == "refused"
    assert "'gopher' is not supported" in wrong.snapshot["summary"]


def test_a_source_that_cannot_be_read_makes_a_partial_record(deployed: Deployed, backup: Backup) -> None:
    refusal = {
        "method": "GetFileTAR", "times": 1000, "code": "PERMISSION_DENIED", "message": "not for you",
        "match": 'name: "backup"',
    }  # fmt: skip
    with deployed.cluster.faults(refusal):
        ran = deployed.ended(deployed.policy(policy(backup)))
    assert ran.snapshot["status"] == "partial"
    assert "not for you" in ran.snapshot["problems"][0]["message"]
    assert backup.vault.snapshot().manifest.partial
    [reason] = deployed.errors("backup_verdict", ran.job)
    assert "partial: " in reason
    assert "not for you" in reason
    assert "lacks 2 things that the policy chooses" in ran.report.splitlines()[0]
    with deployed.cluster.faults(refusal):
        silent = deployed.policy(policy(backup) + "verdicts: off\n")
        for stage in STAGES:
            assert deployed.pipelines.wait(HOME_PROJECT, stage, silent).is_success
        assert deployed.pipelines.wait(HOME_PROJECT, "backup_verdict", silent).is_success


def test_a_stopped_export_is_named_and_started_it_seals_the_run(deployed: Deployed, backup: Backup) -> None:
    deployed.ended(deployed.policy(policy(backup)))
    stub, export = deployed.cluster.connection.pps, pps_pb2.Pipeline(name="export")
    export.project.name = HOME_PROJECT
    stub.StopPipeline(pps_pb2.StopPipelineRequest(pipeline=export))
    job = deployed.tick()
    try:
        assert deployed.pipelines.wait(HOME_PROJECT, "seal", job).is_success
        assert not deployed.pipelines.wait(HOME_PROJECT, "backup_verdict", job).is_success
        [reason] = deployed.errors("backup_verdict", job)
        assert "busy: not sealed: " in reason
        assert "pipeline export is stopped" in reason
        assert "pachctl start pipeline export --project pachvault" in reason
        sealed = set(backup.vault.snapshots())
    finally:
        stub.StartPipeline(pps_pb2.StartPipelineRequest(pipeline=export))
    eventually("the run is sealed", lambda: set(backup.vault.snapshots()) > sealed)
    assert backup.vault.snapshot().manifest.run_id == job


@pytest.mark.slow
def test_ticks_that_follow_closely_seal_at_most_a_snapshot_each(deployed: Deployed, backup: Backup) -> None:
    jobs = [deployed.policy(policy(backup)), deployed.tick_now(), deployed.tick_now()]
    ran: list[Ran] = [deployed.ended(job) for job in jobs]
    states = [tick.snapshot["status"] for tick in ran]
    assert set(states) <= {"sealed", "covered"}, states
    # ticks of one second are one file: the later job has the earlier one's datum, and so its record
    sealed = {tick.snapshot["snapshot"] for tick in ran if tick.snapshot["status"] == "sealed"}
    assert set(backup.vault.snapshots()) == sealed
    assert sealed
    for snapshot in backup.vault.snapshots():
        backup.assert_restorable(backup.vault.snapshot(snapshot))
    covered = [tick.plan["summary"] for tick in ran if tick.plan["status"] == "covered"]
    assert all("covers this tick" in summary for summary in covered)


def test_a_tick_that_a_later_snapshot_covers_does_nothing(deployed: Deployed, backup: Backup) -> None:
    deployed.ended(deployed.policy(policy(backup)))
    sealed = backup.vault.snapshots()
    # the same tick once more, with a policy that differs in nothing that counts
    again = deployed.ended(deployed.policy(policy(backup) + "# the same\n"))
    assert (again.plan["status"], again.snapshot["status"]) == ("covered", "covered")
    assert f"snapshot {sealed[0][:12]}" in again.plan["summary"]
    assert backup.vault.snapshots() == sealed


@pytest.mark.slow
def test_many_commits_are_spread_over_shares_and_workers(deployed: Deployed, backup: Backup) -> None:
    project = backup.project
    for number in range(210):
        commit = project.start("data")
        project.change("data", commit, put={f"/{number % 7}": f"{number}".encode()})
        project.cluster.target.finish(project.ref("data", commit))
    project.cluster.source.commit(project.ref("data", commit), wait=True)
    ran = deployed.ended(deployed.policy(policy(backup)))
    assert ran.snapshot["status"] == "sealed"
    assert ran.plan["shares"] == len(ran.receipts) == 2
    assert [len(receipt["items"]) for receipt in ran.receipts] == [200, 11]
    backup.assert_restorable()
