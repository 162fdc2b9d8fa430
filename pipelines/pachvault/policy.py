"""The policy: the YAML document that defines what is backed up, how, and where to.

`specs/policy.yaml` is an example with every field explained.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pachvault.format.ids import RepoName, digest
from pachvault.syntax import schedule, selection, strict_yaml
from pachvault.syntax.quantities import count, duration, in_words, size
from pachvault.syntax.strict_yaml import Strict

HOME_PROJECT = "pachvault"
"""The project of the backup itself: never a source, but for SAVED_AT_HOME."""
SAVED_AT_HOME = ("policy", "requests", "restored")
"""`restored` records which requests were carried out: a policy that saves requests saves it, too."""
DRILL_PROJECT = "pachvault-drill"
"""Where restore drills restore to, and tidy up: never a source."""


def _history(value: object) -> object:
    if value == "all":
        return {}
    if value == "heads":
        return {"newest": 1}
    if isinstance(value, dict) and len(value) == 1:
        if "last" in value:
            return {"newest": count(value["last"])}
        if "since" in value:
            return {"within": duration(value["since"])}
    raise ValueError("allowed are heads, all, {last: 10} and {since: 30d}")


def _schedule(value: str) -> str:
    schedule.for_policy(value)
    return value


def _enough(value: int) -> int:
    if value < 256 * 2**20:
        raise ValueError("at least 256MiB")
    return value


def _switch(value: object) -> object:
    switches: dict[object, bool] = {"on": True, "off": False, "true": True, "false": False}
    # by `validate` only: the YAML parser leaves on, off, true and false as text
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in switches:
        return switches[value]
    raise ValueError("allowed are on and off")


def _duration_or_off(value: object) -> object:
    if value is False or value in ("off", "false"):
        return None
    if value is True or value in ("on", "true"):
        raise ValueError("allowed are off and a duration, as in 30d")
    return duration(value)


def _part(value: object) -> object:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    if match and 0 < float(match[1]) <= 100:
        return float(match[1]) / 100
    raise ValueError("a part is more than 0% and at most 100%, as in 50%")


def _listed(value: object) -> object:
    """One mapping stands for a list of it."""
    if value == []:
        raise ValueError("the list is empty; without the field nothing is forgotten")
    return [value] if isinstance(value, dict) else value


Duration = Annotated[timedelta, BeforeValidator(duration), Field(gt=timedelta(0))]
Size = Annotated[int, BeforeValidator(size), Field(gt=0)]
Pattern = Annotated[str, AfterValidator(lambda text: str(selection.source(text)))]
Schedule = Annotated[str, AfterValidator(_schedule)]
Count = Annotated[int | None, BeforeValidator(lambda value: None if value is None else count(value))]


class History(Strict):
    """Which commits of a branch: every one that passes both bounds, and always the head."""

    newest: int | None = None
    """At most so many of each branch; None for no bound."""
    within: Duration | None = None
    """Started at most so long before the newest commit of the sources, or the freeze; None for no bound."""


class Limits(Strict):
    """What a worker may use."""

    bandwidth: Size | None = None
    """Bytes a second read from Pachyderm, for each worker."""
    memory: Annotated[Size, AfterValidator(_enough)] = 512 * 2**20
    """Bytes a worker may take, about."""


class Retention(Strict):
    """A snapshot is kept if any of these keeps it. Counts are of good snapshots, newest first."""

    match: Annotated[list[Pattern], Field(min_length=1)] = ["*/*"]
    """The rule is about snapshots that hold a branch that matches one of these."""
    keep_last: Count = None
    keep_hourly: Count = None
    keep_daily: Count = None
    keep_weekly: Count = None
    keep_monthly: Count = None
    keep_yearly: Count = None
    keep_within: Duration | None = None
    """Frozen at most so long before the newest good one."""

    @property
    def keeps(self) -> list[str]:
        """The bounds in words."""
        given = ((name, value) for name, value in self if name.startswith("keep_") and value is not None)
        return [
            f"{name} {in_words(value) if isinstance(value, timedelta) else value}" for name, value in given
        ]

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if all(value is None for name, value in self if name.startswith("keep_")):
            raise ValueError("it keeps nothing, and would forget everything: give at least one keep_…")
        return self


class Maintenance(Strict):
    """What pipeline maintenance does, and how often."""

    schedule: Schedule = "@every 24h"
    verify_within: Duration = timedelta(days=30)
    """Every pack is read and checked once in this time, a part of them at each tick."""
    drill_within: Annotated[Duration | None, BeforeValidator(_duration_or_off)] = timedelta(days=30)
    """A sample is restored and compared once in this time; None for never."""
    prune: Annotated[bool, BeforeValidator(_switch)] = True
    repack_budget: Size = 10 * 2**30
    """Bytes of packs rewritten at most at a tick."""
    max_dead: Annotated[float, BeforeValidator(_part)] = 0.5
    """A pack is rewritten when a larger part of it is unreachable."""
    mirror_keep: Duration = timedelta(days=3)
    """How long the backup repo keeps commits."""


class Policy(Strict):
    """A validated policy."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "default"
    target: Annotated[str, Field(min_length=1)]
    sources: Annotated[list[Pattern], Field(min_length=1)]
    exclude: list[Pattern] = []
    history: Annotated[History, BeforeValidator(_history)] = History()
    outputs: Literal["include", "skip"] = "include"
    pipelines: Literal["include", "skip"] = "include"
    schedule: Schedule = "@every 1h"
    interval: Duration = timedelta(hours=1)
    limits: Limits = Limits()
    retention: Annotated[list[Retention], BeforeValidator(_listed)] = []
    """Without rules nothing is forgotten."""
    maintenance: Maintenance = Maintenance()
    verdicts: Annotated[bool, BeforeValidator(_switch)] = True
    """Whether a run that is refused, partial or damaged makes the job of its verdict pipeline fail."""

    @property
    def selection(self) -> str:
        """A digest of what is selected: policies with another one would save something else."""
        fields = {"sources", "exclude", "history", "outputs", "pipelines"}
        return digest(self.model_dump_json(include=fields).encode()).hex()[:16]

    @property
    def durations(self) -> list[str]:
        """Every duration in words."""
        given = {
            "history since": self.history.within,
            "interval": self.interval,
            "verify_within": self.maintenance.verify_within,
            "drill_within": self.maintenance.drill_within,
            "mirror_keep": self.maintenance.mirror_keep,
        }
        kept = [f"keep_within {in_words(rule.keep_within)}" for rule in self.retention if rule.keep_within]
        return [*(f"{name} {in_words(length)}" for name, length in given.items() if length), *kept]

    def chooses(self, repo: RepoName, branch: str) -> bool:
        """Whether a branch is a source."""
        if not _may_be_source(repo):
            return False
        patterns, names = map(selection.source, self.exclude), _chosen_with(repo)
        if any(pattern.means(name, branch) for pattern in patterns for name in names):
            return False
        patterns = map(selection.source, self.sources)
        return any(pattern.means(name, branch) for pattern in patterns for name in names)

    def reaches(self, repo: RepoName) -> bool:
        """Whether some branch of the repo, whatever its name, could be a source."""
        patterns = map(selection.source, self.sources)
        return _may_be_source(repo) and any(
            pattern.means_repo(name) for pattern in patterns for name in _chosen_with(repo)
        )

    def reaches_all_of(self, repo: RepoName) -> bool:
        """Whether a repo could have sources, whatever its branches: no pattern excludes all of it."""
        patterns, names = map(selection.source, self.exclude), _chosen_with(repo)
        is_excluded = any(pattern.means(name, "") for pattern in patterns for name in names)
        return not is_excluded and self.reaches(repo)

    def reaches_unlisted(self, project: str, listed: Collection[RepoName]) -> bool:
        """Whether a repo of the project that is not listed could be a source."""
        if project == DRILL_PROJECT or any(
            pattern.means_all_of(project) for pattern in map(selection.source, self.exclude)
        ):
            return False
        patterns = [selection.source(text) for text in self.sources]
        return any(
            pattern.means_project(project)
            and (pattern.literal_name is None or RepoName(project, pattern.literal_name) not in listed)
            for pattern in patterns
        )


def _chosen_with(repo: RepoName) -> tuple[RepoName, ...]:
    """The repos that choose this one when they are chosen: the records of restores go with the requests."""
    is_record = repo == RepoName(HOME_PROJECT, "restored")
    return (repo, RepoName(HOME_PROJECT, "requests")) if is_record else (repo,)


def _may_be_source(repo: RepoName) -> bool:
    if repo.project == HOME_PROJECT:
        return repo.repo in SAVED_AT_HOME
    return repo.project != DRILL_PROJECT


def parse(text: str, where: str) -> Policy:
    """The policy in a YAML text; UsageError that names file, line, field, and what is allowed."""
    return strict_yaml.parse(Policy, text, where)


def without_name(fields: dict[str, object], where: str) -> Policy:
    """A policy for backups that no policy document asked for: its snapshots carry no policy's name.

    So no policy's retention counts them, and they cover no tick. Raises UsageError.
    """
    return validate(fields, where).model_copy(update={"name": ""})


def validate(fields: dict[str, object], where: str) -> Policy:
    """The policy with these fields, or UsageError."""
    return strict_yaml.validate(Policy, fields, where)
