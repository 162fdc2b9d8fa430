"""Backups, forgetting, bringing back and pruning in any order, killed and interleaved at any call of the
store, while its clock goes on and jumps: whatever is not forgotten reads back, always.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from made import TREE, Repo, back_up
from memory import Killed, MemoryStore, Process, Traced, die
from pachvault.errors import BusyError, UsageError
from pachvault.format.ids import RepoName, digest
from pachvault.maintenance.forget import forget
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune_plan import PruneLimits, plan
from pachvault.maintenance.verify.findings import Severity
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.policy import History
from pachvault.runtime.progress import Quiet
from pachvault.vault import clock, snapshots, vault
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

CONTENTS = [np.random.default_rng(number).bytes(300 + number) for number in range(24)]
NUMBERS = dict[str, int]
"""Which of CONTENTS each file has."""
TREES = st.dictionaries(
    st.sampled_from([f"/{n}" for n in range(8)]), st.integers(0, len(CONTENTS) - 1), min_size=1
)
CALLS = st.integers(1, 90)
REPOS = st.integers(0, 1)
DAYS = st.floats(0.01, 5)
Trees = dict[tuple[str, str], TREE]


class Maintenance(RuleBasedStateMachine):
    """The vault against a model: the trees of every snapshot that was sealed, and which are forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.repos = [Repo(RepoName("p", f"r{number}")) for number in range(2)]
        self.trees: dict[str, Trees] = {}
        """What each run found."""
        self.sealed: set[str] = set()
        """Manifests that were seen."""
        self.forgotten: set[str] = set()
        self.asked: set[str] = set()
        """Manifests that someone wanted forgotten."""
        self.runs = 0
        self.replaced = 0
        self.proved: dict[str, tuple[dict[str, bytes], dict[bytes, bytes]]] = {}
        """Of manifests that read back: the objects that it took, and the blobs."""

    @initialize(tree=TREES, newest=st.sampled_from([None, 1]))
    def begin(self, tree: NUMBERS, newest: int | None) -> None:
        self.history = History(newest=newest)
        vault.create(self.store)
        for number in range(len(self.repos)):
            self.commit(number, tree)

    def open(self, nth: int = 0, event: Callable[[], None] = die) -> Vault:
        """The vault as a new process sees it; at its n-th call something happens."""
        opened = vault.open_vault(self.store)
        return replace(opened, store=Process(self.store, nth, event)) if nth else opened  # type: ignore[arg-type]  # by __getattr__

    # what users and pipelines do

    @rule(number=REPOS, tree=TREES)
    def commit(self, number: int, tree: NUMBERS) -> None:
        self.repos[number].commit({path: CONTENTS[content] for path, content in tree.items()})

    @rule(number=REPOS, tree=TREES)
    def replace_repo(self, number: int, tree: NUMBERS) -> None:
        """Of the old one nothing is needed any more but by the snapshots that have it."""
        self.replaced += 1
        self.repos[number] = Repo(RepoName("p", f"r{number}-{self.replaced}"))
        self.commit(number, tree)

    @rule()
    def back_up(self) -> None:
        self._back_up(self.open())

    @rule(nth=CALLS)
    def back_up_killed(self, nth: int) -> None:
        with suppress(Killed):
            self._back_up(self.open(nth))

    @rule(nth=CALLS, days=st.floats(0.01, 3))
    def back_up_while_pruned(self, nth: int, days: float) -> None:
        def event() -> None:
            self.pass_time(days)
            self._prune(self.open())

        try:
            self._back_up(self.open(nth, event))
        except BusyError:
            self._back_up(self.open())  # what one stumbled over the next one heals

    @rule(nth=CALLS, which=st.integers(0, 9), days=st.floats(0, 3))
    def back_up_while_forgotten(self, nth: int, which: int, days: float) -> None:
        def event() -> None:
            self._forget(self.open(), which)
            self.pass_time(days)
            self._prune(self.open())

        try:
            self._back_up(self.open(nth, event))
        except BusyError:
            self._back_up(self.open())

    @precondition(lambda self: self.sealed)
    @rule(which=st.integers(0, 9))
    def forget(self, which: int) -> None:
        self._forget(self.open(), which)

    @precondition(lambda self: self.sealed)
    @rule(which=st.integers(0, 9), nth=st.integers(1, 12))
    def forget_killed(self, which: int, nth: int) -> None:
        with suppress(Killed):
            self._forget(self.open(nth), which)

    @precondition(lambda self: self.forgotten)
    @rule(which=st.integers(0, 9), nth=st.one_of(st.just(0), CALLS))
    def bring_back(self, which: int, nth: int) -> None:
        with suppress(Killed):
            self._bring_back(self.open(nth), which)

    @rule()
    def prune(self) -> None:
        self._prune(self.open())

    @rule(nth=CALLS)
    def prune_killed(self, nth: int) -> None:
        with suppress(Killed):
            self._prune(self.open(nth))

    @rule(
        nth=CALLS, which=st.integers(0, 9), what=st.sampled_from(["back up", "forget", "bring back", "prune"])
    )
    def prune_while(self, nth: int, which: int, what: str) -> None:
        def event() -> None:
            if what == "forget":
                self._forget(self.open(), which)
            elif what == "bring back":
                self._bring_back(self.open(), which)
            elif what == "prune":
                self._prune(self.open())
            self._back_up(self.open())

        self._prune(self.open(nth, event))

    @rule()
    def verify(self) -> None:
        self._verify(self.open())

    @rule(nth=CALLS, which=st.integers(0, 9))
    def verify_while_pruned(self, nth: int, which: int) -> None:
        def event() -> None:
            self._forget(self.open(), which)
            self._prune(self.open())
            self._back_up(self.open())

        self._verify(self.open(nth, event))

    @rule(days=DAYS)
    def pass_time(self, days: float) -> None:
        self.store.now += timedelta(days=days)

    @rule()
    def clock_jumps_back(self) -> None:
        self.store.now -= timedelta(days=1)

    def teardown(self) -> None:
        if snapshots.names(self.open()):
            self._verify(self.open())

    # how they do it, and what must hold

    def _back_up(self, opened: Vault) -> None:
        self.runs += 1
        trees = {
            (str(repo.name), commit): dict(tree) for repo in self.repos for commit, tree in repo.trees.items()
        }
        self.trees[f"run-{self.runs}"] = trees
        back_up(opened, *self.repos, history=self.history, pack_bytes=1000, number=self.runs)
        self._look()

    def _forget(self, opened: Vault, which: int) -> None:
        names = [name for name in snapshots.names(self.open()) if name.path in self.sealed]
        if names:
            name = names[which % len(names)]
            self.asked.add(name.path)
            try:
                forget.execute(opened, forget.plan_named(opened, [name.id]))
            except UsageError:
                return  # pinned, as what was brought back is
            finally:
                self._look()

    def _bring_back(self, opened: Vault, which: int) -> None:
        names = [forgotten_snapshot.name for forgotten_snapshot in forget.forgotten(self.open())]
        if names:
            name = names[which % len(names)]
            with suppress(UsageError):  # too late
                forget.bring_back(opened, name.id)
            self._look()

    def _prune(self, opened: Vault) -> None:
        limits = PruneLimits(max_dead=0.3, may_empty=True)
        done = prune.execute(opened, plan(opened, limits, clock.store_now(opened), Quiet()), Quiet())
        assert done.problems == []
        self._look()

    def _verify(self, opened: Vault) -> None:
        findings = verify(opened, Level.DATA, Quiet())
        assert [finding for finding in findings if finding.severity is not Severity.NOTE] == [], (
            "a false alarm"
        )

    def _look(self) -> None:
        """Every snapshot that is not forgotten is whole; none is gone that was not."""
        opened = self.open()
        names = snapshots.names(opened)
        there = {name.path for name in names}
        self.forgotten = {forgotten_snapshot.name.id for forgotten_snapshot in forget.forgotten(opened)}
        reader = BlobReader(opened, blob_index.load_places(opened))
        wanted: dict[bytes, bytes] = {}
        for name in names:
            wanted |= self._read_back(name)
        assert {blob: reader.read(blob) for blob in wanted} == wanted
        self.sealed |= there
        assert self.sealed - there <= self.asked, "only what someone forgot has left the listing"

    def _read_back(self, name: SnapshotName) -> dict[bytes, bytes]:
        """The blobs of a snapshot; its trees are what its run found.

        They are read once: the same objects give the same trees the next time.
        """
        if name.path in self.proved:
            taken, wanted = self.proved[name.path]
            assert {taken_name: self.store.get(taken_name) for taken_name in taken} == taken
            return wanted
        traced = Traced(self.store)
        snapshot = snapshots.load(replace(self.open(), store=traced), name)  # type: ignore[arg-type]  # by __getattr__
        trees = self.trees[snapshot.manifest.run_id]
        wanted = {}
        for _, history in snapshot.repos():
            for commit in history.by_id:
                tree = trees[str(history.name), commit]
                digests_by_path = {row["path"]: row["digest"] for row in history.tree(commit).to_pylist()}
                assert digests_by_path == {path: digest(data) for path, data in tree.items()}
                wanted |= {digest(data): data for data in tree.values()}
        self.proved[name.path] = traced.taken, wanted
        return wanted


TestMaintenance = Maintenance.TestCase
TestMaintenance.settings = settings(stateful_step_count=40, max_examples=settings.default.max_examples // 3)
