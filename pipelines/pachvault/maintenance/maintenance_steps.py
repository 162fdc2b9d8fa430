"""The steps of a maintenance run: each does its part, or says what it would do, in terms of the policy.

A step raises what it cannot judge; `run` makes a record of that and goes on with the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.maintenance import mirror_cleanup
from pachvault.maintenance.drill import drill
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.retention import RetentionAction
from pachvault.maintenance.prune import prune, prune_plan, reserve
from pachvault.maintenance.prune.prune_plan import PruneLimits
from pachvault.maintenance.verify import audits, verify_schedule
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.maintenance.verify.verify import Level, examine
from pachvault.pach.connection import Connection
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import Policy
from pachvault.restore.apply import garbage_collection
from pachvault.runtime.progress import Progress
from pachvault.syntax.schedule import longest_gap
from pachvault.vault import clock, snapshots
from pachvault.vault.clock import Clocks
from pachvault.vault.vault import Vault

_HASTE = 2
"""How many calendar shares a round reads at most, when it has to catch up."""
_LEAST_BYTES = 2**30
"""What a round may always read, however small its share."""


@dataclass(slots=True)
class Context:
    """What the steps work on, and what they find out for each other."""

    vault: Vault
    policy: Policy
    address: str
    token: str | None
    connection: Connection
    clocks: Clocks
    """At the beginning; a dry run, which writes nothing, knows but this machine's."""
    progress: Progress
    is_dry_run: bool
    is_verified: bool = False
    """Whether this round has looked at the whole structure."""
    damages: int = 0
    """What it found damaged; samples of the drill count, too."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """By the earlier of the two clocks: what depends on an age happens too late rather than too early."""
        return self.clocks.earlier


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did, or would do."""

    summary: str
    lines: list[str] = field(default_factory=list)
    status: Literal["done", "skipped", "failed"] = "done"
    """failed: some of it, as the lines say."""


def compare_clocks(context: Context) -> Outcome:
    """Compare this machine's clock with the store's."""
    if context.is_dry_run:
        return Outcome("would compare this machine's clock with the store's")
    difference = context.clocks.difference
    if difference:
        return Outcome(f"{difference}: ages count by the one that is behind", status="failed")
    return Outcome("this machine's and the store's agree")


