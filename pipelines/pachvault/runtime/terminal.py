"""What a terminal may be shown: names and messages come from outside, and may hold what steers a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character escaped that Python's `repr` would escape, such as `\\x1b` and `\\n`.

    Control characters, line ends, marks that turn the direction of writing, and bytes that are no UTF-8. A
    backslash is left as it is: this is for people, programs read --json.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
