"""A store with objects laid over it: they can be read as if they were there, and nothing is written below.

So a repair plans with objects that it can rebuild, before it writes one of them.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from pachvault.errors import AbsentError, StoreError
from pachvault.format import layout
from pachvault.store.store import WHOLE_BYTES, ObjectInfo, Store, object_url


class OverlayStore:
    """See `Store`. Only file tables and commit lists are kept, in a temporary file; other writes are dropped.

    What runs left (`runs/`) is hidden: an export must not take its result from there.
    """

    def __init__(self, below: Store) -> None:
        self._below = below
        self._places: dict[str, tuple[int, int]] = {}
        """Offset and size of each object in the temporary file."""
        self._file = tempfile.TemporaryFile(prefix="pachvault-")  # noqa: SIM115  (see the next line)
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._lock = threading.Lock()
        self.url = below.url

    @property
    def names(self) -> list[str]:
        """The objects that are laid over the store, in the order in which they came."""
        return list(self._places)

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """Keep a table; anything else is dropped. StoreError where there is no room for temporary files."""
        # an export also writes packs: their blobs are looked for later, and here they would fill the disk
        if not name.startswith(f"{layout.TABLES}/") or name in self._places:
            return True
        with self._lock:
            try:
                data = memoryview(b"".join(parts))
                written = 0
                # a nearly full disk takes a part of the bytes, and says so only in the result
                while written < len(data):
                    written += os.pwrite(self._file.fileno(), data[written:], self._end + written)
            except OSError as error:
                raise StoreError(
                    f"no room for temporary files: {error}", where=tempfile.gettempdir()
                ) from error
            self._places[name] = self._end, size
            self._end += size
        return True

    def put_new(self, name: str, data: bytes) -> None:
        """See `put`."""
        self.put(name, [data], len(data))

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        """See `Store`."""
        if name in self._places:
            offset, size = self._places[name]
            # pread and not seek and read: several threads read at once
            return os.pread(self._file.fileno(), size, offset)
        if name.startswith(f"{layout.RUNS}/"):
            raise AbsentError("hidden from a repair", where=object_url(self.url, name))
        return self._below.get(name, most)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See `Store`."""
        return self._below.get_range(name, offset, length)

    def stat(self, name: str) -> ObjectInfo | None:
        """See `Store`."""
        return self._below.stat(name)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """What is in the store below; the objects laid over it are not listed."""
        return self._below.list(folder)

    def delete(self, name: str) -> None:
        """Nothing is deleted."""

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        """Nothing is deleted."""

    def create(self, *, is_shared: bool = False) -> None:
        """The place is there."""

    def exists(self) -> bool:
        """See `Store`."""
        return self._below.exists()
