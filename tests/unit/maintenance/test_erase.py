"""Erasing files from vaults made by hand: they are gone, all else is as it was, and backups go on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from erasable import BODIES, LARGE, OTHER, PEOPLE, SELECTION, Kept
from fault.dying import DyingStore
from made import Repo, age, back_up, cut_points, flip, tree_of
from pachvault.backup.export.row_builder import RowBuilder
from pachvault.errors import BusyError, DamageError, UsageError
from pachvault.format import documents, layout, pack
from pachvault.format.config import Cutting
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import Audit, AuditEntry
from pachvault.format.manifest import Problem
from pachvault.maintenance import pins
from pachvault.maintenance.erase import erase, erase_plan
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.forget import forget
from pachvault.maintenance.repair import repair
from pachvault.maintenance.verify.verify import Level
from pachvault.runtime.progress import Quiet
from pachvault.vault import clock, pending_deletes, snapshots
from pachvault.vault.pack_writer import PackWriter

LARGE_BLOBS = len(list(cut_points(LARGE, Cutting())))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_files_are_gone_from_every_snapshot_and_nothing_else_is(kept: Kept) -> None:
    kept.erase()
    kept.assert_erased()


def test_planning_changes_nothing_and_says_what_goes(kept: Kept) -> None:
    before = kept.objects()
    plan = kept.plan()
    assert kept.objects() == before
    assert len(plan.snapshots) == 3
    assert (plan.files, plan.commits) == (5, 3)  # /42/a three times, /42/b and /42/shared once
    assert len(plan.gone) == 3 + LARGE_BLOBS
    assert plan.kept == 1
    assert plan.keepers == [f"crm/other@{next(iter(kept.other.commits))}:/same"]
    assert plan.packs


def test_old_ids_are_said_with_the_new_ones(kept: Kept) -> None:
    old = {name.id for name in snapshots.names(kept.vault)}
    done = kept.erase()
    assert done.renamed.keys() == old
    assert set(done.renamed.values()) == {name.id for name in snapshots.names(kept.vault)}
    for name in snapshots.names(kept.vault):
        (erased,) = snapshots.load(kept.vault, name).manifest.erased
        assert erased.what == "/people/42/** in crm/people"
        assert erased.files > 0


def test_erasing_again_finds_nothing(kept: Kept) -> None:
    kept.erase()
    before = kept.objects()
    assert kept.plan().is_empty
    assert kept.objects() == before


def test_one_erasure_after_another(kept: Kept) -> None:
    kept.erase()
    kept.erase(EraseSelection(("crm/people",), ("/people/7/*",)))
    assert all(len(manifest.erased) == 2 for manifest in kept.manifests())
    for commit, tree in kept.people.trees.items():
        kept.people.trees[commit] = {path: data for path, data in tree.items() if "/7/" not in path}
    kept.assert_erased()


def test_a_whole_repo(kept: Kept) -> None:
    kept.erase(EraseSelection(("crm/people",), ()))
    for snapshot in (snapshots.load(kept.vault, name) for name in snapshots.names(kept.vault)):
        history = snapshot.repo(PEOPLE)
        assert set(history.commits["size"].to_pylist()) == {0}
        assert all(not history.tree(commit).num_rows for commit in history.by_id)
    kept.assert_verified()
    kept.assert_tree(kept.other)


def test_commit_sizes_and_rows_follow(kept: Kept) -> None:
    kept.erase()
    history = snapshots.resolve(kept.vault, "latest").repo(PEOPLE)
    for commit, tree in kept.people.trees.items():
        left = {path: data for path, data in tree.items() if not path.startswith("/people/42/")}
        assert history.size_of(commit) == sum(map(len, left.values()))
    for row in range(history.commits.num_rows):
        assert history.commits["rows"][row].as_py() == history.changes(row).num_rows
    entry = next(repo_entry for repo_entry in kept.manifests()[-1].repos if repo_entry.repo == "people")
    assert entry.size_bytes == history.size_of(kept.people.branches["master"])


def test_forgotten_snapshots_too_and_pins_move_along(kept: Kept) -> None:
    first, second, _ = snapshots.names(kept.vault)
    pins.pin(kept.vault, second.id, "audit")
    forget.execute(kept.vault, forget.plan_named(kept.vault, [first.id]))
    done = kept.erase()
    assert set(pins.load(kept.vault)) == {done.renamed[second.id]}
    assert pins.load(kept.vault)[done.renamed[second.id]].reason == "audit"
    (forgotten,) = forget.forgotten(kept.vault)
    assert forgotten.name.id == done.renamed[first.id]
    forget.bring_back(kept.vault, forgotten.name.id)
    kept.assert_erased()


def test_a_backup_under_way_is_waited_for(kept: Kept) -> None:
    name = layout.announcement_path("r1")
    kept.vault.store.put(name, [b"{}"], 2)
    before = kept.objects()
    with pytest.raises(BusyError, match="backup r1 is in progress") as caught:
        kept.erase()
    assert name in caught.value.hint
    assert kept.objects() == before
    age(kept.vault, name, timedelta(days=3.6))
    kept.erase()
    kept.assert_erased()


def test_a_backup_that_begins_meanwhile_keeps_the_bytes(kept: Kept) -> None:
    packs = {name: data for name, data in kept.objects().items() if name.startswith(layout.PACKS)}
    plan = replace(kept.plan(), vault=replace(kept.vault, store=Busy(kept.vault.store)))
    with pytest.raises(BusyError, match="late is in progress"):
        erase.execute(plan, Quiet())
    assert packs.items() <= kept.objects().items()
    assert all(manifest.erased for manifest in kept.manifests())
    kept.vault.store.delete(layout.announcement_path("late"))
    kept.erase()
    kept.assert_erased()


class Busy(DyingStore):
    """A store into which a backup is announced once the marks are written."""

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        if name.startswith(layout.MARKS):
            super().put(layout.announcement_path("late"), [b"{}"], 2)
        return super().put(name, parts, size)


def test_what_dead_runs_left_goes_too(kept: Kept) -> None:
    """A table that no snapshot reached, with a file that no snapshot has, and a receipt for it."""
    stray = kept.stray({"/people/42/stray": b"never sealed" * 99, "/people/1/stray": b"somebody else's" * 99})
    kept.vault.store.put(layout.receipt_path("0" * 64), [b"{}"], 2)
    done = kept.erase()
    assert kept.vault.store.stat(layout.table_path(stray)) is None
    assert not list(kept.vault.store.list(layout.RUNS))
    assert done.blobs == 4 + LARGE_BLOBS
    kept.assert_erased()
    assert digest(b"never sealed" * 99) not in kept.blobs_in_packs()
    assert digest(b"somebody else's" * 99) in kept.blobs_in_packs()


def test_an_interrupted_runs_pack_that_no_index_names_is_found(kept: Kept) -> None:
    with PackWriter(kept.vault) as writer:
        body = BODIES["/people/42/b"]
        writer.add(pack.Frame(body, len(body), pack.CODEC_RAW, (digest(body),), (len(body),)))
        [written] = writer.finish()
    kept.vault.store.delete(layout.index_path(written.digest))
    kept.erase()
    kept.assert_erased()


def test_packs_that_lie_under_each_others_names_give_up_what_they_hold(kept: Kept) -> None:
    files = sorted(kept.packs(), key=lambda file: BODIES["/people/42/b"] not in file.read_bytes())
    one, other = files[0], files[-1]
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    kept.erase()
    kept.assert_gone()
    assert repair.execute(repair.plan(kept.vault.store, Level.DATA, Quiet()), None, Quiet()).is_intact
    kept.assert_erased()


def test_a_lost_index_costs_nothing(kept: Kept) -> None:
    """What stays of a pack is known from the pack itself."""
    for info in kept.vault.store.list(layout.INDEX):
        kept.vault.store.delete(info.name)
    kept.erase()
    places = kept.blobs_in_packs()
    assert all(digest(data) in places for data in kept.staying())
    kept.assert_gone()


def test_audits_and_problems_that_name_the_files_go(kept: Kept) -> None:
    problem = Problem(repo="crm/people", commit="c0ffee", kind="unreadable", message="no /people/42/x, /a")
    other = Problem(repo="crm/people", commit="c0ffee", kind="unreadable", message="no /people/43/x")
    kept.people.commit({"/new": b"1"})
    back_up(kept.vault, kept.people, problems=(problem, other))
    for path in ("/people/42/a", "/people/43/a"):
        audit = Audit(
            audited_at=clock.store_now(kept.vault),
            level="repair",
            objects=[AuditEntry(name=f"crm/people@c0ffee:{path}", result="damaged")],
        )
        data = documents.encode(audit)
        kept.vault.store.put(
            layout.stamped_path(layout.AUDITS, audit.audited_at, digest(data)), [data], len(data)
        )
    kept.erase()
    messages = [problem.message for manifest in kept.manifests() for problem in manifest.problems]
    assert messages == ["(a path was erased here)", "no /people/43/x"]
    (audited,) = kept.vault.store.list(layout.AUDITS)
    assert b"/people/43/a" in kept.vault.store.get(audited.name)
    assert not any(
        b"/people/42/" in data for name, data in kept.objects().items() if layout.SNAPSHOTS not in name
    )


def test_nothing_is_erased_from_a_vault_whose_content_is_not_known(kept: Kept) -> None:
    tables = [info.name for info in kept.vault.store.list(layout.TABLES)]
    (name,) = [name for name in tables if layout.named_digest(name) in kept.file_tables()][:1]
    flip(kept.root / name, 40)
    before = kept.objects()
    with pytest.raises(DamageError, match="nothing was erased"):
        kept.erase()
    assert kept.objects() == before


def test_a_forgotten_manifest_that_does_not_read_is_passed_over_and_named(kept: Kept) -> None:
    first = snapshots.names(kept.vault)[0]
    forget.execute(kept.vault, forget.plan_named(kept.vault, [first.id]))
    (forgotten,) = [info.name for info in kept.vault.store.list(layout.FORGOTTEN)]
    flip(kept.root / forgotten, 40)
    assert kept.plan().skipped == [forgotten]
    kept.erase()
    kept.assert_erased()


def test_no_pack_is_deleted_while_something_of_it_cannot_be_saved(kept: Kept) -> None:
    body = BODIES["/people/7/a"]
    (file,) = [file for file in kept.packs() if body in file.read_bytes()]
    flip(file, file.read_bytes().index(body))
    packs = [info.name for info in kept.packs()]
    with pytest.raises(DamageError, match="/people/7/a"):
        kept.erase()
    assert set(packs) <= {info.name for info in kept.packs()}
    kept.erase(EraseSelection(("crm/people",), ("/people/7/a", "/people/42/**")))
    kept.assert_gone()


def test_the_next_backup_goes_on_and_brings_back_what_the_source_has(kept: Kept) -> None:
    """The head still has the files: its successor is exported whole, not as a delta on what is left."""
    kept.erase()
    head = kept.people.trees[kept.people.branches["master"]]
    commit = kept.people.commit({**head, "/people/9/new": b"new"})
    snapshot = back_up(pending_deletes.for_writing(kept.vault), kept.people)
    assert not snapshot.manifest.partial
    files = tree_of(snapshot, PEOPLE, commit)
    assert files == {path: (len(data), digest(data)) for path, data in kept.people.trees[commit].items()}
    kept.assert_verified()


def test_a_later_snapshot_of_the_same_commits_says_what_they_lack(kept: Kept) -> None:
    kept.erase()
    assert back_up(kept.vault, kept.people, kept.other).manifest.erased == kept.manifests()[-1].erased
    assert back_up(kept.vault, kept.people).manifest.erased[0].paths == ["/people/42/**"]
    elsewhere = Repo(RepoName("crm", "fresh"))
    elsewhere.commit({"/a": b"1"})
    assert back_up(kept.vault, elsewhere).manifest.erased == []


def test_the_next_backup_goes_on_as_a_delta_where_the_source_has_let_go(kept: Kept) -> None:
    head = kept.people.trees[kept.people.branches["master"]]
    clean = {path: data for path, data in head.items() if not path.startswith("/people/42/")}
    kept.people.commit(clean)
    back_up(kept.vault, kept.people, kept.other)
    kept.erase()
    commit = kept.people.commit({**clean, "/people/9/new": b"new"})
    snapshot = back_up(pending_deletes.for_writing(kept.vault), kept.people, kept.other)
    assert snapshot.repo(PEOPLE).commit(commit)["base"] is not None
    kept.assert_erased()


def test_selections() -> None:
    names = [
        ("crm/people", "/people/42/a", True),
        ("crm/people", "/people/42/a/b", True),
        ("crm/people", "/people/420", False),
        ("crm/people", "/people/42", False),
        ("crm/people", "/other/people/42/a", False),
        ("crm/peoples", "/people/42/a", False),
        ("crm2/people", "/people/42/a", False),
    ]
    files = kept_rows(names)
    assert SELECTION.matches(files).tolist() == [is_hit for _, _, is_hit in names]
    every = EraseSelection(("*/people",), ()).matches(files)
    assert every.tolist() == [repo.endswith("/people") for repo, _, _ in names]
    assert np.count_nonzero(EraseSelection(("no/such",), ()).matches(files)) == 0


def kept_rows(names: list[tuple[str, str, bool]]) -> pa.Table:
    """A file table with these files."""
    snapshots_made = []
    for repo, path, _ in names:
        rows = RowBuilder(RepoName.parse(repo), "c")
        rows.file(path, 1, digest(b"1"), None)
        snapshots_made.append(rows.table())
    return pa.concat_tables(snapshots_made)


@pytest.mark.parametrize(
    ("repos", "paths"), [((), ("/a",)), (("people",), ()), (("a/b@master",), ()), (("a/b",), ("",))]
)
def test_a_selection_that_may_mean_something_else_is_refused(repos: tuple[str], paths: tuple[str]) -> None:
    with pytest.raises(UsageError):
        EraseSelection.of(repos, paths)


def test_other_repos_are_not_touched(kept: Kept) -> None:
    assert str(OTHER) not in str(SELECTION)
    plan = erase_plan.plan(kept.vault, EraseSelection(("crm/nobody",), ()), Quiet())
    assert plan.is_empty
