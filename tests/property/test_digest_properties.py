"""Digests in arrays against Python's own sets and sorting, also where their first bytes are the same."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachvault.format import digests
from pachvault.format.digests import DigestSet, SeenDigests, SortedDigests
from pachvault.format.pack import split_digests

# few values for each part: equal ones, and equal beginnings, are met often; zeros at the end must count
NAMES = st.lists(
    st.builds(
        lambda begin, middle, end: begin * 8 + middle * 16 + end * 8,
        *[st.sampled_from([b"\0", b"\1", b"\x80", b"\xff"])] * 3,
    ),
    max_size=40,
)


@given(NAMES)
def test_unique_and_order_are_those_of_sets_and_sorting(names: list[bytes]) -> None:
    array = digests.of(names)
    assert split_digests(array.take(digests.order(array))) == sorted(names)
    assert split_digests(digests.unique(array)) == sorted(set(names))
    assert digests.is_new(digests.of(sorted(names))).sum() == len(set(names))


@given(NAMES, NAMES)
def test_what_is_there_is_found_where_it_first_is(names: list[bytes], wanted: list[bytes]) -> None:
    names = sorted(names)
    expected = [bisect_left(names, name) if name in names else -1 for name in wanted]
    assert SortedDigests(digests.of(names)).find(digests.of(wanted)).tolist() == expected


@given(NAMES, NAMES)
def test_all_that_are_known_are_counted(names: list[bytes], others: list[bytes]) -> None:
    known = SortedDigests.of([digests.of(names)])
    counts = Counter(others)
    assert known.count(digests.of(others)).tolist() == [counts[name] for name in sorted(set(names))]
    assert known.has(digests.of(others)).tolist() == [name in names for name in others]


@given(st.lists(NAMES, max_size=5))
def test_what_is_gathered_is_there_once(parts: list[list[bytes]]) -> None:
    gathered = DigestSet()
    for part in parts:
        gathered.add(digests.of(part))
    assert split_digests(gathered.all()) == sorted({name for part in parts for name in part})


@given(st.lists(NAMES, max_size=8), NAMES)
def test_what_came_up_before_is_known(parts: list[list[bytes]], others: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "_BATCH", 20)  # so few that they are sorted in
        seen, known = SeenDigests(), set[bytes]()
        for part in parts:
            expected = [name not in known and name not in part[:number] for number, name in enumerate(part)]
            assert seen.add(part) == expected
            known.update(part)
        assert [name in seen for name in others] == [name in known for name in others]
