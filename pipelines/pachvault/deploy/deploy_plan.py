"""What a deployment does to each pipeline: computed from the bundled spec, the cluster and the records. Pure.

Three-way merge: what an operator changed in the cluster since the last deployment is an addition, and
additions are kept. Ours whatever they say: the pipeline's name, its command, its inputs, the image's tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pachvault.deploy import merge_patch
from pachvault.deploy.deployed_records import Records, StageRecord
from pachvault.deploy.merge_patch import Patch
from pachvault.deploy.operator_options import Options, check_pod, tag_of, without_tag
from pachvault.errors import UsageError
from pachvault.pach.pipeline_spec import Spec
from pachvault.policy import Policy

Action = Literal["created", "updated", "unchanged", "deleted", "absent"]

_OURS = ("pipeline", "input")


@dataclass(frozen=True, slots=True)
class SpecChange:
    """A field of a pipeline's spec that a deployment changes; None where it is not set."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What happens to one pipeline."""

    stage: str
    action: Action
    spec: Spec = field(default_factory=dict)
    """As it will be; empty where it is deleted."""
    changes: Sequence[SpecChange] = ()
    additions: Patch = field(default_factory=dict)
    """What the operator added and keeps, options apart."""

    @property
    def record(self) -> StageRecord:
        """For the next deployment."""
        return StageRecord(applied=self.spec, additions=self.additions)


@dataclass(frozen=True, slots=True)
class InCluster:
    """A pipeline that is there, and its spec; None where this Pachyderm (before 2.8) does not keep it."""

    spec: Spec | None


def plan_pipeline(
    stage: str,
    bundled: Spec,
    options: Options,
    records: Records,
    there: InCluster | None,
    own: Spec | None,
    *,
    is_reset: bool = False,
) -> StagePlan:
    """The plan of a pipeline that is to be there.

    `own` is the operator's own spec file. With `is_reset` what was added before is dropped. UsageError for
    an own spec that cannot be deployed.
    """
    wanted = bundled
    if not is_reset:
        wanted = merge_patch.applied(wanted, records.additions(stage))
        wanted = merge_patch.applied(wanted, _drift(stage, bundled, options, records, there))
    if own is not None:
        _check_image(stage, bundled, own)
        wanted = merge_patch.applied(wanted, merge_patch.difference(bundled, own))
    added = options.removed_from(_with_ours(bundled, wanted))
    check_pod(added, f"{stage}.json")
    spec = options.applied_to(added)
    additions = _without_tag(merge_patch.difference(bundled, added))
    if there is None:
        return StagePlan(stage, "created", spec, (), additions)
    before = there.spec if there.spec is not None else records.applied(stage) or {}
    changes = [SpecChange(*change) for change in merge_patch.changes(before, spec)]
    return StagePlan(stage, "updated" if changes else "unchanged", spec, changes, additions)


def scheduled(bundled: Spec, schedule: str | None) -> Spec:
    """A bundled spec whose cron input has this schedule; as it is without one, or without such an input."""
    if schedule is None or "cross" not in bundled["input"]:
        return bundled
    inputs = [
        {"cron": entry["cron"] | {"spec": schedule}} if "cron" in entry else entry
        for entry in bundled["input"]["cross"]
    ]
    return bundled | {"input": {"cross": inputs}}


def schedule_of(stage: str, policy: Policy | None, there: InCluster | None) -> str | None:
    """When the stage ticks: as the policy says, else as it does now. None where neither is known."""
    if policy is not None and stage == "freeze":
        return policy.schedule
    if policy is not None and stage == "maintenance":
        return policy.maintenance.schedule
    inputs: Mapping[str, Any] = (there.spec or {}).get("input", {}) if there else {}
    crons = [entry["cron"] for entry in inputs.get("cross", []) if "cron" in entry]
    return str(crons[0]["spec"]) if crons and "spec" in crons[0] else None


def _drift(stage: str, bundled: Spec, options: Options, records: Records, there: InCluster | None) -> Patch:
    """What was changed in the cluster since deploy wrote the pipeline, or beyond the bundled spec.

    The effects of the new options are no changes: a deployment with them may have failed half-way.
    """
    if there is None or there.spec is None:
        return {}

    def without_options(spec: Spec) -> Spec:
        return options.removed_from(records.options.removed_from(spec))

    base = without_options(records.applied(stage) or bundled)
    drift = merge_patch.difference(base, without_options(there.spec))
    known = {without_tag(base["transform"]["image"]), options.image, records.options.image}
    image = (drift.get("transform") or {}).get("image")
    if image and without_tag(image) in known:
        del drift["transform"]["image"]
    return drift


def _with_ours(bundled: Spec, spec: Spec) -> Spec:
    transform = spec.get("transform", {})
    image = bundled["transform"]["image"]
    name = without_tag(transform.get("image") or image)
    ours = {"cmd": bundled["transform"]["cmd"], "image": name + tag_of(image)}
    return spec | {name: bundled[name] for name in _OURS} | {"transform": transform | ours}


def _without_tag(additions: Patch) -> Patch:
    transform = additions.get("transform")
    if not transform or "image" not in transform:
        return additions
    return additions | {"transform": transform | {"image": without_tag(transform["image"])}}


def _check_image(stage: str, bundled: Spec, own: Spec) -> None:
    """Specs of another version must not go in: their fields would be taken for additions."""
    image = own.get("transform", {}).get("image") if isinstance(own.get("transform"), dict) else None
    ours = tag_of(bundled["transform"]["image"])
    if isinstance(image, str) and tag_of(image) not in ("", ours):
        raise UsageError(
            f"its image is {image}, and the tag of this version is {ours[1:]}",
            where=f"{stage}.json",
            hint=f"write {without_tag(image)}{ours}; `pachvault specs` writes the specs of this version",
        )
