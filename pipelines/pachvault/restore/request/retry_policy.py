"""Which errors settle a request in a worker, and which are retried.

A failed datum fails the job and all jobs downstream, other requests included. So permanent errors are
returned, for the report of the request. An error from Pachyderm does not show whether it
is permanent: the call is retried a few times first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pachvault.errors import (
    BusyError,
    DamageError,
    NoVaultError,
    PachvaultError,
    PachydermError,
    TransientError,
    UsageError,
    VaultKeyError,
)
from pachvault.pach.connection import retrying
from pachvault.runtime import logs

_log = logging.getLogger(__name__)

PERMANENT = (UsageError, NoVaultError, VaultKeyError, DamageError)
"""Errors of the request, of the vault or of the state of the cluster."""
_REFUSED = (PachydermError, BusyError)
_TRIES = 3

Value = TypeVar("Value")


def value_or_error(call: Callable[[], Value]) -> Value | PachvaultError:
    """The value of the call, or the permanent error that it raised. The call must be repeatable.

    Raises retryable errors that last longer than half a minute: the cluster or the vault is unreachable.
    """
    attempts = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=1, max=10),
        retry=retry_if_exception(_is_refusal),
        before_sleep=logs.retries(_log),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                return retrying()(call)
    except TransientError:
        raise
    except (*PERMANENT, *_REFUSED) as error:
        _log.info("the request is answered with an error: %s", error)
        return error
    raise PachvaultError("no attempt was made")


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, _REFUSED) and not isinstance(error, TransientError)
