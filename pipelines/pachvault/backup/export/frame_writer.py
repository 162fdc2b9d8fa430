"""Blobs to frames: gathered up to FRAME_BYTES, compressed by threads, handed to the pack writer in order."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Executor, Future

from pachvault.format import pack
from pachvault.vault.pack_writer import PackWriter

# format 5.2. To read one small file a whole frame is decoded (docs/decisions/0001).
FRAME_BYTES = 1024 * 1024
FRAME_BLOBS = 4096

Data = bytes | memoryview


class FrameWriter:
    """Fills frames in the order in which blobs come. At most `frames_ahead` frames are being compressed."""

    def __init__(self, writer: PackWriter, pool: Executor, small_bytes: int, frames_ahead: int) -> None:
        """Blobs of up to `small_bytes` are copied: they may be views of a whole message."""
        self._writer, self._pool = writer, pool
        self._small_bytes = small_bytes
        self._frames_ahead = frames_ahead
        self._local = threading.local()
        self._compressing: deque[Future[pack.Frame]] = deque()
        self._frame: list[Data] = []
        self._frame_digests: list[bytes] = []
        self._frame_bytes = 0

    def add(self, data: Data, blob_digest: bytes) -> None:
        """Add a blob; may wait for the pack writer."""
        if self._frame_bytes + len(data) > FRAME_BYTES or len(self._frame) >= FRAME_BLOBS:
            self._compress()
        if len(data) <= self._small_bytes:
            data = bytes(data)  # or a frame that fills slowly would hold a whole message for each small file
        self._frame.append(data)
        self._frame_digests.append(blob_digest)
        self._frame_bytes += len(data)

    def flush(self) -> None:
        """Hand every frame to the pack writer."""
        self._compress()
        while self._compressing:
            self._writer.add(self._compressing.popleft().result())

    def _compress(self) -> None:
        """Have the frame compressed."""
        if not self._frame:
            return
        self._compressing.append(self._pool.submit(self._make_frame, self._frame, self._frame_digests))
        self._frame, self._frame_digests, self._frame_bytes = [], [], 0
        while len(self._compressing) > self._frames_ahead:
            self._writer.add(self._compressing.popleft().result())

    def _make_frame(self, blobs: list[Data], blob_digests: list[bytes]) -> pack.Frame:
        # one for each thread: a compressor must not be used by two at once
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = pack.new_compressor()
        data = blobs[0] if len(blobs) == 1 else b"".join(blobs)
        return pack.make_frame(data, blob_digests, [len(blob) for blob in blobs], compressor)
