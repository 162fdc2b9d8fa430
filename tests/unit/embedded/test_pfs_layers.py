"""Layers and trees, against a dictionary that does the same one operation at a time."""

from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from embedded_pachyderm.pfs.content.layers import Entry, Key, Layer, applied, compose
from embedded_pachyderm.pfs.content.segments import PART
from embedded_pachyderm.pfs.content.trees import Trees, collision, collision_near, size_at

CONTENT = bytes(range(256)) * 4

Model = dict[Key, bytes]


def content(parts: bytes) -> bytes:
    return b"".join(CONTENT[offset : offset + length] for _, offset, length in PART.iter_unpack(parts))


def digest(parts: bytes) -> bytes:
    return blake3(content(parts)).digest()


def entry(key: Key, offset: int, length: int) -> Entry:
    parts = PART.pack(1, offset, length) if length else b""
    return Entry(*key, length, digest(parts), parts)


KEYS = st.tuples(st.sampled_from(["/a", "/a/b", "/a-b", "/b", "/c/d"]), st.sampled_from(["default", "d1"]))
SPANS = st.tuples(st.integers(0, 500), st.integers(0, 500))


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    deletes = draw(st.sets(KEYS, max_size=4))
    puts = draw(st.dictionaries(KEYS, SPANS, max_size=4))
    return Layer(tuple(sorted(deletes)), tuple(sorted(entry(key, *span) for key, span in puts.items())))


def after(model: Model, layer: Layer) -> Model:
    result = {key: data for key, data in model.items() if key not in layer.deletes}
    for put in layer.puts:
        result[put[:2]] = result.get(put[:2], b"") + content(put.parts)
    return result


def told(entries: list[Entry]) -> Model:
    assert entries == sorted(entries)
    assert all(e.size == len(content(e.parts)) and e.digest == digest(e.parts) for e in entries)
    return {e[:2]: content(e.parts) for e in entries}


@given(st.lists(layers(), max_size=6))
def test_layers_applied_in_turn_are_what_they_say(stack: list[Layer]) -> None:
    entries: list[Entry] = []
    model: Model = {}
    for layer in stack:
        entries = applied(entries, layer, digest)
        model = after(model, layer)
        assert told(entries) == model


@given(st.lists(layers(), min_size=1, max_size=6), st.lists(layers(), max_size=3))
def test_a_composed_layer_does_what_its_layers_do(stack: list[Layer], base: list[Layer]) -> None:
    start: list[Entry] = []
    for layer in base:
        start = applied(start, layer, digest)
    one_by_one = start
    for layer in stack:
        one_by_one = applied(one_by_one, layer, digest)
    assert told(applied(start, compose(stack, digest), digest)) == told(one_by_one)


@given(layers())
def test_decoding_undoes_encoding(layer: Layer) -> None:
    assert Layer.decode(layer.encode()) == layer


@given(st.lists(layers(), min_size=1, max_size=6))
def test_folding_from_the_cache_is_folding_from_nothing(stack: list[Layer]) -> None:
    numbered = dict(enumerate(stack))
    cached, fresh = Trees(numbered.__getitem__, digest), Trees(numbered.__getitem__, digest)
    for length in range(1, len(stack) + 1):
        cached.fold(tuple(range(length)))
    whole = tuple(range(len(stack)))
    assert cached.fold(whole) == fresh.fold(whole)


@given(st.lists(layers(), max_size=4), layers())
def test_looking_near_a_change_finds_what_looking_everywhere_finds(base: list[Layer], change: Layer) -> None:
    before: list[Entry] = []
    for layer in base:
        before = applied(before, layer, digest)
    entries = applied(before, change, digest)
    keys = {*change.deletes, *(put[:2] for put in change.puts)}
    if not collision(before):
        assert bool(collision(entries)) == bool(collision_near(entries, keys))
    grown = size_at(entries, keys) - size_at(before, keys)
    assert sum(e.size for e in before) + grown == sum(e.size for e in entries)
