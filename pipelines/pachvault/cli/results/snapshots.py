"""What `snapshots`, `snapshots pin` and `snapshots unpin` report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pachvault.cli.common import human, put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.cli.results.backup import RunTotals
from pachvault.format.maintenance_documents import Pin
from pachvault.format.manifest import Manifest, Problem
from pachvault.maintenance.forget.forget import ForgottenSnapshot
from pachvault.vault.snapshots import SnapshotName

_HEADINGS = ["ID", "FROZEN (UTC)", "STATE", "POLICY", "REPOS", "SIZE", "NEW", "STORED"]
_RIGHT = (4, 5, 6, 7)


@dataclass(frozen=True, kw_only=True)
class SnapshotResult(Result):
    """A snapshot in the list. Where its manifest is damaged, only the fields up to `until` are set."""

    type: Literal["snapshot"] = "snapshot"
    id: str
    frozen_at: datetime
    damaged: str | None = None
    """Why the manifest cannot be read."""
    pinned: bool
    pin_reason: str | None = None
    forgotten_at: datetime | None = None
    """When it was forgotten; None for a snapshot that is not."""
    until: datetime | None = None
    """Until when a forgotten snapshot can be brought back."""
    sealed_at: datetime | None = None
    is_future: bool = False
    """Whether it is dated in the future."""
    partial: bool | None = None
    problems: Sequence[Problem] = ()
    policy: str | None = None
    repos: int | None = None
    size_bytes: int | None = None
    """Of the files of all heads."""
    totals: RunTotals | None = None

    @classmethod
    def of(
        cls,
        name: SnapshotName,
        manifest: Manifest,
        pin: Pin | None,
        forgotten: ForgottenSnapshot | None,
        *,
        is_future: bool,
    ) -> Self:
        """From a manifest that can be read."""
        return cls(
            id=name.id,
            frozen_at=manifest.frozen_at,
            pinned=pin is not None,
            pin_reason=pin.reason if pin else None,
            forgotten_at=forgotten.forgotten_at if forgotten else None,
            until=forgotten.until if forgotten else None,
            sealed_at=manifest.sealed_at,
            is_future=is_future,
            partial=manifest.partial,
            problems=manifest.problems,
            policy=manifest.policy,
            repos=len(manifest.repos),
            size_bytes=sum(entry.size_bytes for entry in manifest.repos),
            totals=RunTotals.of(manifest.totals),
        )


@dataclass(frozen=True, kw_only=True)
class PinSummary(Result):
    """What `snapshots pin` or `unpin` did."""

    type: Literal["pin_summary"] = "pin_summary"
    snapshot: str
    outcome: Literal["pinned", "was pinned already", "unpinned", "was not pinned"]


@table_of(SnapshotResult)
def _snapshots(snapshots: Iterable[SnapshotResult]) -> None:
    rows = [[*_row(snapshot), _last_column(snapshot)] for snapshot in snapshots]
    are_forgotten = any(snapshot.until for snapshot in snapshots)
    headings = [*_HEADINGS, "UNTIL (UTC)" if are_forgotten else "PINNED"]
    if not any(row[-1] for row in rows):
        headings = _HEADINGS
    put_table(headings, [row[: len(headings)] for row in rows], right=_RIGHT)


def _row(snapshot: SnapshotResult) -> list[object]:
    start: list[object] = [snapshot.id[:12], f"{snapshot.frozen_at:%Y-%m-%d %H:%M:%S}"]
    if snapshot.damaged is not None or snapshot.totals is None:
        return [*start, "damaged", "", "", "", "", ""]
    return [
        *start,
        _state(snapshot),
        snapshot.policy or "-",
        snapshot.repos,
        human(snapshot.size_bytes or 0),
        human(snapshot.totals.new_bytes),
        human(snapshot.totals.stored_bytes),
    ]


def _state(snapshot: SnapshotResult) -> str:
    state = "partial" if snapshot.partial else "sealed"
    notes_count = sum(problem.is_note for problem in snapshot.problems)
    if notes_count:
        state += f", {notes_count} note{'s' if notes_count > 1 else ''}"
    return f"{state}, in the future" if snapshot.is_future else state


def _last_column(snapshot: SnapshotResult) -> str:
    """Until when a forgotten snapshot can be brought back; why one is pinned."""
    if snapshot.until is not None:
        return f"{snapshot.until:%Y-%m-%d %H:%M}"
    return (snapshot.pin_reason or "yes") if snapshot.pinned else ""


@text_of(PinSummary)
def _pin(summary: PinSummary) -> None:
    say(f"snapshot {summary.snapshot[:12]} {summary.outcome}")
