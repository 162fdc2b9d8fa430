"""The restore request: the YAML document that says what to bring back, where to, and what may be in the way.

`specs/request.yaml` is an example with every field explained.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pachvault import strict_yaml
from pachvault.errors import UsageError
from pachvault.format.ids import digest
from pachvault.strict_yaml import Strict

_NAME = r"[A-Za-z0-9_*?\[\]!-]+"
_WHAT = re.compile(rf"(?P<project>{_NAME})/(?P<repo>{_NAME})(@(?P<reference>{_NAME}))?")
_PLAIN = re.compile(r"^[A-Za-z0-9_-]+$")


def _what(value: str) -> str:
    if not _WHAT.fullmatch(value):
        raise ValueError(
            "it is project/repo, project/repo@branch or project/repo@commit, with * ? [] as wildcards"
        )
    return value


def _snapshot(value: object) -> object:
    """A point in time may be written as YAML writes times, or as text."""
    if isinstance(value, dict) and set(value) == {"at"}:
        value = value["at"]
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError as error:
                raise ValueError(
                    "a time is written 2026-11-20 08:00, in UTC unless it says otherwise"
                ) from error
        if isinstance(value, datetime):
            try:
                return {"at": (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)}
            except OverflowError as error:
                raise ValueError("no calendar has this time") from error
    elif isinstance(value, str) and re.fullmatch(r"latest|[0-9a-f]{4,64}", value):
        return {"id": value}
    raise ValueError("allowed are latest, an id or the beginning of one (4 digits), {at: 2026-11-20 08:00}")


def _history(value: object) -> object:
    if value == "all":
        return {}
    if value == "head":
        return {"last": 1}
    if isinstance(value, dict):
        if set(value) == {"last"} and type(value["last"]) is int and value["last"] > 0:
            return {"last": value["last"]}
        if value and set(value) <= {"from", "to"} and all(isinstance(each, str) for each in value.values()):
            return {"first": value.get("from"), "newest": value.get("to")}
    raise ValueError("allowed are head, all, {last: 10} and {from: COMMIT, to: COMMIT}")


class When(Strict):
    """Which snapshot: by id, or the newest that froze at or before a time."""

    id: str | None = None
    at: datetime | None = None


class Extent(Strict):
    """How much history: at most `last` commits of a branch, from `first` to `newest`; all where empty."""

    last: int | None = None
    first: str | None = None
    newest: str | None = None


class Place(Strict):
    """Other names for what is restored; empty keeps the old ones."""

    project: Annotated[str | None, Field(pattern=_PLAIN.pattern)] = None
    repo: Annotated[str | None, Field(pattern=_PLAIN.pattern)] = None
    branch: Annotated[str | None, Field(pattern=_PLAIN.pattern)] = None


class Request(Strict):
    """A validated request."""

    version: Literal[1]
    snapshot: Annotated[When, BeforeValidator(_snapshot)] = When(id="latest")
    vault: str | None = None
    """The vault's URL; the policy's target where empty."""
    what: Annotated[list[Annotated[str, AfterValidator(_what)]], Field(min_length=1)]
    paths: list[str] = []
    history: Annotated[Extent, BeforeValidator(_history)] = Extent(last=1)
    pipelines: bool = False
    outputs: Literal["recompute", "as-repos"] = "recompute"
    to: Place = Place()
    exists: Literal["fail", "append", "replace"] = "fail"
    source: Annotated[Literal["auto", "backup", "vault"], Field(alias="from")] = "auto"
    verify: Literal["full", "hashes", "none"] = "full"
    keep_going: bool = False
    settings: bool = False
    """Whether settings that differ (metadata, descriptions, defaults) become the snapshot's."""
    roles: bool = False
    """Whether principals get the roles back that they lack."""

    @property
    def id(self) -> str:
        """What the request says, as a name: equal requests have equal ids.

        Fields that have their defaults do not count: a version that has more of them names a request alike.
        """
        said = self.model_dump(mode="json", exclude_defaults=True)
        return digest(json.dumps(said, sort_keys=True).encode()).hex()


def parse(text: str, where: str) -> Request:
    """The request in a YAML text; UsageError that names file, line, field, and what is allowed."""
    return strict_yaml.parse(Request, text, where)


def place(text: str) -> dict[str, str]:
    """The fields of `to` in project/repo@branch, of which only the repo is needed, or in `project/`.

    UsageError otherwise.
    """
    names, _, branch = text.partition("@")
    if _PLAIN.fullmatch(text.removesuffix("/")) and text.endswith("/"):
        return {"project": text.removesuffix("/")}
    project, _, repo = names.rpartition("/")
    if not repo:
        raise UsageError(
            f"not a place: {text!r}", hint="project/repo, project/repo@branch, or project/ alone"
        )
    return {
        "repo": repo,
        **({"project": project} if project else {}),
        **({"branch": branch} if branch else {}),
    }
