"""The oracle: what a snapshot says, and what the cluster has, byte for byte."""

from __future__ import annotations

from pathlib import Path

from e2e.cluster import Project, Tree
from pachvault.format.ids import RepoName
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault import snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault, open_vault

Heads = dict[str, str | None]
"""`repo@branch` to its head."""


class Vaulted:
    """A vault on disk, as tests look at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_uri()

    @property
    def vault(self) -> Vault:
        return open_vault(open_store(self.url))

    def snapshot(self, reference: str = "latest") -> Snapshot:
        return snapshots.resolve(self.vault, reference)

    def snapshots(self) -> list[str]:
        return [name.id for name in snapshots.names(self.vault)]

    def files(self, *folders: str) -> dict[str, int]:
        """Every object in the folders (all by default), with its size."""
        sizes = {info.name: info.size for info in self.vault.store.list("")}
        return {name: size for name, size in sizes.items() if not folders or name.split("/")[0] in folders}

    def tree(self, snapshot: Snapshot, repo: RepoName, commit: str) -> Tree:
        """A commit's files as the vault has them."""
        return _tree(
            BlobReader(snapshot.vault, blob_index.load_places(snapshot.vault)), snapshot.repo(repo), commit
        )


def heads_now(project: Project) -> Heads:
    """Every branch of a project with its newest finished commit, asked of the cluster itself."""
    heads: Heads = {}
    for repo in project.repos():
        for branch, head in project.heads(repo).items():
            current: str | None = head or None
            while current is not None:
                commit = project.cluster.source.commit(project.ref(repo, current))
                if commit.finished_at is not None:
                    break
                current = commit.parent
            heads[f"{repo}@{branch}"] = current
    return heads


def heads_in(snapshot: Snapshot, project: Project) -> Heads:
    """Every branch of a project in a snapshot."""
    return {
        f"{entry.repo}@{branch.name}": branch.head
        for entry, history in snapshot.repos()
        if entry.project == project.name
        for branch in history.record.branches
    }


def assert_restorable(
    vaulted: Vaulted, project: Project, snapshot: Snapshot | None = None, *, heads: Heads | None = None
) -> None:
    """The snapshot has exactly these heads (the cluster's own by default), and every commit's every byte.

    Nothing in the vault is damaged.
    """
    snapshot = snapshot or vaulted.snapshot()
    expected = heads_now(project) if heads is None else heads
    assert heads_in(snapshot, project) == expected
    cluster = project.cluster
    reader = BlobReader(snapshot.vault, blob_index.load_places(snapshot.vault))
    for entry, history in snapshot.repos():
        if entry.project != project.name:
            continue
        for row in history.commits.to_pylist():
            if row["error"] or not row["listed"]:
                continue
            stored = _tree(reader, history, row["commit"])
            real = cluster.tree(project.ref(entry.repo, row["commit"]))
            assert_equal(stored, real, f"{entry.repo}@{row['commit']}")
    assert verify(vaulted.vault, Level.DATA, Quiet()) == []


def assert_equal(stored: Tree, real: Tree, where: str) -> None:
    """Two trees are equal; the message names what differs, not the bytes."""
    assert sorted(stored) == sorted(real), where
    differing = [path for path in real if stored[path] != real[path]]
    assert not differing, f"{where}: {differing[:5]} differ"


def _tree(reader: BlobReader, history: RepoHistory, commit: str) -> Tree:
    tree = {}
    for row in history.tree(commit).to_pylist():
        names = row["blobs"] or ([row["digest"]] if row["size"] else [])
        tree[row["path"]] = b"".join(reader.stream(names))
    return tree
