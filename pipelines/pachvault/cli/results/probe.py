"""What `probe` reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pachvault.cli.common import human, put_table, say
from pachvault.cli.render import Result, table_of
from pachvault.store.probe import Check, Probe, Verdict

_HEADINGS = ["TARGET", "CHECK", "RESULT", "DETAIL"]


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Result):
    """A place that was tried."""

    type: Literal["probe"] = "probe"
    target: str
    suitable: bool
    """Whether a vault can be kept there: no check failed."""
    checks: Sequence[Check] = ()
    latency_seconds: float | None = None
    """The median of small reads; None with --quick, or where a check failed."""
    up_bytes_per_second: float | None = None
    down_bytes_per_second: float | None = None
    workers: int | None = None
    """How many objects were sent at once for these figures."""
    error: str | None = None
    """Why the place could not be tried at all."""

    @classmethod
    def of(cls, target: str, probed: Probe) -> Self:
        """From a probe."""
        speed = probed.speed
        return cls(
            target=target,
            suitable=all(check.verdict is not Verdict.FAILED for check in probed.checks),
            checks=probed.checks,
            latency_seconds=speed.latency_seconds if speed else None,
            up_bytes_per_second=speed.up_bytes_per_second if speed else None,
            down_bytes_per_second=speed.down_bytes_per_second if speed else None,
            workers=speed.workers if speed else None,
        )


@table_of(ProbeResult)
def _write(results: Iterable[ProbeResult]) -> None:
    results = list(results)
    rows = [
        [result.target, check.name, str(check.verdict), check.detail]
        for result in results
        for check in result.checks
    ]
    put_table(_HEADINGS, rows)
    for result in results:
        if result.error is not None:
            say(f"{result.target}: {result.error}")
            continue
        if result.up_bytes_per_second and result.down_bytes_per_second and result.latency_seconds:
            say(
                f"{result.target}: {human(int(result.up_bytes_per_second))}/s up, "
                f"{human(int(result.down_bytes_per_second))}/s down with {result.workers} workers, "
                f"{result.latency_seconds * 1000:.1f} ms a small read"
            )
        say(f"{result.target}: {'suitable' if result.suitable else 'not suitable'} for a vault")
