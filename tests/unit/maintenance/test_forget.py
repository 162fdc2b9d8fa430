"""Forgetting and bringing back: what is told, what is moved, and what a kill between two writes leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fault.dying import killed
from made import CLUSTER, Repo, age, age_all, back_up, flip, new_vault
from pachvault.errors import DamageError, DeniedError, PachvaultError, UsageError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.format.manifest import Problem
from pachvault.format.records import Pipeline
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.forget import ForgetDecision
from pachvault.maintenance.forget.retention import RetentionAction
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.verify import Level
from pachvault.policy import Retention
from pachvault.store.folder_store import FolderStore
from pachvault.vault import snapshots
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PIPELINE = Pipeline(project="p", name="x", version=1, stopped=False, spec_json="{}", details={})
LAST = [Retention(keep_last=1)]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


@pytest.fixture
def made(vault: Vault) -> list[Snapshot]:
    """Three snapshots of a repo."""
    repo = Repo(RepoName("p", "r"))
    backed_up = []
    for number in range(3):
        repo.commit({"/a": b"%d" % number, "/same": b"same"})
        backed_up.append(back_up(vault, repo))
    return backed_up


def ids(vault: Vault) -> list[str]:
    return [name.id for name in snapshots.names(vault)]


def gone(vault: Vault) -> list[str]:
    return [forgotten_snapshot.name.id for forgotten_snapshot in forget.forgotten(vault)]


def forget_all_but_the_last(vault: Vault) -> list[str]:
    return [forgotten_id.id for forgotten_id in forget.execute(vault, forget.plan(vault, LAST, NOW))]


def actions(decisions: Iterable[ForgetDecision]) -> list[str]:
    return [decision.action.value for decision in decisions]


def test_a_plan_tells_each_snapshot_and_changes_nothing(vault: Vault, made: list[Snapshot]) -> None:
    before = {info.name for info in vault.store.list("")}
    decisions = forget.plan(vault, LAST, NOW)
    assert [snapshot.name for snapshot in decisions] == [snapshot.name for snapshot in made]
    assert actions(decisions) == ["forget", "forget", "keep"]
    assert decisions[2].reasons == ("newest good", "last 1")
    assert {info.name for info in vault.store.list("")} == before


def test_forgotten_snapshots_are_moved_and_nothing_else_is_touched(
    vault: Vault, made: list[Snapshot]
) -> None:
    others = {info.name for info in vault.store.list("")} - {snapshot.name.path for snapshot in made}
    assert forget_all_but_the_last(vault) == [made[0].name.id, made[1].name.id]
    assert ids(vault) == [made[2].name.id]
    assert gone(vault) == [made[0].name.id, made[1].name.id]
    now_there = {info.name for info in vault.store.list("")}
    assert now_there - others == {
        made[2].name.path,
        *(layout.forgotten_path(snapshot.name.path) for snapshot in made[:2]),
    }
    assert others <= now_there


def test_forgetting_again_forgets_nothing_more(vault: Vault, made: list[Snapshot]) -> None:
    forget_all_but_the_last(vault)
    stamps = {info.name: info.modified_at for info in vault.store.list("")}
    assert forget_all_but_the_last(vault) == []
    assert {info.name: info.modified_at for info in vault.store.list("")} == stamps


def test_a_plan_that_another_one_carried_out_is_no_error(vault: Vault, made: list[Snapshot]) -> None:
    plan = forget.plan(vault, LAST, NOW)
    assert len(forget.execute(vault, plan)) == 2
    assert forget.execute(vault, plan) == []
    assert gone(vault) == [made[0].name.id, made[1].name.id]


def test_a_snapshot_that_is_pinned_meanwhile_is_kept(vault: Vault, made: list[Snapshot]) -> None:
    plan = forget.plan(vault, LAST, NOW)
    pins.pin(vault, made[0].name.id)
    assert [name.id for name in forget.execute(vault, plan)] == [made[1].name.id]


def test_rules_speak_of_branches_that_snapshots_hold(vault: Vault) -> None:
    images, logs = Repo(RepoName("images", "raw")), Repo(RepoName("logs", "web"))
    for repo in (images, logs):
        repo.commit({"/a": b"1"})
    images.commit({"/b": b"1"}, branch="v1")
    both, both_again, only_logs = (
        back_up(vault, images, logs),
        back_up(vault, images, logs),
        back_up(vault, logs),
    )

    def kept(*match: str) -> set[str]:
        decisions = forget.plan(vault, [Retention(match=list(match), keep_last=1)], NOW)
        return {decision.name.id for decision in decisions if decision.action is RetentionAction.KEEP}

    assert kept("logs/*") == {only_logs.name.id}
    for pattern in ("images/*", "images/raw@v?", "i*/raw@master"):
        # the last of them all holds none, so that no rule matches it
        assert kept(pattern) == {both_again.name.id, only_logs.name.id}
    assert kept("images/raw@dev") == {both.name.id, both_again.name.id, only_logs.name.id}


def test_other_policies_and_clusters_are_left_alone(vault: Vault, made: list[Snapshot]) -> None:
    other = forget.plan(vault, LAST, NOW, policy="nightly")
    assert actions(other) == ["keep"] * 3
    assert other[0].reasons == ("of policy default",)
    elsewhere = forget.plan(vault, LAST, NOW, policy="default", cluster="another")
    assert elsewhere[0].reasons == (f"of cluster {CLUSTER.id}",)
    mine = forget.plan(vault, LAST, NOW, policy="default", cluster=CLUSTER.id)
    assert actions(mine) == ["forget", "forget", "keep"]


def test_a_manifest_that_cannot_be_read_is_kept(vault: Vault, made: list[Snapshot], tmp_path: Path) -> None:
    flip(tmp_path / "vault" / made[0].name.path, 30)
    first, second, _ = forget.plan(vault, LAST, NOW)
    assert (first.action, first.state) == (RetentionAction.KEEP, "damaged")
    assert first.reasons[0].startswith("cannot be read: ")
    assert second.action is RetentionAction.FORGET


def test_partial_snapshots_are_told_apart(vault: Vault) -> None:
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    back_up(vault, repo, problems=(Problem(repo="p/x", kind="gone", message="gone"),))
    back_up(vault, repo)
    assert [(decision.state, decision.action.value) for decision in forget.plan(vault, LAST, NOW)] == [
        ("partial", "forget"),
        ("sealed", "keep"),
    ]


def test_named_snapshots_are_forgotten_unless_they_are_pinned(
    vault: Vault, made: list[Snapshot], tmp_path: Path
) -> None:
    flip(tmp_path / "vault" / made[0].name.path, 30)
    decisions = forget.plan_named(vault, [made[0].short_id, "latest", made[0].name.id])
    assert [decision.state for decision in decisions] == ["damaged", "sealed"]
    forget.execute(vault, decisions)
    assert ids(vault) == [made[1].name.id]
    pins.pin(vault, made[1].name.id)
    with pytest.raises(UsageError, match=r"is pinned \(`pachvault snapshots unpin"):
        forget.plan_named(vault, ["latest"])
    with pytest.raises(UsageError, match="no snapshot '0000'"):
        forget.plan_named(vault, ["0000"])


def test_what_is_brought_back_is_as_before_and_pinned(vault: Vault, made: list[Snapshot]) -> None:
    forget_all_but_the_last(vault)
    back = forget.bring_back(vault, made[0].short_id)
    assert back == made[0].name
    assert ids(vault) == [made[0].name.id, made[2].name.id]
    assert gone(vault) == [made[1].name.id]
    assert snapshots.load(vault, back).manifest == made[0].manifest
    assert pins.load(vault)[made[0].name.id].reason == forget.BROUGHT_BACK
    assert forget_all_but_the_last(vault) == []
    # what is there is brought back by doing nothing
    stamps = {info.name: info.modified_at for info in vault.store.list("")}
    assert forget.bring_back(vault, made[0].short_id) == made[0].name
    assert forget.bring_back(vault, "latest") == made[2].name
    assert {info.name: info.modified_at for info in vault.store.list("")} == stamps


def test_nothing_that_is_not_there_is_brought_back(vault: Vault, made: list[Snapshot]) -> None:
    with pytest.raises(UsageError, match=r"no forgotten snapshot 'dead' .*snapshots --forgotten"):
        forget.bring_back(vault, "dead")


def test_a_snapshot_can_be_brought_back_for_nine_tenths_of_the_grace(
    vault: Vault, made: list[Snapshot]
) -> None:
    forget_all_but_the_last(vault)
    grace = vault.config.grace
    early, late = (layout.forgotten_path(snapshot.name.path) for snapshot in made[:2])
    age(vault, early, grace * 0.89)
    age(vault, late, grace * 0.91)
    assert forget.bring_back(vault, made[0].short_id) == made[0].name
    with pytest.raises(UsageError, match=r"could be brought back until 20.*prune"):
        forget.bring_back(vault, made[1].short_id)
    assert ids(vault) == [made[0].name.id, made[2].name.id]
    assert list(pins.load(vault)) == [made[0].name.id]


def test_when_it_can_be_brought_back_until_is_told(vault: Vault, made: list[Snapshot]) -> None:
    forget_all_but_the_last(vault)
    forgotten_one = forget.forgotten(vault)[0]
    assert forgotten_one.until - forgotten_one.forgotten_at == timedelta(days=7) * 0.9


@pytest.mark.parametrize("lost", [layout.PACKS, layout.TABLES])
def test_a_snapshot_of_which_something_is_gone_stays_forgotten(
    vault: Vault, made: list[Snapshot], lost: str
) -> None:
    forget_all_but_the_last(vault)
    for info in list(vault.store.list(lost)):
        vault.store.delete(info.name)
    before = {info.name for info in vault.store.list("")}
    with pytest.raises(DamageError):
        forget.bring_back(vault, made[0].short_id)
    assert {info.name for info in vault.store.list("")} == before
    assert gone(vault) == [made[0].name.id, made[1].name.id]


def test_a_forgotten_manifest_that_is_damaged_is_not_brought_back(
    vault: Vault, made: list[Snapshot], tmp_path: Path
) -> None:
    forget_all_but_the_last(vault)
    flip(tmp_path / "vault" / layout.forgotten_path(made[0].name.path), 30)
    with pytest.raises(DamageError, match="does not have the digest in its name"):
        forget.bring_back(vault, made[0].short_id)
    assert pins.load(vault) == {}


def test_a_target_that_refuses_deletion_is_told_before_anything_is_written(
    vault: Vault, made: list[Snapshot]
) -> None:
    class AppendOnly(FolderStore):
        def delete(self, name: str) -> None:
            raise DeniedError("no right to delete", where=name)

    assert isinstance(vault.store, FolderStore)
    kept = replace(vault, store=AppendOnly(vault.store.root))
    with pytest.raises(PachvaultError, match="does not allow deletion"):
        forget_all_but_the_last(kept)
    assert ids(vault) == [snapshot.name.id for snapshot in made]
    assert gone(vault) == []


def test_what_an_interrupted_forget_left_long_ago_gets_its_whole_time(
    vault: Vault, made: list[Snapshot]
) -> None:
    there = layout.forgotten_path(made[0].name.path)
    data = vault.store.get(made[0].name.path)
    vault.store.put(there, [data], len(data))
    age_all(vault, vault.config.grace * 2)
    assert gone(vault) == []
    assert forget_all_but_the_last(vault) == [made[0].name.id, made[1].name.id]
    assert forget.bring_back(vault, made[0].short_id) == made[0].name


def killed_at_each_change(vault: Vault, what: Callable[[Vault], object], settle: Callable[[], None]) -> int:
    """Let `what` die at each of its changes and call `settle`; how often it died before it lived."""
    for nth in range(1, 50):
        for how in ("before", "after"):
            if not killed(vault.store, nth, how, lambda store: what(replace(vault, store=store))):
                return nth - 1
            settle()
    raise AssertionError("it never lived")


def test_killed_anywhere_a_forget_leaves_every_snapshot_in_one_place_and_goes_on(
    vault: Vault, made: list[Snapshot]
) -> None:
    everything = {snapshot.name.id for snapshot in made}

    def settle() -> None:
        assert set(ids(vault)) | set(gone(vault)) == everything
        assert set(ids(vault)).isdisjoint(gone(vault))
        forget_all_but_the_last(vault)
        assert ids(vault) == [made[2].name.id]
        assert gone(vault) == [made[0].name.id, made[1].name.id]
        for snapshot in made[:2]:
            forget.bring_back(vault, snapshot.name.id)
            pins.unpin(vault, snapshot.name.id)

    # the clock's object, and two changes for each of two snapshots
    assert killed_at_each_change(vault, forget_all_but_the_last, settle) == 6
    assert ids(vault) == [made[2].name.id]


def test_killed_anywhere_bringing_back_loses_nothing_and_goes_on(vault: Vault, made: list[Snapshot]) -> None:
    everything = {snapshot.name.id for snapshot in made}

    def again() -> None:
        pins.unpin(vault, made[0].name.id)
        forget.execute(vault, forget.plan_named(vault, [made[0].name.id]))

    def settle() -> None:
        assert set(ids(vault)) | set(gone(vault)) == everything
        assert forget.bring_back(vault, made[0].short_id) == made[0].name
        assert ids(vault) == [snapshot.name.id for snapshot in made]
        again()

    again()
    # the clock's object, the pin, the manifest in its new place and out of its old one
    assert (
        killed_at_each_change(vault, lambda mortal: forget.bring_back(mortal, made[0].short_id), settle) == 5
    )
    assert ids(vault) == [snapshot.name.id for snapshot in made]
    assert pins.is_pinned(vault, made[0].name.id)


def test_forgetting_what_is_brought_back_at_the_same_time_loses_nothing(
    vault: Vault, made: list[Snapshot]
) -> None:
    """The forget has written the new place; before it deletes the old one, that new place goes."""

    class Meddled(FolderStore):
        def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
            answer = super().put(name, parts, size)
            if name.startswith(layout.FORGOTTEN):
                FolderStore.delete(self, name)
            return answer

    assert isinstance(vault.store, FolderStore)
    meddled = replace(vault, store=Meddled(vault.store.root))
    assert forget_all_but_the_last(meddled) == []
    assert ids(vault) == [snapshot.name.id for snapshot in made]


def record_of(snapshot: Snapshot) -> str:
    return layout.record_path(snapshot.manifest.repos[0].record)


def newest(vault: Vault, folder: str, before: set[str]) -> str:
    """The one object of a folder that was not there before."""
    (name,) = {info.name for info in vault.store.list(folder)} - before
    return name


@pytest.mark.parametrize("what", ["record", "pipelines", "commit list", "table", "pack"])
def test_a_damaged_snapshot_is_kept_and_takes_the_place_of_none(
    vault: Vault, tmp_path: Path, what: str
) -> None:
    repo = Repo(RepoName("p", "r"))
    for number in range(2):
        repo.commit({"/a": b"%d" % number})
        back_up(vault, repo)
    before = {info.name for info in vault.store.list("")}
    repo.commit({"/a": b"new"})
    last = back_up(vault, repo, pipelines=(PIPELINE,))
    (history,) = (history for _, history in last.repos())
    lists = [layout.table_path(segment.table) for segment in history.record.segments]
    if what == "record":
        flip(tmp_path / "vault" / record_of(last), 30)
    elif what == "pipelines":
        vault.store.delete(layout.record_path(last.manifest.pipelines))
    elif what == "commit list":
        flip(tmp_path / "vault" / next(name for name in lists if name not in before), 30)
    elif what == "table":
        new = {info.name for info in vault.store.list(layout.TABLES)} - before - set(lists)
        vault.store.delete(new.pop())
    else:
        vault.store.delete(newest(vault, layout.PACKS, before))
    decisions = forget.plan(vault, LAST, NOW)
    assert actions(decisions) == ["forget", "keep", "keep"]
    assert decisions[1].reasons == ("newest good", "last 1")
    assert decisions[2].state == "damaged"
    assert decisions[2].reasons[0].startswith("cannot be read: ")


def test_a_pack_that_is_gone_and_that_nobody_needs_is_no_damage(vault: Vault) -> None:
    repo, other = Repo(RepoName("p", "r")), Repo(RepoName("p", "other"))
    other.commit({"/b": b"other"})
    gone = back_up(vault, other)
    before = {info.name for info in vault.store.list(layout.PACKS)}
    repo.commit({"/a": b"1"})
    back_up(vault, repo)
    back_up(vault, repo)
    vault.store.delete(gone.name.path)
    vault.store.delete(before.pop())
    assert actions(forget.plan(vault, LAST, NOW)) == ["forget", "keep"]


def test_by_rules_nothing_is_forgotten_where_audits_know_of_damage(
    vault: Vault, made: list[Snapshot]
) -> None:
    pack = next(iter(vault.store.list(layout.PACKS))).name
    for level, name in ((Level.STRUCTURE, "structure"), (Level.PACKS, "structure"), (Level.DATA, pack)):
        audits.record(vault, level, [AuditEntry(name=name, result="damaged", message="gone")])
        with pytest.raises(DamageError, match=rf"is damaged: {name} \(`pachvault repair`, then") as raised:
            forget.check_known(vault, datetime.now(UTC))
        assert raised.value.exit_code == 13
        audits.record(
            vault, Level.DATA, [AuditEntry(name=checked, result="ok") for checked in ("structure", pack)]
        )
        forget.check_known(vault, datetime.now(UTC))
    audits.record(vault, Level.PACKS, [AuditEntry(name=pack, result="unreadable")])
    forget.check_known(vault, datetime.now(UTC))


def test_what_is_left_damaged_by_an_earlier_forget_is_in_nobodys_way(
    vault: Vault, made: list[Snapshot], tmp_path: Path
) -> None:
    there = layout.forgotten_path(made[0].name.path)
    data = vault.store.get(made[0].name.path)
    vault.store.put(there, [data], len(data))
    flip(tmp_path / "vault" / there, 30)
    forget_all_but_the_last(vault)
    assert vault.store.get(there) == data
    assert ids(vault) == [made[2].name.id]


def test_of_two_manifests_the_whole_one_is_left(vault: Vault, made: list[Snapshot], tmp_path: Path) -> None:
    there = layout.forgotten_path(made[0].name.path)
    data = vault.store.get(made[0].name.path)
    vault.store.put(there, [data], len(data))
    flip(tmp_path / "vault" / made[0].name.path, 30)
    forget.execute(vault, forget.plan_named(vault, [made[0].name.id]))
    assert vault.store.get(there) == data
    assert gone(vault) == [made[0].name.id]


def test_one_that_is_pinned_while_it_is_forgotten_stays(vault: Vault, made: list[Snapshot]) -> None:
    """Bringing back pins first: so a forget that is under way learns of it."""

    class Meddled(FolderStore):
        def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
            answer = super().put(name, parts, size)
            if name == layout.forgotten_path(made[0].name.path):
                pins.pin(vault, made[0].name.id)
            return answer

    assert isinstance(vault.store, FolderStore)
    meddled = replace(vault, store=Meddled(vault.store.root))
    assert forget_all_but_the_last(meddled) == [made[1].name.id]
    assert ids(vault) == [made[0].name.id, made[2].name.id]


def test_bringing_back_in_vain_deletes_nothing_that_is_nowhere_else(
    vault: Vault, made: list[Snapshot]
) -> None:
    class Meddled(FolderStore):
        def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
            answer = super().put(name, parts, size)
            if name.startswith(layout.SNAPSHOTS):
                FolderStore.delete(self, layout.forgotten_path(name))
            return answer

    forget_all_but_the_last(vault)
    for info in list(vault.store.list(layout.PACKS)):
        vault.store.delete(info.name)
    assert isinstance(vault.store, FolderStore)
    with pytest.raises(DamageError):
        forget.bring_back(replace(vault, store=Meddled(vault.store.root)), made[0].short_id)
    assert made[0].name.id in ids(vault)


def test_what_vanishes_while_it_is_brought_back_is_left_forgotten(
    vault: Vault, made: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_all_but_the_last(vault)
    monkeypatch.setattr(forget.snapshot_check, "check", lambda vault, name: vault.store.delete(name.path))
    with pytest.raises(DamageError, match="was just written, and is gone"):
        forget.bring_back(vault, made[0].short_id)
    assert made[0].name.id in gone(vault)
