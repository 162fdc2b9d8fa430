"""A store in which the process dies at the n-th write or deletion: what is written before is all there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pachvault.store.store import WHOLE_BYTES, ObjectInfo, Store

Answer = TypeVar("Answer")


class Died(BaseException):
    """No error that code could handle: the end."""


class DyingStore:
    """See `Store`. After the end nothing more is written, whatever threads are still at work."""

    def __init__(self, inner: Store, nth: int = 0, how: str = "before") -> None:
        self._inner, self._nth, self._how = inner, nth, how
        self.url = inner.url
        self.calls = 0
        self.is_dead = False

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        return self._counted(lambda: self._inner.put(name, parts, size))

    def delete(self, name: str) -> None:
        self._counted(lambda: self._inner.delete(name))

    def put_new(self, name: str, data: bytes) -> None:
        self._counted(lambda: self._inner.put_new(name, data))

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        return self._inner.get(name, most)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._inner.get_range(name, offset, length)

    def stat(self, name: str) -> ObjectInfo | None:
        return self._inner.stat(name)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        return self._inner.list(folder)

    def create(self, *, is_shared: bool = False) -> None:
        self._inner.create(is_shared=is_shared)

    def exists(self) -> bool:
        return self._inner.exists()

    def sweep(self, *arguments: object, **options: object) -> object:
        return self._inner.sweep(*arguments, **options)

    def _counted(self, call: Callable[[], Answer]) -> Answer:
        if self.is_dead:
            raise Died
        self.calls += 1
        if self.calls == self._nth and self._how == "before":
            self.is_dead = True
            raise Died
        answer = call()
        if self.calls == self._nth:
            self.is_dead = True
            raise Died
        return answer


def killed(store: Store, nth: int, how: str, work: Callable[[DyingStore], object]) -> bool:
    """Do some work on the store that dies at the n-th write; whether it came to that."""
    mortal = DyingStore(store, nth, how)
    try:
        work(mortal)
    except Died:
        return True
    assert mortal.calls < nth
    return False
