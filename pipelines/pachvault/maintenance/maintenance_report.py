"""The result of a maintenance run: what the pipeline writes, and `pachvault maintenance` shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pachvault.format.documents import Time
from pachvault.maintenance.verify.findings import Finding
from pachvault.messages import StageMessage


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


class MaintenanceReport(StageMessage):
    """A maintenance run."""

    status: Literal["done", "damaged", "failed", "covered", "refused"]
    """damaged: the vault is, see the findings. failed: a step did. covered: an earlier run did this tick."""
    summary: str
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
