"""Forgetting snapshots, and bringing them back.

A manifest moves from `snapshots/` to `forgotten/`, or back. It is written in the new folder before it is
deleted in the old one; a snapshot whose manifest is in both is not forgotten. No other object changes: prune
deletes what only a forgotten snapshot needs, after the grace period.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial

from pachvault.errors import AbsentError, CorruptError, DamageError, UsageError
from pachvault.format import layout
from pachvault.maintenance import pins
from pachvault.maintenance.forget import snapshot_check, trash
from pachvault.maintenance.forget.quick_check import QuickCheck
from pachvault.maintenance.forget.retention import Candidate, RetentionAction, decide
from pachvault.maintenance.forget.rule_matching import RuleMatcher, branch_names
from pachvault.maintenance.verify import audits, known_damage
from pachvault.policy import Retention
from pachvault.store.store import object_url
from pachvault.syntax import selection
from pachvault.syntax.selection import SnapshotRef
from pachvault.vault import clock, snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_READS_AT_ONCE = 4
_RETURNABLE = 0.9
"""For this part of the grace period a forgotten snapshot can be brought back. Prune waits for all of it: the
rest is for bringing back to finish in."""
BROUGHT_BACK = "brought back"
"""The reason of the pin that a snapshot gets that was brought back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetDecision:
    """Whether a snapshot is forgotten, and why."""

    name: SnapshotName
    action: RetentionAction
    reasons: tuple[str, ...]
    policy: str = ""
    """Empty where the manifest cannot be read."""
    state: str = "sealed"
    """sealed, partial or damaged."""


@dataclass(frozen=True, slots=True)
class ForgottenSnapshot:
    """A snapshot that was forgotten, and whose manifest prune has not deleted yet."""

    name: SnapshotName
    forgotten_at: datetime
    until: datetime
    """How long it can be brought back, by the store's clock."""


def plan(
    vault: Vault,
    rules: Sequence[Retention],
    now: datetime,
    *,
    policy: str | None = None,
    cluster: str | None = None,
) -> list[ForgetDecision]:
    """A decision for every snapshot, in the order of sealing.

    With `policy` or `cluster` the rules apply only to the snapshots of that policy or cluster. A snapshot
    that QuickCheck finds damaged is kept, and does not take the place of an intact one. `now`: by the store.
    """
    pinned = pins.load(vault)
    decisions: dict[str, ForgetDecision] = {}
    candidates: dict[str, tuple[SnapshotName, Candidate]] = {}
    names = snapshots.names(vault)
    # after the names: what is sealed in between has its tables in the listing of the check
    quick_check = QuickCheck.of(vault)
    matcher = RuleMatcher(rules, quick_check.branches)

    def read(name: SnapshotName) -> Candidate | DamageError:
        try:
            snapshot = snapshots.load(vault, name)
            manifest = snapshot.manifest
            is_in_scope = policy in (None, manifest.policy) and cluster in (None, manifest.cluster.id)
            if is_in_scope:
                quick_check.check(snapshot)
            matching_rules = matcher.rules(manifest) if is_in_scope else frozenset()
        except DamageError as error:
            return error
        return Candidate(
            id=name.id,
            frozen_at=manifest.frozen_at,
            cluster=manifest.cluster.id,
            policy=manifest.policy,
            partial=manifest.partial,
            pinned=name.id in pinned,
            rules=matching_rules,
            sequence=name.sequence,
        )

    with ThreadPoolExecutor(_READS_AT_ONCE, "forget") as pool:
        for name, candidate in zip(names, pool.map(read, names), strict=True):
            if isinstance(candidate, DamageError):
                decisions[name.id] = _damaged(vault, name, candidate)
            elif owner := _other_owner(candidate, policy, cluster):
                decisions[name.id] = _decision(name, candidate, RetentionAction.KEEP, (owner,))
            else:
                candidates[name.id] = (name, candidate)
    for verdict in decide([candidate for _, candidate in candidates.values()], rules, now):
        name, candidate = candidates[verdict.candidate.id]
        decisions[name.id] = _decision(name, candidate, verdict.action, verdict.reasons)
    return [decisions[name.id] for name in names]


