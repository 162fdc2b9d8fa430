"""The steps of a maintenance run. Each does what the policy requires; in a dry run it only reports.

A step that cannot continue raises an error; `maintenance` reports it, and runs the next step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pachvault import robots
from pachvault.errors import DamageError
from pachvault.format import layout
from pachvault.maintenance import mirror_cleanup, reserve
from pachvault.maintenance.drill import drill
from pachvault.maintenance.forget import forget
from pachvault.maintenance.forget.retention import RetentionAction
from pachvault.maintenance.prune import prune, prune_plan
from pachvault.maintenance.prune.prune_plan import PruneLimits
from pachvault.maintenance.verify import audits, verify_schedule
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.maintenance.verify.verify import Level, examine
from pachvault.pach.connection import Connection
from pachvault.pach.robot_tokens import TO_RENEW, RobotTokens
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import Policy
from pachvault.restore.apply import garbage_collection
from pachvault.runtime.progress import Progress
from pachvault.syntax.quantities import counted
from pachvault.syntax.schedule import longest_gap
from pachvault.vault import clock, snapshots
from pachvault.vault.clock import Clocks
from pachvault.vault.vault import Vault

_MAX_SHARES = 2
"""How many times its regular share of the packs a run reads at most, if earlier runs were missed."""
_MIN_BYTES = 2**30
"""How much a run may always read, however small its share is."""


@dataclass(slots=True)
class StepContext:
    """What the steps work on, and what one step needs from another."""

    vault: Vault
    policy: Policy
    address: str
    token: str | None
    connection: Connection
    clocks: Clocks
    """At the beginning of the run; in a dry run, which writes nothing, both are this machine's."""
    progress: Progress
    is_dry_run: bool
    is_verified: bool = False
    """Whether this run has verified the whole structure."""
    damages: int = 0
    """How many findings are damage; samples of the drill count, too."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """By the earlier of the two clocks: what depends on an age is done too late rather than too early."""
        return self.clocks.earlier


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a step did, or in a dry run would do."""

    summary: str
    lines: list[str] = field(default_factory=list)
    status: Literal["done", "skipped", "failed"] = "done"
    """failed: a part of it, see the lines."""


def compare_clocks(context: StepContext) -> StepOutcome:
    """Compare this machine's clock with the store's."""
    if context.is_dry_run:
        return StepOutcome("would compare this machine's clock with the store's")
    difference = context.clocks.difference
    if difference:
        return StepOutcome(f"{difference}: ages count by the one that is behind", status="failed")
    return StepOutcome("this machine's clock and the store's agree")


def verify(context: StepContext) -> StepOutcome:
    """Verify the structure and the packs that are due, and record that in an audit."""
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
        budget_bytes=max(_MIN_BYTES, _MAX_SHARES * sum(sizes.values()) // shares),
    )
    reasons = Counter(pack.reason for pack in due)
    why = "".join(f"; {count} because {reason}" for reason, count in reasons.items())
    what = f"{len(due)} of {len(sizes)} packs, {sum(pack.size for pack in due):,} bytes"
    if context.is_dry_run:
        return StepOutcome(f"would read {what}{why}")
    verified = examine(vault, Level.PACKS, context.progress, packs=[pack.name for pack in due])
    findings = verified.findings
    context.findings += findings
    context.damages += sum(finding.severity is Severity.DAMAGE for finding in findings)
    # before the audit is written: that may fail on a full target, and what was found counts all the same
    context.is_verified = True
    audits.record(vault, Level.PACKS, verified.audited, verified.manifests)
    # after the new audit is written: results that it replaces are dropped. Younger ones than the period are
    # what `due` decides by
    audits.compact(vault, now, chosen.verify_within)
    lines = [
        f"{finding.severity}: {finding.kind}: {finding.object}: {finding.message}; to do: {finding.advice}"
        for finding in findings
    ]
    return StepOutcome(
        f"{counted(verified.snapshots, 'snapshot')}, {what}{why}; {counted(len(findings), 'finding')}", lines
    )


