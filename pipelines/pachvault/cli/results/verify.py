"""What `verify` reports: findings, and a summary of each level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Self

from pachvault.cli.common import human, put, put_table, say
from pachvault.cli.render import Result, table_of, text_of
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.maintenance.verify.verify import Level


@dataclass(frozen=True, kw_only=True)
class FindingResult(Result):
    """Something that a verification found. Lists name at most 20; the counts are of all."""

    type: Literal["finding"] = "finding"
    kind: str
    severity: Severity
    """damage, degraded, unreadable, change or note."""
    object: str
    """An object of the vault, or a place in the cluster."""
    message: str
    snapshots: Sequence[str]
    """The short ids of the snapshots that are affected, oldest first."""
    repos: Sequence[str]
    commits: Sequence[str]
    """Affected commits, project/repo@commit."""
    commits_count: int
    files: Sequence[str]
    """Affected files, project/repo@commit:/path."""
    files_count: int
    blobs: Sequence[str]
    """Lost blobs."""
    blobs_count: int
    advice: str
    """What to do."""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """From a verification's finding."""
        values = {field.name: getattr(finding, field.name) for field in fields(finding)}
        return cls(**values, advice=finding.advice)


@dataclass(frozen=True, kw_only=True)
class VerifySummary(Result):
    """What `verify --level structure|packs|data` read, and how much it found."""

    type: Literal["verify_summary"] = "verify_summary"
    level: Level
    findings: int
    severities: Mapping[Severity, int]
    """Findings of each severity; those without any are left out."""
    snapshots: int
    packs: int
    """Packs that were read."""
    packs_total: int
    read_bytes: int
    elapsed_seconds: float
    bytes_per_second: int
    reads_repeated: int
    """Reads that only succeeded when they were repeated."""


@dataclass(frozen=True, kw_only=True)
class VerifySourceSummary(Result):
    """What `verify --level source` compared."""

    type: Literal["verify_source_summary"] = "verify_source_summary"
    snapshot: str
    findings: int
    severities: Mapping[Severity, int]
    branches: int
    unchanged: int
    """Branches whose head in the cluster is the one of the snapshot."""
    commits: int
    is_quick: bool
    """Whether the cluster's listings were compared, and no data was read."""
    compared_bytes: int
    elapsed_seconds: float
    bytes_per_second: int


@dataclass(frozen=True, kw_only=True)
class DrillResult(Result):
    """What became of one file, or one other part, of a restore drill."""

    type: Literal["drill"] = "drill"
    name: str
    result: Literal["ok", "damaged", "unreadable"]
    message: str


@dataclass(frozen=True, kw_only=True)
class DrillSummary(Result):
    """What `verify --level drill` restored and compared."""

    type: Literal["drill_summary"] = "drill_summary"
    snapshot: str
    """Its short id."""
    is_good: bool
    """Whether something was restored, and all of it was equal."""
    files: int
    restored_bytes: int
    elapsed_seconds: float
    reason: str
    """Why nothing was restored; empty where something was."""


def severities_of(findings: Iterable[Finding]) -> Counter[Severity]:
    """How many findings each severity has."""
    return Counter(finding.severity for finding in findings)


@table_of(FindingResult)
def _findings(findings: Iterable[FindingResult]) -> None:
    """A table, then each finding with what is affected."""
    rows = [
        [
            finding.kind,
            finding.severity,
            finding.files_count,
            finding.commits_count,
            len(finding.snapshots),
            finding.object,
        ]
        for finding in findings
    ]
    if rows:
        put_table(["FINDING", "MEANS", "FILES", "COMMITS", "SNAPSHOTS", "OBJECT"], rows, right=(2, 3, 4))
    for finding in findings:
        _finding(finding)


def _finding(finding: FindingResult) -> None:
    put()
    put(f"{finding.kind}: {finding.object}: {finding.message}")
    for noun, names, count in (
        ("blob", finding.blobs, finding.blobs_count),
        ("file", finding.files, finding.files_count),
        ("commit", finding.commits, finding.commits_count),
    ):
        for name in names:
            put(f"  {noun} {name}")
        if count > len(names):
            put(f"  and {count - len(names):,} more {noun}s")
    if finding.snapshots:
        put(f"  in snapshots {', '.join(finding.snapshots)}")
    put(f"  to do: {finding.advice}")


@text_of(VerifySummary)
def _verify(summary: VerifySummary) -> None:
    extent = f"{summary.snapshots} snapshots"
    if summary.level is not Level.STRUCTURE:
        extent += f", {summary.packs} of {summary.packs_total} packs, {human(summary.read_bytes)}"
        extent += f" in {summary.elapsed_seconds:.1f} s, {human(summary.bytes_per_second)}/s"
    if summary.reads_repeated:
        extent += f"; {summary.reads_repeated} reads succeeded only when repeated"
    say(f"{_outcome(summary)} at level {summary.level}: {extent}")


@text_of(VerifySourceSummary)
def _source(summary: VerifySourceSummary) -> None:
    how = "listed" if summary.is_quick else f"read at {human(summary.bytes_per_second)}/s"
    say(
        f"{_outcome(summary)} at level source: snapshot {summary.snapshot[:12]}, {summary.unchanged} of "
        f"{summary.branches} branches unchanged, {summary.commits} commits compared, "
        f"{human(summary.compared_bytes)} {how}"
    )


def _outcome(summary: VerifySummary | VerifySourceSummary) -> str:
    if not summary.findings:
        return "no damage found"
    counts = ", ".join(
        f"{summary.severities[severity]} {severity}"
        for severity in Severity
        if severity in summary.severities
    )
    return f"{summary.findings} findings ({counts})"


@text_of(DrillResult)
def _drill_result(drill: DrillResult) -> None:
    put(f"{drill.result:<10}  {drill.name}" + (f": {drill.message}" if drill.message else ""))


@text_of(DrillSummary)
def _drill(summary: DrillSummary) -> None:
    if summary.reason:
        say(f"nothing was restored: {summary.reason}")
        return
    outcome = "restored, and compared equal" if summary.is_good else "the drill failed"
    say(f"{outcome}: {summary.files:,} files, {human(summary.restored_bytes)} of snapshot {summary.snapshot}")
