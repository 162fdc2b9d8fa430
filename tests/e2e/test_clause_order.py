"""docs/format.md, 9.5, 9.6, 11.1: the stages of a real run make their calls of the store in that order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pytest

from e2e.cluster import Project
from fault.faulty import Call, Faulty, true
from memory import MemoryStore
from pachvault.backup import run_records
from pachvault.backup.backup_messages import ExportShare
from pachvault.backup.export.export import export_share
from pachvault.backup.freeze.freeze import Frozen, freeze
from pachvault.backup.seal.seal import seal
from pachvault.format import layout
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import Policy
from pachvault.runtime.progress import Quiet
from pachvault.store.store import Store
from pachvault.vault import vault
from pachvault.vault.vault import Vault


@dataclass
class Run:
    """A run, stage by stage, on a vault in memory."""

    source: Source
    target: Target
    policy: Policy
    calls: list[tuple[str, str]]
    vault: Vault

    def freeze(self, run_id: str) -> Frozen:
        self.calls.clear()
        return freeze(self.source, self.target, self.vault, policy=self.policy, run_id=run_id)

    def first(self, method: str, beginning: str) -> int:
        """When the first such call came."""
        return next(
            at
            for at, (how, name) in enumerate(self.calls)
            if how == method and f"{name}/".startswith(beginning)
        )


@pytest.fixture
def run(project: Project) -> Iterator[Run]:
    calls: list[tuple[str, str]] = []

    def noted(call: Call) -> object:
        calls.append((call.method, call.name))
        return true(call)

    inner = MemoryStore()
    vault.create(inner)
    store = cast("Store", Faulty(inner, noted))
    project.repo("data")
    project.commit("data", {"/a": b"some content", "/b": b"more"})
    with connect(project.cluster.address, None) as connection:
        policy = Policy(version=1, target="memory:", sources=[project.everything()])
        yield Run(Source(connection), Target(connection), policy, calls, vault.open_vault(store))


def test_clause_9_6_a_run_announces_itself_before_it_reads_the_newest_records(run: Run) -> None:
    first = run.freeze("first")
    seal(
        run.vault, first.plan, [export_share(run.source, run.vault, share, Quiet()) for share in first.shares]
    )
    run.freeze("second")
    announced = run.first("put", layout.announcement_path("second"))
    assert announced < run.first("get", layout.SNAPSHOTS) < run.first("get", layout.RECORDS)


def test_clause_9_5_export_reads_the_marks_before_the_index(run: Run) -> None:
    (share,) = run.freeze("run").shares
    run.calls.clear()
    export_share(run.source, run.vault, share, Quiet())
    assert run.first("list", layout.MARKS) < run.first("list", layout.INDEX) < run.first("put", layout.PACKS)


def test_clause_11_1_a_run_writes_what_is_named_before_what_names_it(run: Run) -> None:
    frozen = run.freeze("run")
    receipts = [export_share(run.source, run.vault, share, Quiet()) for share in frozen.shares]
    seal(run.vault, frozen.plan, receipts)
    written = [name.partition("/")[0] for how, name in run.calls if how == "put"]
    kinds = [kind for kind in dict.fromkeys(written) if kind not in (layout.RUNS, layout.TABLES)]
    assert kinds == [layout.PACKS, layout.INDEX, layout.RECORDS, layout.SNAPSHOTS]
    last = {kind: at for at, kind in enumerate(written)}
    assert last[layout.TABLES] < last[layout.RECORDS] < last[layout.SNAPSHOTS]


def test_an_export_of_another_size_than_the_commits_is_named_and_not_kept(run: Run) -> None:
    """The export says so itself: what it read is no table of the commit, and no receipt for the next run."""
    (share,) = run.freeze("run").shares
    for by in (-1, 1):
        items = [
            share_item.model_copy(update={"commit_bytes": share_item.commit_bytes + by})
            for share_item in share.items
        ]
        wrong = ExportShare.model_validate(share.model_copy(update={"items": items}).model_dump())
        (item,) = export_share(run.source, run.vault, wrong, Quiet()).items
        assert item.problem is not None
        assert "16 bytes arrived where the commit has" in item.problem
        assert (item.rows, item.tables) == (0, [])
        assert run_records.kept_receipt(run.vault, wrong.key(run.vault.config.vault_id)) is None
    (item,) = export_share(run.source, run.vault, share, Quiet()).items
    assert (item.problem, item.rows, item.bytes) == (None, 2, 16)