def restore_drill(context: StepContext) -> StepOutcome:
    """Restore a sample, if a restore drill is due."""
    vault, within = context.vault, context.policy.maintenance.drill_within
    if within is None:
        return StepOutcome("switched off by the policy", status="skipped")
    if not snapshots.names(vault):
        return StepOutcome("there is no snapshot yet", status="skipped")
    if not verify_schedule.is_drill_due(audits.results(audits.load(vault), context.now), context.now, within):
        return StepOutcome(f"the last drill passed, within {within.days} days", status="skipped")
    return _drill(context)


def _drill(context: StepContext) -> StepOutcome:
    if context.is_dry_run:
        return StepOutcome("would restore a sample")
    drilled = drill.drill(context.address, context.token, context.vault, context.progress)
    bad = [sample for sample in drilled.results if sample.result != "ok"]
    lines = [f"{sample.result}: {sample.name}: {sample.message}" for sample in bad]
    context.damages += sum(sample.result == "damaged" for sample in bad)
    if not drilled.results:
        return StepOutcome(f"nothing to restore: {drill.NOTHING} {drilled.snapshot}", status="skipped")
    what = f"snapshot {drilled.snapshot}: {counted(drilled.files, 'file')}, {drilled.bytes:,} bytes"
    if bad:
        return StepOutcome(f"{what}: {len(bad)} of {len(drilled.results)} samples failed", lines, "failed")
    return StepOutcome(f"{what}: all restored correctly")


def forget_snapshots(context: StepContext) -> StepOutcome:
    """Forget the snapshots of this cluster and policy that the policy's retention does not keep."""
    vault, chosen = context.vault, context.policy
    if not chosen.retention:
        return StepOutcome("the policy has no retention: nothing is forgotten", status="skipped")
    if (context.damages or not context.is_verified) and not context.is_dry_run:
        # in a damaged vault an old snapshot may be the only one that can still be restored
        return StepOutcome(
            "no snapshot is forgotten while the vault is damaged or was not verified", status="skipped"
        )
    if not context.is_dry_run:
        try:
            # the clock is read again: audits of this run are newer than its beginning
            forget.check_known(vault, clock.read(vault, is_cleared=False).earlier)
        except DamageError as error:
            return StepOutcome(str(error), status="skipped")
    cluster = context.connection.cluster_id()
    decisions = forget.plan(vault, chosen.retention, context.now, policy=chosen.name, cluster=cluster)
    to_forget = [decision for decision in decisions if decision.action is RetentionAction.FORGET]
    lines = [
        f"no snapshot has a branch that matches {pattern!r} of the policy's retention"
        for pattern in forget.unmatched(vault, chosen.retention)
    ]
    lines += [
        f"{name.id[:12]} of {name.frozen_at:%Y-%m-%d %H:%M:%S}: {'; '.join(reasons)}"
        for name, reasons in ((decision.name, decision.reasons) for decision in to_forget)
    ]
    if context.is_dry_run:
        return StepOutcome(f"would forget {len(to_forget)} of {len(decisions)} snapshots", lines)
    forgotten = reserve.used(vault, lambda _: forget.execute(vault, to_forget))
    return StepOutcome(f"forgot {len(forgotten)} of {len(decisions)} snapshots", lines)


