"""The restore pipelines of specs/, run by the embedded Pachyderm as users deploy them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault
from e2e.cluster import Cluster
from e2e.requested import Requested
from pachvault.bundled_files import RESTORE_STAGES, spec
from pachvault.policy import HOME_PROJECT
from pachvault.restore.state.restore_records import DONE

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("restore_pipelines")]


@pytest.fixture(scope="module")
def requested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Requested]:
    """A server of this module's own, with the restore pipelines in it."""
    cluster = Cluster(tmp_path_factory.mktemp("restore"))
    yield Requested(cluster)
    cluster.close()


@pytest.fixture
def backup(requested: Requested, tmp_path: Path) -> Backup:
    """A project of the test's own with three commits on a branch, backed up."""
    project = requested.cluster.project()
    project.repo("data")
    project.commit("data", {"/a": b"1", "/d/b": b"22"})
    project.commit("data", {"/a": b"one"}, delete=["/d"])
    project.commit("data", {"/large": b"x" * 100_000})
    backup = Backup.of(project, tmp_path / "vault")
    backup.run()
    return backup


def copy(backup: Backup, **fields: Any) -> dict[str, Any]:
    """A request that restores the project's repo next to itself."""
    return {
        "vault": backup.vault.url,
        "what": [f"{backup.project.name}/data@master"],
        "to": {"repo": "copy"},
        "from": "vault",
        **fields,
    }


def history(backup: Backup, repo: str, branch: str = "master") -> list[str]:
    """The commits of a branch, newest first."""
    commits = []
    current: str | None = backup.project.heads(repo)[branch]
    while current is not None:
        commits.append(current)
        current = backup.project.cluster.source.commit(backup.project.ref(repo, current)).parent
    return commits


def assert_copied(backup: Backup, ids: dict[str, str]) -> None:
    """`copy` has the commits of `data`, as the id map says, byte for byte."""
    old, new = history(backup, "data"), history(backup, "copy")
    assert [ids[commit] for commit in old] == new
    for before, after in zip(old, new, strict=True):
        assert backup.project.tree("copy", after) == backup.project.tree("data", before)


