"""The policy: the YAML document that says what is backed up, how, and where to.

`specs/policy.yaml` is an example with every field explained.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pachvault.errors import UsageError
from pachvault.format.ids import RepoName

HOME_PROJECT = "pachvault"
"""The project of the backup itself: never a source, but for SAVED_AT_HOME."""
SAVED_AT_HOME = ("policy", "requests")

_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NAME = r"[A-Za-z0-9_*?\[\]!-]+"
_PATTERN = re.compile(rf"(?P<project>{_NAME})/(?P<repo>{_NAME})(@(?P<branch>{_NAME}))?")


def _duration(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+)\s*([smhdw])", value.strip())
        if found:
            return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        raise ValueError("a duration is a number and one of s m h d w, as in 30d")
    return value


def _size(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", value.strip().lower())
        if found and found[2] in _UNITS:
            return int(float(found[1]) * _UNITS[found[2]])
        raise ValueError("a size is a number of bytes or one with a unit, as in 50MB or 2GiB")
    return value


def _pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise ValueError("a pattern is project/repo or project/repo@branch, with * ? [] as wildcards")
    return value


def _history(value: object) -> object:
    if value == "all":
        return {}
    if value == "heads":
        return {"newest": 1}
    if isinstance(value, dict) and len(value) == 1:
        if type(value.get("last")) is int and value["last"] > 0:
            return {"newest": value["last"]}
        if "since" in value:
            return {"within": _duration(value["since"])}
    raise ValueError("allowed are heads, all, {last: 10} and {since: 30d}")


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class History(_Strict):
    """Which commits of a branch: every one that passes both bounds, and always the head."""

    newest: int | None = None
    """At most so many of each branch; None for no bound."""
    within: Duration | None = None
    """Started at most so long before the freeze; None for no bound."""


class Limits(_Strict):
    """What a worker may use."""

    bandwidth: Size | None = None
    """Bytes a second read from Pachyderm, for each worker."""
    memory: Annotated[Size, Field(ge=256 * 2**20)] = 512 * 2**20
    """Bytes a worker may take, about."""


class Policy(_Strict):
    """A validated policy."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "default"
    target: Annotated[str, Field(min_length=1)]
    sources: Annotated[list[Pattern], Field(min_length=1)]
    exclude: list[Pattern] = []
    history: Annotated[History, BeforeValidator(_history)] = History()
    outputs: Literal["include", "skip"] = "include"
    pipelines: Literal["include", "skip"] = "include"
    schedule: str = "@every 1h"
    interval: Duration = timedelta(hours=1)
    limits: Limits = Limits()

    def chooses(self, repo: RepoName, branch: str) -> bool:
        """Whether a branch is a source."""
        if repo.project == HOME_PROJECT and repo.repo not in SAVED_AT_HOME:
            return False
        if any(matches(pattern, repo, branch) for pattern in self.exclude):
            return False
        return any(matches(pattern, repo, branch) for pattern in self.sources)

    def reaches(self, repo: RepoName, pattern: str) -> bool:
        """Whether some branch of the repo, whatever its name, could match a pattern."""
        found = _PATTERN.fullmatch(pattern)
        return (
            found is not None
            and (repo.project != HOME_PROJECT or repo.repo in SAVED_AT_HOME)
            and fnmatchcase(repo.project, found["project"])
            and fnmatchcase(repo.repo, found["repo"])
        )


def matches(pattern: str, repo: RepoName, branch: str) -> bool:
    """Whether a pattern means the branch."""
    found = _PATTERN.fullmatch(pattern)
    return (
        found is not None
        and fnmatchcase(repo.project, found["project"])
        and fnmatchcase(repo.repo, found["repo"])
        and fnmatchcase(branch, found["branch"] or "*")
    )


def parse(text: str, where: str) -> Policy:
    """The policy in a YAML text; `where` is the file's name.

    Raises UsageError that names file, line, field, and what is allowed.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UsageError(f"not YAML: {problem}", where=line) from error
    if not isinstance(data, dict):
        raise UsageError("a policy is a mapping of fields", where=f"{where}:1", hint=_fields(Policy))
    _refuse_repeated(root, where)
    return validate(data, where, root)


def validate(data: dict[str, object], where: str, root: Any = None) -> Policy:
    """The policy with these fields; `root` is the YAML node that they came from, for line numbers."""
    try:
        return Policy.model_validate(data)
    except ValidationError as error:
        raise _explained(error, root, where) from error


def _explained(error: ValidationError, root: Any, where: str) -> UsageError:
    first = error.errors()[0]
    names = list(first["loc"])
    field = ".".join(str(part) for part in names)
    message = first["msg"].removeprefix("Value error, ")
    hint = ""
    if first["type"] == "extra_forbidden":
        message = f"unknown field {field!r}"
        hint = _fields(Limits if names[:1] == ["limits"] else Policy)
    elif first["type"] == "missing":
        message = f"field {field!r} is missing"
    else:
        message = f"field {field!r}: {message}"
    return UsageError(message, where=f"{where}:{_line(root, names)}" if root else where, hint=hint)


def _refuse_repeated(node: Any, where: str) -> None:
    """YAML would quietly take the last of two fields of one name."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            line = key.start_mark.line + 1
            raise UsageError(f"field {key.value!r} is there twice", where=f"{where}:{line}")
        seen.add(key.value)
        _refuse_repeated(value, where)


def _fields(kind: type[BaseModel]) -> str:
    return "allowed: " + ", ".join(kind.model_fields)


def _line(node: Any, names: list[Any]) -> int:
    """The line, from 1, on which a field stands; that of its parent where it is missing."""
    line: int = node.start_mark.line + 1
    for name in names:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == name:
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
            node = node.value[name]
            line = node.start_mark.line + 1
        else:
            break
    return line
