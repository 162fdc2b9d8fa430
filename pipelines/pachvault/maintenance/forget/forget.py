"""Forgetting snapshots, and bringing them back.

A manifest moves from `snapshots/` to `forgotten/` and back, written in the new place before it is deleted in
the old one: one that is in both is not forgotten. Nothing else is touched; what a forgotten snapshot alone
needed is prune's, once the grace is over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from pachvault.errors import AbsentError, CorruptError, DamageError, UsageError
from pachvault.format import layout
from pachvault.maintenance import pins
from pachvault.maintenance.forget import snapshot_check, trash
from pachvault.maintenance.forget.quick_check import QuickCheck
from pachvault.maintenance.forget.retention import Candidate, RetentionAction, judge
from pachvault.maintenance.forget.rule_matching import RuleMatcher
from pachvault.maintenance.verify import audits, known_damage
from pachvault.policy import Retention
from pachvault.syntax import selection
from pachvault.syntax.selection import SnapshotRef
from pachvault.vault import clock, snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

_READS_AT_ONCE = 4
_RETURNABLE = 0.9
"""The part of the grace for which a forgotten snapshot can be brought back: prune acts on the whole of it."""
BROUGHT_BACK = "brought back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a snapshot, and why."""

    name: SnapshotName
    action: RetentionAction
    reasons: tuple[str, ...]
    policy: str = ""
    state: str = "sealed"
    """sealed, partial or damaged."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A snapshot that was forgotten and is not gone yet."""

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
) -> list[Decision]:
    """A decision for every snapshot, in the order of their sealing.

    With `policy` or `cluster` the rules speak only of the snapshots of that policy or cluster. A snapshot
    that is damaged, as far as QuickCheck shows, is kept and takes the place of none. `now`: by the store.
    """
    pinned = pins.load(vault)
    kept: dict[str, Decision] = {}
    candidates: dict[str, tuple[SnapshotName, Candidate]] = {}
    names = snapshots.names(vault)
    quick_check = QuickCheck(vault)
    match = RuleMatcher(rules, quick_check.branches)

    def look(name: SnapshotName) -> Candidate | DamageError:
        try:
            manifest = snapshots.load(vault, name).manifest
            is_mine = policy in (None, manifest.policy) and cluster in (None, manifest.cluster.id)
            if is_mine:
                quick_check.check(name)
            meant = match.rules(manifest) if is_mine else frozenset()
        except DamageError as error:
            return error
        return Candidate(
            id=name.id,
            frozen_at=manifest.frozen_at,
            cluster=manifest.cluster.id,
            policy=manifest.policy,
            partial=manifest.partial,
            pinned=name.id in pinned,
            rules=meant,
            sequence=name.sequence,
        )

    with ThreadPoolExecutor(_READS_AT_ONCE, "forget") as pool:
        for name, found in zip(names, pool.map(look, names), strict=True):
            if isinstance(found, DamageError):
                at = found.where.removeprefix(f"{vault.store.url}/")
                why = f"cannot be read: {found.what}" + (f": {at}" if at not in ("", name.path) else "")
                kept[name.id] = Decision(
                    name=name, action=RetentionAction.KEEP, reasons=(why,), state="damaged"
                )
            elif other := _other(found, policy, cluster):
                kept[name.id] = _decision(name, found, RetentionAction.KEEP, (other,))
            else:
                candidates[name.id] = (name, found)
    for verdict in judge([candidate for _, candidate in candidates.values()], rules, now):
        name, candidate = candidates[verdict.candidate.id]
        kept[name.id] = _decision(name, candidate, verdict.action, verdict.reasons)
    return [kept[name.id] for name in names]


def unmatched(vault: Vault, rules: Sequence[Retention]) -> list[str]:
    """The patterns of rules that no snapshot has a branch for.

    None where a snapshot cannot be read, which may have it, and none where there is no snapshot at all.
    """
    quick_check = QuickCheck(vault)
    match = RuleMatcher(rules, quick_check.branches)
    left = dict.fromkeys(pattern for patterns in match.patterns for pattern in patterns)
    names = snapshots.names(vault)
    try:
        for name in reversed(names):
            manifest = snapshots.load(vault, name).manifest
            for pattern in [each for each in left if match.has(manifest, each)]:
                del left[pattern]
            if not left:
                break
    except DamageError as error:
        _log.warning("retention rules are not checked for patterns that match nothing: %s", error)
        return []
    return [str(pattern) for pattern in left] if names else []


def check_known(vault: Vault, now: datetime) -> None:
    """Raises DamageError where audits know of damage: an old snapshot may be the one to restore, then."""
    found = known_damage.known(vault, audits.load(vault), now).lost
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise CorruptError(
            f"nothing is forgotten by rules of a vault that is damaged: {found[0].name}{more}",
            where=vault.store.url,
            hint="`pachvault repair`, then `pachvault verify`; or name the snapshots to forget",
        )


