"""What `local` and `demo` report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pachvault.cli.common import put, say
from pachvault.cli.render import Result, text_of


@dataclass(frozen=True, kw_only=True)
class LocalStartSummary(Result):
    """The embedded Pachyderm that `local start` started, or that ran already."""

    type: Literal["local_start_summary"] = "local_start_summary"
    address: str
    pid: int
    state: str
    """The folder that has its data."""


@dataclass(frozen=True, kw_only=True)
class LocalStopSummary(Result):
    """What `local stop` did."""

    type: Literal["local_stop_summary"] = "local_stop_summary"
    stopped: bool
    """False if it did not run."""


@dataclass(frozen=True, kw_only=True)
class LocalStatusResult(Result):
    """Whether the embedded Pachyderm runs."""

    type: Literal["local_status"] = "local_status"
    running: bool
    address: str | None
    pid: int | None


@dataclass(frozen=True, kw_only=True)
class DemoStepResult(Result):
    """A step of the demo; written when it is done."""

    type: Literal["demo_step"] = "demo_step"
    elapsed_seconds: float
    """Since the demo began."""
    message: str


@dataclass(frozen=True, kw_only=True)
class DemoSummary(Result):
    """What the demo made and measured."""

    type: Literal["demo_summary"] = "demo_summary"
    vault: str
    """The URL of the vault that it leaves."""
    folder: str
    backup_seconds: Sequence[float]
    """The duration of each backup."""
    restore_bytes_per_second: float


@text_of(LocalStartSummary)
def _start(summary: LocalStartSummary) -> None:
    put(summary.address)


@text_of(LocalStopSummary)
def _stop(summary: LocalStopSummary) -> None:
    say("stopped" if summary.stopped else "was not running")


@text_of(LocalStatusResult)
def _status(status: LocalStatusResult) -> None:
    put(f"running at {status.address}, process {status.pid}" if status.running else "not running")


@text_of(DemoStepResult)
def _demo_step(step: DemoStepResult) -> None:
    put(f"[{step.elapsed_seconds:5.1f} s] {step.message}")


@text_of(DemoSummary)
def _demo(summary: DemoSummary) -> None:
    put()
    put(f"The vault is at {summary.folder}. Look at it:")
    put()
    for command in ("snapshots", "show latest", "ls latest research/journal@master", "verify --level data"):
        put(f"  pachvault --vault {summary.vault} {command}")