def verify(context: Context) -> Outcome:
    """Check the structure, and read the packs whose turn it is; note that in the vault."""
    vault, chosen, now = context.vault, context.policy.maintenance, context.now
    sizes = {info.name: info.size for info in vault.objects(layout.PACKS)}
    between = longest_gap(chosen.schedule, now)
    shares = verify_schedule.share_now(now, chosen.verify_within, between).count
    due = verify_schedule.due(
        audits.results(audits.load(vault), now),
        sizes,
        now=now,
        period=chosen.verify_within,
        between=between,
        budget_bytes=max(_LEAST_BYTES, _HASTE * sum(sizes.values()) // shares),
    )
    reasons = Counter(each.reason for each in due)
    why = "".join(f"; {count} because {reason}" for reason, count in reasons.items())
    what = f"{len(due)} of {len(sizes)} packs, {sum(each.size for each in due):,} bytes"
    if context.is_dry_run:
        return Outcome(f"would read {what}{why}")
    done = examine(vault, Level.PACKS, context.progress, packs=[each.name for each in due])
    context.findings += done.findings
    context.damages += sum(each.severity is Severity.DAMAGE for each in done.findings)
    context.is_verified = True
    audits.record(vault, Level.PACKS, done.audited)
    audits.compact(vault, now, chosen.verify_within)
    lines = [
        f"{each.severity}: {each.kind}: {each.object}: {each.message}; to do: {each.advice}"
        for each in done.findings
    ]
    return Outcome(f"{done.snapshots} snapshots, {what}{why}; {len(done.findings)} findings", lines)


def restore_drill(context: Context) -> Outcome:
    """Restore a sample, if one is due."""
    vault, within = context.vault, context.policy.maintenance.drill_within
    if within is None:
        return Outcome("switched off by the policy", status="skipped")
    if not snapshots.names(vault):
        return Outcome("there is no snapshot yet", status="skipped")
    if not verify_schedule.is_drill_due(audits.results(audits.load(vault), context.now), context.now, within):
        return Outcome(f"the last one was good, and within {within.days} days", status="skipped")
    return _drilled(context)


def _drilled(context: Context) -> Outcome:
    if context.is_dry_run:
        return Outcome("would restore a sample")
    done = drill.drill(context.address, context.token, context.vault, context.progress)
    lines = [f"{each.result}: {each.name}: {each.message}" for each in done.results if each.result != "ok"]
    context.damages += sum(each.result == "damaged" for each in done.results)
    if not done.results:
        return Outcome(f"nothing could be tried: {drill.NOTHING} {done.snapshot}", status="skipped")
    what = f"snapshot {done.snapshot}: {done.files} files, {done.bytes:,} bytes"
    if lines:
        return Outcome(f"{what}: {len(lines)} of {len(done.results)} samples failed", lines, "failed")
    return Outcome(f"{what}: all came back as they were")


def forget_snapshots(context: Context) -> Outcome:
    """Forget what the policy's retention does not keep, of this cluster and policy."""
    vault, chosen = context.vault, context.policy
    if not chosen.retention:
        return Outcome("the policy has no retention: nothing is forgotten", status="skipped")
    if (context.damages or not context.is_verified) and not context.is_dry_run:
        # of a damaged vault an old snapshot may be the one that can still be restored
        return Outcome(
            "nothing is forgotten of a vault that is damaged or was not verified", status="skipped"
        )
    if not context.is_dry_run:
        try:
            # what this round verified is newer than its beginning
            forget.check_known(vault, clock.read(vault, is_cleared=False).earlier)
        except DamageError as error:
            return Outcome(str(error), status="skipped")
    cluster = context.connection.cluster_id()
    decisions = forget.plan(vault, chosen.retention, context.now, policy=chosen.name, cluster=cluster)
    doomed = [each for each in decisions if each.action is RetentionAction.FORGET]
    lines = [
        f"no snapshot has a branch that matches {pattern!r} of the policy's retention"
        for pattern in forget.unmatched(vault, chosen.retention)
    ]
    lines += [
        f"{each.name.id[:12]} of {each.name.frozen_at:%Y-%m-%d %H:%M:%S}: {'; '.join(each.reasons)}"
        for each in doomed
    ]
    if context.is_dry_run:
        return Outcome(f"would forget {len(doomed)} of {len(decisions)} snapshots", lines)
    done = reserve.used(vault, lambda _: forget.execute(vault, doomed))
    return Outcome(f"forgot {len(done)} of {len(decisions)} snapshots", lines)


def prune_vault(context: Context) -> Outcome:
    """Reclaim what no snapshot needs."""
    chosen = context.policy.maintenance
    if not chosen.prune:
        return Outcome("switched off by the policy", status="skipped")
    vault, progress = context.vault, context.progress
    limits = PruneLimits(max_dead=chosen.max_dead, repack_bytes=chosen.repack_budget)
    if context.is_dry_run:
        plan = prune_plan.plan(vault, limits, context.now, progress)
        kinds = (prune_plan.PruneAction.DELETE, prune_plan.PruneAction.MARK, prune_plan.PruneAction.REPACK)
        said = ", ".join(f"{kind} {len(plan.of(kind))}" for kind in kinds)
        return Outcome(f"would {said} objects, and drop {len(plan.expired)} forgotten snapshots for good")
    plan, done = reserve.used(
        vault, lambda is_scarce: prune.run(vault, limits, progress, is_scarce=is_scarce)
    )
    waiting = plan.waiting(is_done=True)
    waits = ""
    if waiting:
        waits = f"; {sum(each.bytes for each in waiting):,} bytes wait until {waiting[-1].until:%Y-%m-%d}"
    return Outcome(
        f"deleted {done.deleted.total()} objects of {done.deleted_bytes:,} bytes, "
        f"marked {done.marked} of {done.marked_bytes:,}, repacked {done.repacked} packs{waits}",
        done.problems,
        "failed" if done.problems else "done",
    )


def trim_mirror(context: Context) -> Outcome:
    """Let go of what the backup repo need no longer hold."""
    before = context.now - context.policy.maintenance.mirror_keep
    source, target = Source(context.connection), Target(context.connection)
    planned = mirror_cleanup.plan(source, context.vault, before=before, now=context.clocks.store)
    if context.is_dry_run:
        going = len(planned.commits)
        return Outcome(f"would let go of {going} commits of the backup repo, keep {planned.kept}")
    done, problems = mirror_cleanup.execute(target, planned)
    return Outcome(f"let go of {done} commits of the backup repo, kept {planned.kept}", problems)


def tidy_restores(context: Context) -> Outcome:
    """Remove what restores left in the cluster that nobody goes on with."""
    if context.is_dry_run:
        return Outcome("would look for what restores left in the cluster")
    source, target = Source(context.connection), Target(context.connection)
    removed = garbage_collection.collect(source, target, context.now - context.policy.maintenance.mirror_keep)
    return Outcome(f"{len(removed)} things that restores left were removed", removed)


STEPS: dict[str, Callable[[Context], Outcome]] = {
    "clocks": compare_clocks,
    "verify": verify,
    "drill": restore_drill,
    "forget": forget_snapshots,
    "prune": prune_vault,
    "mirror": trim_mirror,
    "restores": tidy_restores,
}
"""In this order: nothing is forgotten before it is known that what stays is whole."""
