"""What a vault asks of the place it lives in.

A store holds immutable objects under names with `/`. It knows nothing of their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

WHOLE_BYTES = 2 * 2**30
"""No object that is read whole is longer."""
UNREADABLE = "a folder that may not be read"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing shows it; `modified_at` is the store's own clock, UTC."""

    name: str
    size: int
    modified_at: datetime
    other: str = ""
    """What it is where it is no object: UNREADABLE, a link, a device."""


class Store(Protocol):
    """A place for objects.

    Every method raises StoreError where the place does not answer or refuses: that says nothing of what is
    in it. AbsentError and CorruptError are the place's own word of one object.
    """

    url: str

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """Write an object of `size` bytes; durable on return. False if it was there already.

        An object that is there and shorter is an aborted write and is replaced; one that is there
        and differs otherwise raises TakenError: nothing complete is ever overwritten.
        """

    def put_new(self, name: str, data: bytes) -> None:
        """Write an object that must not be there yet, durable on return; TakenError where one is.

        Of several writers at once one succeeds.
        """

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        """All bytes of an object; AbsentError where there is none, CorruptError where it is too long."""

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; AbsentError without an object, CorruptError where it is too short."""

    def stat(self, name: str) -> ObjectInfo | None:
        """The object's listing entry, or None."""

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """All objects below `folder`, sorted by name; none where the folder does not exist.

        Whose they are does not matter here. What is no object (`ObjectInfo.other`) is listed, too, and not
        looked into. Names that begin with a dot are left out. A name may be no UTF-8: then it has surrogates.
        """

    def delete(self, name: str) -> None:
        """Remove an object; no error where there is none, and nothing else is removed."""

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        """Remove what aborted writes left behind before a time of the store's clock.

        Of objects whose names `is_own` knows, and of nothing else.
        """

    def create(self, *, is_shared: bool = False) -> None:
        """Make the place itself, if it is not there; UsageError where that cannot be.

        With `is_shared` it is for a group, where the place knows groups, else for its owner alone.
        """

    def exists(self) -> bool:
        """Whether the place itself is there."""
