"""The interface of a store: a place that holds the objects of a vault.

A store holds immutable objects under names with `/`. It does not depend on what the objects mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

WHOLE_BYTES = 2 * 2**30
"""The most bytes of an object that is read in one piece."""
UNREADABLE = "a folder that may not be read"


def object_url(url: str, name: str) -> str:
    """The URL of an object, for messages, from the URL of its store; the options of a bucket are left out."""
    base = url.partition("?")[0]
    return f"{base}/{name}" if name else base


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in a listing. `modified_at` is by the store's clock, in UTC."""

    name: str
    size: int
    modified_at: datetime
    other: str = ""
    """What it is, where it is not an object: UNREADABLE, a link, a device. Empty for an object."""


class Store(Protocol):
    """A place for objects.

    Every method raises StoreError where the place does not answer or refuses the call; then nothing is known
    of its objects. AbsentError and CorruptError mean that the place itself reports this of one object.
    """

    url: str

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """Write an object of `size` bytes; durable on return. False if it exists already.

        A shorter object under the name is an aborted write and is replaced. Any other object that differs
        raises TakenError: a complete object is never overwritten.
        """

    def put_new(self, name: str, data: bytes) -> None:
        """Create an object; durable on return. TakenError where it exists.

        Of several concurrent writers exactly one succeeds.
        """

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        """All bytes of an object; AbsentError where it is missing, CorruptError where it is too long."""

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; AbsentError where it is missing, CorruptError where it is short."""

    def stat(self, name: str) -> ObjectInfo | None:
        """The object's listing entry, or None."""

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """All objects below `folder`, sorted by name; none where the folder does not exist.

        Files of others are listed, too. So is what is not an object (`ObjectInfo.other`); links are not
        followed. Names that begin with a dot are left out. A name that is not UTF-8 has surrogates.
        """

    def delete(self, name: str) -> None:
        """Delete an object; no error where it is missing. Nothing but an object is deleted."""

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        """Remove what aborted writes left before a time of the store's clock.

        Only temporary files of objects whose name `is_own` accepts are removed.
        """

    def create(self, *, is_shared: bool = False) -> None:
        """Create the place itself, if it does not exist; UsageError where that fails.

        With `is_shared` its group has access, too, where the place has groups; else only its owner has.
        """

    def exists(self) -> bool:
        """Whether the place itself exists."""