def test_a_request_restores_a_history_and_maps_its_ids(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    answered = requested.ask({name: copy(backup, history="all")})
    report = answered.report(name)
    assert (report["status"], report["lost"], report["differences"]) == ("restored", [], [])
    ids = answered.ids(name)[f"{name}/copy"]
    assert_copied(backup, ids)
    rows = {(row["project"], row["repo"], row["old"], row["new"]) for row in answered.id_rows(name)}
    assert rows == {(name, "copy", old, new) for old, new in ids.items()}
    assert answered.folder(name) == f"{name}-{report['request'][:12]}"
    receipts = [path for path in answered.fetch if path.startswith(f"/{answered.folder(name)}/receipts/")]
    assert receipts == [f"/{answered.folder(name)}/receipts/0000.{kind}" for kind in ("json", "md")]
    assert backup.project.heads("copy").keys() == {"master"}


def test_a_request_for_what_is_there_already_is_unchanged(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    heads = backup.project.heads("data")
    request = {"vault": backup.vault.url, "what": [f"{name}/data@master"], "exists": "fail"}
    answered = requested.ask({name: request, f"{name}-all": request | {"history": "all"}})
    assert answered.report(name)["status"] == "unchanged"
    assert answered.report(f"{name}-all")["status"] == "unchanged"
    assert backup.project.heads("data") == heads


def test_the_policys_target_is_the_vault_of_a_request_that_names_none(
    requested: Requested, backup: Backup
) -> None:
    name = backup.project.name
    text = f"version: 1\ntarget: {backup.vault.url}\nsources: ['*/*']\n"
    requested.home.commit("policy", {"/policy.yaml": text.encode()})
    request = copy(backup)
    del request["vault"]
    assert requested.ask({name: request}).report(name)["status"] == "restored"
    trees = [backup.project.tree(repo, history(backup, repo)[0]) for repo in ("copy", "data")]
    assert trees[0] == trees[1]


def test_bad_requests_are_refused_in_their_own_reports_and_block_no_other(
    requested: Requested, backup: Backup
) -> None:
    name = backup.project.name
    bad: dict[str, tuple[dict[str, Any] | str, str]] = {
        "field": ("version: 1\nwhat: [a/b]\nhystory: all\n", "field.yaml:3: unknown field 'hystory'"),
        "exists": (copy(backup, to={}), f"branch {name}/data@master exists"),
        "path": (copy(backup, paths=["/a", "/lrge"]), "matches '/lrge' (did you mean /large?; "),
        "day": (
            f"version: 1\nwhat: [{name}/data]\nsnapshot: {{at: 2026-11-20}}\n",
            "day.yaml:3: field 'snapshot': 2026-11-20 is a day without an hour",
        ),
    }
    requests = {key: request for key, (request, _) in bad.items()}
    answered = requested.ask({**requests, f"good-{name}": copy(backup)})
    for key, (_, message) in bad.items():
        report = answered.report(key)
        assert report["status"] == "refused", report
        assert message in report["summary"]
        assert "\n" not in report["summary"]
        assert answered.ids(key) == {}
        assert answered.id_rows(key) == []
    assert answered.report(f"good-{name}")["status"] == "restored"
    requested.ask({}, delete=[f"/{key}.yaml" for key in bad])


@pytest.mark.slow
def test_a_bad_request_is_red_once_and_later_requests_are_green(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    bad = requested.commit({f"{name}-bad": copy(backup, what=[f"{name}/nothing@master"])})
    requested.ended(bad)
    verdict = requested.pipelines.wait(HOME_PROJECT, "restore_verdict", bad)
    assert not verdict.is_success
    [reason] = requested.errors("restore_verdict", bad)
    assert f"/{name}-bad-" in reason
    assert f"{name}/nothing" in reason
    assert "pachctl put file requests@master:/NAME.yaml" in reason
    good = requested.commit({name: copy(backup)})
    answered = requested.ended(good)
    assert requested.pipelines.wait(HOME_PROJECT, "restore_verdict", good).is_success
    assert answered.report(f"{name}-bad")["status"] == "refused"
    report = answered.report(name)
    assert (report["snapshot"], report["vault"]) == (backup.vault.snapshot().name.id, backup.vault.url)
    assert report["targets"] == [f"{name}/copy@master"]
    assert report["summary"].startswith("1 repo, 1 commit, ")
    text = answered.replay[f"/{answered.folder(name)}/report.md"].decode()
    assert text.startswith(f"**Restore {name}: restored: 1 repo, 1 commit, ")
    assert f"{name}/copy@master" in text


def test_what_is_no_request_file_is_refused_too(requested: Requested) -> None:
    job = requested.home.commit("requests", {"/README": b"hello", "/folder/x.yaml": b"version: 1"})
    answered = requested.ended(job)
    assert "ends in .yaml" in answered.report("README")["summary"]
    assert "this is a folder" in answered.report("folder")["summary"]
    requested.ask({}, delete=["/README", "/folder/"])


def test_what_pachyderm_will_not_make_fails_in_a_report(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    refusal = {"method": "CreateRepo", "match": "never", "code": "INVALID_ARGUMENT", "message": "no, you"}
    with requested.cluster.faults({**refusal, "times": 99}):
        answered = requested.ask({name: copy(backup, to={"repo": "never"})})
    report = answered.report(name)
    assert report["status"] == "failed"
    assert "no, you" in report["summary"]


def test_a_finished_request_is_never_done_again(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    first = requested.ask({name: copy(backup)})
    restored = backup.project.heads("copy")
    backup.project.delete_repo("copy")
    # under another name, and once more under its own with another look: the same request
    again = requested.ask({f"{name}-again": copy(backup)})
    assert again.report(f"{name}-again")["status"] == "done"
    assert again.ids(f"{name}-again") == first.ids(name)
    assert again.report(name)["status"] == "restored", "a datum that was not touched is not redone"
    assert backup.project.repos() == ["data"]
    assert restored.keys() == {"master"}
    # a shell's request runs whenever it is asked to
    outcome = pachvault(
        "--vault", backup.vault.url, "--pachd", requested.cluster.address, "restore", f"{name}/data@master",
        "--to", f"{name}/copy", "--from", "vault",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert backup.project.repos() == ["copy", "data"]


@pytest.mark.slow
def test_pipelines_made_again_do_nothing_twice(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    requested.ask({name: copy(backup)})
    backup.project.delete_repo("copy")
    records = requested.home.heads(DONE.repo)
    for stage in reversed(RESTORE_STAGES):
        requested.pipelines.delete(HOME_PROJECT, stage)
    requested.deploy()
    answered = requested.ask({f"{name}-next": copy(backup, to={"repo": "next"})})
    assert answered.report(name)["status"] == "done"
    assert answered.report(f"{name}-next")["status"] == "restored"
    assert backup.project.repos() == ["data", "next"]
    assert requested.home.heads(DONE.repo) != records


@pytest.mark.slow
def test_a_request_that_is_planned_and_not_answered_is_listed_as_waiting(
    requested: Requested, backup: Backup
) -> None:
    name = backup.project.name

    def listed() -> dict[str, dict[str, Any]]:
        where = ["--vault", backup.vault.url, "--pachd", requested.cluster.address]
        return {
            listed_restore["request"][:12]: listed_restore
            for listed_restore in pachvault(*where, "--json", "restores").objects
        }

    for stage in ("restore_verdict", "restore_replay"):
        requested.pipelines.delete(HOME_PROJECT, stage)
    job = requested.commit({name: copy(backup)})
    assert requested.pipelines.wait(HOME_PROJECT, "restore_fetch", job).is_success
    (folder,) = {
        path.split("/")[1] for path in requested.home.tree("restore_plan", job) if f"/{name}-" in path
    }
    request = folder.rpartition("-")[2]
    waiting = listed()[request]
    assert (waiting["state"], waiting["phase"]) == ("waiting", "planned")
    assert waiting["summary"].startswith("1 repo, 1 commit, ")
    for stage in ("restore_replay", "restore_verdict"):
        requested.pipelines.create(spec(stage), f"{stage}.json")
    answered = requested.ask({f"{name}-other": copy(backup, to={"repo": "other"})})
    assert answered.report(name)["status"] == "restored"
    assert listed()[request]["state"] == "done"


@pytest.mark.slow
def test_a_request_that_is_deleted_half_way_harms_nothing(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    job = requested.commit({name: copy(backup)})
    gone = requested.commit({}, delete=[f"/{name}.yaml"])
    requested.ended(gone)
    requested.ended(job)
    answered = requested.ask({f"{name}-other": copy(backup, to={"repo": "other"})})
    assert answered.report(f"{name}-other")["status"] == "restored"
    assert all(
        not report_name.startswith(f"{name}-") or "other" in report_name for report_name in answered.names()
    )


def test_a_cluster_that_fails_for_a_while_is_tried_again(requested: Requested, backup: Backup) -> None:
    name = backup.project.name
    fault = {"method": "AddFileSet", "nth": 2, "times": 1, "code": "UNAVAILABLE", "message": "try later"}
    with requested.cluster.faults(fault):
        answered = requested.ask({name: copy(backup, history="all")})
    assert answered.report(name)["status"] == "restored"
    assert_copied(backup, answered.ids(name)[f"{name}/copy"])


def test_a_damaged_vault_is_reported_and_what_is_intact_restored_where_asked(
    requested: Requested, backup: Backup
) -> None:
    name = backup.project.name
    for path in backup.vault.folder.glob("packs/*/*"):
        path.unlink()
    answered = requested.ask({name: copy(backup), f"{name}-on": copy(backup, keep_going=True)})
    assert answered.report(name)["status"] == "damaged"
    assert answered.report(f"{name}-on")["status"] == "partial"
    assert answered.report(f"{name}-on")["lost"]
