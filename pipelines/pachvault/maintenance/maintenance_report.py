"""The result of a maintenance run: what the pipeline writes, and `pachvault maintenance` shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pachvault import markdown
from pachvault.format.documents import Time
from pachvault.maintenance.verify.findings import Finding
from pachvault.markdown import Table
from pachvault.messages import Outcome, StageMessage
from pachvault.syntax.quantities import counted


class MaintenanceStep(StageMessage):
    """One step of a maintenance run, and its result."""

    name: str
    status: Literal["done", "planned", "skipped", "failed"]
    """planned: a dry run. failed: all of it or a part; the next run tries again. The other steps went on."""
    summary: str
    """One line."""
    lines: list[str] = []
    """Details, a line each."""
    seconds: float = 0.0


class MaintenanceReport(Outcome):
    """A maintenance run."""

    status: Literal["done", "damaged", "degraded", "failed", "covered", "refused"]
    """damaged: the vault is, see the findings. degraded: nothing is known to be lost, but something is not as
    it should be or could not be read. failed: a step did. covered: an earlier run did this tick."""
    policy: str = ""
    target: str = ""
    tick: Time | None = None
    began_at: Time
    seconds: float = 0.0
    is_dry_run: bool = False
    steps: list[MaintenanceStep] = []
    audits: list[str] = []
    """The audits that the run wrote into the vault."""
    findings: int = 0


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """A report, and the findings that it counts."""

    report: MaintenanceReport
    findings: list[Finding]

    def findings_json(self) -> bytes:
        """The findings as a JSON list, for people and programs."""
        fields = [finding.as_fields() for finding in self.findings]
        return (json.dumps(fields, indent=1) + "\n").encode()

    def markdown(self) -> bytes:
        """`report.md`."""
        report = self.report
        when = markdown.at(report.tick or report.began_at)
        sentence = f"Maintenance of {when}: {report.status}{markdown.failed(report.exit_code)}"
        if report.status == "done":
            sentence = f"{sentence}: all steps done, {counted(report.findings, 'finding')}."
        else:
            sentence = f"{sentence}: {report.summary}"
        facts = {
            "Policy": report.policy,
            "Target": report.target,
            "Tick": markdown.at(report.tick),
            "Began at": markdown.at(report.began_at),
            "Findings": report.findings,
        }
        steps = [(step.name, step.status, step.summary) for step in report.steps]
        details = [(step.name, line) for step in report.steps if step.name != "verify" for line in step.lines]
        findings = [
            (finding.severity, finding.object, finding.message, finding.advice) for finding in self.findings
        ]
        return markdown.report(
            sentence,
            facts,
            next_step=report.next_step,
            tables=[
                Table("Findings", ("Severity", "Where", "What", "To do"), findings),
                Table("Steps", ("Step", "Status", "What"), steps),
                Table("Details", ("Step", "What"), details),
            ],
        )
