"""A vault with files that must not be kept, and what must be true once they were erased."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from made import Repo, back_up, file_pieces, new_vault, tree_of
from pachvault.backup.export.chunker import Chunker
from pachvault.backup.export.row_builder import RowBuilder
from pachvault.errors import DamageError
from pachvault.format import documents, layout, pack, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Manifest
from pachvault.maintenance.erase import erase, erase_plan
from pachvault.maintenance.erase.erase import Erasure
from pachvault.maintenance.erase.erase_plan import ErasePlan
from pachvault.maintenance.erase.erase_selection import EraseSelection
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.packs import read_toc
from pachvault.vault.vault import Vault

PEOPLE, OTHER = RepoName("crm", "people"), RepoName("crm", "other")
SELECTION = EraseSelection(("crm/people",), ("/people/42/**",))


def body(seed: int, size: int = 3000) -> bytes:
    return np.random.default_rng(seed).bytes(size)


BODIES = {
    "/people/42/a": body(1),
    "/people/42/b": body(2),
    "/people/42/shared": body(3),
    "/people/7/a": body(4),
    "/people/7/b": body(5),
    "/large": body(6, 1_500_000),
}
LARGE = body(8, 5_000_000)


class Kept:
    """Three snapshots: /people/42 comes, changes, and loses a file; /other/same has a content of it."""

    def __init__(self, folder: Path) -> None:
        self.vault: Vault = new_vault(folder)
        self.root = folder / "vault"
        self.people, self.other = Repo(PEOPLE), Repo(OTHER)
        first = dict(BODIES)
        self.people.commit(first)
        self.other.commit({"/same": BODIES["/people/42/shared"], "/mine": body(7)})
        self._back_up()
        second = {**first, "/people/42/a": LARGE, "/people/7/a": body(9)}
        self.people.commit(second)
        self._back_up()
        del second["/people/42/b"]
        self.people.commit({**second, "/people/42/a": body(10), "/empty": b""})
        self._back_up()

    def plan(self, selection: EraseSelection = SELECTION) -> ErasePlan:
        return erase_plan.plan(self.vault, selection, Quiet())

    def erase(self, selection: EraseSelection = SELECTION) -> Erasure:
        return erase.execute(self.plan(selection), Quiet())

    def objects(self) -> dict[str, bytes]:
        return {info.name: self.vault.store.get(info.name) for info in self.vault.store.list("")}

    def packs(self) -> list[Path]:
        return [self.root / info.name for info in self.vault.store.list(layout.PACKS)]

    def manifests(self) -> list[Manifest]:
        return [
            documents.decode(Manifest, self.vault.read(info.name))
            for info in self.vault.store.list(layout.SNAPSHOTS)
        ]

    def file_tables(self) -> set[bytes]:
        histories = [
            history
            for name in snapshots.names(self.vault)
            for _, history in snapshots.load(self.vault, name).repos()
        ]
        return {
            table_name
            for history in histories
            for names in history.commits["tables"].to_pylist()
            for table_name in names
        }

    def blobs_in_packs(self) -> set[bytes]:
        """By the packs' own tables of contents."""
        blobs: set[bytes] = set()
        for info in self.vault.store.list(layout.PACKS):
            blobs.update(pack.split_digests(read_toc(self.vault, info.name, info.size).blobs["digest"]))
        return blobs

    def staying(self) -> list[bytes]:
        """The small contents that stay."""
        trees = [*self.people.trees.values(), *self.other.trees.values()]
        return [
            data
            for tree in trees
            for path, data in tree.items()
            if not path.startswith("/people/42/") and 0 < len(data) < 500_000
        ]

    def stray(self, files: dict[str, bytes]) -> bytes:
        """What a run leaves that died before it sealed: packs, an index object, a table; the table's name."""
        rows = RowBuilder(PEOPLE, "f" * 32)
        with PackWriter(self.vault) as writer:
            with Chunker(writer, blob_index.load_places(self.vault), self.vault.config.cutting) as chunker:
                for stored in chunker.store(file_pieces(files)):
                    rows.files(*stored)
            writer.finish()
        return self.vault.put_table(table.encode_files(rows.table())).digest

    def assert_gone(self) -> None:
        """No pack, no index object and no table has anything of the files, but for a content of another's."""
        shared = digest(BODIES["/people/42/shared"])
        going = {
            digest(data)
            for tree in self.people.trees.values()
            for path, data in tree.items()
            if path.startswith("/people/42/")
        } - {shared}
        small = [BODIES["/people/42/a"], BODIES["/people/42/b"], body(10)]
        assert not going & self.blobs_in_packs()
        assert not any(data in file.read_bytes() for file in self.packs() for data in small)
        assert not blob_index.load_places(self.vault).has(list(going)).any()
        for info in self.vault.store.list(layout.TABLES):
            assert not any(path.startswith("/people/42/") for path in self._paths(info.name))

    def assert_verified(self) -> None:
        assert [
            finding for finding in verify(self.vault, Level.DATA, Quiet()) if finding.severity == "damage"
        ] == []

    def assert_tree(self, repo: Repo) -> None:
        """Every commit of every snapshot that has it is what it was, but for what was erased."""
        reader = BlobReader(self.vault, blob_index.load_places(self.vault))
        for name in snapshots.names(self.vault):
            snapshot = snapshots.load(self.vault, name)
            for commit in snapshot.repo(repo.name).by_id:
                expected = {
                    path: (len(data), digest(data))
                    for path, data in repo.trees[commit].items()
                    if not path.startswith("/people/42/")
                }
                assert tree_of(snapshot, repo.name, commit) == expected
                for row in snapshot.repo(repo.name).tree(commit).to_pylist():
                    names = row["blobs"] or ([row["digest"]] if row["size"] else [])
                    assert b"".join(reader.stream(names)) == repo.trees[commit][row["path"]]

    def assert_erased(self) -> None:
        """What was to go is gone, all else is whole."""
        self.assert_gone()
        self.assert_tree(self.people)
        self.assert_tree(self.other)
        self.assert_verified()

    def _back_up(self) -> None:
        back_up(self.vault, self.people, self.other, pack_bytes=20_000)

    def _paths(self, name: str) -> list[str]:
        try:
            return list(table.decode_files(self.vault.read(name))["path"].to_pylist())
        except DamageError:  # a commit list
            return []
