"""A blob that is damaged in one place is read from another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from made import flip, new_vault
from pachvault.errors import DamageError
from pachvault.format import layout, pack
from pachvault.format.ids import digest
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

DATA = [np.random.default_rng(seed).bytes(2000) for seed in range(6)]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """The first four blobs in one pack, and all but the first in another one, in another order."""
    opened = new_vault(tmp_path)
    for chosen in (DATA[:4], DATA[:0:-1]):
        with PackWriter(opened) as writer:
            for data in chosen:
                writer.add(pack.Frame(data, len(data), pack.CODEC_RAW, (digest(data),), (len(data),)))
            writer.finish()
    return opened


def packs(vault: Vault, root: Path) -> list[Path]:
    """The pack with the first blob, and the other one."""
    files = [root / info.name for info in vault.store.list(layout.PACKS)]
    return sorted(files, key=lambda file: DATA[0] not in file.read_bytes())


def test_every_place_is_known(vault: Vault) -> None:
    index = blob_index.load_places(vault)
    assert [len(index.locations(digest(data))) for data in DATA] == [1, 2, 2, 2, 1, 1]
    assert index.locations(digest(b"nobody's")) == []
    assert index.locations(digest(DATA[0])) == [index.location(int(index.find_all([digest(DATA[0])])[0]))]
    assert len({place.pack for place in index.locations(digest(DATA[2]))}) == 2


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("how", ["flip", "gone", "cut"])
def test_another_place_is_tried(vault: Vault, tmp_path: Path, which: int, how: str) -> None:
    file = packs(vault, tmp_path / "vault")[which]
    reader = BlobReader(vault, blob_index.load_places(vault))
    if how == "flip":
        for data in DATA:
            at = file.read_bytes().find(data)
            if at >= 0:
                flip(file, at + 7)
    elif how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: len(pack.HEADER) + 5])
    alone = {0: [0], 1: [4, 5]}[which]
    for number, data in enumerate(DATA):
        if number in alone:
            with pytest.raises(DamageError, match=r"blob|no such object|ends at byte") as caught:
                reader.read(digest(data))
            assert file.name in str(caught.value)
        else:
            assert reader.read(digest(data)) == data


def test_a_blob_that_is_damaged_everywhere_is_said_to_be(vault: Vault, tmp_path: Path) -> None:
    for file in packs(vault, tmp_path / "vault"):
        flip(file, file.read_bytes().index(DATA[2]))
    reader = BlobReader(vault, blob_index.load_places(vault))
    with pytest.raises(DamageError, match="is damaged"):
        reader.read(digest(DATA[2]))
    assert reader.read(digest(DATA[3])) == DATA[3]
