"""Reads that fail while a vault is verified: what passes is no finding, what stays is one, and no damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.errors import DamageError, PachvaultError, StoreError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.maintenance import retrying_store
from pachvault.maintenance.retrying_store import RetryingStore
from pachvault.maintenance.verify.findings import Severity, exit_code
from pachvault.maintenance.verify.verify import Level, Verified, examine
from pachvault.runtime.progress import Quiet
from pachvault.store.store import WHOLE_BYTES, ObjectInfo, Store
from pachvault.vault.vault import Vault

Fails = Callable[[int, str], bool]
"""Whether a read fails, given its number and the object's name."""


class Failing:
    """A store whose reads fail where `fails` says so."""

    def __init__(self, store: Store, fails: Fails) -> None:
        self._store, self._fails = store, fails
        self.url = store.url
        self.reads = 0

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        self._read(name)
        return self._store.get(name, most)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        self._read(name)
        return self._store.get_range(name, offset, length)

    def stat(self, name: str) -> ObjectInfo | None:
        self._read(name)
        return self._store.stat(name)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        self._read(folder)
        return self._store.list(folder)

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"verify only reads, and wanted to {name}")

    def _read(self, name: str) -> None:
        self.reads += 1
        if self._fails(self.reads, name):
            raise StoreError("input or output failed: the network is down", where=self.url)


def never(_: int, __: str) -> bool:
    return False


def always(_: int, __: str) -> bool:
    return True


def nth(number: int) -> Fails:
    return lambda at, _: at == number


def named(name: str) -> Fails:
    return lambda _, object_name: object_name == name


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying_store, "_WAIT_SECONDS", 0)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    opened = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    for number in range(4):
        repo.commit({f"/{number}": bytes([number]) * 5000})
        back_up(opened, repo)
    return opened


def examined(vault: Vault, fails: Fails) -> tuple[Verified, Failing]:
    store = Failing(vault.store, fails)
    return examine(replace(vault, store=store), Level.DATA, Quiet()), store


def test_any_read_may_fail_once_and_nothing_is_found(vault: Vault) -> None:
    _, store = examined(vault, never)
    assert store.reads > 30
    for number in range(1, store.reads + 1):
        done, _ = examined(vault, nth(number))
        assert done.findings == [], number
        assert done.repeated == 1


def test_any_object_that_stays_unreadable_is_a_finding_and_the_others_are_checked_on(vault: Vault) -> None:
    names = [info.name for info in vault.store.list("") if info.name != layout.CONFIG]
    names = [name for name in names if not name.startswith("runs/")]
    flipped = next(name for name in names if name.startswith(layout.PACKS))
    flip(Path(vault.store.url.removeprefix("file://")) / flipped, 10)
    for name in names:
        if name == flipped:
            continue
        done, _ = examined(vault, named(name))
        by_object = {finding.object: finding for finding in done.findings}
        assert by_object[name].severity is Severity.UNREADABLE
        assert by_object[name].kind.endswith("-unreadable")
        assert by_object[flipped].severity is Severity.DAMAGE
        assert "verify again" in by_object[name].advice


def test_what_is_only_unreadable_gives_exit_code_3(vault: Vault) -> None:
    for folder in (layout.SNAPSHOTS, layout.INDEX, layout.PACKS):
        done, _ = examined(vault, named(folder))
        listings = [finding.object for finding in done.findings if "/" not in finding.object]
        assert listings == [folder]
        assert exit_code(done.findings) == 3


def test_everything_unreadable_ends_soon(vault: Vault) -> None:
    """A place that is gone is not asked three times for each of a million objects."""
    done, store = examined(vault, always)
    assert exit_code(done.findings) == 3
    again = RetryingStore(store)
    before = store.reads
    for _ in range(100):
        with pytest.raises(PachvaultError):
            again.get("x")
    assert store.reads - before < 140


def test_damage_is_an_answer_and_is_not_asked_for_again(vault: Vault) -> None:
    store = Failing(vault.store, never)
    with pytest.raises(DamageError):
        RetryingStore(store).get("no/such")
    assert store.reads == 1


def test_a_frame_that_cannot_be_read_leaves_its_pack_unreadable_in_the_audit(vault: Vault) -> None:
    pack = next(iter(vault.store.list(layout.PACKS))).name
    done, _ = examined(vault, named(pack))
    results = {entry.name: entry.result for entry in done.audited}
    assert results[pack] == "unreadable"
    assert {result for name, result in results.items() if name != pack} == {"ok"}


def test_an_index_object_that_is_replaced_meanwhile_is_no_damage(vault: Vault) -> None:
    """Compaction writes a merged object, and deletes those that it replaces."""
    store = vault.store
    first, *others = [info.name for info in store.list(layout.INDEX)]
    kept = {name: store.get(name) for name in others}

    def fails(_: int, name: str) -> bool:
        if name == first:  # the listing is old by now: the last one vanishes, another comes
            for index_name in others:
                store.delete(index_name)
                moved = index_name.replace(layout.INDEX, "moved")
                store.put(moved, [kept[index_name]], len(kept[index_name]))
        if name == layout.INDEX:
            for index_name in store.list("moved"):
                data = store.get(index_name.name)
                store.put(index_name.name.replace("moved", layout.INDEX), [data], len(data))
        return False

    assert others
    done, _ = examined(vault, fails)
    assert done.findings == []
