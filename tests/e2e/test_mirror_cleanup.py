"""The backup repo lets go of what is old, and of nothing that anybody still needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.backup import Backup
from e2e.cluster import Cluster, Project
from e2e.oracle import assert_equal
from pachvault.backup.backup import new_run_id
from pachvault.backup.export.export import export_share
from pachvault.backup.freeze.freeze import Frozen, freeze
from pachvault.backup.seal.seal import seal
from pachvault.errors import PachydermError
from pachvault.format.ids import RepoName
from pachvault.maintenance import mirror_cleanup
from pachvault.maintenance.mirror_cleanup import MirrorAction, MirrorCleanupPlan
from pachvault.mirror import mirror_note
from pachvault.pach.records import CommitInfo
from pachvault.pach.source import CommitRef
from pachvault.policy import HOME_PROJECT, Policy
from pachvault.runtime.progress import Quiet
from pachvault.vault.clock import store_now

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("trim")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("trim"))
    yield cluster
    cluster.close()


@pytest.fixture
def backup(server: Cluster, tmp_path: Path) -> Iterator[Backup]:
    """A project whose repo has been backed up after each of three commits."""
    project = server.project()
    project.repo("data")
    new_backup = Backup.of(project, tmp_path / "vault")
    for number in range(3):
        project.commit("data", {f"/{number}": b"%d" % number}, append={"/log": b"%d" % number})
        new_backup.run()
    yield new_backup
    server.target.delete_repo(HOME_PROJECT, "backup")


def now() -> datetime:
    return datetime.now(UTC)


def planned(backup: Backup, before: datetime | None = None) -> MirrorCleanupPlan:
    vault, source = backup.vault.vault, backup.project.cluster.source
    return mirror_cleanup.plan(source, vault, before=before or now(), now=store_now(vault))


def trimmed(backup: Backup, before: datetime | None = None) -> tuple[int, list[str]]:
    return mirror_cleanup.execute(backup.project.cluster.target, planned(backup, before))


def mirrors(backup: Backup) -> dict[str, CommitInfo]:
    """What the backup repo holds: source commit to mirror."""
    infos = backup.project.cluster.source.commits(RepoName(HOME_PROJECT, "backup"))
    return {note["commit"]: info for info in infos if (note := mirror_note(info)) is not None}


def head(backup: Backup) -> str:
    return backup.project.heads("data")["master"]


def frozen(backup: Backup) -> Frozen:
    cluster = backup.project.cluster
    chosen = Policy(version=1, target=backup.vault.url, sources=[backup.project.everything()])
    vault = backup.vault.vault
    return freeze(cluster.source, cluster.target, vault, policy=chosen, run_id=new_run_id())


def test_old_commits_go_heads_stay_and_the_next_backup_goes_on_from_them(backup: Backup) -> None:
    assert len(mirrors(backup)) == 3
    assert planned(backup, now() - timedelta(hours=1)) == MirrorCleanupPlan([], [], 3)
    assert [commit.action for commit in planned(backup).commits] == [MirrorAction.SQUASH] * 2
    assert trimmed(backup) == (2, [])
    assert set(mirrors(backup)) == {head(backup)}
    mirror = mirrors(backup)[head(backup)].id
    home = Project(backup.project.cluster, HOME_PROJECT)
    assert_equal(home.tree("backup", mirror), backup.project.tree("data", head(backup)), "mirror")
    assert trimmed(backup) == (0, [])
    backup.project.commit("data", append={"/log": b"more"}, delete=["/0"])
    backup.run()
    assert (
        backup.project.cluster.source.commit(
            CommitRef(HOME_PROJECT, "backup", mirrors(backup)[head(backup)].id)
        ).parent
        == mirror
    )
    backup.assert_restorable()


def test_while_a_run_has_not_sealed_nothing_of_its_time_goes(backup: Backup) -> None:
    frozen(backup)
    assert planned(backup).commits == []
    assert planned(backup, now() + timedelta(days=1)).commits == []


def test_what_an_unsealed_run_reads_stays_however_old(
    backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_cleanup, "_SKEW", -timedelta(days=1))  # as if the run had begun long after
    first = backup.project.commit("data", {"/new": b"new"})
    frozen_run = frozen(backup)
    # the next run moves the mirror's head on
    backup.project.commit("data", {"/newer": b"newer"})
    frozen(backup)
    assert len(mirrors(backup)) == 5
    assert trimmed(backup) == (3, [])
    assert set(mirrors(backup)) == {first, head(backup)}
    backup.project.cluster.target.delete_repo(backup.project.name, "data")
    source, vault = backup.project.cluster.source, backup.vault.vault
    receipts = [export_share(source, vault, share, Quiet()) for share in frozen_run.shares]
    assert not seal(vault, frozen_run.plan, receipts).manifest.partial


def test_the_mirror_of_a_deleted_branch_goes_when_no_snapshot_of_the_time_has_it(backup: Backup) -> None:
    started_at = max(info.started_at for info in mirrors(backup).values() if info.started_at)
    while backup.vault.snapshot().name.frozen_at <= started_at:
        backup.run()
    before = backup.vault.snapshot().name.frozen_at
    backup.project.delete_repo("data")
    # it can still be rolled back to at once
    assert planned(backup, before).branches == []
    assert len(planned(backup, before).commits) == 2
    gone = planned(backup)
    assert [branch.startswith(f"{backup.project.name}--data--") for branch in gone.branches] == [True]
    assert [commit.action for commit in gone.commits] == [MirrorAction.DROP] * 3
    assert mirror_cleanup.execute(backup.project.cluster.target, gone) == (3, [])
    assert mirrors(backup) == {}
    assert Project(backup.project.cluster, HOME_PROJECT).heads("backup") == {}


def test_a_repo_that_was_made_again_is_another_one(backup: Backup) -> None:
    backup.project.delete_repo("data")
    backup.project.repo("data")
    commit = backup.project.commit("data", {"/a": b"1"})
    backup.run()
    assert len(planned(backup).branches) == 1
    assert trimmed(backup) == (3, [])
    assert set(mirrors(backup)) == {commit}


def test_what_others_put_into_the_backup_repo_is_left_alone(backup: Backup) -> None:
    home = Project(backup.project.cluster, HOME_PROJECT)
    mine = [home.commit("backup", {"/mine": b"%d" % number}, branch="mine") for number in range(2)]
    assert trimmed(backup) == (2, [])
    there = {info.id for info in backup.project.cluster.source.commits(RepoName(HOME_PROJECT, "backup"))}
    assert there >= set(mine)
    assert home.heads("backup")["mine"] == mine[1]


def test_a_commit_on_which_a_run_is_just_building_stays_for_now(backup: Backup) -> None:
    plan = planned(backup)
    home = Project(backup.project.cluster, HOME_PROJECT)
    newest = next(commit.id for commit in plan.commits)
    (branch,) = home.heads("backup")
    home.start("backup", branch, parent=newest)
    done, problems = mirror_cleanup.execute(backup.project.cluster.target, plan)
    assert done == 1
    assert [line.startswith(f"kept the mirror of {backup.project.name}/data@") for line in problems] == [True]


def test_without_a_backup_repo_there_is_nothing_to_trim(backup: Backup) -> None:
    backup.project.cluster.target.delete_repo(HOME_PROJECT, "backup")
    assert planned(backup) == MirrorCleanupPlan([], [], 0)


@pytest.mark.parametrize("nth", range(4))
def test_broken_off_anywhere_the_next_round_finishes(backup: Backup, nth: int) -> None:
    backup.project.delete_repo("data")

    class Mortal:
        """A target that dies before its n-th change."""

        left = nth

        def __getattr__(self, name: str) -> Any:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return getattr(backup.project.cluster.target, name)

    with pytest.raises(KeyboardInterrupt):
        mirror_cleanup.execute(Mortal(), planned(backup))  # type: ignore[arg-type]  # it is one for what is used
    trimmed(backup)
    assert mirrors(backup) == {}


def test_an_unreachable_cluster_is_an_error_not_an_empty_plan(backup: Backup) -> None:
    refusal = {"method": "ListCommit", "times": 1000, "code": "PERMISSION_DENIED", "message": "not for you"}
    with backup.project.cluster.faults(refusal), pytest.raises(PachydermError, match="not for you"):
        planned(backup)
