"""Writing packs and their index: frames in, packs out, uploaded while the next one fills."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pachvault.format import index, layout
from pachvault.format.ids import digest
from pachvault.format.pack import Frame, Pack, PackBuilder
from pachvault.vault.vault import Vault

PACK_BYTES = 64 * 1024 * 1024
_UPLOADS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Written:
    """An object that was written: its digest and its size in bytes."""

    digest: bytes
    size: int


class PackWriter:
    """Gathers frames into packs of about PACK_BYTES; at most three packs are in memory.

    Frames given in the same order make the same packs under the same names, so a repeated run
    finds its packs and uploads none twice.
    """

    def __init__(self, vault: Vault, pack_bytes: int = PACK_BYTES) -> None:
        self._vault = vault
        self._pack_bytes = pack_bytes
        self._builder = PackBuilder()
        self._uploads: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(_UPLOADS_AT_ONCE, "upload")
        self._indexed: list[Pack] = []
        self.packs: list[Written] = []
        self.blobs = 0
        self.raw_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, frame: Frame) -> None:
        """Append a frame; may wait for an upload."""
        self._builder.add(frame)
        self.blobs += len(frame.digests)
        self.raw_bytes += frame.raw_bytes
        if self._builder.size >= self._pack_bytes:
            self._close_pack()

    def finish(self) -> Written | None:
        """Upload the rest, then the index of all packs; None where nothing was new."""
        if self._builder:
            self._close_pack()
        while self._uploads:
            self._uploads.popleft().result()
        if not self._indexed:
            return None
        data = index.encode(index.of_packs(self._indexed))
        name = digest(data)
        self._vault.store.put(layout.index_path(name), [data], len(data))
        return Written(name, len(data))

    def _close_pack(self) -> None:
        done, self._builder = self._builder.finish(), PackBuilder()
        while len(self._uploads) >= _UPLOADS_AT_ONCE:
            self._uploads.popleft().result()
        self._uploads.append(self._pool.submit(self._upload, done))
        self._indexed.append(Pack(done.digest, [], done.size, done.toc))
        self.packs.append(Written(done.digest, done.size))

    def _upload(self, pack: Pack) -> None:
        self._vault.store.put(layout.pack_path(pack.digest), pack.parts, pack.size)
