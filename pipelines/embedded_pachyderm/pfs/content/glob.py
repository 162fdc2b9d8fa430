"""Globs as Pachyderm reads them: `*`, `**`, `?`, `[a-z]`, `{a,b}`, and `@(a|b)` with its siblings.

Braces are spread out first, so that a glob which merely lists paths is a set, however long the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from embedded_pachyderm.pfs.metadata.names import is_glob
from embedded_pachyderm.pfs.pfs_errors import PfsError

SPREAD_LIMIT = 100_000

_GROUP_SUFFIX = {"@": "", "(": "", "?": "?", "*": "*", "+": "+"}


def matcher(glob: str) -> Callable[[str], bool]:
    """Whether a path, its trailing slash aside, matches the glob."""
    spread = _spread(glob)
    plain = {pattern for pattern in spread if not _is_special(pattern)}
    others = [_Translation(pattern).regex() for pattern in spread if _is_special(pattern)]
    try:
        compiled = re.compile("|".join(f"(?:{regex})" for regex in others), re.DOTALL) if others else None
    except re.error as error:
        raise PfsError(f"glob {glob}: {error}") from None

    def matches(path: str) -> bool:
        if path == "/":
            return glob == "/" or bool(compiled and compiled.fullmatch(""))
        path = path.rstrip("/")
        return path in plain or bool(compiled and compiled.fullmatch(path))

    return matches


def _is_special(pattern: str) -> bool:
    return "\\" in pattern or is_glob(pattern)


def _spread(glob: str) -> list[str]:
    """The glob's alternatives, one for each choice among its braces."""
    start = glob.find("{")
    if start < 0 or "\\" in glob or "[" in glob or "(" in glob:
        return [glob]
    end, commas = _brace(glob, start)
    cuts = [start, *commas, end]
    choices = [glob[cuts[i] + 1 : cuts[i + 1]] for i in range(len(cuts) - 1)]
    tails = _spread(glob[end + 1 :])
    heads = [inner for choice in choices for inner in _spread(choice)]
    if len(heads) * len(tails) > SPREAD_LIMIT:
        return [glob]
    return [glob[:start] + head + tail for head in heads for tail in tails]


def _brace(glob: str, start: int) -> tuple[int, list[int]]:
    """Where the brace closes, and where its commas are."""
    depth = 0
    commas: list[int] = []
    for index in range(start, len(glob)):
        if glob[index] == "{":
            depth += 1
        elif glob[index] == "}":
            depth -= 1
            if depth == 0:
                return index, commas
        elif glob[index] == "," and depth == 1:
            commas.append(index)
    return len(glob), commas


class _Translation:
    """One glob on its way to a regular expression."""

    def __init__(self, glob: str) -> None:
        self._glob = glob
        self._at = 0

    def regex(self) -> str:
        return self._sequence("")

    def _peek(self, ahead: int = 0) -> str:
        return self._glob[self._at + ahead : self._at + ahead + 1]

    def _sequence(self, stops: str) -> str:
        out = []
        while self._at < len(self._glob) and (not stops or self._peek() not in stops):
            out.append(self._piece())
        return "".join(out)

    def _piece(self) -> str:
        character = self._peek()
        if character in "*?@+!" and self._peek(1) == "(":
            self._at += 2
            return self._group(character)
        self._at += 1
        special = {"(": self._plain_group, "{": self._brace, "[": self._class, "*": self._star}
        if character in special:
            return special[character]()
        if character == "\\":
            self._at += 1
            return re.escape(self._glob[self._at - 1 : self._at])
        return "[^/]" if character == "?" else re.escape(character)

    def _plain_group(self) -> str:
        return self._group("(")

    def _brace(self) -> str:
        return "(?:" + "|".join(self._alternatives(",", "}")) + ")"

    def _star(self) -> str:
        if self._peek() == "*":
            self._at += 1
            return ".*"
        return "[^/]*"

    def _group(self, kind: str) -> str:
        body = "|".join(self._alternatives("|", ")"))
        if kind == "!":
            return f"(?:(?!(?:{body})(?:/|$))[^/]*)"
        return f"(?:{body}){_GROUP_SUFFIX[kind]}"

    def _alternatives(self, separator: str, end: str) -> list[str]:
        choices = [self._sequence(separator + end)]
        while self._peek() == separator:
            self._at += 1
            choices.append(self._sequence(separator + end))
        self._at += 1  # the end may be missing: then the glob's own end closes the group
        return choices

    def _class(self) -> str:
        end = self._glob.find("]", self._at + 1)
        if end < 0:
            raise PfsError("unexpected end of input")
        body = self._glob[self._at : end]
        self._at = end + 1
        negated = body[0] in "!^"
        inner = re.sub(r"([\\\]\[^&~|])", r"\\\1", body[negated:])
        return f"[{'^/' if negated else ''}{inner}]"