def plan_named(vault: Vault, references: Iterable[str]) -> list[Decision]:
    """To forget just the snapshots that are named; UsageError where one is pinned or not there."""
    pinned = pins.load(vault)
    found: dict[str, Decision] = {}
    for reference in references:
        wanted = SnapshotRef.parse(reference)
        if wanted.at is not None:
            raise UsageError(
                f"a snapshot to forget is named by its id, not by a time: {reference!r}",
                hint="`pachvault snapshots` lists them",
            )
        name = snapshots.find(vault, wanted)
        if name.id in pinned:
            raise UsageError(
                f"snapshot {name.id[:12]} is pinned", hint=f"`pachvault snapshots unpin {name.id[:12]}` first"
            )
        found[name.id] = _named(vault, name)
    return list(found.values())


def _named(vault: Vault, name: SnapshotName) -> Decision:
    try:
        manifest = snapshots.load(vault, name).manifest
    except DamageError:
        return Decision(name=name, action=RetentionAction.FORGET, reasons=("named",), state="damaged")
    state = "partial" if manifest.partial else "sealed"
    return Decision(
        name=name, action=RetentionAction.FORGET, reasons=("named",), policy=manifest.policy, state=state
    )


def execute(vault: Vault, decisions: Iterable[Decision]) -> list[SnapshotName]:
    """Forget what the decisions say; what was forgotten. Safe to repeat, and to interrupt anywhere.

    A snapshot that was pinned since is kept. Raises PachvaultError, before anything is done, where the target
    does not allow deletion.
    """
    doomed = [each.name for each in decisions if each.action is RetentionAction.FORGET]
    if not doomed:
        return []
    now = clock.read(vault).earlier
    return [name for name in doomed if not pins.is_pinned(vault, name.id) and trash.forget(vault, name, now)]


def forgotten(vault: Vault) -> list[Forgotten]:
    """Every forgotten snapshot that is still there, oldest first."""
    sizes = {info.name: info.size for info in vault.objects(layout.SNAPSHOTS)}
    found = []
    for info in vault.objects(layout.FORGOTTEN):
        name = snapshots.parse_path(info.name)
        # a shorter one is what an aborted write left: bringing back was broken off
        if name is not None and sizes.get(layout.unforgotten_path(info.name), -1) < info.size:
            found.append(Forgotten(name, info.modified_at, until(vault, info.modified_at)))
    return found


def until(vault: Vault, forgotten_at: datetime) -> datetime:
    """How long what was forgotten then can be brought back."""
    return forgotten_at + vault.config.grace * _RETURNABLE


def bring_back(vault: Vault, reference: str) -> SnapshotName:
    """Bring a forgotten snapshot back, and pin it: the rules that forgot it once would do so again.

    Nothing is done to one that is not forgotten. Raises UsageError for one that is not there or was
    forgotten too long ago, DamageError where something it needs is gone: it is as forgotten as before then.
    """
    known = forgotten(vault)
    selection.checked_prefix(reference, "snapshot", selection.SNAPSHOT_DIGITS)
    if not any(each.name.id.startswith(reference) for each in known):
        return _not_forgotten(vault, reference)
    name = snapshots.pick([each.name for each in known], reference, vault)
    limit = next(each.until for each in known if each.name == name)
    if clock.store_now(vault) >= limit:
        raise UsageError(
            f"snapshot {name.id[:12]} could be brought back until {limit:%Y-%m-%d %H:%M} UTC",
            where=vault.store.url,
            hint="prune may be deleting what it needs",
        )
    data = vault.read(name.path)
    back = replace(name, path=layout.unforgotten_path(name.path))
    was_pinned = not pins.pin(vault, name.id, BROUGHT_BACK)
    vault.store.put(back.path, [data], len(data))
    try:
        snapshot_check.check(vault, back)
    except DamageError:
        if trash.has(vault, name.path, data):
            vault.delete(back.path)
            if not was_pinned:
                pins.unpin(vault, name.id)
        raise
    if not trash.has(vault, back.path, data):
        raise AbsentError("was there a moment ago, and is gone", where=f"{vault.store.url}/{back.path}")
    vault.delete(name.path)
    return back


def _not_forgotten(vault: Vault, reference: str) -> SnapshotName:
    """The snapshot where it is not forgotten at all; else the error says what is there to be brought back."""
    try:
        return snapshots.find(vault, reference)
    except UsageError:
        raise UsageError(
            f"no forgotten snapshot {reference!r}",
            where=vault.store.url,
            hint="`pachvault snapshots --forgotten` lists them",
        ) from None


def _other(candidate: Candidate, policy: str | None, cluster: str | None) -> str:
    if policy is not None and candidate.policy != policy:
        return f"of policy {candidate.policy}"
    if cluster is not None and candidate.cluster != cluster:
        return f"of cluster {candidate.cluster[:12]}"
    return ""


def _decision(
    name: SnapshotName, candidate: Candidate, action: RetentionAction, reasons: tuple[str, ...]
) -> Decision:
    state = "partial" if candidate.partial else "sealed"
    return Decision(name=name, action=action, reasons=reasons, policy=candidate.policy, state=state)
