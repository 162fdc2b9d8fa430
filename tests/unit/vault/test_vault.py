"""Making and opening a vault, its named objects, and the exit codes of what goes wrong."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from made import new_vault
from pachvault.errors import (
    CorruptError,
    DamageError,
    NoVaultError,
    PachvaultError,
    UsageError,
    VaultKeyError,
)
from pachvault.format import layout, table
from pachvault.format.ids import digest
from pachvault.format.records import PipelinesRecord
from pachvault.store.folder_store import FolderStore
from pachvault.vault import vault


def config(folder: Path, **changes: object) -> FolderStore:
    """A vault whose configuration says something else."""
    opened = new_vault(folder)
    path = folder / "vault" / layout.CONFIG
    fields = json.loads(path.read_bytes()) | changes
    del fields["checksum"]  # as one that was written with these
    path.write_text(json.dumps(fields))
    assert isinstance(opened.store, FolderStore)
    return opened.store


def refused(store: FolderStore) -> PachvaultError:
    with pytest.raises(PachvaultError) as caught:
        vault.open_vault(store)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_made_vault_opens_with_the_same_id(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    assert vault.open_vault(opened.store).config == opened.config
    assert len(opened.config.vault_id) == 32


def test_no_such_place_and_no_vault_there_are_code_10(tmp_path: Path) -> None:
    assert refused(FolderStore(tmp_path / "nowhere")).exit_code == 10
    error = refused(FolderStore(tmp_path))
    assert (type(error), error.exit_code) == (NoVaultError, 10)
    assert "pachvault init" in str(error)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"7", b'"x"', b'{"type": "other", "format": 1}', b'{"format": 1}']
)
def test_another_programs_vault_json_is_no_vault(tmp_path: Path, data: bytes) -> None:
    (tmp_path / layout.CONFIG).write_bytes(data)
    error = refused(FolderStore(tmp_path))
    assert isinstance(error, NoVaultError)
    assert "not a pachvault vault" in str(error)


def test_a_newer_format_is_said_so(tmp_path: Path) -> None:
    error = refused(config(tmp_path, format=2))
    assert (type(error), error.exit_code) == (NoVaultError, 10)
    assert "has format 2" in str(error)
    assert "newer pachvault" in str(error)


def test_a_vault_sealed_otherwise_asks_for_a_key_by_code_12(tmp_path: Path) -> None:
    error = refused(config(tmp_path, seal="aes-gcm"))
    assert (type(error), error.exit_code) == (VaultKeyError, 12)


def test_a_damaged_configuration_is_damage(tmp_path: Path) -> None:
    error = refused(config(tmp_path, created_at="yesterday"))
    assert (type(error), error.exit_code) == (CorruptError, 13)


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    with pytest.raises(UsageError, match="a vault exists already"):
        vault.create(opened.store)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty"):
        vault.create(FolderStore(tmp_path / "other"))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["letter.txt"]


def test_records_and_tables_are_read_by_digest(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    record = PipelinesRecord(pipelines=[])
    assert opened.pipelines_record(opened.put_record(record)) == record
    name = opened.put_table(table.encode_files(table.FILES.empty_table())).digest
    assert opened.file_table(name).num_rows == 0
    assert opened.put_record(record) == opened.put_record(record)


def test_an_object_is_damaged_where_its_bytes_or_its_name_were_changed(tmp_path: Path) -> None:
    opened = new_vault(tmp_path)
    name = opened.put_record(PipelinesRecord(pipelines=[]))
    path = tmp_path / "vault" / layout.record_path(name)
    other = tmp_path / "vault" / layout.record_path(digest(b"other"))
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes().replace(b"[]", b"[ ]"))
    for digest_of_name in (name, digest(b"other")):
        with pytest.raises(DamageError, match="does not have the digest in its name") as caught:
            opened.pipelines_record(digest_of_name)
        assert digest_of_name.hex() in str(caught.value)


@pytest.mark.parametrize("folder", [layout.PACKS, layout.SNAPSHOTS])
@pytest.mark.parametrize("data", [None, b"garbage", b'{"type": "pachvault", "format": 1}'])
def test_a_vault_without_its_configuration_is_sent_to_repair(
    tmp_path: Path, folder: str, data: bytes | None
) -> None:
    """Neither to `init`, which would refuse it."""
    opened = new_vault(tmp_path)
    name = layout.pack_path(digest(b"1"))
    if folder == layout.SNAPSHOTS:
        name = layout.snapshot_path(opened.config.created_at, 1, digest(b"1"))
    opened.store.put(name, [b"1"], 1)
    opened.store.delete(layout.CONFIG)
    if data is not None:
        (tmp_path / "vault" / layout.CONFIG).write_bytes(data)
    with pytest.raises(PachvaultError) as caught:
        vault.open_vault(opened.store)
    assert "pachvault repair --dry-run" in caught.value.hint
    if data is None:
        with pytest.raises(UsageError, match="pachvault repair --dry-run"):
            vault.create(opened.store)


def test_a_new_file_systems_own_folder_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "#12").write_bytes(b"what a check of the file system found")
    store = FolderStore(tmp_path)
    opened = vault.create(store)
    assert vault.open_vault(store).config == opened.config


def test_an_empty_folder_may_be_a_mount_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    error = refused(FolderStore(tmp_path / "empty"))
    assert "no vault here, the folder is empty" in str(error)
    assert "is it mounted?" in error.hint
    (tmp_path / "empty" / "letter.txt").write_text("dear")
    error = refused(FolderStore(tmp_path / "empty"))
    assert "empty folder" in error.hint
    assert "mounted" not in error.hint


def test_of_two_that_make_a_vault_at_once_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    class Slow(FolderStore):
        """Nobody writes before all have looked."""

        def put_new(self, name: str, data: bytes) -> None:
            barrier.wait()
            super().put_new(name, data)

    def attempt(_: int) -> str | UsageError:
        try:
            return vault.create(Slow(tmp_path / "vault")).config.vault_id
        except UsageError as error:
            return error

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(attempt, range(4)))
    won = [end for end in ends if isinstance(end, str)]
    assert won == [vault.open_vault(FolderStore(tmp_path / "vault")).config.vault_id]
    assert sum("another `init`" in str(end) for end in ends) == 3


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"type": "pachvault", "format": ' + b"9" * 5000 + b"}", b"\xff", b"\0" * 2**21]
)
def test_a_hostile_configuration_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / layout.CONFIG).write_bytes(data)
    assert refused(FolderStore(tmp_path)).exit_code in (10, 13)


@pytest.mark.parametrize(
    "changes",
    [
        {"grace_seconds": -1},
        {"grace_seconds": 0},
        {"grace_seconds": 1e300},
        {"created_at": "2026-01-01T00:00:00"},
        {"cutting": {"min_bytes": 0}},
        {"cutting": {"min_bytes": 2**22, "avg_bytes": 2**20}},
    ],
)
def test_a_configuration_out_of_range_is_damage(tmp_path: Path, changes: dict[str, object]) -> None:
    assert isinstance(refused(config(tmp_path, **changes)), CorruptError)
