"""Trees: the files that a stack of layers amounts to, kept in memory while they are used.

A tree is a sorted list of entries; content is never held. The cache folds a stack from the longest
prefix it still has, so that a commit upon a large repo costs what it changed.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import pairwise

from embedded_pachyderm.pfs.content.layers import Digest, Entry, Key, Layer, applied

Stack = tuple[int, ...]  # layer ids, the lowest first

CACHED_ENTRIES = 4_000_000
EMPTY_TREE = 10  # what a tree costs besides its entries, so that many small ones are bounded too


class Trees:
    """The cache of folded stacks."""

    def __init__(self, load: Callable[[int], Layer], digest: Digest) -> None:
        self._load = load
        self._digest = digest
        self._lock = threading.Lock()
        self._cache: OrderedDict[Stack, list[Entry]] = OrderedDict()
        self._held = 0  # entries, and something for each tree

    def fold(self, stack: Stack) -> list[Entry]:
        """The files of the stack, sorted by path and datum. Not to be changed."""
        known, entries = self._longest_known(stack)
        for layer_id in stack[known:]:
            entries = applied(entries, self._load(layer_id), self._digest)
        if known < len(stack):
            self._remember(stack, entries)
        return entries

    def _longest_known(self, stack: Stack) -> tuple[int, list[Entry]]:
        with self._lock:
            for length in range(len(stack), 0, -1):
                entries = self._cache.get(stack[:length])
                if entries is not None:
                    self._cache.move_to_end(stack[:length])
                    return length, entries
        return 0, []

    def _remember(self, stack: Stack, entries: list[Entry]) -> None:
        with self._lock:
            if stack in self._cache:
                return
            self._cache[stack] = entries
            self._held += len(entries) + EMPTY_TREE
            while self._held > CACHED_ENTRIES and len(self._cache) > 1:
                self._held -= len(self._cache.popitem(last=False)[1]) + EMPTY_TREE


def collision(entries: list[Entry]) -> str:
    """Why the files cannot be a finished commit: a path twice, or a file that is also a directory."""
    return next(filter(None, (_clash(*pair) for pair in pairwise(entries))), "")


def collision_near(entries: list[Entry], keys: Iterable[Key]) -> str:
    """The same, where only what is next to these keys can have changed."""
    for key in keys:
        at = bisect_left(entries, key)
        for pair in pairwise(entries[max(at - 1, 0) : at + 2]):
            problem = _clash(*pair)
            if problem:
                return problem
    return ""


def size_at(entries: list[Entry], keys: Iterable[Key]) -> int:
    """What the files at these keys add up to."""
    size = 0
    for key in keys:
        at = bisect_left(entries, key)
        if at < len(entries) and entries[at][:2] == key:
            size += entries[at].size
    return size


def _clash(first: Entry, second: Entry) -> str:
    if not second.path.startswith(first.path):
        return ""
    if second.path == first.path:
        return (
            f"duplicate path output by different datums ({first.path} from {first.datum}"
            f" and {second.path} from {second.datum})"
        )
    if second.path.startswith(first.path + "/"):
        return f"file / directory path collision ({second.path})"
    return ""