def unmatched(vault: Vault, rules: Sequence[Retention]) -> list[str]:
    """The patterns of rules that match a branch of no snapshot.

    Empty where a snapshot cannot be read, for it may have such a branch, and where there is no snapshot.
    """
    matcher = RuleMatcher(rules, cache(partial(branch_names, vault)))
    patterns = dict.fromkeys(pattern for patterns in matcher.patterns for pattern in patterns)
    names = snapshots.names(vault)
    try:
        # the newest first: it mostly matches every pattern, and the others need not be read
        for name in reversed(names):
            manifest = snapshots.load(vault, name).manifest
            for pattern in [pattern for pattern in patterns if matcher.has(manifest, pattern)]:
                del patterns[pattern]
            if not patterns:
                break
    except DamageError as error:
        _log.warning("retention rules are not checked for patterns that match nothing: %s", error)
        return []
    return [str(pattern) for pattern in patterns] if names else []


def check_known(vault: Vault, now: datetime) -> None:
    """Raises DamageError where an audit records damage: an old snapshot may be the only intact one."""
    damaged = known_damage.known(vault, audits.load(vault), now).lost
    if damaged:
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise CorruptError(
            f"nothing is forgotten by rules while the vault is damaged: {damaged[0].name}{more}",
            where=vault.store.url,
            hint="`pachvault repair`, then `pachvault verify`; or name the snapshots to forget",
        )


def plan_named(vault: Vault, references: Iterable[str]) -> list[ForgetDecision]:
    """Decisions to forget the snapshots that are named; UsageError where one is pinned or not there."""
    pinned = pins.load(vault)
    decisions: dict[str, ForgetDecision] = {}
    for reference in references:
        snapshot_ref = SnapshotRef.parse(reference)
        if snapshot_ref.at is not None:
            raise UsageError(
                f"a snapshot to forget is named by its id, not by a time: {reference!r}",
                hint="`pachvault snapshots` lists them",
            )
        name = snapshots.find(vault, snapshot_ref)
        if name.id in pinned:
            raise UsageError(
                f"snapshot {name.id[:12]} is pinned", hint=f"`pachvault snapshots unpin {name.id[:12]}` first"
            )
        decisions[name.id] = _named(vault, name)
    return list(decisions.values())


def execute(vault: Vault, decisions: Iterable[ForgetDecision]) -> list[SnapshotName]:
    """Carry decisions out; the snapshots that were forgotten. Safe to repeat, and to interrupt anywhere.

    A snapshot that was pinned in between is kept. Raises PachvaultError, before anything is done, where the
    target does not allow deletion.
    """
    to_forget = [decision.name for decision in decisions if decision.action is RetentionAction.FORGET]
    if not to_forget:
        return []
    # raises where deletion is refused: a manifest would be in both folders for ever
    now = clock.read(vault).earlier
    return [
        name for name in to_forget if not pins.is_pinned(vault, name.id) and trash.forget(vault, name, now)
    ]


def forgotten(vault: Vault) -> list[ForgottenSnapshot]:
    """Every forgotten snapshot whose manifest is still in the vault, oldest first."""
    # before `forgotten/` is listed: a manifest that is forgotten in between is in both listings, and counts
    # as not forgotten yet
    sizes = {info.name: info.size for info in vault.objects(layout.SNAPSHOTS)}
    forgotten_snapshots = []
    for info in vault.objects(layout.FORGOTTEN):
        name = snapshots.parse_path(info.name)
        # in both folders it is not forgotten, unless the one in `snapshots/` is shorter: that one is what an
        # interrupted write left when it was brought back
        if name is not None and sizes.get(layout.unforgotten_path(info.name), -1) < info.size:
            forgotten_snapshots.append(
                ForgottenSnapshot(name, info.modified_at, until(vault, info.modified_at))
            )
    return forgotten_snapshots


def until(vault: Vault, forgotten_at: datetime) -> datetime:
    """How long a snapshot can be brought back that was forgotten at that time."""
    return forgotten_at + vault.config.grace * _RETURNABLE


