"""What `forget` reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pachvault.cli.common import put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.maintenance.forget.forget import ForgetDecision


@dataclass(frozen=True, kw_only=True)
class RuleResult(Result):
    """A rule of the retention, as it was read: 7m is minutes here, and months elsewhere."""

    is_left_out_by_quiet = True

    type: Literal["rule"] = "rule"
    match: Sequence[str]
    """Patterns of the branches that it applies to."""
    keeps: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DecisionResult(Result):
    """Whether a snapshot is kept or forgotten, and why."""

    type: Literal["decision"] = "decision"
    id: str
    frozen_at: datetime
    state: str
    """sealed, partial or damaged."""
    policy: str
    action: str
    """keep or forget."""
    reasons: Sequence[str]

    @classmethod
    def of(cls, decision: ForgetDecision) -> Self:
        """From the plan's decision."""
        return cls(
            id=decision.name.id,
            frozen_at=decision.name.frozen_at,
            state=decision.state,
            policy=decision.policy,
            action=decision.action.value,
            reasons=decision.reasons,
        )


@dataclass(frozen=True, kw_only=True)
class ForgetSummary(Result):
    """What `forget` did."""

    type: Literal["forget_summary"] = "forget_summary"
    kept: int
    forgotten: int
    """0 for a dry run."""
    to_forget: int
    damaged: int
    """Forgotten snapshots that are damaged, and cannot be brought back."""
    until: datetime | None
    """Until when the others can be brought back; None where nothing was forgotten that can be."""
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class BringBackSummary(Result):
    """The snapshot that `forget --bring-back` brought back, and pinned."""

    type: Literal["bring_back_summary"] = "bring_back_summary"
    snapshot: str


@text_of(RuleResult)
def _rule(rule: RuleResult) -> None:
    say(f"rule for {', '.join(rule.match)}: {', '.join(rule.keeps)}")


@table_of(DecisionResult)
def _decisions(decisions: Iterable[DecisionResult]) -> None:
    put_table(
        ["ID", "FROZEN (UTC)", "STATE", "POLICY", "ACTION", "WHY"],
        [
            [
                decision.id[:12],
                f"{decision.frozen_at:%Y-%m-%d %H:%M:%S}",
                decision.state,
                decision.policy or "-",
                decision.action,
                "; ".join(decision.reasons),
            ]
            for decision in decisions
        ],
    )


@text_of(ForgetSummary)
def _forget(summary: ForgetSummary) -> None:
    total = summary.kept + summary.to_forget
    if summary.dry_run:
        say(f"{summary.to_forget} of {total} snapshots would be forgotten")
        return
    lost = f"; {summary.damaged} damaged, which cannot be brought back" if summary.damaged else ""
    until = f"; `forget --bring-back` until {summary.until:%Y-%m-%d %H:%M} UTC" if summary.until else ""
    say(f"{summary.forgotten} of {total} snapshots forgotten{lost}{until}")


@text_of(BringBackSummary)
def _bring_back(summary: BringBackSummary) -> None:
    say(
        f"snapshot {summary.snapshot[:12]} is back, and pinned: "
        "after `pachvault snapshots unpin` it can be forgotten again"
    )
