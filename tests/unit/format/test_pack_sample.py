"""Large frames are judged by a sample before they are compressed."""

from __future__ import annotations

import numpy as np
import pytest

from pachvault.format import pack
from pachvault.format.ids import digest

NOISE = np.random.default_rng(3).bytes(1024 * 1024)
TEXT = b"".join(b"line %d of a text\n" % number for number in range(60_000))[: 1024 * 1024]


def frame(data: bytes) -> pack.Frame:
    return pack.make_frame(data, [digest(data)], [len(data)], pack.new_compressor())


@pytest.mark.parametrize("length", [1024 * 1024, 32 * 1024, 32 * 1024 - 1, 32 * 1024 + 1])
def test_what_compresses_is_compressed(length: int) -> None:
    built = frame(TEXT[:length])
    assert built.codec == pack.CODEC_ZSTD
    assert pack.open_frame(built.stored, built.raw_bytes, built.codec) == TEXT[:length]


@pytest.mark.parametrize("length", [1024 * 1024, 32 * 1024, 1000])
def test_what_is_dense_is_kept_raw(length: int) -> None:
    assert frame(NOISE[:length]).codec == pack.CODEC_RAW


@pytest.mark.parametrize(
    "half", [TEXT[: 512 * 1024] + NOISE[: 512 * 1024], NOISE[: 512 * 1024] + TEXT[: 512 * 1024]]
)
def test_what_compresses_in_part_is_compressed(half: bytes) -> None:
    built = frame(half)
    assert built.codec == pack.CODEC_ZSTD
    assert len(built.stored) < 0.7 * len(half)
