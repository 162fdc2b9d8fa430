"""What a snapshot says of its source: deleted repos, open commits, a clock that is wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from e2e.backup import Backup
from pachvault.format.manifest import Problem
from pachvault.vault.snapshots import Snapshot

pytestmark = pytest.mark.e2e


def notes(snapshot: Snapshot, *kinds: str) -> list[Problem]:
    return [problem for problem in snapshot.manifest.problems if problem.kind in kinds]


def test_a_deleted_repo_is_named_in_run_snapshot_listing_and_status(backup: Backup) -> None:
    project = backup.project
    for name in ("kept", "doomed"):
        project.repo(name)
        project.commit(name, {"/a": b"1"})
    first = backup.run()
    project.delete_repo("doomed")
    outcome = backup.attempt()
    assert outcome.code == 0, outcome.err
    place = f"{project.name}/doomed"
    assert f"repo-deleted: {place}: " in outcome.err
    assert f"last in snapshot {first.short_id} of " in outcome.err
    second = backup.vault.snapshot()
    assert not second.manifest.partial

    assert ", 1 note" in backup.command("snapshots").out
    listed = backup.json("snapshots")[-1]
    assert [problem["last_seen"] for problem in listed["problems"]] == [first.name.id]
    assert f"note       repo-deleted: {place}: " in backup.command("show", "latest").out
    project.commit("kept", {"/b": b"2"})
    third = backup.run()
    (note,) = notes(third, "repo-deleted")
    assert (note.last_seen, note.since) == (first.name.id, second.name.id)
    status = backup.command("status").out
    assert f"repo-deleted: {place}: " in status
    assert f"last in snapshot {first.short_id}" in status
    assert f"missing since snapshot {second.short_id}" in status


def test_open_commits_are_counted_and_one_left_open_is_a_problem(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    done = project.commit("data", {"/a": b"1"})
    left = project.start("data")
    snapshot = backup.run_policy(interval="1h")
    (note,) = notes(snapshot, "unfinished")
    assert note.where == f"{project.name}/data@master"
    assert left in note.message
    assert done in note.message
    assert not snapshot.manifest.partial
    ((_, history),) = snapshot.repos()
    (branch,) = history.record.branches
    assert branch.head == done
    assert branch.unfinished is not None
    assert (branch.unfinished.count, branch.unfinished.head, branch.unfinished.first) == (1, left, left)
    assert branch.unfinished.since is not None
    assert f"unfinished: {note.where}: commit {left}" in backup.command("status").out

    time.sleep(1.1)
    late = backup.run_policy(3, interval="1s")
    assert [problem.kind for problem in late.manifest.problems] == ["left-open"]
    assert late.manifest.partial
    assert "longer than the interval of 1 second" in backup.command("status").out
    project.finish("data", left)
    assert backup.run_policy(interval="1s").manifest.problems == []


def test_a_machine_with_a_wrong_clock_backs_up_under_the_right_date(backup: Backup) -> None:
    backup.project.repo("data")
    backup.project.commit("data", {"/a": b"1"})
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
        outcome = backup.attempt()
    assert outcome.code == 0, outcome.err
    assert "clocks-differ: *: this machine's clock is 1 day" in outcome.err
    snapshot = backup.vault.snapshot()
    manifest = snapshot.manifest
    for at in (manifest.freeze_began_at, manifest.frozen_at, manifest.sealed_at):
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    backup.project.commit("data", {"/b": b"2"})
    later = backup.run()
    assert backup.vault.snapshot("latest").name == later.name
    backup.assert_restorable(later)
