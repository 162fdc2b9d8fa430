"""Backups of random histories, run after run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from made import Repo, back_up, new_vault, tree_of
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.policy import History
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore
from pachvault.store.open_store import open_store

NAME = RepoName("p", "r")
TREES = st.dictionaries(
    st.sampled_from(["/a", "/b", "/c/d", "/e f"]), st.sampled_from([b"", b"1", b"22", b"three"])
)
COMMITS = st.lists(
    st.tuples(TREES, st.sampled_from(["master", "side"]), st.integers(0, 7)), min_size=1, max_size=4
)
RUNS = st.lists(st.tuples(COMMITS, st.sampled_from([None, 1, 2])), min_size=1, max_size=4)


@settings(max_examples=8)
@given(RUNS)
def test_every_commit_reads_back_from_every_snapshot_that_lists_it(
    story: list[tuple[list[tuple[dict[str, bytes], str, int]], int | None]],
) -> None:
    """tree(snapshot, commit) = the tree that was committed; a repeated backup seals the same records."""
    with tempfile.TemporaryDirectory() as folder:
        vault = new_vault(Path(folder))
        repo = Repo(NAME)
        snapshots = []
        for commits, newest in story:
            for tree, branch, kind in commits:
                repo.commit(tree, branch=branch, error="failed" if kind == 0 else "")
            snapshots.append(back_up(vault, repo, history=History(newest=newest)))
        for snapshot in snapshots:
            history = snapshot.repo(NAME)
            assert not snapshot.manifest.partial
            for commit in history.by_id:
                expected = {} if repo.commits[commit].error else repo.trees[commit]
                assert tree_of(snapshot, NAME, commit) == {
                    path: (len(data), digest(data)) for path, data in sorted(expected.items())
                }
        again = back_up(vault, repo, history=History(newest=story[-1][1]))
        assert again.manifest.repos == snapshots[-1].manifest.repos
        assert again.manifest.totals.commits_new == 0
        assert verify(vault, Level.DATA, Quiet()) == []


@settings(max_examples=8)
@given(st.data())
def test_whatever_object_is_lost_verify_says_so(data: st.DataObject) -> None:
    """Losing any object that a snapshot needs is a finding at level structure that names it or its blobs."""
    with tempfile.TemporaryDirectory() as folder:
        vault = new_vault(Path(folder))
        repo = Repo(NAME)
        for number in range(3):
            repo.commit({"/a": b"%d" % number * 100, f"/{number}": b"x" * number})
            back_up(vault, repo, pack_bytes=100)
        needed = [
            info.name
            for part in (layout.PACKS, layout.INDEX, layout.TABLES, layout.RECORDS)
            for info in vault.store.list(part)
        ]
        lost = data.draw(st.sampled_from(needed))
        vault.store.delete(lost)
        findings = verify(vault, Level.STRUCTURE, Quiet())
        assert findings
        for finding in findings:
            if lost.startswith(layout.INDEX):
                assert finding.kind == "blob-missing"
                assert finding.blobs
                assert finding.files
            else:
                assert finding.object.endswith(lost)


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\0"),
        min_size=1,
        max_size=20,
    )
)
def test_a_stores_url_leads_back_to_its_folder(name: str) -> None:
    """open_store(store.url) is the same store, whatever its folder is called."""
    if name in (".", ".."):
        return
    store = FolderStore(Path("/") / name)
    again = open_store(store.url)
    assert isinstance(again, FolderStore)
    assert again.root == store.root
