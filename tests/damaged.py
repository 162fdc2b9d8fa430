"""A vault to be damaged by hand and repaired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zstandard

from made import Repo, back_up, new_vault, tree_of
from pachvault.format import layout, pack
from pachvault.format.ids import RepoName, digest
from pachvault.maintenance.repair import repair
from pachvault.maintenance.repair.repair import Heal, Repaired
from pachvault.maintenance.repair.repair_needs import LostFile
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import pending_deletes
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

NAME = RepoName("p", "r")
CONTENT = {f"/{number}": np.random.default_rng(number).bytes(3000) for number in range(12)}


class Damaged:
    """A vault of two snapshots and four packs of three frames, of one file each, to be damaged."""

    def __init__(self, folder: Path) -> None:
        self.vault: Vault = new_vault(folder)
        self.root = folder / "vault"
        self.repo = Repo(NAME)
        paths = list(CONTENT)
        for end in range(1, 13):
            self.repo.commit({path: CONTENT[path] for path in paths[:end]})
            if end in (6, 12):
                back_up(self.vault, self.repo, pack_bytes=9000)

    def files(self, folder: str) -> list[Path]:
        return [self.root / info.name for info in self.vault.store.list(folder)]

    def objects(self) -> dict[str, bytes]:
        return {info.name: self.vault.store.get(info.name) for info in self.vault.store.list("")}

    def holding(self, path: str) -> Path:
        """The pack with the content of a file."""
        (pack_file,) = [file for file in self.files(layout.PACKS) if CONTENT[path] in file.read_bytes()]
        return pack_file

    def repaired(self, heal: Heal | None = None, level: Level = Level.DATA) -> Repaired:
        return repair.execute(repair.plan(self.vault.store, level, Quiet()), heal, Quiet())

    def damages(self) -> list[tuple[str, str]]:
        findings = verify(self.vault, Level.DATA, Quiet())
        return [(finding.kind, finding.object) for finding in findings if finding.severity == "damage"]

    def assert_whole(self) -> None:
        """Every file of the newest commit reads, verify finds no damage, and a backup goes on."""
        assert self.damages() == []
        self.assert_reads(CONTENT)
        self.repo.commit({**CONTENT, "/next": b"next", "/0": b"changed"})
        snapshot = back_up(pending_deletes.for_writing(self.vault), self.repo)
        tree = tree_of(snapshot, NAME, self.repo.branches["master"])
        assert tree["/next"] == (4, digest(b"next"))
        assert self.damages() == []

    def assert_reads(self, content: dict[str, bytes]) -> None:
        reader = BlobReader(self.vault, blob_index.load_places(self.vault))
        assert {path: reader.read(digest(data)) for path, data in content.items()} == content


def from_memory(wants: Sequence[LostFile], writer: PackWriter) -> None:
    """Heals from the content that this test knows."""
    compressor = zstandard.ZstdCompressor()
    for want in wants:
        data = CONTENT[want.path]
        assert want.blobs == (digest(data),)
        writer.add(pack.make_frame(data, [digest(data)], [len(data)], compressor))
