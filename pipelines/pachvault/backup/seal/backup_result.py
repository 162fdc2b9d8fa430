"""`snapshot.json` and `report.md` of stage seal: the result of a backup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pachvault import markdown
from pachvault.backup.backup_messages import Plan
from pachvault.backup.problem_tables import problem_tables
from pachvault.errors import EXIT_OK, EXIT_PARTIAL, DamageError, PachvaultError
from pachvault.format.documents import Time
from pachvault.format.manifest import Problem, Totals
from pachvault.messages import Outcome
from pachvault.syntax.quantities import counted
from pachvault.vault.snapshots import Snapshot

_LISTED = 10
TICK_NOW = "`pachctl run cron freeze --project pachvault`"
"""Starts the next run."""


class BackupResult(Outcome):
    """The result of a backup."""

    run: str
    """The job that froze: the jobs of one run have one id."""
    policy: str
    target: str
    tick: Time | None = None
    snapshot: str | None = None
    """The snapshot's id, where one was sealed."""
    frozen_at: Time | None = None
    problems: list[Problem] = []
    totals: Totals | None = None

    @classmethod
    def of(cls, plan: Plan, job: str, **more: object) -> Self:
        """That of a plan without work; `more` are the fields of a run that did some."""
        fields = {
            "job": job,
            "run": plan.run_id,
            **plan.model_dump(
                include={
                    *("status", "summary", "next_step", "exit_code", "is_signalled"),
                    *("policy", "target", "tick", "frozen_at"),
                }
            ),
        }
        return cls.model_validate(fields | more)

    @classmethod
    def sealed(cls, plan: Plan, job: str, snapshot: Snapshot) -> Self:
        """A run whose snapshot is sealed, completely or in part."""
        manifest, totals = snapshot.manifest, snapshot.manifest.totals
        summary = (
            f"snapshot {snapshot.short_id}: {counted(len(manifest.repos), 'repo')}, "
            f"{counted(totals.commits_new, 'new commit')}, "
            f"{counted(totals.bytes_read, 'byte')} read, {counted(totals.bytes_stored, 'byte')} stored"
        )
        lists_it = f"`pachvault --vault {plan.target} show {snapshot.short_id}` lists what is in it"
        tries_again = f"the next run tries again what is missing; {TICK_NOW} starts it now"
        return cls.of(
            plan,
            job,
            status="partial" if manifest.partial else "sealed",
            exit_code=EXIT_PARTIAL if manifest.partial else EXIT_OK,
            summary=summary + _listed(manifest.problems),
            next_step=tries_again if manifest.partial else lists_it,
            snapshot=snapshot.name.id,
            frozen_at=manifest.frozen_at,
            problems=manifest.problems,
            totals=totals,
        )

    @classmethod
    def not_sealed(cls, plan: Plan, job: str, status: str, error: PachvaultError) -> Self:
        """A run that could not be sealed."""
        next_step = error.hint or f"the next run stores what is missing; {TICK_NOW} starts it now"
        if isinstance(error, DamageError):
            next_step = f"`pachvault --vault {plan.target} verify` lists what is affected; {next_step}"
        reason = f"{error.where}: {error.what}" if error.where else error.what
        return cls.of(
            plan,
            job,
            status=status,
            exit_code=error.exit_code,
            summary=f"not sealed: {reason}",
            next_step=next_step,
        )

    def report(self) -> bytes:
        """`report.md`."""
        facts: dict[str, object] = {
            "Snapshot": self.snapshot,
            "Policy": self.policy,
            "Target": self.target,
            "Run": self.run,
            "Tick": markdown.at(self.tick),
            "Frozen at": markdown.at(self.frozen_at),
        }
        if self.totals:
            facts |= {
                "New commits": f"{self.totals.commits_new:,}",
                "Read": f"{counted(self.totals.files_read, 'file')}, {markdown.size(self.totals.bytes_read)}",
                "Stored": f"{counted(self.totals.packs_new, 'pack')}, "
                f"{markdown.size(self.totals.bytes_stored)}",
            }
        return markdown.report(
            self._sentence, facts, next_step=self.next_step, tables=problem_tables(self.problems)
        )

    @property
    def _sentence(self) -> str:
        when = markdown.at(self.tick or self.frozen_at)
        begin = f"Backup{' of ' * bool(when)}{when}: {self.status}{markdown.failed(self.exit_code)}"
        if self.snapshot is None:
            return f"{begin}: {self.summary}"
        short_id = self.snapshot[:12]
        missing = sum(not problem.is_note for problem in self.problems)
        if missing:
            return f"{begin}: snapshot {short_id} lacks {counted(missing, 'thing')} that the policy chooses."
        return f"{begin}: snapshot {short_id} has all that the policy chooses."


def _listed(problems: Sequence[Problem]) -> str:
    """The first problems and notes, for the log; the document has all of them."""
    lines = [f"; {problem.kind}: {problem.where}: {problem.message}" for problem in problems[:_LISTED]]
    more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    return "".join(lines) + more
