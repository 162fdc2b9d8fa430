"""The data sets: the same bytes on every machine and in every run, made and never stored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

MIB = 1024 * 1024
_PIECE = 4 * MIB
_WORDS = 20_000

Pieces = list[bytes]
"""A file's bytes, in pieces of at most 4 MiB."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """`count` files of `size` bytes each, random or text."""

    name: str
    title: str
    count: int
    size: int
    is_text: bool = False

    @property
    def bytes(self) -> int:
        """Of all files."""
        return self.count * self.size

    def path(self, number: int) -> str:
        """The path of a file; folders hold a thousand."""
        suffix = "txt" if self.is_text else "bin"
        return f"/{number // 1000:04}/{number:07}.{suffix}"

    def files(self, first: int = 0, step: int = 1) -> Iterator[tuple[str, Pieces]]:
        """All files, or every so many from the `first` on."""
        words = _vocabulary() if self.is_text else None
        for number in range(first, self.count, step):
            yield self.path(number), self._content(Random(f"{self.name}-{number}"), words)

    def changed(self, number: int) -> tuple[str, Pieces]:
        """The file in the middle with another content, each `number` another."""
        words = _vocabulary() if self.is_text else None
        return self.path(self.count // 2), self._content(Random(f"{self.name}-changed-{number}"), words)

    def inserted(self, number: int) -> tuple[str, Pieces]:
        """The last file with `number` single bytes inserted, around its middle."""
        path, pieces = list(self.files())[-1]
        middle = len(pieces) // 2
        for at in range(number):
            place = (middle + at) % len(pieces)
            half = len(pieces[place]) // 2
            pieces[place] = pieces[place][:half] + b"+" + pieces[place][half:]
        return path, pieces

    def scaled(self, scale: float) -> DataSet:
        """The same shape, smaller: fewer files, or a smaller one."""
        if self.count > 1:
            return replace(self, count=max(2, int(self.count * scale)))
        return replace(self, size=max(4096, int(self.size * scale)))

    def _content(self, random: Random, words: list[str] | None) -> Pieces:
        sizes = [_PIECE] * (self.size // _PIECE) + ([self.size % _PIECE] if self.size % _PIECE else [])
        if words is None:
            return [random.randbytes(size) for size in sizes]
        return [_text(random, size, words) for size in sizes]


def _vocabulary() -> list[str]:
    """Words whose frequencies fall off as in a language: the nth is n times rarer than the first."""
    random = Random("words")
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = range(len(letters), 0, -1)
    made = ("".join(random.choices(letters, weights, k=random.randint(1, 10))) for _ in itertools.count())
    return list(itertools.islice(dict.fromkeys(itertools.islice(made, 4 * _WORDS)), _WORDS))


def _text(random: Random, size: int, words: list[str]) -> bytes:
    """Lines of a dozen words."""
    count = size // 4
    picked = iter([words[int(len(words) ** random.random()) - 1] for _ in range(count)])
    lines = iter(lambda: " ".join(itertools.islice(picked, 12)), "")
    return "\n".join(lines).encode()[:size].ljust(size, b".")


SETS = (
    DataSet("mib", "512 × 1 MiB, random", 512, MIB),
    DataSet("small", "100,000 × 35 B, random", 100_000, 35),
    DataSet("text", "2,048 × 128 KiB, text", 2048, 128 * 1024, is_text=True),
    DataSet("big", "1 × 2 GiB, random", 1, 2048 * MIB),
)
ONE = DataSet("one", "1 × 1 MiB, random", 1, MIB)
"""What the big one is compared with where size should not matter."""
