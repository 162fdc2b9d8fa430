"""Streams that break off, end too soon, or never come: never a short file, never a silent gap."""

from __future__ import annotations

import random

import pytest

from e2e.backup import Backup
from e2e.cluster import Project

MIB = 1024 * 1024


def fill(project: Project) -> None:
    """Files small and large, 11 MiB, as one commit."""
    noise = random.Random(3)
    files = {f"/{number:03}": noise.randbytes(20_000) for number in range(100)}
    project.repo("data")
    project.commit("data", files | {"/large": noise.randbytes(9 * MIB), "/zz": b"last"})


@pytest.mark.parametrize("cut", [0, 100, 5_000, 700_000, 2 * MIB, 6 * MIB, 11 * MIB])
def test_a_stream_cut_once_is_taken_up_again(backup: Backup, cut: int) -> None:
    fill(backup.project)
    with backup.project.cluster.faults({"method": "GetFileTAR", "cut_after_bytes": cut}):
        snapshot = backup.run()
    assert not snapshot.manifest.partial
    assert snapshot.manifest.totals.files_read >= 102
    backup.assert_restorable(snapshot)


def test_a_stream_cut_again_and_again_gets_through(backup: Backup) -> None:
    fill(backup.project)
    with backup.project.cluster.faults({"method": "GetFileTAR", "times": 3, "cut_after_bytes": 1_000_000}):
        snapshot = backup.run()
    assert not snapshot.manifest.partial
    backup.assert_restorable(snapshot)


def test_a_stream_cut_more_often_than_calls_are_tried_gets_through_while_it_moves(backup: Backup) -> None:
    backup.project.repo("data")
    files = {f"/{number:03}": random.Random(number).randbytes(60_000) for number in range(250)}
    backup.project.commit("data", files)
    with backup.project.cluster.faults({"method": "GetFileTAR", "times": 7, "cut_after_bytes": 1_600_000}):
        snapshot = backup.run()
    assert not snapshot.manifest.partial
    backup.assert_restorable(snapshot)


def test_a_part_that_is_not_found_in_the_middle_is_no_end(backup: Backup) -> None:
    project = backup.project
    project.repo("data")
    empty = {f"/z{number:05}": b"" for number in range(6000)}  # the sizes alone could not tell
    project.commit("data", {"/a": random.Random(7).randbytes(2 * MIB)} | empty)
    lost = {
        "method": "GetFileTAR",
        "cut_after_bytes": 4 * MIB,
        "code": "NOT_FOUND",
        "message": "chunk not found",
    }
    with project.cluster.faults(lost):
        outcome = backup.attempt("--quiet")
    assert outcome.code == 3
    assert "chunk not found" in outcome.err
    backup.run()
    backup.assert_restorable()


@pytest.mark.parametrize("early", [0, 3_000_000, 11 * MIB])
def test_a_stream_that_ends_early_with_success_is_no_success(backup: Backup, early: int) -> None:
    fill(backup.project)
    fault = {"method": "GetFileTAR", "end_early": True, "cut_after_bytes": early}
    with backup.project.cluster.faults(fault):
        snapshot = backup.run()
    assert not snapshot.manifest.partial
    backup.assert_restorable(snapshot)


@pytest.mark.parametrize("fault", [{"cut_after_bytes": 1000}, {"end_early": True, "cut_after_bytes": 1000}])
def test_a_stream_that_never_gets_through_is_named(backup: Backup, fault: dict[str, object]) -> None:
    project = backup.project
    project.repo("data")
    head = project.commit("data", {"/a": b"x" * 5000})
    project.repo("fine")
    project.commit("fine", {"/ok": b""})
    with project.cluster.faults({"method": "GetFileTAR", "times": 1000} | fault):
        outcome = backup.attempt("--quiet")
    assert outcome.code == 3
    assert f"{project.name}/data@{head}" in outcome.err
    snapshot = backup.vault.snapshot()
    assert snapshot.manifest.partial
    backup.assert_restorable(heads={"data@master": None, "fine@master": project.heads("fine")["master"]})
    backup.run()
    backup.assert_restorable()


def test_a_later_commit_that_never_gets_through_leaves_the_one_before(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    first = project.commit(repo, {"/a": b"x" * 5000})
    backup.run()
    head = project.commit(repo, {"/b": b"y" * 5000})
    with project.cluster.faults({"method": "GetFileTAR", "times": 1000, "cut_after_bytes": 1000}):
        outcome = backup.attempt("--quiet")
    assert outcome.code == 3
    assert f"head {head} could not be read" in outcome.err
    backup.assert_restorable(heads={"data@master": first})
    backup.run()
    backup.assert_restorable()


def test_a_delta_whose_stream_is_cut_once(backup: Backup) -> None:
    project = backup.project
    fill(project)
    backup.run()
    noise = random.Random(4)
    project.commit(
        "data",
        {f"/{number:03}": noise.randbytes(30_000) for number in range(0, 100, 3)},
        append={"/large": noise.randbytes(MIB)},
        delete=["/zz"],
    )
    for cut in (0, 300_000, 900_000):
        with project.cluster.faults({"method": "GetFileTAR", "nth": 1, "cut_after_bytes": cut}):
            snapshot = backup.run()
        assert not snapshot.manifest.partial
        backup.assert_restorable(snapshot)
        project.commit("data", {f"/{cut}": noise.randbytes(1_000_000)}, append={"/large": b"+"})


def test_every_stream_of_a_delta_may_be_cut(backup: Backup) -> None:
    project = backup.project
    fill(project)
    backup.run()
    project.commit("data", {"/d/new": b"n" * 3000}, append={"/large": b"+" * 1000, "/zz": b"+"})
    with project.cluster.faults(
        *({"method": "GetFileTAR", "nth": n, "cut_after_bytes": 600} for n in (1, 3))
    ):
        snapshot = backup.run()
    assert not snapshot.manifest.partial
    backup.assert_restorable(snapshot)


def test_the_bandwidth_limit_holds(backup: Backup) -> None:
    fill(backup.project)
    snapshot = backup.run_policy(limits={"bandwidth": "4MB"})
    seconds = snapshot.manifest.totals.export_seconds
    assert snapshot.manifest.totals.bytes_read / seconds < 4.4e6
    assert seconds < 30
    backup.assert_restorable()
