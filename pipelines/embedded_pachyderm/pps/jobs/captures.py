"""What the parentheses of a glob matched: `/(*)` on `/name` captures `name`, which `$1` stands for. Pure.

Which paths a glob finds is PFS's business; this only looks again at those it found.
"""

from __future__ import annotations

import re
from functools import cache

_REFERENCE = re.compile(r"\$\{?(\d+)\}?")
_PLAIN = {"(": "(", ")": ")", "|": "|", "{": "(?:", "}": ")", ",": "|", "?": "[^/]"}


def replace(glob: str, path: str, template: str) -> str:
    """The template with each `$n` replaced by what the n-th group captured of the path."""
    match = _regex(glob).fullmatch(path.rstrip("/") or "/")
    groups = match.groups() if match else ()

    def captured(reference: re.Match[str]) -> str:
        number = int(reference.group(1)) - 1
        return (groups[number] or "") if 0 <= number < len(groups) else ""

    return _REFERENCE.sub(captured, template)


@cache
def _regex(glob: str) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    while position < len(glob):
        character = glob[position]
        if glob.startswith("**", position):
            parts.append(".*")
            position += 2
            continue
        if character == "[" and "]" in glob[position:]:
            end = glob.index("]", position)
            parts.append("[" + glob[position + 1 : end].replace("!", "^", 1) + "]")
            position = end + 1
            continue
        parts.append("[^/]*" if character == "*" else _PLAIN.get(character, re.escape(character)))
        position += 1
    return re.compile("".join(parts))
