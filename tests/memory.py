"""A store in memory, whose clock tests set, and views of it that die or are interrupted at the n-th call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pachvault.errors import AbsentError, CorruptError, TakenError
from pachvault.store.store import WHOLE_BYTES, ObjectInfo


class Killed(BaseException):
    """The process is dead; nothing of it runs on."""


@dataclass
class MemoryStore:
    """See `Store`. `now` is its clock."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    url: str = "memory:"
    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        data = b"".join(parts)
        assert len(data) == size
        there = self.objects.get(name)
        if there is not None and there[0] == data:
            return False
        if there is not None and len(there[0]) >= size:
            raise TakenError("another object has this name already", where=name)
        self.objects[name] = (data, self.now)
        return True

    def put_new(self, name: str, data: bytes) -> None:
        if name in self.objects:
            raise TakenError("an object has this name already", where=name)
        self.objects[name] = (data, self.now)

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        if name not in self.objects:
            raise AbsentError("no such object", where=name)
        data = self.objects[name][0]
        if len(data) > most:
            raise CorruptError("longer than such an object may be", where=name)
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        data = self.get(name)[offset : offset + length]
        if len(data) != length:
            raise CorruptError("the object is too short", where=name)
        return data

    def stat(self, name: str) -> ObjectInfo | None:
        there = self.objects.get(name)
        return ObjectInfo(name, len(there[0]), there[1]) if there else None

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        prefix = f"{folder}/" if folder else ""
        for name, (data, at) in sorted(self.objects.items()):
            if name.startswith(prefix):
                yield ObjectInfo(name, len(data), at)

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        del before, is_own  # nothing is left behind in memory

    def create(self, *, is_shared: bool = False) -> None:
        del is_shared  # memory knows no groups

    def exists(self) -> bool:
        return True


class Traced:
    """A store that notes what is read whole."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.taken: dict[str, bytes] = {}

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        del most
        self.taken[name] = self._store.get(name)
        return self.taken[name]

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class Process:
    """A store as one process sees it: at the n-th call `event` happens once, before the call goes through.

    An event that raises Killed ends the process: every later call of it is Killed, too.
    """

    def __init__(self, store: MemoryStore, nth: int, event: Callable[[], None]) -> None:
        self._store, self._nth, self._event = store, nth, event
        self._calls = 0
        self._is_dead = False
        self._lock = threading.Lock()
        self.url = store.url

    def __getattr__(self, name: str) -> Callable[..., object]:
        inner = getattr(self._store, name)

        def call(*arguments: object, **options: object) -> object:
            with self._lock:
                if self._is_dead:
                    raise Killed
                self._calls += 1
                if self._calls == self._nth:
                    try:
                        self._event()
                    except Killed:
                        self._is_dead = True
                        raise
                answer = inner(*arguments, **options)
                return iter(tuple(answer)) if name == "list" else answer

        return call


def die() -> None:
    """An event: kill -9."""
    raise Killed
