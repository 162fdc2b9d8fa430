"""Laws of what users name: whatever the text, it is understood or refused in one way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachvault.errors import InvalidInputError
from pachvault.syntax.quantities import count, duration, size
from pachvault.syntax.selection import Paths, SnapshotRef, SourcePattern, time

PATHS = st.lists(st.text("ab. ,|%'-", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
TEXTS = st.one_of(
    st.text(),
    st.text("0123456789-: TZ+abcdef"),
    st.text("ab/@*?[]!-"),
    st.integers().map(str),
    st.just("latest"),
)


@pytest.mark.parametrize(
    "parse",
    [SourcePattern.parse, SnapshotRef.parse, time, duration, count, size, lambda text: Paths.of([text])],
)
@given(text=TEXTS)
def test_a_text_is_understood_or_refused(parse: Callable[[str], object], text: str) -> None:
    with suppress(InvalidInputError):
        assert parse(text) is not None


@given(path=PATHS)
def test_a_path_means_itself_and_what_is_below_with_or_without_its_slash(path: str) -> None:
    for pattern in (path, f"/{path}", f"/{path}/", f"**/{path}"):
        assert Paths.of([pattern]).has(f"/{path}")
        assert Paths.of([pattern]).has(f"/{path}/below/it")
    assert not Paths.of([path]).has(f"/{path}x")
    assert not Paths.of([path]).has(f"/x{path}")


@given(paths=st.lists(PATHS), patterns=st.lists(st.text("ab./*?", min_size=1, max_size=5), max_size=4))
def test_a_pattern_is_unmatched_where_it_means_none_of_the_paths(
    paths: list[str], patterns: list[str]
) -> None:
    chosen, files = Paths.of(patterns), [f"/{path}" for path in paths]
    assert list(chosen.unmatched(files).patterns) == [
        pattern for pattern in dict.fromkeys(chosen.patterns) if not any(map(Paths((pattern,)).has, files))
    ]
