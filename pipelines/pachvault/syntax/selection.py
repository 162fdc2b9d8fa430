"""How users name things: sources, paths, snapshots, commits, times. Pure.

Shell, policy, request and Python interface parse and match through this module alone, so that one text means
the same everywhere, or is refused with the same words. Every parser raises InvalidInputError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import translate
from functools import lru_cache

from pachvault.errors import InvalidInputError
from pachvault.format.ids import RepoName

LATEST = "latest"
SNAPSHOT_DIGITS = 4
"""The least digits of a snapshot's id that stand for it."""
COMMIT_DIGITS = 6
"""The least digits of a commit's id: more than of a snapshot's, for a branch may be called `2024`."""

_NAME = r"[A-Za-z0-9_*?\[\]!-]+"
_SOURCE = re.compile(rf"(?P<project>{_NAME})/(?P<repo>{_NAME})(@(?P<reference>{_NAME}))?")
# possessive: a `]` right after the `[` belongs to the class, and must not be given back to close it
_CLASS = re.compile(r"\[!?+\]?+[^\]]*+\]")
_WILDCARD = re.compile(r"[*?\[]")
_MOST_FOLDERS = 4
"""How many `/**/` a path pattern may have: each of them doubles the work."""
_ID = re.compile(r"[0-9a-f]{1,64}")
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_TIME = re.compile(rf"({_DAY})[T ]({_CLOCK}) ?(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?")

Matcher = Callable[[str], re.Match[str] | None]


@dataclass(frozen=True, slots=True)
class SourcePattern:
    """`project/repo`, or `project/repo@reference`: a branch, or a commit where the function documents it.

    Each part may have the wildcards * ? []. Without a reference every branch is meant.
    """

    project: str
    repo: str
    reference: str | None = None

    @classmethod
    def parse(cls, text: str) -> SourcePattern:
        """InvalidInputError where it has another form."""
        match = _SOURCE.fullmatch(text)
        if match is None:
            raise InvalidInputError(
                f"not a source: {text!r}", hint="project/repo or project/repo@branch, * ? [] are wildcards"
            )
        _refuse_unclosed(text)
        return cls(match["project"], match["repo"], match["reference"])

    def __str__(self) -> str:
        return f"{self.project}/{self.repo}" + (f"@{self.reference}" if self.reference else "")

    def means_project(self, project: str) -> bool:
        """Whether some repo of the project, of any name, could match."""
        return _glob(self.project)(project) is not None

    def means_all_of(self, project: str) -> bool:
        """Whether everything in the project matches."""
        return self.means_project(project) and self.repo == "*" and self.reference in (None, "*")

    def means_repo(self, repo: RepoName) -> bool:
        """Whether some branch of the repo, of any name, could match."""
        return self.means_project(repo.project) and _glob(self.repo)(repo.repo) is not None

    def means(self, repo: RepoName, branch: str) -> bool:
        """Whether the branch matches."""
        return self.means_repo(repo) and _glob(self.reference or "*")(branch) is not None

    @property
    def literal_name(self) -> str | None:
        """The one name of a repo that is meant, in whatever project; None where it has wildcards."""
        return None if _WILDCARD.search(self.repo) else self.repo

    @property
    def literal_project(self) -> str | None:
        """The one project that is named; None where it has wildcards."""
        return None if _WILDCARD.search(self.project) else self.project

    @property
    def literal_repo(self) -> RepoName | None:
        """The one repo that is named; None where there are wildcards."""
        repo = RepoName(self.project, self.repo)
        return None if _WILDCARD.search(str(repo)) else repo

    @property
    def literal_reference(self) -> str | None:
        """The one branch or commit that is named; None where there is none, or it has wildcards."""
        return None if self.reference is None or _WILDCARD.search(self.reference) else self.reference


