"""The restore drill against the embedded Pachyderm: what is whole comes back, what is not is said."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from typing import Any

import pytest

from e2e.backup import Backup
from e2e.cli import pachvault
from pachvault.format import pack
from pachvault.format.maintenance_documents import Audit
from pachvault.maintenance.drill.drill import NOTHING, DrillOutcome, drill
from pachvault.maintenance.drill.drill_sample import sample
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.verify_schedule import is_drill_due
from pachvault.policy import DRILL_PROJECT
from pachvault.runtime.progress import Quiet
from pachvault.vault import snapshots
from pachvault.vault.clock import store_now

pytestmark = pytest.mark.e2e

NOISE = random.Random(11)


@pytest.fixture
def saved(backup: Backup) -> Backup:
    project = backup.project
    for name in ("one", "two"):
        project.repo(name)
        project.commit(name, {f"/{n}/{name}": NOISE.randbytes(2000) for n in range(8)} | {"/empty": b""})
        project.commit(name, {"/later": NOISE.randbytes(100)}, delete=["/0/" + name])
    backup.run()
    return backup


def drilled(backup: Backup, seed: int = 1, **options: timedelta) -> DrillOutcome:
    return drill(backup.project.cluster.address, None, backup.vault.vault, Quiet(), seed=seed, **options)


def left_over(backup: Backup) -> list[str]:
    """What is in the scratch project, and what restores have staged."""
    return [
        str(repo.name)
        for repo in backup.project.cluster.source.repos()
        if repo.name.project == DRILL_PROJECT or repo.name.repo.startswith("staging-")
    ]


def noted(backup: Backup) -> list[Audit]:
    return [dated.audit for dated in audits.load(backup.vault.vault)]


def test_a_sample_comes_back_and_nothing_is_left_but_the_note(saved: Backup) -> None:
    before = {name: saved.project.heads(name) for name in saved.project.repos()}
    done = drilled(saved)
    assert done.is_good, done.results
    assert len(done.results) == 3  # files of two repos, one commit
    assert done.files > 3
    assert done.bytes > 0
    assert left_over(saved) == []
    assert {name: saved.project.heads(name) for name in saved.project.repos()} == before
    (audit,) = noted(saved)
    assert (audit.level, audit.objects) == ("drill", done.results)
    now = store_now(saved.vault.vault)
    known = audits.results(audits.load(saved.vault.vault), now)
    assert not is_drill_due(known, now, timedelta(days=30))
    assert is_drill_due(known, now + timedelta(days=31), timedelta(days=30))


def test_drills_are_told_apart_from_restores(saved: Backup) -> None:
    def restores(*options: str) -> list[dict[str, Any]]:
        address = saved.project.cluster.address
        return pachvault("--pachd", address, "--json", "restores", *options).objects

    before, drills = (
        restores(),
        len([listed_restore for listed_restore in restores("--drills") if listed_restore["is_drill"]]),
    )
    done = drilled(saved)
    assert restores() == before
    after = [listed_restore for listed_restore in restores("--drills") if listed_restore["is_drill"]]
    assert len(after) == drills + len(done.results)
    shown = pachvault("--pachd", saved.project.cluster.address, "restores", "--drills").out
    assert shown.count("drill: ") == len(after)


def test_the_same_seed_takes_the_same_and_another_takes_others(saved: Backup) -> None:
    snapshot = snapshots.resolve(saved.vault.vault, "latest")
    taken = [
        {(trial.repo, trial.commit, trial.paths) for trial in sample(snapshot, seed, 10**6)[0]}
        for seed in (1, 1, 2, 3, 4)
    ]
    assert taken[0] == taken[1]
    assert len({frozenset(trials_taken) for trials_taken in taken}) > 1


def test_no_more_is_taken_than_there_is_room_for(saved: Backup) -> None:
    snapshot = snapshots.resolve(saved.vault.vault, "latest")
    for seed in range(5):
        trials, _ = sample(snapshot, seed, 30_000)
        assert sum(trial.size_bytes for trial in trials) <= 30_000


def test_a_damaged_vault_makes_the_drill_fail_and_say_so(saved: Backup) -> None:
    for name in saved.vault.files("packs"):
        path = saved.vault.folder / name
        data = bytearray(path.read_bytes())
        end = pack.parse_trailer(bytes(data[-pack.TRAILER_BYTES :])).toc_offset
        data[len(pack.HEADER) : end] = os.urandom(end - len(pack.HEADER))
        path.write_bytes(data)
    done = drilled(saved)
    assert not done.is_good
    assert {result.result for result in done.results} == {"damaged"}
    assert all(result.message for result in done.results)
    assert left_over(saved) == []
    now = store_now(saved.vault.vault)
    assert is_drill_due(audits.results(audits.load(saved.vault.vault), now), now, timedelta(days=30))


def test_a_table_that_cannot_be_read_is_a_result_too(saved: Backup) -> None:
    for table in saved.vault.files("tables"):
        (saved.vault.folder / table).unlink()
    done = drilled(saved)
    assert [result.result for result in done.results] == ["damaged", "damaged"]
    assert {result.name for result in done.results} == {
        f"{saved.project.name}/{repo}" for repo in ("one", "two")
    }


def test_a_cluster_that_refuses_is_no_damage(saved: Backup) -> None:
    with saved.project.cluster.faults({"method": "StartCommit", "code": "PERMISSION_DENIED", "times": 99}):
        done = drilled(saved)
    assert {result.result for result in done.results} == {"unreadable"}


def test_what_a_dead_drill_left_is_removed_once_it_is_old(saved: Backup) -> None:
    target = saved.project.cluster.target
    target.ensure_project(DRILL_PROJECT)
    target.ensure_repo(DRILL_PROJECT, "left", "restore drill; request " + "ab" * 32)
    target.ensure_repo("pachvault", "staging-" + "ab" * 6, "")
    assert drilled(saved).is_good
    assert len(left_over(saved)) == 2  # another drill may be at it
    assert drilled(saved, abandoned_after=timedelta()).is_good
    assert left_over(saved) == []


def test_a_drill_that_finds_nothing_to_try_has_not_passed(backup: Backup) -> None:
    backup.project.repo("bare")
    backup.project.commit("bare", {})
    backup.run()
    done = drilled(backup)
    assert (done.results, done.is_good) == ([], False)
    assert noted(backup) == []
    address = backup.project.cluster.address
    shown = pachvault("--vault", backup.vault.url, "--pachd", address, "verify", "--level", "drill")
    assert shown.code == 3
    assert f"nothing was restored: {NOTHING} {done.snapshot}\n" in shown.err
