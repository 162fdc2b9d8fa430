"""What a vault asks of the place it lives in, and how a target's URL names one.

A store holds immutable objects under names with `/`. It knows nothing of their meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pachvault.errors import UsageError


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing shows it; `modified_at` is the store's own clock, UTC."""

    name: str
    size: int
    modified_at: datetime


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

    def get(self, name: str) -> bytes:
        """All bytes of an object; AbsentError where there is none."""

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; AbsentError without an object, CorruptError where it is too short."""

    def stat(self, name: str) -> ObjectInfo | None:
        """The object's listing entry, or None."""

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """All objects below `folder`, sorted by name; none where the folder does not exist."""

    def delete(self, name: str) -> None:
        """Remove an object; no error where there is none."""

    def sweep(self, before: datetime) -> None:
        """Remove what aborted writes left behind before a time of the store's clock."""

    def create(self, *, is_shared: bool = False) -> None:
        """Make the place itself, if it is not there; UsageError where that cannot be.

        With `is_shared` it is for a group, where the place knows groups, else for its owner alone.
        """

    def exists(self) -> bool:
        """Whether the place itself is there."""


def open_store(url: str) -> Store:
    """The store that `url` names: `file:///path`, or a plain path.

    Raises UsageError for any other scheme, and for a file URL with a host.
    """
    from pachvault.store.local import LocalStore  # noqa: PLC0415  (each kind is loaded when wanted)

    parts = urlsplit(url)
    if not parts.scheme and parts.path:
        return LocalStore(Path(url).absolute())
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise UsageError("a file target needs an absolute path", where=url, hint="file:///folder")
        if parts.query or parts.fragment:
            raise UsageError("? and # in a file target are written %3F and %23", where=url)
        return LocalStore(Path(unquote(parts.path)))
    raise UsageError(  # the rest of the URL may hold a password
        f"target scheme {parts.scheme!r} is not supported" if parts.scheme else "the target is empty",
        where="target",
        hint="allowed: file:///folder",
    )
