"""Keeps a file set alive while it is in use: by itself it expires after ten minutes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pachvault.errors import PachvaultError
from pachvault.pach.source import CommitRef, Source, file_set

_log = logging.getLogger(__name__)

_LIFE_SECONDS = 600
_EVERY_SECONDS = 150.0


@contextmanager
def kept_alive(
    source: Source, file_set_id: str, every_seconds: float = _EVERY_SECONDS
) -> Iterator[CommitRef]:
    """The file set, renewed regularly while the block runs.

    Reading an expired one gives no files and no error: where files are missing, call `check_exists`.
    """
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(every_seconds):
            # the next renewal may succeed; if none does, `check_exists` reports it
            try:
                source.renew(file_set_id, _LIFE_SECONDS)
            except PachvaultError as error:
                _log.warning("file set %s was not renewed: %s", file_set_id, error)

    thread = threading.Thread(target=renew, name="file-set", daemon=True)
    thread.start()
    try:
        yield file_set(file_set_id)
    finally:
        ended.set()
        thread.join()


def check_exists(source: Source, ref: CommitRef) -> None:
    """Raise SourceGoneError where a file set has expired."""
    source.renew(ref.id, _LIFE_SECONDS)
