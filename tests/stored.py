"""A vault in memory with something to do for every command, and what must be restorable from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

import numpy as np
import zstandard

from made import TREE, Repo, back_up, tree_of
from memory import Killed, MemoryStore, Process, die
from pachvault.errors import DamageError, PachvaultError, UsageError
from pachvault.format import layout, pack
from pachvault.format.ids import RepoName, digest
from pachvault.maintenance.forget import forget
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune_plan import PruneLimits, plan
from pachvault.maintenance.repair import repair
from pachvault.maintenance.repair.repair_needs import LostFile
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.store.store import Store
from pachvault.vault import clock, snapshots, vault
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault

CONTENT = [np.random.default_rng(number).bytes(300) for number in range(60)]
OF_DIGEST = {digest(data): data for data in CONTENT}
LIMITS = PruneLimits(max_dead=0.6)


@dataclass
class Stored:
    """A store, the tree of each run's one commit, and the snapshots by what is to become of them."""

    store: MemoryStore
    trees: dict[str, tuple[RepoName, str, TREE]]
    kept: list[SnapshotName]
    """To be left alone."""
    doomed: SnapshotName
    """To be forgotten."""
    forgotten: SnapshotName
    """Not long ago: to be brought back."""
    is_grace_over: bool = False
    """Of both."""

    def copied(self) -> Stored:
        """The same again, to be broken."""
        store = replace(self.store, objects=dict(self.store.objects))
        return replace(self, store=store, trees=dict(self.trees))

    def names(self, folder: str) -> list[str]:
        return [info.name for info in self.store.list(folder)]

    def back_up(self, number: int, *contents: int, store: Store | None = None) -> Snapshot:
        """A snapshot of a repo of its own with these contents."""
        repo = Repo(RepoName("p", f"r{number}"))
        tree = {f"/{content}": CONTENT[content] for content in contents}
        commit = repo.commit(tree)
        self.trees[f"run-{number}"] = repo.name, commit, tree
        return back_up(vault.open_vault(store or self.store), repo, pack_bytes=1000, number=number)

    def pass_time(self, days: float) -> None:
        self.store.now += timedelta(days=days)

    def let_grace_pass(self) -> None:
        """What is forgotten now may go."""
        self.pass_time(7.1)
        self.is_grace_over = True

    def mend(self) -> None:
        """What verify names is repaired; a manifest that was never whole is forgotten."""
        findings = self.damages()
        if findings:
            with suppress(NamedError):
                do_repair(self, self.store)
            findings = self.damages()
        for finding in findings:
            assert finding.kind == "manifest-damaged"
            name = snapshots.parse_path(finding.object)
            assert name is not None
            assert name not in self.kept
            if name.id != self.forgotten.id:  # that is brought back once more
                forget_named(self.store, name)

    def damages(self) -> list[Finding]:
        findings = verify(vault.open_vault(self.store), Level.DATA, Quiet())
        return [finding for finding in findings if finding.severity is not Severity.NOTE]

    def has_done(self, command: str) -> bool:
        """Whether what a command is for has come about."""
        opened = vault.open_vault(self.store)
        known = snapshots.names(opened)
        if command == "back up":
            return any(_run(opened, name) == "run-9" for name in known)
        if command in ("forget", "bring back"):
            wanted = self.doomed if command == "forget" else self.forgotten
            return any(known_name.id == wanted.id for known_name in known) == (command == "bring back")
        return True

    def again(self, command: str, *, is_checked: bool = True) -> None:
        """Do it, or do it once more, with nothing in the way; then nothing is amiss."""
        with suppress(UsageError):  # what is forgotten cannot be forgotten again
            COMMANDS[command](self, self.store)
        assert self.has_done(command)
        if is_checked:
            self.check()

    def check(self, *, is_verified: bool = True) -> None:
        """Nothing is damaged, every snapshot reads back, and none is gone."""
        assert not is_verified or self.damages() == []
        opened = vault.open_vault(self.store)
        reader = BlobReader(opened, blob_index.load_places(opened))
        known = snapshots.names(opened)
        assert {*self.kept} <= {*known}
        back = {forgotten_snapshot.name for forgotten_snapshot in forget.forgotten(opened)}
        if not self.is_grace_over:
            assert {self.doomed.id, self.forgotten.id} <= {name.id for name in {*known, *back}}
        may_return = [name for name in back if name.id in (self.forgotten.id, self.doomed.id)]
        for name in [*known, *([] if self.is_grace_over else may_return)]:
            self.read_back(opened, reader, name)

    def read_back(self, opened: Vault, reader: BlobReader, name: SnapshotName) -> None:
        snapshot = snapshots.load(opened, name)
        repo, commit, tree = self.trees[snapshot.manifest.run_id]
        files = tree_of(snapshot, repo, commit)
        assert {path: reader.read(name_of_blob) for path, (_, name_of_blob) in files.items()} == tree


