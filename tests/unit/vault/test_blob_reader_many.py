"""Many blobs at once are read as one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zstandard

from made import flip, new_vault
from pachvault.errors import DamageError
from pachvault.format import layout, pack
from pachvault.format.ids import digest
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PackWriter
from pachvault.vault.vault import Vault

DATA = [np.random.default_rng(seed).bytes(500 + seed) for seed in range(12)]
NAMES = [digest(data) for data in DATA]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Frames of three blobs, and the last three blobs once more in another pack."""
    opened = new_vault(tmp_path)
    compressor = zstandard.ZstdCompressor()
    for first in (0, 9):
        with PackWriter(opened) as writer:
            for at in range(first, 12, 3):
                chosen = DATA[at : at + 3]
                sizes = [len(data) for data in chosen]
                writer.add(pack.make_frame(b"".join(chosen), NAMES[at : at + 3], sizes, compressor))
            writer.finish()
    return opened


def test_in_whatever_order(vault: Vault) -> None:
    reader = BlobReader(vault, blob_index.load_places(vault))
    for order in (range(12), range(11, -1, -1), [3, 3, 0, 11, 4, 3], []):
        assert reader.read_many([NAMES[index] for index in order]) == [DATA[index] for index in order]


def test_what_is_damaged_is_read_from_its_other_place(vault: Vault, tmp_path: Path) -> None:
    reader = BlobReader(vault, blob_index.load_places(vault))
    twice = reader.index.locations(NAMES[10])[0]
    flip(tmp_path / "vault" / layout.pack_path(twice.pack), twice.frame_offset + twice.offset + 5)
    assert reader.read_many(NAMES) == DATA


def test_damage_without_another_place_is_told(vault: Vault, tmp_path: Path) -> None:
    reader = BlobReader(vault, blob_index.load_places(vault))
    once = reader.place(NAMES[4])
    flip(tmp_path / "vault" / layout.pack_path(once.pack), once.frame_offset + once.offset + 5)
    with pytest.raises(DamageError, match=NAMES[4].hex()):
        reader.read_many(NAMES)


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_blob_that_is_nowhere_is_told(vault: Vault, tmp_path: Path, is_empty: bool) -> None:
    of = new_vault(tmp_path / "empty") if is_empty else vault
    reader = BlobReader(of, blob_index.load_places(of))
    with pytest.raises(DamageError, match=digest(b"nobody's").hex()):
        reader.read_many([digest(b"nobody's")])
