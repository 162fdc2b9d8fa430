"""A vault of many blobs, made without their bytes; and how long it takes to open one.

`python -m bench.vaults make|open FOLDER --blobs N`. `open` prints a JSON object with the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pachvault.format import index, layout
from pachvault.runtime import allocator
from pachvault.store.open_store import open_store
from pachvault.vault import vault
from pachvault.vault.index import blob_index

_A_PACK = 64
_BLOB_BYTES = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.vaults", description=__doc__)
    parser.add_argument("what", choices=["make", "open"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blobs", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.what == "make":
        _make(options.folder, options.blobs)
    else:
        allocator.share()
        began = time.perf_counter()
        count = len(blob_index.load_places(vault.open_vault(open_store(options.folder.as_uri()))))
        sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began, "blobs": count}) + "\n")


def _make(folder: Path, count: int) -> None:
    """An index of `count` blobs of 1 MiB, and sparse packs of the recorded length."""
    made = vault.create(open_store(folder.as_uri()))
    random = np.random.default_rng(1)
    packs = [random.bytes(32) for _ in range(-(-count // _A_PACK))]
    numbers = np.arange(count)
    sizes = np.full(count, _BLOB_BYTES)
    columns = [
        pa.array([random.bytes(32) for _ in range(count)], index.DIGEST),
        pa.array([packs[number // _A_PACK] for number in range(count)], index.DIGEST),
        8 + (numbers % _A_PACK) * _BLOB_BYTES,
        sizes,
        sizes,
        np.zeros(count, np.int8),
        np.zeros(count, np.int64),
        sizes,
    ]
    rows = pa.table(columns, schema=index.SCHEMA)
    for first in range(0, count, index.ROWS):
        made.put_index(index.encode(rows.slice(first, index.ROWS).sort_by("blob")))
    for pack in packs:
        path = folder / layout.pack_path(pack)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, (_A_PACK + 1) * _BLOB_BYTES)


if __name__ == "__main__":
    main()
