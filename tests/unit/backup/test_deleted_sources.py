"""Repos, branches and pipelines that earlier snapshots have and the cluster lists no more are noted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from made import BEGAN, CLUSTER, Repo, back_up, new_vault
from pachvault import policy
from pachvault.backup.freeze.deleted_sources import deleted
from pachvault.backup.freeze.survey import Survey
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import GONE
from pachvault.format.records import Pipeline
from pachvault.maintenance.forget import forget
from pachvault.policy import Policy
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault


def chosen(**fields: object) -> Policy:
    return policy.validate({"version": 1, "target": "x", "sources": ["p/*"], **fields}, "test")


EVERYTHING = chosen()


def repo(name: str, *branches: str, made: timedelta = timedelta()) -> Repo:
    new_repo = Repo(RepoName("p", name), created_at=BEGAN + made)
    for branch in branches or ("master",):
        new_repo.commit({"/a": name.encode()}, branch=branch)
    return new_repo


def pipeline(name: str) -> Pipeline:
    return Pipeline(project="p", name=name, version=1, stopped=False, spec_json="{}", details={})


def surveyed(
    *repos: Repo, pipelines: tuple[Pipeline, ...] = (), also_listed: frozenset[RepoName] = frozenset(),
    skipped: frozenset[RepoName] = frozenset(), vanished: tuple[RepoName, ...] = (),
) -> Survey:  # fmt: skip
    return Survey(
        cluster=CLUSTER,
        began_at=BEGAN,
        ended_at=BEGAN,
        is_settled=True,
        counted_from=BEGAN,
        projects=(),
        repos=tuple(known_repo.surveyed for known_repo in repos if known_repo.branches),
        pipelines=pipelines,
        vanished=vanished,
        listed=frozenset(known_repo.name for known_repo in repos) | also_listed | skipped,
        skipped=skipped,
    )


def found(notes: list[Problem]) -> list[tuple[str, str, str | None]]:
    return [(note.kind, note.where, note.since) for note in notes]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def test_nothing_is_missing_at_first_nor_where_all_is_there(vault: Vault) -> None:
    a = repo("a")
    assert deleted(vault, surveyed(a), EVERYTHING) == []
    back_up(vault, a, pipelines=(pipeline("x"),))
    assert deleted(vault, surveyed(a, repo("new"), pipelines=(pipeline("x"),)), EVERYTHING) == []


def test_a_deleted_repo_is_named_in_every_snapshot_while_one_has_it(vault: Vault) -> None:
    a, b = repo("a"), repo("b")
    first = back_up(vault, a, b)
    notes = deleted(vault, surveyed(a), EVERYTHING)
    assert found(notes) == [("repo-deleted", "p/b", None)]
    (note,) = notes
    assert note.is_note
    assert (note.last_seen, note.branch) == (first.name.id, None)
    assert (
        f"last in snapshot {first.short_id} of 2026-01-01 01:00 UTC, missing since this snapshot"
        in note.message
    )

    second = back_up(vault, a, problems=(note,))
    (again,) = deleted(vault, surveyed(a), EVERYTHING)
    assert (again.last_seen, again.since) == (first.name.id, second.name.id)
    back_up(vault, a, problems=(again,))
    (again,) = deleted(vault, surveyed(a), EVERYTHING)
    assert (again.last_seen, again.since) == (first.name.id, second.name.id)
    assert again.message.endswith(f"missing since snapshot {second.short_id}")

    forget.execute(vault, forget.plan_named(vault, [first.short_id]))
    assert deleted(vault, surveyed(a), EVERYTHING) == [], "nothing has it any more"


def test_where_the_last_one_that_had_it_is_forgotten_the_one_before_is_named(vault: Vault) -> None:
    a, b = repo("a"), repo("b")
    first, second = back_up(vault, a, b), back_up(vault, a, b)
    back_up(vault, a, problems=tuple(deleted(vault, surveyed(a), EVERYTHING)))
    forget.execute(vault, forget.plan_named(vault, [second.short_id]))
    (note,) = deleted(vault, surveyed(a), EVERYTHING)
    assert note.last_seen == first.name.id


def test_what_the_policy_means_no_more_is_not_missing(vault: Vault) -> None:
    a, b = repo("a"), repo("b")
    back_up(vault, a, b)
    for other in (chosen(sources=["p/a"]), chosen(exclude=["p/b"]), chosen(name="another")):
        assert deleted(vault, surveyed(a), other) == []
    note = deleted(vault, surveyed(a), EVERYTHING)
    back_up(vault, a, problems=tuple(note))
    for other in (chosen(sources=["p/a"]), chosen(exclude=["p/b"]), chosen(exclude=["p/b@*"])):
        assert deleted(vault, surveyed(a), other) == []
    skipped = surveyed(a, skipped=frozenset({b.name}))
    assert deleted(vault, skipped, chosen(outputs="skip")) == []


def test_a_repo_that_is_back_is_missing_no_more(vault: Vault) -> None:
    a, b = repo("a"), repo("b")
    back_up(vault, a, b)
    back_up(vault, a, problems=tuple(deleted(vault, surveyed(a), EVERYTHING)))
    assert deleted(vault, surveyed(a, b), EVERYTHING) == [], "it may only have been hidden"


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_repo_that_was_made_anew_is_named(vault: Vault, is_noticed: bool) -> None:
    a, b, new = repo("a"), repo("b"), repo("b", made=timedelta(hours=1))
    first = back_up(vault, a, b)
    if is_noticed:  # a snapshot was taken between
        back_up(vault, a, problems=tuple(deleted(vault, surveyed(a), EVERYTHING)))
    (note,) = deleted(vault, surveyed(a, new), EVERYTHING)
    assert (note.kind, note.where, note.last_seen) == ("repo-made-anew", "p/b", first.name.id)
    back_up(vault, a, new, problems=(note,))
    (again,) = deleted(vault, surveyed(a, new), EVERYTHING)
    assert (again.kind, again.last_seen) == (note.kind, first.name.id)


def test_a_deleted_branch_is_named_and_so_is_the_last_one_of_a_repo(vault: Vault) -> None:
    a, b = repo("a", "master", "side"), repo("b")
    back_up(vault, a, b)
    left = repo("a")
    bare = Repo(b.name)
    notes = deleted(vault, surveyed(left, bare), EVERYTHING)
    assert found(notes) == [("branch-deleted", "p/a@side", None), ("branch-deleted", "p/b@master", None)]
    second = back_up(vault, left, problems=tuple(notes))
    again = deleted(vault, surveyed(left, bare), EVERYTHING)
    assert {note.since for note in again} == {second.name.id}
    assert deleted(vault, surveyed(a, b), EVERYTHING) == []
    assert found(deleted(vault, surveyed(left), EVERYTHING)) == [
        ("branch-deleted", "p/a@side", second.name.id)
    ]


def test_a_deleted_pipeline_is_named_unless_pipelines_are_skipped(vault: Vault) -> None:
    a = repo("a")
    first = back_up(vault, a, pipelines=(pipeline("x"), pipeline("y")))
    (note,) = deleted(vault, surveyed(a, pipelines=(pipeline("y"),)), EVERYTHING)
    assert (note.kind, note.repo, note.last_seen) == ("pipeline-deleted", "p/x", first.name.id)
    assert deleted(vault, surveyed(a), chosen(pipelines="skip")) == []
    back_up(vault, a, pipelines=(pipeline("y"),), problems=(note,))
    (again,) = deleted(vault, surveyed(a, pipelines=(pipeline("y"),)), EVERYTHING)
    assert again.last_seen == first.name.id


def test_what_vanished_during_a_freeze_is_a_deleted_repo_from_then_on(vault: Vault) -> None:
    a, b = repo("a"), repo("b")
    first = back_up(vault, a, b)
    assert deleted(vault, surveyed(a, vanished=(b.name,)), EVERYTHING) == [], "the freeze says so itself"
    gone = Problem(repo="p/b", kind=GONE, message="deleted during the freeze")
    second = back_up(vault, a, problems=(gone,))
    (note,) = deleted(vault, surveyed(a), EVERYTHING)
    assert (note.kind, note.last_seen, note.since) == ("repo-deleted", first.name.id, second.name.id)


def test_damaged_records_hide_no_missing_repo(vault: Vault) -> None:
    a, b = repo("a"), repo("b")
    first: Snapshot = back_up(vault, a, b)
    for info in list(vault.store.list("records")):
        vault.store.delete(info.name)
    (note,) = deleted(vault, surveyed(a), EVERYTHING)
    assert (note.kind, note.where, note.last_seen) == ("repo-deleted", "p/b", first.name.id)
