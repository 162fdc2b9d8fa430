"""Prune: mark what no snapshot needs, wait for the grace, delete what is still not needed. No lock.

Executing looks again before it deletes: why that is safe while others back up, restore, forget or prune
is in docs/format.md, section 9.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pachvault.errors import BusyError, DamageError
from pachvault.format import index, layout
from pachvault.format.documents import Marked
from pachvault.progress import Progress
from pachvault.upkeep.copy import copy
from pachvault.upkeep.prune_plan import Action, Look, Planned, PrunePlan, plan_others, plan_packs
from pachvault.vault import blobs, marks
from pachvault.vault.blobs import BlobIndex
from pachvault.vault.reader import BlobReader
from pachvault.vault.vault import Vault
from pachvault.vault.writer import PackWriter

_ORDER = (layout.RECORDS, layout.TABLES, layout.INDEX, layout.PACKS)
"""Deletion goes against the order of writing: what names is gone before what is named."""


@dataclass(slots=True)
class Pruned:
    """What a prune did."""

    deleted: Counter[str] = field(default_factory=Counter)
    """Objects, by folder."""
    deleted_bytes: int = 0
    marked: int = 0
    marked_bytes: int = 0
    repacked: int = 0
    repacked_bytes: int = 0
    """Live bytes that were copied, before compression."""
    problems: list[str] = field(default_factory=list)
    """A line for each pack that stays because what is needed of it cannot be read."""


def execute(vault: Vault, planned: PrunePlan, progress: Progress) -> Pruned:
    """Carry a plan out, as far as it still holds. Safe to repeat, to break off, and beside another prune."""
    done = Pruned()
    began = (time.monotonic(), time.time())
    progress.start("prune: delete", 0)
    _delete(vault, done, planned.expired)
    # what was sealed or brought back since the plan is needed, too
    planned.needed.survey(vault, planned.now)
    look = Look.at(vault, planned.now, planned.needed)
    packs = plan_packs(look, planned.limits)
    every = [*plan_others(look, packs), *packs]
    chosen = {each.name for each in planned.of(Action.DELETE)}
    doomed = {each.name for each in every if each.action is Action.DELETE and each.name in chosen}
    reader, doomed = _checked(vault, look, doomed, done)
    # writers avoid these names for another grace: a prune that is slower than this one deletes them, too
    marks.write(vault, [Marked(name=name, reason="deleted") for name in sorted(doomed)])
    for folder in _ORDER:
        for name in sorted(doomed):
            if name.startswith(f"{folder}/"):
                _check_pace(vault, began)
                _delete(vault, done, [name], look)
    _close_marks(vault, look, doomed | {each.name for each in every if each.action is Action.SPARE})
    _mark(vault, [each for each in every if each.action is Action.MARK], done)
    _repack(vault, look, reader, [each for each in packs if each.action is Action.REPACK], done, progress)
    if planned.is_compacted:
        _compact(vault, look, doomed, done)
    _delete(vault, done, planned.stale)
    vault.store.sweep(planned.now - vault.config.grace)
    return done


def _checked(vault: Vault, look: Look, doomed: set[str], done: Pruned) -> tuple[BlobReader, set[str]]:
    """A reader of what stays, and what may go: not a pack whose needed blobs cannot be read elsewhere."""
    going = {name for name in doomed if name.startswith(f"{layout.PACKS}/")}
    digests = [digest for name in going if (digest := layout.named_digest(name))]
    rows = blobs.joined(look.index.values())
    reader = BlobReader(vault, BlobIndex(blobs.without(rows, digests)))
    kept = set()
    for name in sorted(going):
        try:
            for blob in look.wider.counted_elsewhere(name):
                reader.read(blob)
        except DamageError as error:
            kept.add(name)
            done.problems.append(f"{name} stays, a blob of it cannot be read elsewhere: {error}")
    # an index object must outlive what it says of a pack that stays after all
    return reader, {name for name in doomed - kept if not (kept and name.startswith(f"{layout.INDEX}/"))}


def _check_pace(vault: Vault, began: tuple[float, float]) -> None:
    """What was seen when the prune began may be relied on for less than the grace."""
    passed = max(time.monotonic() - began[0], time.time() - began[1])
    if passed > vault.config.grace.total_seconds() / 2:
        raise BusyError("the prune was held up for more than half of the grace", hint="prune again")


def _delete(vault: Vault, done: Pruned, names: Iterable[str], look: Look | None = None) -> None:
    for name in names:
        vault.store.delete(name)
        done.deleted[name.partition("/")[0]] += 1
        done.deleted_bytes += look.infos[name].size if look else 0


def _close_marks(vault: Vault, look: Look, settled: set[str]) -> None:
    """Delete the marks whose grace is over and whose objects are all deleted or spared."""
    for found in look.marks:
        left = {each.name for each in found.mark.objects if each.name in look.infos} - settled
        if not left and look.now - found.info.modified_at >= vault.config.grace:
            vault.store.delete(found.info.name)


def _repack(
    vault: Vault, look: Look, reader: BlobReader, packs: list[Planned], done: Pruned, progress: Progress
) -> None:
    """Copy what is needed of packs to new ones, then mark them."""
    if not packs:
        return
    progress.start("prune: repack", sum(each.live_bytes for each in packs))
    copied = []
    with PackWriter(marks.for_writing(vault)) as writer:
        for each in packs:
            lost = copy(reader, writer, look.census.counted_in(each.name))
            progress.add(each.live_bytes, 0)
            if lost:
                done.problems.append(f"{each.name} stays, {len(lost)} blobs of it cannot be read")
            else:
                copied.append(replace(each, reason=f"repacked: {each.reason}"))
        writer.finish()
    _mark(vault, copied, done)
    done.repacked += len(copied)
    done.repacked_bytes += sum(each.live_bytes for each in copied)


def _compact(vault: Vault, look: Look, gone: set[str], done: Pruned) -> None:
    """Write one index object with all that is said of packs that are there; mark those it stands for."""
    old = {name: rows for name, rows in look.index.items() if look.is_free(name)}
    there = {info.name for info in (count.info for count in look.census.packs)} - gone
    rows = blobs.joined(old.values())
    absent = [pack for pack in rows["pack"].unique().to_pylist() if layout.pack_path(pack) not in there]
    rows = index.in_order(blobs.without(rows, absent))
    made = marks.for_writing(vault).put_index(index.encode(rows)).digest if len(rows) else None
    compacted = [
        Planned(name, look.infos[name].size, Action.MARK, "compacted into another")
        for name in old
        if made is None or name != layout.index_path(made)
    ]
    _mark(vault, compacted, done)


def _mark(vault: Vault, planned: list[Planned], done: Pruned) -> None:
    marks.write(vault, [Marked(name=each.name, reason=each.reason) for each in planned])
    done.marked += len(planned)
    done.marked_bytes += sum(each.size for each in planned)