def _run(opened: Vault, name: SnapshotName) -> str | None:
    with suppress(DamageError):
        return snapshots.load(opened, name).manifest.run_id
    return None


class NamedError(Exception):
    """A command came to its end and says that something is not as it should be."""


def made() -> Stored:
    """See `_made`."""
    return _made().copied()


@cache
def _made() -> Stored:
    """Snapshots of every fate, what a dead run left, and work for every step of a prune."""
    store = MemoryStore()
    vault.create(store)
    nobody = SnapshotName("", store.now, "")
    story = Stored(store, {}, [], nobody, nobody)
    first = story.back_up(1, 0, 1, 2, 3)
    old = story.back_up(2, *range(10, 20))
    mostly_dead = story.back_up(3, 20, 21, 22)
    shares = story.back_up(4, 20, 30)
    story.pass_time(4)
    for snapshot in (old, mostly_dead):
        forget_named(store, snapshot.name)
    prune_all(store, PruneLimits(max_dead=1))  # marks what they alone needed
    story.pass_time(4)
    recent = story.back_up(5, 0, 1, 40, 41, 42, 43)
    doomed = story.back_up(6, 0, 50)
    with suppress(Killed):
        story.back_up(7, 51, 52, store=Process(store, 40, die))  # type: ignore[arg-type]  # by __getattr__
    story.pass_time(1)
    gone = story.back_up(8, 0, 53)
    forget_named(store, gone.name)
    story.pass_time(2.6)
    story.kept = [first.name, shares.name, recent.name]
    story.doomed = doomed.name
    story.forgotten = forget.forgotten(vault.open_vault(store))[-1].name
    assert story.forgotten.id == gone.name.id
    return story


# what is done to it: each can be done again


def do_back_up(story: Stored, store: Store) -> None:
    """Content that is new, that is kept, that lies in marked packs, and what the dead run stored."""
    story.back_up(9, 1, 10, 11, 51, 52, 54, 55, 56, store=store)


def do_verify(story: Stored, store: Store) -> None:
    del story
    findings = verify(vault.open_vault(store), Level.DATA, Quiet())
    if any(finding.severity is not Severity.NOTE for finding in findings):
        raise NamedError(findings)


def do_forget(story: Stored, store: Store) -> None:
    forget_named(store, story.doomed)


def do_bring_back(story: Stored, store: Store) -> None:
    forget.bring_back(vault.open_vault(store), story.forgotten.id)


def do_prune(story: Stored, store: Store) -> None:
    del story
    prune_all(store)


def do_repair(story: Stored, store: Store) -> None:
    del story
    repaired = repair.execute(repair.plan(store, Level.DATA, Quiet()), heal, Quiet())
    if not repaired.is_intact:
        raise NamedError(repaired)


Command = Callable[[Stored, Store], None]
COMMANDS: dict[str, Command] = {
    "back up": do_back_up,
    "verify": do_verify,
    "forget": do_forget,
    "bring back": do_bring_back,
    "prune": do_prune,
    "repair": do_repair,
}


def attempt(command: str, story: Stored, store: Store) -> Exception | None:
    """Do it; what it said where it was not done."""
    try:
        COMMANDS[command](story, store)
    except (PachvaultError, NamedError) as error:
        return error
    return None


def forget_named(store: Store, name: SnapshotName) -> None:
    opened = vault.open_vault(store)
    if not forget.execute(opened, forget.plan_named(opened, [name.id])):
        raise NamedError("not forgotten")


def prune_all(store: Store, limits: PruneLimits = LIMITS) -> None:
    opened = vault.open_vault(store)
    done = prune.execute(opened, plan(opened, limits, clock.store_now(opened), Quiet()), Quiet())
    if done.problems:
        raise NamedError(done.problems)


def heal(wants: Sequence[LostFile], writer: PackWriter) -> None:
    """The cluster that still has everything."""
    compressor = zstandard.ZstdCompressor()
    for blob in dict.fromkeys(blob for want in wants for blob in want.blobs):
        data = OF_DIGEST[blob]
        writer.add(pack.make_frame(data, [blob], [len(data)], compressor))


def damage(story: Stored) -> None:
    """Work for a repair: no configuration, a corrupt index object, a pack with a flip, one that is gone."""
    store = story.store
    del store.objects[layout.CONFIG]
    flip(store, story.names(layout.INDEX)[0], 60)
    needed = [name for name in story.names(layout.PACKS) if CONTENT[0] in store.get(name)]
    flip(store, needed[0], store.get(needed[0]).index(CONTENT[0]))
    lost = [name for name in story.names(layout.PACKS) if CONTENT[40] in store.get(name)]
    store.delete(lost[0])


def flip(store: MemoryStore, name: str, at: int) -> None:
    """Change one bit of an object."""
    data, written_at = store.objects[name]
    store.objects[name] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], written_at
