"""What a deployment is asked for, and the specs that this makes without any cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pachvault import bundled_files
from pachvault.deploy import operator_options
from pachvault.deploy.deploy_plan import plan_pipeline, schedule_of, scheduled
from pachvault.deploy.deployed_records import Records
from pachvault.deploy.operator_options import Options, Volume
from pachvault.errors import UsageError
from pachvault.pach.pipeline_spec import Spec, canonical
from pachvault.policy import Policy
from pachvault.store.open_store import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asks for; None and empty: as it is."""

    image: str | None = None
    """Registry and name."""
    volume: str | None = None
    """pvc:CLAIM, nfs:SERVER:/PATH or host:/PATH, and @/MOUNT where it is not the target's own path."""
    pull_secret: str | None = None
    service_account: str | None = None
    secrets: tuple[str, ...] = ()
    own_specs: Mapping[str, str] = field(default_factory=dict)
    """The text of the operator's own spec of each stage."""
    is_reset: bool = False
    """Drop what was added before."""

    def options(self, policy: Policy | None) -> Options:
        """The options that are given. UsageError for a bad one."""
        tag = operator_options.tag_of(bundled("freeze")["transform"]["image"])
        given: dict[str, object] = {}
        if self.image is not None:
            given["image"] = operator_options.image_option(self.image, tag)
        if self.volume is not None:
            given["volume"] = Volume.parse(self.volume, target_folder(policy) if policy else None)
        for name in ("pull_secret", "service_account"):
            value = getattr(self, name)
            if value is not None:
                given[name] = operator_options.kubernetes_name(value, f"--{name.replace('_', '-')}")
        if self.secrets:
            given["secrets"] = tuple(
                operator_options.kubernetes_name(name, "--secret") for name in self.secrets
            )
        return Options.model_validate(given)


def bundled(stage: str) -> Spec:
    """A stage's bundled spec."""
    return canonical(bundled_files.spec(stage), f"{stage}.json")


def rendered(wanted: Wanted, policy: Policy | None) -> dict[str, Spec]:
    """The specs as `deploy` writes them into a cluster that has none, by stage."""
    options, specs = wanted.options(policy), {}
    for stage in bundled_files.ALL_STAGES:
        ours = scheduled(bundled(stage), schedule_of(stage, policy, None))
        own = own_spec(wanted, stage)
        specs[stage] = plan_pipeline(stage, ours, options, Records(), None, own).spec
    return specs


def own_spec(wanted: Wanted, stage: str) -> Spec | None:
    """The operator's own spec; None where there is none."""
    text = wanted.own_specs.get(stage)
    return None if text is None else canonical(text, f"{stage}.json")


def target_folder(policy: Policy) -> str | None:
    """The folder of a policy's target, None where it is no folder.

    UsageError for a target that this version cannot open, and for a path that is not absolute: it would
    depend on the worker's directory.
    """
    store = open_store(policy.target)
    parts = urlsplit(policy.target)
    if not parts.scheme and not Path(policy.target).is_absolute():
        raise UsageError(
            f"the path {policy.target!r} is not absolute",
            where="policy: target",
            hint=store.url,
        )
    return unquote(urlsplit(store.url).path) if store.url.startswith("file:") else None
