"""What restores left behind: collected once it is old, and nothing that a run still needs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.cluster import Cluster, Project
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.restore import working_branches
from pachvault.restore.apply import garbage_collection
from pachvault.restore.stage import staging
from pachvault.restore.state.lock_holder import BRANCH, LockHolder
from pachvault.restore.state.request_lock import held

pytestmark = pytest.mark.e2e
AT_ONCE, LATER = timedelta(0), timedelta(hours=1)


def collect(source: Source, target: Target, older_than: timedelta) -> list[str]:
    return garbage_collection.collect(source, target, datetime.now(UTC) - older_than)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server of this module's own: what is collected is collected everywhere."""
    new_cluster = Cluster(tmp_path_factory.mktemp("leftovers"))
    yield new_cluster
    new_cluster.close()


@pytest.fixture
def project(cluster: Cluster) -> Project:
    return cluster.project()


@pytest.fixture
def request_id() -> str:
    return secrets.token_hex(32)


def stage(cluster: Cluster, request_id: str) -> None:
    """A part, open and never finished."""
    repo = staging.staging_repo(request_id)
    staging.ensure(cluster.target, request_id)
    cluster.target.start(repo.project, repo.repo, "part", parent=None, description="")


def staged(cluster: Cluster) -> list[str]:
    return [repo for repo in Project(cluster, HOME_PROJECT).repos() if repo.startswith(staging.PREFIX)]


def test_parts_that_nobody_goes_on_with_go_once_they_are_old(cluster: Cluster, request_id: str) -> None:
    stage(cluster, request_id)
    assert collect(cluster.source, cluster.target, LATER) == []
    assert staged(cluster)
    (line,) = collect(cluster.source, cluster.target, AT_ONCE)
    assert f"{HOME_PROJECT}/staging-{request_id[:12]}: parts of request {request_id[:12]}" in line
    assert staged(cluster) == []
    assert collect(cluster.source, cluster.target, AT_ONCE) == []


def test_those_of_a_run_that_died_go_with_its_lock(cluster: Cluster, request_id: str) -> None:
    stage(cluster, request_id)
    repo = staging.staging_repo(request_id)
    died = LockHolder.this_process().model_copy(update={"process": 2**22 + 1, "token": "of another"})
    cluster.target.start(repo.project, repo.repo, BRANCH, parent=None, description=died.model_dump_json())
    assert len(collect(cluster.source, cluster.target, AT_ONCE)) == 1
    assert staged(cluster) == []


def test_a_run_under_way_keeps_what_it_has(cluster: Cluster, project: Project, request_id: str) -> None:
    project.repo("data")
    branch = working_branches.replayed(request_id) + "a" * 32
    with held(cluster.source, cluster.target, request_id, LockHolder.this_process()) as mine:
        opened = project.start("data", branch)
        assert collect(cluster.source, cluster.target, AT_ONCE) == []
        mine.check()
    assert project.heads("data") == {branch: opened}
    assert len(collect(cluster.source, cluster.target, AT_ONCE)) == 1


def test_branches_of_a_dead_request_go_and_open_commits_are_closed(
    cluster: Cluster, project: Project, request_id: str
) -> None:
    project.repo("data")
    project.commit("data", {"/a": b"1"})
    kept = {**project.heads("data")}
    first, second = (working_branches.replayed(request_id) + sign * 32 for sign in "ab")
    new_commit = project.commit("data", {"/b": b"2"}, branch=first)
    opened = project.start("data", second, parent=new_commit)
    mine = working_branches.differing(request_id) + new_commit
    project.branch("data", mine, new_commit)
    project.branch("data", "pachvault-replay-not-ours", new_commit)
    kept |= {mine: new_commit, "pachvault-replay-not-ours": new_commit}
    assert collect(cluster.source, cluster.target, LATER) == []
    lines = collect(cluster.source, cluster.target, AT_ONCE)
    assert [line.split(":")[0] for line in lines] == [
        f"{project.name}/data@{branch}" for branch in (first, second)
    ]
    assert project.heads("data") == kept
    closed = cluster.source.commit(project.ref("data", opened), wait=True)
    assert closed.error == "a restore gave it up"
    assert project.tree("data", new_commit) == {"/b": b"2"}


def test_a_cluster_without_any_is_left_alone(tmp_path: Path) -> None:
    fresh = Cluster(tmp_path / "fresh")
    assert collect(fresh.source, fresh.target, AT_ONCE) == []
    assert fresh.source.repos() == []
    fresh.close()
