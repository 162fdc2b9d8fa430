"""RFC 7386: patches made from two documents make the second of the first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pachvault.deploy.merge_patch import applied, changes, difference

SCALARS = st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["", "a"]), st.lists(st.integers(0, 2)))
DOCUMENTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), SCALARS),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.one_of(SCALARS, inner)),
    max_leaves=8,
)


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_makes_the_new_document_of_the_old_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert applied(old, difference(old, new)) == new
    assert difference(old, old) == {}


@given(DOCUMENTS, DOCUMENTS)
def test_every_change_is_listed_with_its_path(old: dict[str, Any], new: dict[str, Any]) -> None:
    listed = list(changes(old, new))
    assert bool(listed) == (old != new)
    assert all(before != after for _, before, after in listed)


def test_the_examples_of_the_standard() -> None:
    assert applied({"a": "b"}, {"a": "c"}) == {"a": "c"}
    assert applied({"a": "b", "b": "c"}, {"a": None}) == {"b": "c"}
    assert applied({"a": ["b"]}, {"a": "c"}) == {"a": "c"}
    assert applied({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert applied({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
