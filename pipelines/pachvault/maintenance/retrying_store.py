"""A store that retries reads a few times: an error that passes is not a finding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pachvault.errors import DamageError, PachvaultError
from pachvault.runtime import logs
from pachvault.store.store import WHOLE_BYTES, ObjectInfo, Store
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_log_retry = logs.retries(_log)
_TRIES = 3
_WAIT_SECONDS = 0.1
_FAILURES_TO_STOP_AT = 10
"""After so many reads in a row that failed with all retries, the store counts as gone: no more retries."""

Answer = TypeVar("Answer")


class RetryingStore:
    """See `Store` for the contract. AbsentError and CorruptError are answers of the store: no retry."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.url = store.url
        self.repeated = 0
        """How many retries there were."""
        self._failed_in_a_row = 0

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        return self._store.put(name, parts, size)

    def put_new(self, name: str, data: bytes) -> None:
        """See Store.put_new."""
        self._store.put_new(name, data)

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        """See Store.get."""
        return self._retried(lambda: self._store.get(name, most))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See Store.get_range."""
        return self._retried(lambda: self._store.get_range(name, offset, length))

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store.stat."""
        return self._retried(lambda: self._store.stat(name))

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        # as a list: a listing that fails half-way is repeated whole, and no caller gets its first part twice
        return iter(self._retried(lambda: [*self._store.list(folder)]))

    def delete(self, name: str) -> None:
        """See Store.delete."""
        self._store.delete(name)

    def create(self, *, is_shared: bool = False) -> None:
        """See Store.create."""
        self._store.create(is_shared=is_shared)

    def exists(self) -> bool:
        """See Store.exists."""
        return self._store.exists()

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        """See Store.sweep."""
        self._store.sweep(before, is_own)

    def _retried(self, call: Callable[[], Answer]) -> Answer:
        attempts = Retrying(
            stop=stop_after_attempt(_TRIES if self._failed_in_a_row < _FAILURES_TO_STOP_AT else 1),
            wait=wait_random_exponential(multiplier=_WAIT_SECONDS, max=2),
            retry=retry_if_exception(_is_transient),
            before_sleep=self._count,
            reraise=True,
        )
        try:
            answer = attempts(call)
        # an answer: the store is reachable
        except DamageError:
            self._failed_in_a_row = 0
            raise
        except PachvaultError:
            self._failed_in_a_row += 1
            raise
        self._failed_in_a_row = 0
        return answer

    def _count(self, state: RetryCallState) -> None:
        self.repeated += 1
        _log_retry(state)


def with_retries(vault: Vault) -> tuple[Vault, RetryingStore]:
    """The vault with a store that retries reads, and that store."""
    store = RetryingStore(vault.store)
    return replace(vault, store=store), store


def is_gone(vault: Vault, name: str) -> bool:
    """Whether an object was deleted since it was listed, as forget and prune do."""
    try:
        return vault.store.stat(name) is None
    except PachvaultError as error:
        _log.info("cannot tell whether %s is still there: %s", name, error)
        # then the error of the read stays a finding: unreachable is never taken for absent
        return False


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, PachvaultError) and not isinstance(error, DamageError)
