"""Which errors settle a request, and which are retried."""

from __future__ import annotations

import pytest
from tenacity import wait_none

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
from pachvault.restore.request import retry_policy as module
from pachvault.restore.request.retry_policy import value_or_error


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "wait_random_exponential", lambda **_: wait_none())
    monkeypatch.setattr(module, "retrying", lambda: retrying().copy(wait=wait_none()))


class Failing:
    """Raises an error so many times, then gives a value."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "value"


@pytest.mark.parametrize("kind", [UsageError, NoVaultError, VaultKeyError, DamageError])
def test_what_is_judged_is_the_answer_at_once(kind: type[PachvaultError]) -> None:
    call = Failing(kind("no"), times=9)
    assert value_or_error(call) is call.error
    assert call.calls == 1


@pytest.mark.parametrize("kind", [PachydermError, BusyError])
def test_what_is_refused_is_tried_three_times_and_then_the_answer(kind: type[PachvaultError]) -> None:
    call = Failing(kind("no"), times=9)
    assert value_or_error(call) is call.error
    assert call.calls == 3
    assert value_or_error(Failing(kind("no"), times=2)) == "value"


def test_what_may_pass_is_tried_again_and_raised_where_it_does_not() -> None:
    assert value_or_error(Failing(TransientError("later"), times=7)) == "value"
    with pytest.raises(TransientError):
        value_or_error(Failing(TransientError("later"), times=99))


@pytest.mark.parametrize("error", [PachvaultError("disk"), ValueError("a bug")])
def test_what_is_no_verdict_is_raised_at_once(error: Exception) -> None:
    call = Failing(error, times=9)
    with pytest.raises(type(error)):
        value_or_error(call)
    assert call.calls == 1
