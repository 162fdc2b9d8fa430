"""What a maintenance run did: the record that the pipeline leaves, and that `pachvault maintenance` shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pachvault.format.documents import Time
from pachvault.maintenance.verify.findings import Finding
from pachvault.messages import StageMessage


class MaintenanceStep(StageMessage):
    """One thing of a round, and what became of it."""

    name: str
    status: Literal["done", "planned", "skipped", "failed"]
    """planned: a dry run. failed: it, or some of it, is tried again by the next round; the others went on."""
    summary: str
    """In a line."""
    lines: list[str] = []
    """What it did, a line each."""
    seconds: float = 0.0


class MaintenanceReport(StageMessage):
    """A round of maintenance."""

    status: Literal["done", "damaged", "failed", "covered", "refused"]
    """damaged: the vault is, see the findings. failed: a step is. covered: another round did it already."""
    summary: str
    policy: str = ""
    target: str = ""
    tick: Time | None = None
    began_at: Time
    seconds: float = 0.0
    is_dry_run: bool = False
    steps: list[MaintenanceStep] = []
    audits: list[str] = []
    """The audits that it wrote into the vault."""
    findings: int = 0


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """A report, and the findings it speaks of."""

    report: MaintenanceReport
    findings: list[Finding]

    def findings_json(self) -> bytes:
        """The findings as a JSON list, for people and programs."""
        fields = [finding.as_fields() for finding in self.findings]
        return (json.dumps(fields, indent=1) + "\n").encode()
