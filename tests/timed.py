"""A vault in memory, taken through time, that notes every call: what happens when, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

from memory import MemoryStore
from pachvault.format import layout
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune import PruneOutcome
from pachvault.maintenance.prune.prune_plan import PlannedObject, PruneLimits, PrunePlan, plan
from pachvault.runtime.progress import Quiet
from pachvault.store.store import WHOLE_BYTES, ObjectInfo
from pachvault.vault import clock, pending_deletes, vault
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault
from stored import Stored, forget_named

GRACE = timedelta(days=7)
TICK = timedelta(microseconds=1)
"""The least difference of two times."""
LIMITS = PruneLimits(max_dead=1.0)
"""Nothing is repacked."""


@dataclass
class Journal(MemoryStore):
    """See `Store`; notes the calls that read, list, write and delete, in their order."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        self.calls.append(("put", name))
        return super().put(name, parts, size)

    def put_new(self, name: str, data: bytes) -> None:
        self.calls.append(("put", name))
        super().put_new(name, data)

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        self.calls.append(("get", name))
        return super().get(name, most)

    def stat(self, name: str) -> ObjectInfo | None:
        self.calls.append(("stat", name))
        return super().stat(name)

    def list(self, folder: str) -> Iterable[ObjectInfo]:  # type: ignore[override]  # an iterator is one
        self.calls.append(("list", folder))
        return super().list(folder)

    def delete(self, name: str) -> None:
        self.calls.append(("delete", name))
        super().delete(name)

    def written(self) -> list[str]:
        """Names in the order in which they were written."""
        return [name for method, name in self.calls if method == "put"]

    def deleted(self) -> list[str]:
        """Names in the order in which they were deleted, but for those that tell the store's time."""
        return [name for method, name in self.calls if method == "delete" and "/clock-" not in name]

    def position(self, method: str, name: str) -> int:
        """When the first such call came; the name may be a folder's."""
        return next(
            at for at, (how, what) in enumerate(self.calls) if how == method and (what + "/").startswith(name)
        )


class Timed(Stored):
    """Snapshots whose fate the test decides."""

    store: Journal

    @property
    def vault(self) -> Vault:
        """As a command opens it."""
        return vault.open_vault(self.store)

    def pass_by(self, time: timedelta) -> None:
        self.store.now += time

    def forget(self, snapshot: Snapshot) -> None:
        forget_named(self.store, snapshot.name)

    def bring_back(self, snapshot: Snapshot) -> None:
        """Without the pin that this leaves."""
        forget.bring_back(self.vault, snapshot.name.id)
        pins.unpin(self.vault, snapshot.name.id)

    def plan(self, limits: PruneLimits = LIMITS) -> PrunePlan:
        opened = self.vault
        return plan(opened, limits, clock.store_now(opened), Quiet())

    def prune(self, planned: PrunePlan | None = None, limits: PruneLimits = LIMITS) -> PruneOutcome:
        return prune.execute(self.vault, planned or self.plan(limits), Quiet())

    def planned(self, name: str) -> PlannedObject | None:
        """What a prune would do with an object; None where it is simply kept."""
        planned = self.plan()
        return next(
            (
                planned_object
                for planned_object in [*planned.others, *planned.packs]
                if planned_object.name == name
            ),
            None,
        )

    def objects(self) -> set[str]:
        """What a prune could delete."""
        folders = (layout.RECORDS, layout.TABLES, layout.INDEX, layout.PACKS)
        return {name for folder in folders for name in self.names(folder)}

    def marked(self) -> set[str]:
        return set(pending_deletes.for_writing(self.vault).pending_deletes)

    def mark_names(self) -> set[str]:
        return set(self.names(layout.MARKS))


@cache
def _made() -> tuple[Timed, Snapshot, Snapshot, frozenset[str]]:
    """A snapshot that is kept, one that is to go, and the objects that only that one needs."""
    store = Journal()
    vault.create(store)
    nobody = SnapshotName("", store.now, "")
    story = Timed(store, {}, [], nobody, nobody, is_grace_over=True)
    kept = story.back_up(1, 0, 1)
    before = story.objects()
    gone = story.back_up(2, 10, 11)
    story.kept = [kept.name]
    return story, kept, gone, frozenset(story.objects() - before)


def made() -> tuple[Timed, Snapshot, Snapshot, set[str]]:
    """See `_made`; the index object that places the other's blobs is not among the objects."""
    story, kept, gone, alone = _made()
    copied = story.copied()
    assert isinstance(copied, Timed)
    copied.trees = {run: (repo, commit, dict(tree)) for run, (repo, commit, tree) in story.trees.items()}
    copied.store.calls = []
    return copied, kept, gone, {name for name in alone if not name.startswith(layout.INDEX)}
