"""Writes packs and their index objects. A pack is uploaded while the next one is filled."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pachvault.format import index
from pachvault.format.pack import Frame, Pack, PackBuilder
from pachvault.vault.vault import StoredObject, Vault

PACK_BYTES = 64 * 1024 * 1024
_UPLOADS_AT_ONCE = 2


class PackWriter:
    """Puts frames into packs of about PACK_BYTES; at most three packs are in memory.

    The same frames in the same order give the same packs under the same names. So a run that is repeated
    finds its packs and uploads none twice.
    """

    def __init__(self, vault: Vault, pack_bytes: int = PACK_BYTES) -> None:
        self._vault = vault
        self._pack_bytes = pack_bytes
        self._builder = PackBuilder()
        self._uploads: deque[Future[Pack]] = deque()
        self._pool = ThreadPoolExecutor(_UPLOADS_AT_ONCE, "upload")
        self._unindexed: list[Pack] = []
        self.packs: list[StoredObject] = []
        self.indexes: list[StoredObject] = []
        self.blobs = 0
        self.raw_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # waits for uploads in progress: no thread may write to the vault after the block
        self._pool.shutdown(cancel_futures=True)

    def add(self, frame: Frame) -> None:
        """Append a frame. Waits for an upload where two are in progress."""
        self._builder.add(frame)
        self.blobs += len(frame.digests)
        self.raw_bytes += frame.raw_bytes
        if self._builder.size >= self._pack_bytes:
            self._close_pack()

    def finish(self) -> list[StoredObject]:
        """Upload the last pack and index object; all index objects, none where no frame was added."""
        if self._builder:
            self._close_pack()
        while self._uploads:
            self._complete_upload()
        if self._unindexed:
            self._index()
        return self.indexes

    def _close_pack(self) -> None:
        full, self._builder = self._builder, PackBuilder()
        # before the next pack is submitted: this is what bounds the memory (decision 0001)
        while len(self._uploads) >= _UPLOADS_AT_ONCE:
            self._complete_upload()
        self._uploads.append(self._pool.submit(self._vault.put_pack, full.finish))

    def _complete_upload(self) -> None:
        # in the order of filling, not of completion: so a repeated run makes the same index objects
        pack = self._uploads.popleft().result()
        # without its bytes: only the table of contents is needed for the index
        self._unindexed.append(Pack(pack.digest, [], pack.size, pack.toc))
        self.packs.append(StoredObject(pack.digest, pack.size))
        if sum(len(unindexed.toc.blobs) for unindexed in self._unindexed) >= index.ROWS:
            self._index()

    def _index(self) -> None:
        """Write an index object for the packs that no index object names yet."""
        # format 6.1: only packs whose upload is complete are in the list
        packs, self._unindexed = self._unindexed, []
        self.indexes.append(self._vault.put_index(index.encode(index.of_packs(packs))))
