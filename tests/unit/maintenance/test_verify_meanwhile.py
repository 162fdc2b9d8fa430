"""Verification while others write, forget and delete: what comes and goes rightly is no damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from made import Repo, back_up, new_vault
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.maintenance.verify.findings import Severity
from pachvault.maintenance.verify.verify import Level, Verified, examine
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import WHOLE_BYTES, ObjectInfo
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault


class Watched(FolderStore):
    """A store on which something happens just before a read, once."""

    def __init__(self, root: Path, when: Callable[[int, str], bool], happens: Callable[[], object]) -> None:
        super().__init__(root)
        self._when, self._happens = when, happens
        self.reads = 0
        self.is_done = False

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        self._look(name)
        return super().get(name, most)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self._look(name)
        return super().get_range(name, offset, length)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        self._look(folder)
        return super().list(folder)

    def _look(self, name: str) -> None:
        self.reads += 1
        if not self.is_done and self._when(self.reads, name):
            self.is_done = True
            self._happens()


@pytest.fixture
def repo() -> Repo:
    return Repo(RepoName("p", "r"))


@pytest.fixture
def vault(tmp_path: Path, repo: Repo) -> Vault:
    opened = new_vault(tmp_path)
    for number in range(3):
        repo.commit({f"/{number}": bytes([number]) * 500})
        back_up(opened, repo)
    return opened


def examined(
    vault: Vault, when: Callable[[int, str], bool], happens: Callable[[], object]
) -> tuple[Verified, Watched]:
    store = Watched(Path(vault.store.url.removeprefix("file://")), when, happens)
    return examine(replace(vault, store=store), Level.DATA, Quiet()), store


def test_a_snapshot_that_is_sealed_meanwhile_is_no_damage_at_any_point(vault: Vault, repo: Repo) -> None:
    _, store = examined(vault, lambda *_: False, lambda: None)
    for at in range(1, store.reads + 1, 3):
        repo.commit({f"/more{at}": bytes([at]) * 500})
        done, watched = examined(vault, lambda number, _, at=at: number == at, lambda: back_up(vault, repo))
        assert watched.is_done
        assert done.findings == [], at


def test_a_snapshot_that_is_forgotten_meanwhile_is_no_damage(vault: Vault) -> None:
    name = snapshots.names(vault)[0].path

    def forget() -> None:
        data = vault.store.get(name)
        vault.store.put(layout.forgotten_path(name), [data], len(data))
        vault.store.delete(name)

    done, watched = examined(vault, lambda _, object_name: object_name == name, forget)
    assert watched.is_done
    assert done.findings == []


def test_a_pack_that_is_deleted_meanwhile_is_a_note_where_nobody_needs_it(vault: Vault) -> None:
    pack = next(iter(vault.store.list(layout.PACKS))).name
    for name in snapshots.names(vault):
        vault.store.delete(name.path)
    done, _ = examined(vault, lambda _, object_name: object_name == pack, lambda: vault.store.delete(pack))
    (finding,) = done.findings
    assert (finding.kind, finding.object, finding.severity) == ("pack-missing", pack, Severity.NOTE)


def test_a_pack_that_is_lost_meanwhile_is_damage_where_a_snapshot_needs_it(vault: Vault) -> None:
    pack = next(iter(vault.store.list(layout.PACKS))).name
    done, _ = examined(vault, lambda _, object_name: object_name == pack, lambda: vault.store.delete(pack))
    (finding,) = done.findings
    assert (finding.kind, finding.severity) == ("pack-missing", Severity.DAMAGE)
    assert finding.files_count == 1
