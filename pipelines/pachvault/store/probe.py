"""Tests a place before a vault is trusted to it: what it guarantees, and how fast it is.

Everything is written below one folder with a name of its own, and deleted again.
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pachvault.errors import AbsentError, CorruptError, PachvaultError, TakenError, UsageError
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import ObjectInfo, Store

_SMALL = b"pachvault probe\n"
_CLOCK_TOLERANCE = timedelta(minutes=5)
_LATENCIES = 10
_MEBI = 2**20
_WRITERS = 8


class Verdict(StrEnum):
    """The result of a check."""

    PASSED = "passed"
    FAILED = "failed"
    """A vault must not be kept there."""
    LIMITED = "limited"
    """A vault can be kept there, and something does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One property of a place."""

    name: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a place is."""

    latency_seconds: float
    """The median of small reads."""
    up_bytes_per_second: float
    down_bytes_per_second: float
    object_bytes: int
    """The size of the objects that were measured with."""
    workers: int


@dataclass(frozen=True, slots=True)
class Probe:
    """All results."""

    checks: list[Check]
    speed: Speed | None
    """None where the quick part was wanted, or a check failed."""


class _ProbeError(Exception):
    """A check failed; the text says how."""


class _LimitedError(Exception):
    """Something that a vault can do without does not work."""


def probe(store: Store, *, object_bytes: int = 64 * _MEBI, workers: int = 4, is_quick: bool = False) -> Probe:
    """Check a place and, unless `is_quick`, measure it with `workers` objects of `object_bytes` bytes.

    Raises UsageError where the place does not exist, StoreError where it cannot be reached.
    """
    if not store.exists():
        raise UsageError("no such folder, bucket or container", where=store.url, hint="create it first")
    work = _Work(store, f"pachvault-probe-{secrets.token_hex(8)}")
    try:
        checks = list(work.checks())
        is_good = all(check.verdict is not Verdict.FAILED for check in checks)
        if is_quick or not is_good:
            return Probe(checks, None)
        try:
            speed = work.speed(object_bytes, workers)
            large = Check("large objects", Verdict.PASSED, f"{object_bytes // _MEBI} MiB each")
        except (PachvaultError, _ProbeError) as error:
            return Probe([*checks, Check("large objects", Verdict.FAILED, str(error))], None)
        return Probe([*checks, large], speed)
    finally:
        work.remove()


