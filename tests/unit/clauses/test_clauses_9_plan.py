"""docs/format.md, 9.7 and 9.8, as prune plans: what holds an object, until when; what index objects say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from made import Repo, back_up
from pachvault.backup import run_records
from pachvault.backup.backup_messages import Receipt, WrittenObject
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import PendingDelete
from pachvault.maintenance.prune import receipt_references
from pachvault.maintenance.prune.prune_plan import PruneAction
from pachvault.vault import pending_deletes
from timed import GRACE, TICK, Timed, made

HALF = GRACE / 2


def keep(story: Timed, key: str, **objects: list[WrittenObject]) -> str:
    receipt = Receipt(run_id="run", number=0, key=digest(key.encode()).hex(), items=[], **objects)
    run_records.keep_receipt(story.vault, receipt)
    return layout.receipt_path(receipt.key)


def test_clause_9_7_a_receipt_that_does_not_count_hides_none_that_does() -> None:
    story, *_ = made()
    pack = WrittenObject(digest=bytes(32), size=1)
    names = [layout.receipt_path(first * 64) for first in "01"]
    story.store.put(names[0], [b"{"], 1)
    story.store.put(names[1], [b"{}"], 2)
    old = keep(story, "old", packs=[pack])
    run_records.announce(story.vault, "a-run", "default", "c", story.store.now)
    story.pass_by(GRACE)
    held = receipt_references.held(story.vault, story.store.now)
    assert held == {}, f"{old} is as old as the grace"
    for number in range(8):  # names before and after those that do not count
        keep(story, f"new {number}", packs=[WrittenObject(digest=digest(b"%d" % number), size=1)])
    story.store.put(layout.receipt_path("2" * 64), [b"{"], 1)
    held = receipt_references.held(story.vault, story.store.now)
    assert set(held) == {layout.pack_path(digest(b"%d" % number)) for number in range(8)}


def test_clause_9_7_what_several_receipts_name_is_held_as_long_as_the_youngest_says() -> None:
    for order in (("one", "two"), ("two", "one")):
        story, *_ = made()
        pack = [WrittenObject(digest=bytes(32), size=1)]
        for key in order:
            story.pass_by(timedelta(days=1))
            keep(story, key, packs=pack)
        held = receipt_references.held(story.vault, story.store.now)
        assert held == {layout.pack_path(bytes(32)): story.store.now + GRACE}


def test_clause_9_7_what_runs_left_is_collected_when_it_is_as_old_as_the_grace() -> None:
    story, *_ = made()
    name = keep(story, "share")
    story.pass_by(GRACE - TICK)
    story.prune()
    assert name in story.store.objects
    story.pass_by(TICK)
    story.prune()
    assert name not in story.store.objects


def test_clause_9_7_a_single_needed_byte_keeps_a_pack() -> None:
    story, *_ = made()
    repo = Repo(RepoName("p", "tiny"))
    repo.commit({"/a": b"x"})
    before = set(story.names(layout.PACKS))
    tiny = back_up(story.vault, repo, number=9)
    (pack,) = set(story.names(layout.PACKS)) - before
    pending_deletes.write(story.vault, [PendingDelete(name=pack, reason="by hand")])
    story.pass_by(GRACE)
    assert story.planned(pack).action is PruneAction.SPARE  # type: ignore[union-attr]
    story.forget(tiny)
    assert story.planned(pack).action is PruneAction.WAIT  # type: ignore[union-attr]
    story.pass_by(GRACE)
    assert story.planned(pack).action is PruneAction.DELETE  # type: ignore[union-attr]


def test_clause_9_7_each_planned_object_says_until_when_it_waits() -> None:
    story, _, gone, alone = made()
    (pack,) = [name for name in alone if name.startswith(layout.PACKS)]
    written_at = story.store.now

    def said() -> tuple[PruneAction, object, str, int]:
        planned = story.planned(pack)
        assert planned is not None
        assert planned.name == pack
        return planned.action, planned.until, planned.reason, planned.size

    size = len(story.store.get(pack))
    data = story.store.get(gone.name.path)
    story.store.delete(gone.name.path)
    young = "young: a run in progress may need it"
    assert said() == (PruneAction.KEEP, written_at + HALF, young, size)
    story.pass_by(HALF)
    assert said() == (PruneAction.MARK, None, "no snapshot needs it", size)
    receipt = keep(story, "share", packs=[WrittenObject(digest=layout.named_digest(pack) or b"", size=size)])
    held_until = story.store.now + GRACE
    assert said() == (PruneAction.KEEP, held_until, "of a run that may be resumed", size)
    story.store.delete(receipt)
    pending_deletes.write(story.vault, [PendingDelete(name=pack, reason="by hand")])
    marked_at = story.store.now
    since = f"marked since {marked_at:%Y-%m-%d %H:%M} UTC"
    assert said() == (PruneAction.WAIT, marked_at + GRACE, since, size)
    story.pass_by(timedelta(days=5))
    story.store.put(layout.forgotten_path(gone.name.path), [data], len(data))
    needed = f"{since}, and a snapshot that can be brought back needs it"
    assert said() == (PruneAction.WAIT, story.store.now + GRACE, needed, size)
    story.pass_by(GRACE)
    assert said() == (PruneAction.DELETE, None, since, size)


@pytest.mark.parametrize("is_said_elsewhere", [False, True])
def test_clause_9_7_an_index_object_goes_only_when_others_that_stay_say_what_it_says(
    *, is_said_elsewhere: bool
) -> None:
    story, *_ = made()
    first, *_ = names = story.names(layout.INDEX)
    assert len(names) > 1, "of which each is about a pack of its own"
    pending_deletes.write(story.vault, [PendingDelete(name=first, reason="by hand")])
    if is_said_elsewhere:
        data = story.store.get(first)
        story.vault.put_index(data)
        again = pending_deletes.for_writing(story.vault).put_index(data)  # the same rows under another name
        assert layout.index_path(again.digest) != first
    story.pass_by(GRACE)
    planned = story.planned(first)
    assert planned is not None
    assert planned.action is (PruneAction.DELETE if is_said_elsewhere else PruneAction.SPARE)
    story.prune()
    assert (first in story.store.objects) != is_said_elsewhere
    story.check()


def test_clause_9_7_of_two_marked_index_objects_about_one_pack_neither_goes() -> None:
    story, *_ = made()
    first, *_ = story.names(layout.INDEX)
    pending_deletes.write(story.vault, [PendingDelete(name=first, reason="by hand")])
    again = pending_deletes.for_writing(story.vault).put_index(story.store.get(first))
    second = layout.index_path(again.digest)
    pending_deletes.write(story.vault, [PendingDelete(name=second, reason="by hand")])
    story.pass_by(GRACE)
    assert {story.planned(name).action for name in (first, second)} == {PruneAction.SPARE}  # type: ignore[union-attr]
    story.prune()
    assert {first, second} <= set(story.store.objects)
    story.check()


def test_clause_9_8_marks_of_what_waits_and_of_what_is_spared_are_told_apart() -> None:
    story, kept, _, _ = made()
    record = layout.record_path(kept.manifest.repos[0].record)
    pending_deletes.write(story.vault, [PendingDelete(name=record, reason="by hand")])
    story.pass_by(GRACE - TICK)
    planned = story.planned(record)
    assert planned is not None
    size = len(story.store.get(record))
    assert (planned.action, planned.reason, planned.size) == (
        PruneAction.WAIT,
        "marked, and needed again",
        size,
    )
    story.pass_by(TICK)
    assert story.planned(record).action is PruneAction.SPARE  # type: ignore[union-attr]
