"""What every kind of store promises, on real servers of its protocol."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pachvault.errors import (
    AbsentError,
    CorruptError,
    DeniedError,
    PachvaultError,
    StoreError,
    TakenError,
    UsageError,
)
from pachvault.store.open_store import open_store
from pachvault.store.store import Store
from targets.servers import Server, free_port

pytestmark = pytest.mark.targets


def test_an_object_is_written_once(store: Store) -> None:
    assert store.put("packs/ab/x", [b"one", b"two"], 6)
    assert not store.put("packs/ab/x", [b"onetwo"], 6)
    with pytest.raises(TakenError):
        store.put("packs/ab/x", [b"other!"], 6)
    with pytest.raises(TakenError):
        store.put("packs/ab/x", [b"short"], 5)
    assert store.get("packs/ab/x") == b"onetwo"


def test_a_shorter_object_is_an_aborted_write(store: Store) -> None:
    store.put("a", [b"12"], 2)
    assert store.put("a", [b"123"], 3)
    assert store.get("a") == b"123"


def test_what_does_not_have_its_size_is_not_written(store: Store) -> None:
    with pytest.raises(CorruptError):
        store.put("a", [b"12"], 3)

    def failing() -> object:
        yield b"12"
        raise RuntimeError("the reader failed")

    with pytest.raises(RuntimeError):
        store.put("a", failing(), 4)  # type: ignore[arg-type]
    assert store.stat("a") is None
    assert list(store.list("")) == []


def test_of_several_writers_one_creates(store: Store) -> None:
    def create(number: int) -> bool:
        try:
            store.put_new("vault.json", b"%03d" % number)
        except TakenError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(create, range(16)))
    assert outcomes.count(True) == 1
    assert store.get("vault.json") == b"%03d" % outcomes.index(True)


def test_equal_objects_may_be_written_at_once(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: store.put("a", [b"x" * 10_000], 10_000), range(16)))
    assert any(outcomes)
    assert store.get("a") == b"x" * 10_000


def test_reading(store: Store) -> None:
    store.put("a/b", [b"0123456789"], 10)
    assert store.get("a/b", 10) == b"0123456789"
    with pytest.raises(CorruptError, match="at most 9"):
        store.get("a/b", 9)
    assert store.get_range("a/b", 0, 10) == b"0123456789"
    assert store.get_range("a/b", 9, 1) == b"9"
    for offset, length in ((9, 2), (10, 1), (2**40, 5), (0, 11)):
        with pytest.raises(CorruptError):
            store.get_range("a/b", offset, length)
    for absent in (lambda: store.get("a/c"), lambda: store.get_range("a/c", 0, 1)):
        with pytest.raises(AbsentError, match="no such object"):
            absent()


def test_a_listing_is_complete_and_sorted(store: Store) -> None:
    names = [f"packs/{number:03d}/{number}" for number in range(1203)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.put(name, [name.encode()], len(name)), [*names, "packs2/x", "z"]))
    listed = list(store.list("packs"))
    assert [info.name for info in listed] == sorted(names)
    assert all(info.size == len(info.name) for info in listed)
    assert [info.name for info in store.list("")] == [*sorted(names), "packs2/x", "z"]
    assert list(store.list("nothing")) == []


def test_times_are_by_the_stores_clock(store: Store) -> None:
    store.put("a", [b"1"], 1)
    info = store.stat("a")
    assert info is not None
    assert info == next(store.list(""))
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.put("a", [b"1"], 1)
    store.delete("a")
    store.delete("a")
    assert store.stat("a") is None
    assert store.put("a", [b"2"], 1)
    assert store.get("a") == b"2"


def test_an_object_of_a_packs_size(store: Store) -> None:
    data = b"0123456789abcdef" * (4 * 2**20)  # 64 MiB
    store.put("large", [data[: 2**20], data[2**20 :]], len(data))
    assert store.get("large") == data
    assert store.get_range("large", 2**25 + 1, 7) == data[2**25 + 1 : 2**25 + 8]


def test_odd_names_of_others_stop_no_listing(store: Store) -> None:
    store.put("packs/a", [b"1"], 1)
    for name in ("packs/Thumbs db", "packs/ü%20+", "packs/.hidden", "packs/x.json"):
        store.put(name, [b"1"], 1)
    names = [info.name for info in store.list("packs")]
    assert names == sorted(["packs/a", "packs/Thumbs db", "packs/ü%20+", "packs/x.json"])


def test_a_wrong_key_is_named(remote: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in remote.environment:
        if name != "AWS_ACCESS_KEY_ID":
            monkeypatch.setenv(name, "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZw==")
    store = open_store(url)
    for call in (
        lambda: store.put("a", [b"1"], 1),
        lambda: store.get("a"),
        lambda: list(store.list("")),
        store.exists,
    ):
        with pytest.raises(DeniedError, match=r"not accept this key|permission is missing") as caught:
            call()
        assert_one_line(caught.value, remote)


def test_a_missing_bucket_is_not_an_empty_one(remote: Server) -> None:
    store = open_store(remote.at("v").replace("://vaults", "://no-such-bucket"))
    assert not store.exists()
    for call in (
        lambda: store.put("a", [b"1"], 1),
        lambda: store.get("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
        lambda: store.stat("a"),
        store.create,
    ):
        with pytest.raises((StoreError, UsageError), match="no such bucket") as caught:
            call()
        assert_one_line(caught.value, remote)


def test_a_dead_server_fails_soon(remote: Server) -> None:
    port = remote.options["endpoint"].rpartition(":")[2].partition("/")[0]
    store = open_store(remote.at("v").replace(port, str(free_port())))
    begun = time.monotonic()
    with pytest.raises(StoreError, match="does not answer") as caught:
        store.get("a")
    assert_one_line(caught.value, remote)
    assert time.monotonic() - begun < 60


def test_an_interrupt_ends_a_command_that_waits(remote: Server, url: str) -> None:
    open_store(url).put("a", [b"1"], 1)
    remote.pause()
    try:
        command = [str(Path(sys.executable).with_name("pachvault")), "--vault", url, "snapshots"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(4)  # started, and waiting for the server
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            try:
                _, err = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 130, err
        assert time.monotonic() - begun < 10
        assert err.strip() == b"pachvault: interrupted"
    finally:
        remote.go_on()


def assert_one_line(error: PachvaultError, server: Server) -> None:
    assert "\n" not in str(error)
    assert not any(secret in str(error) for secret in server.secrets)