class _Work:
    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._folder = store, folder

    def checks(self) -> Iterator[Check]:
        steps: list[tuple[str, Callable[[], str]]] = [
            ("create", self._create),
            ("exclusive create", self._exclusive),
            ("overwrite refused", self._overwrite),
            ("read", self._read),
            ("ranges", self._ranges),
            ("absent objects", self._absent),
            ("list after write", self._list),
            ("several writers", self._several),
            ("aborted write", self._aborted),
            ("case of names", self._case),
            ("long names", self._long),
            ("clock", self._clock),
            ("delete", self._delete),
        ]
        for name, step in steps:
            try:
                yield Check(name, Verdict.PASSED, step())
            except _LimitedError as error:
                yield Check(name, Verdict.LIMITED, str(error))
            except (_ProbeError, PachvaultError) as error:
                yield Check(name, Verdict.FAILED, str(error))
                if name == "create":  # nothing else can be tried
                    return

    def _name(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _listed(self) -> dict[str, ObjectInfo]:
        return {info.name: info for info in self._store.list(self._folder)}

    def _create(self) -> str:
        self._store.put_new(self._name("new"), _SMALL)
        return ""

    def _exclusive(self) -> str:
        try:
            self._store.put_new(self._name("new"), _SMALL[::-1])
        except TakenError:
            return ""
        raise _ProbeError("an existing object was created again: two runs could overwrite each other")

    def _overwrite(self) -> str:
        try:
            self._store.put(self._name("new"), [_SMALL[::-1]], len(_SMALL))
        except TakenError:
            return ""
        raise _ProbeError("a complete object was overwritten")

    def _read(self) -> str:
        if self._store.get(self._name("new")) != _SMALL:
            raise _ProbeError("the bytes read differ from those written")
        return ""

    def _ranges(self) -> str:
        if self._store.get_range(self._name("new"), 3, 5) != _SMALL[3:8]:
            raise _ProbeError("a range has other bytes than the object")
        try:
            self._store.get_range(self._name("new"), len(_SMALL) - 1, 9)
        except CorruptError:
            return ""
        raise _ProbeError("a range beyond the end is answered")

    def _absent(self) -> str:
        if self._store.stat(self._name("absent")) is not None:
            raise _ProbeError("an object exists that nobody wrote")
        try:
            self._store.get(self._name("absent"))
        except AbsentError:
            return ""
        raise _ProbeError("an absent object was read")

    def _list(self) -> str:
        for number in range(3):
            name = self._name(f"listed/{number}")
            self._store.put(name, [_SMALL], len(_SMALL))
            if name not in self._listed():
                raise _ProbeError("an object that was just written is not listed")
        return ""

    def _several(self) -> str:
        def create(number: int) -> bool:
            try:
                self._store.put_new(self._name("several"), b"%d" % number)
            except TakenError:
                return False
            return True

        with ThreadPoolExecutor(_WRITERS, "probe") as pool:
            created = sum(pool.map(create, range(_WRITERS)))
        if created != 1:
            raise _ProbeError(f"of {_WRITERS} writers of one name {created} succeeded")
        return f"{_WRITERS} at once"

    def _aborted(self) -> str:
        with suppress(CorruptError):
            self._store.put(self._name("aborted"), [_SMALL], len(_SMALL) + 1)
        if self._store.stat(self._name("aborted")) is not None:
            raise _ProbeError("an aborted write left an object")
        return ""

    def _case(self) -> str:
        self._store.put(self._name("case"), [b"lower"], 5)
        self._store.put(self._name("CASE"), [b"upper"], 5)
        if self._store.get(self._name("case")) != b"lower":
            raise _ProbeError("names that differ in case are one object")
        return ""

    def _long(self) -> str:
        name = self._name("n" * 200)
        self._store.put(name, [_SMALL], len(_SMALL))
        if self._store.stat(name) is None:
            raise _ProbeError("a name of 200 characters is lost")
        return ""

    def _clock(self) -> str:
        self._store.put(self._name("clock"), [_SMALL], len(_SMALL))
        now, info = datetime.now(UTC), self._store.stat(self._name("clock"))
        if info is None:
            raise _ProbeError("an object that was just written is missing")
        ahead = (now - info.modified_at).total_seconds()
        if abs(ahead) > _CLOCK_TOLERANCE.total_seconds():
            side = "ahead of" if ahead > 0 else "behind"
            raise _LimitedError(f"this machine's clock is {abs(ahead):,.0f} seconds {side} the store's")
        return f"{abs(ahead):.1f} seconds apart"

    def _delete(self) -> str:
        name = self._name("new")
        try:
            self._store.delete(name)
        except PachvaultError as error:
            raise _LimitedError(
                f"not allowed: backups and restores work; forget and prune do not: {error.what}"
            ) from error
        if self._store.stat(name) is not None or name in self._listed():
            raise _LimitedError("a deleted object is still there: prune does not free space")
        return ""

    def speed(self, object_bytes: int, workers: int) -> Speed:
        """Write and read `workers` objects at once."""
        small = self._name("listed/0")
        latencies = [_seconds(lambda: self._store.get(small)) for _ in range(_LATENCIES)]
        # random: a place that compresses or deduplicates must not look faster than it is
        data = secrets.token_bytes(object_bytes)
        names = [self._name(f"large/{number}") for number in range(workers)]

        def write(name: str) -> None:
            self._store.put(name, [data], len(data))

        def read(name: str) -> None:
            if self._store.get(name) != data:
                raise _ProbeError("the bytes of a large object differ from those written")

        with ThreadPoolExecutor(workers, "probe") as pool:
            up = _seconds(lambda: list(pool.map(write, names)))
            down = _seconds(lambda: list(pool.map(read, names)))
        total = object_bytes * workers
        return Speed(statistics.median(latencies), total / up, total / down, object_bytes, workers)

    def remove(self) -> None:
        """Delete what the probe wrote, as far as the place allows it."""
        with suppress(PachvaultError):
            for name in self._listed():
                self._store.delete(name)
            later = datetime.now(UTC) + timedelta(days=1)
            self._store.sweep(later, lambda name: name.startswith(self._folder))
        if isinstance(self._store, FolderStore):
            for folder in ("listed", "large", ""):
                with suppress(OSError):
                    (self._store.root / self._folder / folder).rmdir()


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return max(time.perf_counter() - begun, 1e-6)