def bring_back(vault: Vault, reference: str) -> SnapshotName:
    """Bring a forgotten snapshot back, and pin it: else the rules that forgot it would forget it again.

    Does nothing to a snapshot that is not forgotten. Raises UsageError for one that is not there or was
    forgotten too long ago; DamageError where an object that it needs is gone: then it stays forgotten.
    """
    forgotten_snapshots = forgotten(vault)
    selection.checked_prefix(reference, "snapshot", selection.SNAPSHOT_DIGITS)
    if not any(snapshot.name.id.startswith(reference) for snapshot in forgotten_snapshots):
        return _not_forgotten(vault, reference)
    name = snapshots.pick([snapshot.name for snapshot in forgotten_snapshots], reference, vault)
    limit = next(snapshot.until for snapshot in forgotten_snapshots if snapshot.name == name)
    # by the store alone: its clock dated the forgotten manifest, and decides when prune deletes
    if clock.store_now(vault) >= limit:
        raise UsageError(
            f"snapshot {name.id[:12]} could be brought back until {limit:%Y-%m-%d %H:%M} UTC",
            where=vault.store.url,
            hint="prune may be deleting what it needs",
        )
    # verified: a damaged manifest must not get into `snapshots/`, where prune would stop at it
    data = vault.read(name.path)
    restored = replace(name, path=layout.unforgotten_path(name.path))
    # pinned first: a forget that runs at the same time sees the pin, and leaves the manifest where it is
    was_pinned = not pins.pin(vault, name.id, BROUGHT_BACK)
    vault.store.put(restored.path, [data], len(data))
    try:
        snapshot_check.check(vault, restored)
    except DamageError:
        # only while the forgotten one is still there: else this would delete the last copy
        if trash.has(vault, name.path, data):
            vault.delete(restored.path)
            if not was_pinned:
                pins.unpin(vault, name.id)
        raise
    # a forget that did not see the pin may have deleted it: then the forgotten one must stay
    if not trash.has(vault, restored.path, data):
        raise AbsentError("was just written, and is gone", where=object_url(vault.store.url, restored.path))
    vault.delete(name.path)
    return restored


def _not_forgotten(vault: Vault, reference: str) -> SnapshotName:
    """The snapshot, where it is not forgotten at all; UsageError where there is none of that name."""
    try:
        return snapshots.find(vault, reference)
    except UsageError:
        raise UsageError(
            f"no forgotten snapshot {reference!r}",
            where=vault.store.url,
            hint="`pachvault snapshots --forgotten` lists them",
        ) from None


def _other_owner(candidate: Candidate, policy: str | None, cluster: str | None) -> str:
    """Why the rules do not apply to a snapshot of another policy or cluster; empty where they do."""
    if policy is not None and candidate.policy != policy:
        return f"of policy {candidate.policy}" if candidate.policy else "of no policy"
    if cluster is not None and candidate.cluster != cluster:
        return f"of cluster {candidate.cluster[:12]}"
    return ""


def _damaged(vault: Vault, name: SnapshotName, error: DamageError) -> ForgetDecision:
    path = error.where.removeprefix(object_url(vault.store.url, "") + "/")
    reason = f"cannot be read: {error.what}" + (f": {path}" if path not in ("", name.path) else "")
    return ForgetDecision(name=name, action=RetentionAction.KEEP, reasons=(reason,), state="damaged")


def _named(vault: Vault, name: SnapshotName) -> ForgetDecision:
    try:
        manifest = snapshots.load(vault, name).manifest
    except DamageError:
        return ForgetDecision(name=name, action=RetentionAction.FORGET, reasons=("named",), state="damaged")
    state = "partial" if manifest.partial else "sealed"
    return ForgetDecision(
        name=name, action=RetentionAction.FORGET, reasons=("named",), policy=manifest.policy, state=state
    )


def _decision(
    name: SnapshotName, candidate: Candidate, action: RetentionAction, reasons: tuple[str, ...]
) -> ForgetDecision:
    state = "partial" if candidate.partial else "sealed"
    return ForgetDecision(name=name, action=action, reasons=reasons, policy=candidate.policy, state=state)