def prune_vault(context: StepContext) -> StepOutcome:
    """Delete what no snapshot needs, and mark what is to be deleted after the grace period."""
    chosen = context.policy.maintenance
    if not chosen.prune:
        return StepOutcome("switched off by the policy", status="skipped")
    vault, progress = context.vault, context.progress
    limits = PruneLimits(max_dead=chosen.max_dead, repack_bytes=chosen.repack_budget)
    if context.is_dry_run:
        plan = prune_plan.plan(vault, limits, context.now, progress)
        kinds = (prune_plan.PruneAction.DELETE, prune_plan.PruneAction.MARK, prune_plan.PruneAction.REPACK)
        counts = ", ".join(f"{kind} {len(plan.of(kind))}" for kind in kinds)
        return StepOutcome(f"would {counts} objects, and delete {len(plan.expired)} forgotten snapshots")
    plan, outcome = reserve.used(
        vault, lambda is_scarce: prune.run(vault, limits, progress, is_scarce=is_scarce)
    )
    waiting = plan.waiting(is_done=True)
    until_text = ""
    if waiting:
        waiting_bytes = sum(group.bytes for group in waiting)
        until_text = f"; {waiting_bytes:,} bytes wait until {waiting[-1].until:%Y-%m-%d}"
    return StepOutcome(
        f"deleted {counted(outcome.deleted.total(), 'object')} of {outcome.deleted_bytes:,} bytes, "
        f"marked {outcome.marked} of {outcome.marked_bytes:,}, "
        f"repacked {counted(outcome.repacked, 'pack')}{until_text}",
        outcome.problems,
        "failed" if outcome.problems else "done",
    )


def clean_mirror(context: StepContext) -> StepOutcome:
    """Delete commits of the backup repo that are not needed any more."""
    # the cluster dates the commits, so the earlier of the other two clocks deletes too little rather than too
    # much
    before = context.now - context.policy.maintenance.mirror_keep
    source, target = Source(context.connection), Target(context.connection)
    planned = mirror_cleanup.plan(source, context.vault, before=before, now=context.clocks.store)
    if context.is_dry_run:
        count = len(planned.commits)
        return StepOutcome(f"would delete {count} commits of the backup repo, keep {planned.kept_count}")
    deleted_count, problems = mirror_cleanup.execute(target, planned)
    return StepOutcome(
        f"deleted {counted(deleted_count, 'commit')} of the backup repo, kept {planned.kept_count}", problems
    )


def clean_restores(context: StepContext) -> StepOutcome:
    """Remove what abandoned restores left in the cluster."""
    if context.is_dry_run:
        return StepOutcome("would look for what abandoned restores left in the cluster")
    source, target = Source(context.connection), Target(context.connection)
    removed = garbage_collection.collect(source, target, context.now - context.policy.maintenance.mirror_keep)
    return StepOutcome(f"removed {len(removed)} repos and branches that restores left", removed)


def renew_token(context: StepContext) -> StepOutcome:
    """Report when the auth token expires, and renew it in time if the caller may."""
    tokens = RobotTokens(context.connection)
    caller = tokens.caller()
    if caller is None:
        return StepOutcome("the cluster has no authentication: there is no token to renew")
    if caller.expires_at is None:
        return StepOutcome(f"the token of {caller.name} does not expire")
    left = caller.expires_at - context.now
    expiry = f"the token of {caller.name} expires at {caller.expires_at:%Y-%m-%d %H:%M} UTC"
    if left > robots.LIFETIME - robots.RENEWED_AFTER or context.is_dry_run:
        return StepOutcome(expiry)
    if lacking := tokens.lacking(TO_RENEW):
        how = "`pachvault deploy` renews it; maintenance may not: it lacks " + ", ".join(sorted(lacking))
        is_urgent = left < robots.RENEWED_AFTER
        return StepOutcome(f"{expiry}: {how}", status="failed" if is_urgent else "done")
    steps = robots.renew(context.connection, context.now)
    lines = [f"token of {step.name}: {step.action}, good until {step.expires_at:%Y-%m-%d}" for step in steps]
    renewed = sum(step.action != "unchanged" for step in steps)
    return StepOutcome(f"{expiry}: {renewed} tokens renewed", lines)


STEPS: dict[str, Callable[[StepContext], StepOutcome]] = {
    "clocks": compare_clocks,
    "verify": verify,
    "drill": restore_drill,
    "forget": forget_snapshots,
    "prune": prune_vault,
    "mirror": clean_mirror,
    "restores": clean_restores,
    "token": renew_token,
}
"""In this order: the vault is verified before anything is forgotten or deleted."""
