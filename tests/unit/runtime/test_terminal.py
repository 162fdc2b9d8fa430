"""Text for a terminal: no control character of a name gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachvault.runtime.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain/näme 日本", "plain/näme 日本"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("two\nlines\r\tand", "two\\nlines\\r\\tand"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("txt.\u202egpj", "txt.\\u202egpj"),
        ("line\u2028end", "line\\u2028end"),
        ("no utf-8 \udcff", "no utf-8 \\udcff"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_everything_can_be_shown_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
