"""docs/format.md, section 9: what writers keep away from, and how audits, repair and erase change a vault."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pytest

from made import CLUSTER, Repo, back_up
from memory import Killed
from pachvault.backup import run_records
from pachvault.backup.backup_messages import Plan, Receipt, WrittenObject
from pachvault.backup.seal.seal import seal
from pachvault.errors import BusyError
from pachvault.format import documents, layout
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import Audit, AuditEntry, PendingDelete
from pachvault.maintenance.erase import erase, erase_plan
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.repair import repair
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.checks import verify_manifests
from pachvault.maintenance.verify.verify import Level
from pachvault.runtime.progress import Quiet
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.clock import TOLERANCE
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot
from stored import CONTENT, Stored, flip, heal
from timed import GRACE, TICK, Timed, made

HALF = GRACE / 2
NOW = datetime.fromisoformat("2026-01-01T01:00:00+00:00")
PLAN = Plan(
    status="work", summary="", run_id="run", cluster=CLUSTER, freeze_began_at=NOW, frozen_at=NOW, shares=1
)
KEY = digest(b"share").hex()


def mark(story: Timed, *names: str, reason: str = "by hand") -> None:
    pending_deletes.write(story.vault, [PendingDelete(name=name, reason=reason) for name in names])


# 9.5 writers and marks


def receipt(story: Timed, kind: str, names: list[str]) -> Receipt:
    objects = [
        WrittenObject(digest=layout.named_digest(name) or b"", size=len(story.store.get(name)))
        for name in names
    ]
    return Receipt(run_id="run", number=0, key=KEY, items=[], **{kind: objects})


@pytest.mark.parametrize("kind", ["packs", "index", "tables"])
def test_clause_9_5_seal_refuses_a_run_that_relies_on_an_object_of_its_own_that_is_marked(kind: str) -> None:
    story, *_ = made()
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    name = file_table(story, 10) if kind == "tables" else story.names(kind)[0]
    mark(story, name)
    written = receipt(story, kind, [name])
    with pytest.raises(BusyError, match="became a pending delete after the run began"):
        seal(story.vault, PLAN, [written])
    assert not any(written_name.startswith(layout.SNAPSHOTS) for written_name in story.store.written())
    for mark_name in story.mark_names():
        story.store.delete(mark_name)
    seal(story.vault, PLAN, [written])


def file_table(story: Timed, content: int) -> str:
    return next(
        name
        for name in story.names(layout.TABLES)
        if digest(CONTENT[content]) in story.store.get(name) and b"pfs_hash" in story.store.get(name)
    )


def test_clause_9_5_seal_refuses_a_run_whose_blobs_lie_in_a_pack_that_is_marked() -> None:
    story, *_ = made()
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    (pack,) = [name for name in story.names(layout.PACKS) if CONTENT[10] in story.store.get(name)]
    written = receipt(story, "tables", [file_table(story, 10)])
    mark(story, pack)
    with pytest.raises(BusyError, match="a pack that the run needs became a pending delete"):
        seal(story.vault, PLAN, [written])
    assert not any(name.startswith(layout.SNAPSHOTS) for name in story.store.written())


def test_clause_9_5_what_a_run_was_refused_for_is_not_taken_up_by_the_next_one() -> None:
    story, *_ = made()
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    name = story.names(layout.PACKS)[0]
    written = receipt(story, "packs", [name])
    run_records.keep_receipt(story.vault, written)
    mark(story, name)
    with pytest.raises(BusyError):
        seal(story.vault, PLAN, [written])
    assert layout.receipt_path(KEY) not in story.store.objects


def test_clause_9_5_seal_reads_the_marks_before_the_index() -> None:
    story, *_ = made()
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    story.store.calls.clear()
    seal(story.vault, PLAN, [receipt(story, "tables", [file_table(story, 10)])])
    assert story.store.position("list", "marks/") < story.store.position("list", "index/")


def test_clause_9_5_a_marked_pack_counts_as_absent_and_no_marked_name_is_used() -> None:
    story, _, _, alone = made()
    mark(story, *alone)
    story.store.calls.clear()
    before = len(blob_index.load_places(story.vault))
    assert len(blob_index.load_places(pending_deletes.for_writing(story.vault))) == before - 2
    again = story.back_up(2, 10, 11)
    assert not alone & set(story.store.written())
    assert again.manifest.totals.blobs_new == 2
    story.check()


# 9.9 audits


def audit(story: Timed, said_at: datetime, result: Literal["ok", "damaged"] = "ok") -> None:
    document = Audit(audited_at=said_at, level="packs", objects=[AuditEntry(name="packs/x", result=result)])
    data = documents.encode(document)
    story.store.put(layout.stamped_path(layout.AUDITS, said_at, digest(data)), [data], len(data))


def good_at(story: Timed) -> datetime | None:
    known = audits.results(audits.load(story.vault), story.store.now)
    return audits.good_at(known, "packs", "packs/x")


def test_clause_9_9_an_audit_says_when_how_deep_and_of_what_with_which_result() -> None:
    story, *_ = made()
    audits.record(story.vault, "packs", [AuditEntry(name="packs/x", result="damaged", message="why")])
    (name,) = story.names(layout.AUDITS)
    noted_audit = documents.decode(Audit, story.vault.read(name))
    assert (noted_audit.type, noted_audit.level) == ("audit", "packs")
    assert [(entry.name, entry.result, entry.message) for entry in noted_audit.objects] == [
        ("packs/x", "damaged", "why")
    ]


def test_clause_9_9_deleting_every_audit_loses_no_data() -> None:
    story, *_ = made()
    story.check()
    audit(story, story.store.now)
    for name in story.names(layout.AUDITS):
        story.store.delete(name)
    story.check()
    story.prune()
    story.check()


@pytest.mark.parametrize("ahead", [-timedelta(days=3), timedelta(days=3)])
def test_clause_9_9_a_good_result_counts_from_the_earlier_of_its_two_times(ahead: timedelta) -> None:
    story, *_ = made()
    stored_at = story.store.now
    said_at = stored_at + ahead
    audit(story, said_at)
    story.pass_by(timedelta(days=10))
    assert good_at(story) == min(said_at, stored_at)


def test_clause_9_9_a_good_result_does_not_count_where_its_own_time_lies_in_the_future() -> None:
    for late in (timedelta(0), TICK):
        story, *_ = made()
        audit(story, story.store.now + TOLERANCE + late)
        assert good_at(story) == (None if late else story.store.now)


def test_clause_9_9_a_good_result_does_not_count_where_the_stores_time_lies_in_the_future() -> None:
    for late in (timedelta(0), TICK):
        story, *_ = made()
        said_at = story.store.now
        story.pass_by(TOLERANCE + late)
        audit(story, said_at)
        story.pass_by(-TOLERANCE - late)
        assert good_at(story) == (None if late else said_at)


@pytest.mark.parametrize("late", [timedelta(0), TICK])
def test_clause_9_9_a_bad_result_counts_as_the_newest_of_all_where_both_times_lie_in_the_future(
    late: timedelta,
) -> None:
    story, *_ = made()
    story.pass_by(TOLERANCE + late)
    audit(story, story.store.now, "damaged")
    story.pass_by(-TOLERANCE - late)
    story.pass_by(timedelta(days=30) if not late else timedelta(0))
    audit(story, story.store.now)
    known = audits.results(audits.load(story.vault), story.store.now)
    assert audits.has_failed(known, "packs/x") == bool(late)


def listed() -> tuple[Timed, Snapshot]:
    """A vault with a list of all manifests, and one of its snapshots."""
    story, _, gone, _ = made()
    manifests = [name for folder in (layout.SNAPSHOTS, layout.FORGOTTEN) for name in story.names(folder)]
    audits.record(story.vault, "structure", [], manifests, at=story.store.now)
    return story, gone


def missing(story: Timed) -> list[tuple[str, bool]]:
    """The manifests that verify misses, and whether each is a loss."""
    damages = verify_manifests.check(story.vault).damages
    return [(damage.object, damage.is_vital) for damage in damages]


@pytest.mark.parametrize("late", [timedelta(0), TICK])
def test_clause_9_9_a_listed_manifest_that_is_missing_is_a_loss_for_nine_tenths_of_the_grace_period(
    late: timedelta,
) -> None:
    story, gone = listed()
    assert missing(story) == []
    story.store.delete(gone.name.path)
    story.pass_by(GRACE * 0.9 - TICK + late)
    assert missing(story) == [(gone.name.path, not late)]
    assert (verify_manifests.check(story.vault).paths is None) == (not late)


def test_clause_9_9_a_missing_number_after_the_list_is_a_loss() -> None:
    story, _ = listed()
    lost = story.back_up(3, 20)
    story.back_up(4, 21)
    assert missing(story) == []
    story.store.delete(lost.name.path)
    assert missing(story) == [(layout.SNAPSHOTS, True)]


def test_clause_9_9_the_newest_list_is_kept_when_audits_are_merged() -> None:
    story, _ = listed()
    (name,) = story.names(layout.AUDITS)
    story.pass_by(timedelta(days=1))
    audits.record(story.vault, "structure", [], at=story.store.now)
    story.pass_by(timedelta(days=60))
    audits.compact(story.vault, story.store.now, timedelta(days=30))
    assert story.names(layout.AUDITS) == [name]


# 9.10 repair


def repaired(story: Stored, level: Level = Level.DATA) -> repair.Repaired:
    return repair.execute(repair.plan(story.store, level, Quiet()), heal, Quiet())


def damaged() -> tuple[Timed, str, str]:
    """A corrupt index object, and a pack of which one of two blobs does not read."""
    story, *_ = made()
    (pack,) = [name for name in story.names(layout.PACKS) if CONTENT[10] in story.store.get(name)]
    flip(story.store, pack, story.store.get(pack).index(CONTENT[10]))
    index = story.names(layout.INDEX)[0]
    flip(story.store, index, 60)
    story.store.calls.clear()
    return story, pack, index


def test_clause_9_10_what_replaces_something_is_read_back_before_that_is_let_go() -> None:
    story, pack, index = damaged()
    assert repaired(story).is_intact
    calls = story.store.calls
    assert index in story.store.deleted()
    gone_at = calls.index(("delete", index))
    new = [name for name in story.store.written() if name.startswith((layout.PACKS, layout.INDEX))]
    assert {name.partition("/")[0] for name in new} == {layout.PACKS, layout.INDEX}
    for name in new:
        written_at = calls.index(("put", name))
        assert written_at < calls.index(("get", name), written_at) < gone_at
    assert calls.index(("put", min(story.mark_names()))) > max(calls.index(("put", name)) for name in new[:1])
    story.check()
    assert pack in story.store.objects


def test_clause_9_10_repair_deletes_nothing_but_an_index_object_and_the_configuration() -> None:
    story, _, index = damaged()
    data, at = story.store.objects[layout.CONFIG]
    story.store.objects[layout.CONFIG] = b"not this", at
    assert repaired(story).is_intact
    assert set(story.store.deleted()) == {index, layout.CONFIG}
    assert story.vault.config.vault_id in data.decode()


def older_commit_list(story: Timed, repo: Repo) -> str:
    """A commit list of which a later snapshot has a longer one."""
    snapshots_of_repo = []
    for number in (31, 32, 33):
        repo.commit({f"/{number}": CONTENT[number]})
        snapshots_of_repo.append(back_up(story.vault, repo, number=number))
    lists = [snapshot.repo(repo.name).record.segments for snapshot in snapshots_of_repo]
    assert lists[1] != lists[2]
    story.pass_by(timedelta(hours=1))
    story.store.calls.clear()
    return layout.table_path(lists[0][0].table)


@pytest.mark.parametrize("is_corrupt", [False, True])
def test_clause_9_10_a_lost_table_is_rewritten_under_its_name(*, is_corrupt: bool) -> None:
    story, *_ = made()
    name = older_commit_list(story, Repo(RepoName("p", "grown")))
    data = story.store.get(name)
    if is_corrupt:
        flip(story.store, name, 60)
    else:
        story.store.delete(name)
    story.store.calls.clear()
    done = repair.execute(repair.plan(story.store, Level.DATA, Quiet()), None, Quiet())
    assert (done.rebuilt, done.is_intact) == ([name], True)
    assert story.store.get(name) == data
    assert set(story.store.deleted()) <= {name}
    assert story.damages() == []


def test_clause_9_10_a_lost_table_that_is_a_pending_delete_is_not_rewritten() -> None:
    story, *_ = made()
    name = older_commit_list(story, Repo(RepoName("p", "grown")))
    mark(story, name)
    flip(story.store, name, 60)
    story.store.calls.clear()
    done = repair.execute(repair.plan(story.store, Level.DATA, Quiet()), None, Quiet())
    assert [lost.object for lost in done.lost_objects] == [name]
    assert name not in story.store.deleted()


def test_clause_9_10_what_is_whole_is_not_deleted() -> None:
    story, *_ = made()
    assert repaired(story).is_intact
    assert story.store.deleted() == []
    assert story.mark_names() == set()


def test_clause_9_10_a_damaged_pack_is_marked_and_stays_so_while_it_is_there() -> None:
    """Needed or not: the lost blob is nowhere else."""
    story, pack, _ = damaged()
    done = repair.execute(repair.plan(story.store, Level.DATA, Quiet()), None, Quiet())
    assert done.lost_files
    assert pack in story.marked()
    for _ in range(4):
        story.pass_by(GRACE)
        story.prune()
        assert pack in story.store.objects
        assert pack in story.marked()
    again = story.back_up(7, 10)
    assert again.manifest.totals.blobs_new == 1, "what does not read is stored again when it is met again"


# 9.11 erase

SELECTION = EraseSelection(("p/r2",), ("/10",))


def plan_of(story: Timed) -> erase_plan.ErasePlan:
    return erase_plan.plan(story.vault, SELECTION, Quiet())


def do_erase(story: Timed) -> None:
    erase.execute(plan_of(story), Quiet())


def assert_erased(story: Timed) -> None:
    story.trees["run-2"][2].pop("/10", None)
    assert plan_of(story).is_empty
    assert not any(CONTENT[10] in data for data, _ in story.store.objects.values())
    assert not blob_index.load_places(story.vault).has([digest(CONTENT[10])]).any()
    story.check()


def test_clause_9_11_bytes_go_without_waiting_for_the_grace() -> None:
    story, *_ = made()
    do_erase(story)
    assert_erased(story)
    erased = [snapshots.load(story.vault, name).manifest.erased for name in snapshots.names(story.vault)]
    assert [[finding.what for finding in some] for some in erased] == [[], ["/10 in p/r2"]]


def test_clause_9_11_all_is_written_anew_and_read_back_before_the_bytes_go_and_the_tables_go_last() -> None:
    story, _, gone, _ = made()
    do_erase(story)
    calls = story.store.calls
    folders = (layout.PACKS, layout.INDEX, layout.TABLES, layout.RECORDS, layout.SNAPSHOTS)
    new = [name for name in story.store.written() if name.startswith(folders)]
    assert {name.partition("/")[0] for name in new} == set(folders)
    deleted = [name for name in story.store.deleted() if name.startswith(folders)]
    bytes_at = min(calls.index(("delete", name)) for name in deleted if name.startswith(layout.PACKS))
    for name in new:
        written_at = calls.index(("put", name))
        assert written_at < calls.index(("get", name), written_at) < bytes_at
    (manifest,) = [name for name in new if name.startswith(layout.SNAPSHOTS)]
    assert calls.index(("put", manifest)) < calls.index(("delete", gone.name.path)) < bytes_at
    kinds = [name.partition("/")[0] for name in deleted]
    assert kinds[:1] == [layout.SNAPSHOTS]
    assert set(kinds[kinds.index(layout.PACKS) + 1 :]) <= {layout.PACKS, layout.RECORDS, layout.TABLES}
    assert kinds[-1] == layout.TABLES


@pytest.mark.parametrize("how", ["before", "after"])
def test_clause_9_11_a_second_erase_finishes_one_that_died_at_any_deletion(how: str) -> None:
    nth, is_over = 0, False
    while not is_over:
        nth += 1
        story, *_ = made()
        store = Dying(story, nth, how)
        opened = type(story.vault)(store, story.vault.config)  # type: ignore[arg-type]  # by __getattr__
        try:
            erase.execute(erase_plan.plan(opened, SELECTION, Quiet()), Quiet())
            is_over = True
        except Killed:
            do_erase(story)
        assert_erased(story)
    assert nth > 6


class Dying:
    """A process that is killed at its n-th deletion."""

    def __init__(self, story: Timed, nth: int, how: str) -> None:
        self._story, self._left, self._how = story, nth, how

    def delete(self, name: str) -> None:
        self._left -= 1
        if self._left == 0 and self._how == "before":
            raise Killed
        self._story.store.delete(name)
        if self._left == 0:
            raise Killed

    def __getattr__(self, name: str) -> object:
        return getattr(self._story.store, name)


@pytest.mark.parametrize("early", [TICK, HALF])
def test_clause_9_11_it_refuses_while_an_announced_run_may_still_be_sealed(early: timedelta) -> None:
    story, *_ = made()
    run_records.announce(story.vault, "run", "default", CLUSTER.id, NOW)
    story.pass_by(HALF - early)
    before = set(story.store.objects)
    with pytest.raises(BusyError, match="backup run is in progress"):
        do_erase(story)
    assert set(story.store.objects) == before
    story.pass_by(early)
    do_erase(story)
    assert_erased(story)


def test_clause_9_11_a_run_announced_meanwhile_keeps_the_bytes() -> None:
    story, *_ = made()
    packs = set(story.names(layout.PACKS))

    class Meddled:
        """A run begins when the new manifest is there."""

        def put(self, name: str, parts: list[bytes], size: int) -> bool:
            answer = story.store.put(name, parts, size)
            if name.startswith(layout.SNAPSHOTS):
                run_records.announce(story.vault, "late", "default", CLUSTER.id, NOW)
            return answer

        def __getattr__(self, name: str) -> object:
            return getattr(story.store, name)

    opened = type(story.vault)(Meddled(), story.vault.config)  # type: ignore[arg-type]  # by __getattr__
    with pytest.raises(BusyError, match="backup late is in progress"):
        erase.execute(erase_plan.plan(opened, SELECTION, Quiet()), Quiet())
    assert packs <= set(story.names(layout.PACKS))
    run_records.finish(story.vault, "late")
    do_erase(story)
    assert_erased(story)
