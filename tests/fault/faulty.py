"""The one seam of the catalogue: a store at which any call can die, fail, be short, lie or come late."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from memory import Killed, MemoryStore
from pachvault.errors import DeniedError, FullError, StoreError
from pachvault.store.store import ObjectInfo, Store

Point = tuple[str, str]
"""A method, and the folder of what it is called with."""
WRITES = ("put", "delete")


@dataclass(frozen=True, slots=True)
class Call:
    """A call on its way to the store."""

    store: Faulty
    method: str
    arguments: tuple[object, ...]
    number: int
    """Of all calls, from 1."""
    write: int
    """Of those that write, from 1; 0 for one that does not."""
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.arguments[0]) if self.arguments else ""

    @property
    def point(self) -> Point:
        return self.method, self.name.partition("/")[0]

    def go(self) -> object:
        """What the store answers."""
        answer = getattr(self.store.inner, self.method)(*self.arguments, **self.options)
        return list(cast("Iterator[ObjectInfo]", answer)) if self.method == "list" else answer


Fault = Callable[[Call], object]
"""Answers in the place of the store, and may ask it."""


class Faulty:
    """See `Store`. Once it is dead every call is Killed."""

    def __init__(self, inner: MemoryStore, fault: Fault) -> None:
        self.inner, self.url, self._fault = inner, inner.url, fault
        self.points: Counter[Point] = Counter()
        self.writes = 0
        self.is_dead = False
        self.changed: dict[str, tuple[int, ObjectInfo | None]] = {}
        """By name the call that last changed an object, and what was there before it."""
        self._lock = threading.RLock()

    def __getattr__(self, method: str) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            with self._lock:
                if self.is_dead:
                    raise Killed
                is_write = method in WRITES
                self.writes += is_write
                number = self.points.total() + 1
                new_call = Call(self, method, arguments, number, self.writes if is_write else 0, options)
                self.points[new_call.point] += 1
                if is_write:
                    self.changed[new_call.name] = number, self.inner.stat(new_call.name)
                try:
                    answer = self._fault(new_call)
                except Killed:
                    self.is_dead = True
                    raise
                return iter(cast("list[ObjectInfo]", answer)) if method == "list" else answer

        return call


def faulty(inner: MemoryStore, fault: Fault) -> tuple[Store, Faulty]:
    """The store as the product sees it, and as the test does."""
    faulty_store = Faulty(inner, fault)
    return cast("Store", faulty_store), faulty_store


def true(call: Call) -> object:
    """No fault."""
    return call.go()


def dies(nth: int) -> Fault:
    """kill -9 before the n-th write."""

    def fault(call: Call) -> object:
        if call.write == nth:
            raise Killed
        return call.go()

    return fault


def dies_writing(nth: int) -> Fault:
    """kill -9 in the n-th write; of an object its first half is there."""

    def fault(call: Call) -> object:
        if call.write == nth:
            _tear(call)
            raise Killed
        return call.go()

    return fault


def at(point: Point, fault: Fault, *, once: bool) -> Fault:
    """A fault at one point: at its first call, or at every one."""
    seen = Counter[Point]()

    def chosen(call: Call) -> object:
        seen[call.point] += call.point == point
        is_hit = call.point == point and (not once or seen[point] == 1)
        return fault(call) if is_hit else call.go()

    return chosen


def at_call(nth: int, fault: Fault, methods: tuple[str, ...], times: int) -> Fault:
    """A fault at the n-th of all calls, and at those of these methods that follow, so many in all."""
    seen = hits = 0

    def chosen(call: Call) -> object:
        nonlocal seen, hits
        seen += 1
        if seen < nth or hits >= times or call.method not in methods:
            return call.go()
        hits += 1
        return fault(call)

    return chosen


# what can be wrong with a call


def fails(_: Call) -> object:
    raise StoreError("input or output failed: the network is down")


def refuses(_: Call) -> object:
    raise DeniedError("permission to read or write is missing")


def is_full(_: Call) -> object:
    raise FullError("the target is full", hint="make room and run again")


def tears_and_fails(call: Call) -> object:
    _tear(call)
    raise StoreError("input or output failed: the connection was reset")


def tears(call: Call) -> object:
    """And says that all is well."""
    _tear(call)
    return True


def writes_nothing(_: Call) -> object:
    """And says that all is well."""
    return True


def cuts(call: Call) -> object:
    data = cast("bytes", call.go())
    return data[: len(data) // 2]


def flips(call: Call) -> object:
    data = cast("bytes", call.go())
    return data[:-1] + bytes([data[-1] ^ 1]) if data else data


def tells_less(call: Call) -> object:
    return _resized(call.go(), -1)


def tells_more(call: Call) -> object:
    return _resized(call.go(), 1)


def hides(call: Call) -> object:
    """Nothing is there."""
    return [] if call.method == "list" else None


def is_late(calls: int) -> Fault:
    """Listings do not show what was put, and still show what was deleted, less than so many calls ago."""

    def fault(call: Call) -> object:
        if call.method != "list":
            return call.go()
        infos = {info.name: info for info in cast("list[ObjectInfo]", call.go())}
        for name, (number, before) in call.store.changed.items():
            if name.startswith(f"{call.name}/") and call.number - number < calls:
                infos.pop(name, None)
                if before is not None:
                    infos[name] = before
        return [infos[name] for name in sorted(infos)]

    return fault


def appends_only(call: Call) -> object:
    return refuses(call) if call.method == "delete" else call.go()


def meanwhile(nth: int, methods: tuple[str, ...], event: Callable[[], object]) -> Fault:
    """Before the n-th call of these methods something happens."""
    seen = 0

    def fault(call: Call) -> object:
        nonlocal seen
        seen += call.method in methods
        if seen == nth and call.method in methods:
            event()
        return call.go()

    return fault


def _tear(call: Call) -> None:
    if call.method == "put":
        name, parts, size = cast("tuple[str, list[bytes], int]", call.arguments)
        data = b"".join(parts)[: size // 2]
        call.store.inner.put(name, [data], len(data))


def _resized(answer: object, by: int) -> object:
    if isinstance(answer, list):
        return [replace(info, size=info.size + by) for info in answer]
    return replace(answer, size=answer.size + by) if isinstance(answer, ObjectInfo) else answer