@lru_cache(maxsize=256)
def source(text: str) -> SourcePattern:
    """SourcePattern.parse, cached."""
    return SourcePattern.parse(text)


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths by pattern; all of them where there is no pattern.

    A pattern means the files it matches and all files below the folders it matches. * and ** are any
    characters, / too, `/**/` may also be a single /, ? is one character. A leading / may be left out.
    """

    patterns: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Paths:
        """InvalidInputError where one is no path."""
        return cls(tuple(map(path, texts)))

    def has(self, file: str) -> bool:
        """Whether a file matches."""
        return not self.patterns or any(_path_glob(pattern)(file) is not None for pattern in self.patterns)

    def unmatched(self, files: Iterable[str]) -> Paths:
        """The patterns that match none of the files."""
        left = dict.fromkeys(self.patterns)
        for file in files:
            if not left:
                break
            for pattern in [path for path in left if _path_glob(path)(file) is not None]:
                del left[pattern]
        return Paths(tuple(left))


def path(text: str) -> str:
    """A path pattern in its full form: with its leading slash. InvalidInputError where it is no path."""
    if not text:
        raise InvalidInputError("a path is empty", hint="/ is the whole tree")
    _refuse_unclosed(text)
    full = text if text.startswith("/") else f"/{text}"
    if full.count("/**/") > _MOST_FOLDERS:
        raise InvalidInputError(f"too many ** in {text!r}", hint=f"at most {_MOST_FOLDERS}")
    return full


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """The newest snapshot, one by the beginning of its id, or the newest that was frozen by a time."""

    id: str = LATEST
    at: datetime | None = None

    @classmethod
    def parse(cls, value: object) -> SnapshotRef:
        """From what a user or a program gave; InvalidInputError where that has another form."""
        if isinstance(value, datetime | date):
            return cls(at=time(value))
        text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if text == LATEST:
            return cls()
        if _ID.fullmatch(text):
            return cls(checked_prefix(text, "snapshot", SNAPSHOT_DIGITS))
        if re.match(_DAY, text):
            return cls(at=time(text))
        raise InvalidInputError(
            f"not a snapshot: {value!r}",
            hint=f"latest, an id or its first {SNAPSHOT_DIGITS} or more digits (0-9 a-f), "
            "or a time as in 2026-11-20 08:00",
        )


def checked_prefix(prefix: str, kind: str, least: int) -> str:
    """The beginning of an id; InvalidInputError where it is too short to stand for one."""
    if len(prefix) < least:
        raise InvalidInputError(
            f"{prefix!r} is too short for the id of a {kind}", hint=f"{least} digits or more"
        )
    return prefix


def pick(ids: Iterable[str], prefix: str, kind: str, least: int) -> str | None:
    """The one id that begins so; None where none does.

    InvalidInputError where several do, or the prefix is too short.
    """
    known = set(ids)
    # before the length is checked: a whole id is never too short and never ambiguous
    if prefix in known:
        return prefix
    checked_prefix(prefix, kind, least)
    matches = sorted(name for name in known if name.startswith(prefix))
    if len(matches) > 1:
        some = ", ".join(name[: len(prefix) + 4] for name in matches[:3])
        raise InvalidInputError(
            f"{prefix!r} is ambiguous: it matches {len(matches)} {kind}s: {some}", hint="give more digits"
        )
    return matches[0] if matches else None


def time(value: object) -> datetime:
    """A point in time, in UTC; what has no zone is taken for UTC. InvalidInputError for any other form.

    A day alone is refused: it may mean its beginning or its end.
    """
    how = "2026-11-20 08:00, in UTC unless it has another zone"
    if isinstance(value, str):
        if re.fullmatch(_DAY, value.strip()):
            raise _day_alone(value.strip())
        match = _TIME.fullmatch(value.strip())
        if match is None:
            raise InvalidInputError(f"not a time: {value!r}", hint=f"a time is written {how}")
        try:
            value = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ''}")
        except ValueError as error:
            raise InvalidInputError(f"no such time: {match[0]!r}", hint=str(error)) from error
    if not isinstance(value, datetime):
        if isinstance(value, date):
            raise _day_alone(value.isoformat())
        raise InvalidInputError(f"not a time: {value!r}", hint=f"a time is written {how}")
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInputError(f"no such time: {value}", hint=str(error)) from error


def _day_alone(day: str) -> InvalidInputError:
    return InvalidInputError(
        f"{day} is a day without an hour",
        hint=f"{day} 00:00 is its beginning, {day} 23:59 its end; in UTC unless a zone follows",
    )


def quoted(names: Sequence[str]) -> str:
    """Names as an error lists them."""
    return ", ".join(map(repr, names))


def _refuse_unclosed(text: str) -> None:
    if "[" in _CLASS.sub("", text):
        raise InvalidInputError(f"a [ is not closed in {text!r}")


@lru_cache(maxsize=256)
def _glob(pattern: str) -> Matcher:
    return re.compile(translate(pattern)).match


@lru_cache(maxsize=256)
def _path_glob(pattern: str) -> Matcher:
    forms = _without_folders(pattern.rstrip("/"))
    return re.compile("|".join(translate(form + below) for form in forms for below in ("", "/*"))).match


def _without_folders(pattern: str) -> list[str]:
    """The pattern with each `/**/` as it is, and as a single slash."""
    head, separator, tail = pattern.partition("/**/")
    if not separator:
        return [pattern]
    return [f"{head}{between}{rest}" for rest in _without_folders(tail) for between in ("/", "/*/")]
