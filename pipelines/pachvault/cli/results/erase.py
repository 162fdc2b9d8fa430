"""What `erase` reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from pachvault.cli.common import human, put, say
from pachvault.cli.render import Result, text_of
from pachvault.maintenance.erase.erase import Erasure
from pachvault.maintenance.erase.erase_plan import ErasePlan


@dataclass(frozen=True, kw_only=True)
class ErasedSnapshot:
    """A snapshot from which files are erased."""

    id: str
    frozen_at: datetime
    path: str
    """The manifest's name in the vault."""
    files: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class ErasePlanResult(Result):
    """What `erase` is about to erase."""

    type: Literal["erase_plan"] = "erase_plan"
    what: str
    is_empty: bool
    """Whether all of it was erased before."""
    snapshots: Sequence[ErasedSnapshot]
    """The snapshots that are rewritten."""
    unfinished: Sequence[str]
    """Ids of snapshots that an interrupted erasure has replaced, and that are deleted now."""
    is_cleanup: bool
    """Whether tables that an earlier erasure or an interrupted run left are deleted, too."""
    commits: int
    files: int
    """Each time a commit put them."""
    size_bytes: int
    blobs: int
    """Blobs that are deleted: no other file has them."""
    packs: Sequence[str]
    """Packs that are rewritten without those blobs."""
    pack_bytes: int
    kept_blobs: int
    """Blobs of erased files that are kept, because other files have the same content."""
    kept_for: Sequence[str]
    """Some of those files."""
    skipped: Sequence[str]
    """Manifests of forgotten snapshots that are damaged: nobody can bring them back, and they are skipped."""
    unreadable: Sequence[str]
    """Packs whose content is unknown, because they are damaged."""

    @classmethod
    def of(cls, plan: ErasePlan) -> Self:
        """From the plan."""
        return cls(
            what=str(plan.selection),
            is_empty=plan.is_empty,
            snapshots=[
                ErasedSnapshot(
                    id=affected.name.id,
                    frozen_at=affected.name.frozen_at,
                    path=affected.name.path,
                    files=affected.files,
                    size_bytes=affected.size,
                )
                for affected in plan.snapshots
            ],
            unfinished=[old.id for old, _ in plan.superseded],
            is_cleanup=bool(plan.superseded or (plan.tables and not plan.snapshots)),
            commits=plan.commits,
            files=plan.files,
            size_bytes=plan.size,
            blobs=len(plan.gone),
            packs=plan.packs,
            pack_bytes=plan.pack_bytes,
            kept_blobs=plan.kept,
            kept_for=plan.keepers,
            skipped=plan.skipped,
            unreadable=plan.unreadable,
        )


@dataclass(frozen=True, kw_only=True)
class EraseSummary(Result):
    """What `erase` did."""

    type: Literal["erase_summary"] = "erase_summary"
    snapshots: Mapping[str, str]
    """Snapshots that were rewritten: old id to new id."""
    blobs: int
    packs: int
    saved_bytes: int
    """By how much the packs are smaller together."""
    unreadable: Sequence[str]
    """Packs whose content is unknown, because they are damaged."""

    @classmethod
    def of(cls, erasure: Erasure) -> Self:
        """From what was done."""
        return cls(
            snapshots=erasure.renamed,
            blobs=erasure.blobs,
            packs=len(erasure.packs),
            saved_bytes=erasure.bytes,
            unreadable=erasure.unreadable,
        )


@text_of(ErasePlanResult)
def _plan(plan: ErasePlanResult) -> None:
    if plan.is_empty:
        say(f"nothing to erase: {plan.what} was erased before")
        return
    lines = [
        f"erase {plan.what}: {plan.files:,} files in {plan.commits:,} commits, {human(plan.size_bytes)}",
        *(
            f"  snapshot {erased.id[:12]} of {erased.frozen_at:%Y-%m-%d %H:%M:%S}: {erased.files:,} files"
            for erased in plan.snapshots
        ),
        f"  {plan.blobs:,} blobs deleted, {len(plan.packs)} packs ({human(plan.pack_bytes)}) rewritten",
    ]
    if plan.is_cleanup:
        lines.append("  what an earlier erasure or an interrupted run left is deleted, too")
    if plan.kept_blobs:
        lines.append(f"  {plan.kept_blobs:,} blobs are kept, because other files have the same content:")
        lines += [f"    {file}" for file in plan.kept_for]
    lines += [f"  {name} is damaged and cannot be brought back: it is skipped" for name in plan.skipped]
    lines += [f"  {name} is damaged: its content is unknown" for name in plan.unreadable]
    for line in lines:
        put(line)


@text_of(EraseSummary)
def _erased(summary: EraseSummary) -> None:
    for old, new in summary.snapshots.items():
        put(f"snapshot {old[:12]} is now {new[:12]}")
    say(
        f"erased and verified: {summary.blobs:,} blobs deleted, "
        f"{summary.packs} packs rewritten, {human(summary.saved_bytes)} smaller"
    )
