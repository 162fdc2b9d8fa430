"""What settles a request in a worker, and what is worth another try.

A failed datum fails the job and everything downstream, other requests included: what will not pass by
itself becomes a record instead. What Pachyderm refuses may pass or not, its answers do not tell: it is
tried a few times first.
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

JUDGED = (UsageError, NoVaultError, VaultKeyError, DamageError)
"""What the request, the vault or the cluster's state decide."""
_REFUSED = (PachydermError, BusyError)
_TRIES = 3

Value = TypeVar("Value")


def verdict(call: Callable[[], Value]) -> Value | PachvaultError:
    """What the call gives, or the error that settles the matter. The call must be one that may be repeated.

    Raises what may pass and did not within half a minute: an unreachable cluster or vault.
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
    except (*JUDGED, *_REFUSED) as error:
        _log.info("the request is answered with an error: %s", error)
        return error
    raise PachvaultError("no attempt was made")


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, _REFUSED) and not isinstance(error, TransientError)
