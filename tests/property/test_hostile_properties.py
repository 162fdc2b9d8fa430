"""Whatever bytes come from outside, each parser ends in a value or in its documented error.

The same targets are what `make fuzz` drives by coverage; the seeds are inputs that are valid, and inputs that
once were not refused as they should be.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.corpus import seeds
from fuzz.targets import TARGETS

_seeds = cache(seeds)
_EDIT = st.tuples(st.integers(0, 2**16), st.integers(0, 40), st.binary(max_size=12))


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The seed with some of its bytes replaced, left out or added."""
    for at, length, new in edits:
        start = at % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_ends_in_a_value_or_in_the_documented_error(target: str) -> None:
    for seed in _seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_value_or_in_the_documented_error(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
@given(st.data(), st.lists(_EDIT, min_size=1, max_size=4))
def test_seeds_with_some_bytes_changed_do_too(
    target: str, data: st.DataObject, edits: list[tuple[int, int, bytes]]
) -> None:
    seed = data.draw(st.sampled_from(_seeds(target)))
    TARGETS[target](edited(seed, edits))
