"""The restore request: the YAML document that defines what to restore, where to, and what may exist there.

`specs/request.yaml` is an example with every field explained.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pachvault.errors import InvalidInputError, UsageError
from pachvault.format.ids import digest
from pachvault.syntax import selection, strict_yaml
from pachvault.syntax.quantities import count
from pachvault.syntax.selection import SnapshotRef
from pachvault.syntax.strict_yaml import Strict

_NAME = re.compile(r"^[A-Za-z0-9_-]+$")


def _snapshot(value: object) -> object:
    """A point in time: alone, or as the only field `at`."""
    if isinstance(value, dict) and set(value) == {"at"}:
        return {"at": selection.time(value["at"])}
    if isinstance(value, dict):
        raise InvalidInputError(
            f"not a snapshot: {value!r}", hint="latest, an id, a time, or {at: 2026-11-20 08:00}"
        )
    reference = SnapshotRef.parse(value)
    return {"at": reference.at} if reference.at else {"id": reference.id}


def _history(value: object) -> object:
    if value == "all":
        return {}
    if value == "head":
        return {"last": 1}
    if isinstance(value, dict):
        if set(value) == {"last"}:
            return {"last": count(value["last"])}
        if value and set(value) <= {"from", "to"}:
            return {"first": _commit(value.get("from")), "newest": _commit(value.get("to"))}
    raise InvalidInputError(
        f"not a history: {value!r}", hint="head, all, {last: 10} or {from: COMMIT, to: COMMIT}"
    )


def _commit(value: object) -> str | None:
    """A commit's id or its beginning. YAML reads one of digits alone as a number."""
    if value is None:
        return None
    return selection.checked_prefix(str(value), "commit", selection.COMMIT_DIGITS)


class When(Strict):
    """Which snapshot: by id, or the newest that froze at or before a time."""

    id: str | None = None
    at: datetime | None = None

    @property
    def reference(self) -> SnapshotRef:
        """The same, for a lookup."""
        return SnapshotRef(self.id or selection.LATEST, self.at)


class Extent(Strict):
    """How much history: at most `last` commits of a branch, from `first` to `newest`; all where empty."""

    last: int | None = None
    first: str | None = None
    newest: str | None = None


class RequestTarget(Strict):
    """Other names for what is restored; empty keeps the old ones."""

    project: Annotated[str | None, Field(pattern=_NAME.pattern)] = None
    repo: Annotated[str | None, Field(pattern=_NAME.pattern)] = None
    branch: Annotated[str | None, Field(pattern=_NAME.pattern)] = None


class Request(Strict):
    """A validated request."""

    version: Literal[1]
    snapshot: Annotated[When, BeforeValidator(_snapshot)] = When(id="latest")
    vault: str | None = None
    """The vault's URL; the policy's target where empty."""
    what: Annotated[
        list[Annotated[str, AfterValidator(lambda text: str(selection.source(text)))]], Field(min_length=1)
    ]
    paths: list[Annotated[str, AfterValidator(selection.path)]] = []
    history: Annotated[Extent, BeforeValidator(_history)] = Extent(last=1)
    pipelines: bool = False
    outputs: Literal["recompute", "as-repos"] = "recompute"
    to: RequestTarget = RequestTarget()
    exists: Literal["fail", "append", "replace"] = "fail"
    source: Annotated[Literal["auto", "backup", "vault"], Field(alias="from")] = "auto"
    verify: Literal["full", "hashes", "none"] = "full"
    keep_going: bool = False
    settings: bool = False
    """Whether settings that differ (metadata, descriptions, defaults) become the snapshot's."""
    roles: bool = False
    """Whether principals get back the roles that they lack now."""

    @property
    def id(self) -> str:
        """A digest of the request: equal requests have equal ids.

        Fields that have their defaults do not count: a version that has more of them names a request alike.
        """
        fields = self.model_dump(mode="json", exclude_defaults=True)
        return digest(json.dumps(fields, sort_keys=True).encode()).hex()


def parse(text: str, where: str) -> Request:
    """The request in a YAML text; UsageError that names file, line, field, and what is allowed."""
    return strict_yaml.parse(Request, text, where)


def place(text: str) -> dict[str, str]:
    """The fields of `to` in project/repo@branch, of which only the repo is needed, or in `project/`.

    UsageError otherwise.
    """
    names, _, branch = text.partition("@")
    if _NAME.fullmatch(text.removesuffix("/")) and text.endswith("/"):
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
