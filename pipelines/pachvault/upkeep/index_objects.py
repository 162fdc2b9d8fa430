"""Writing the index anew: rows into index objects of a good size, each read back."""

from __future__ import annotations

import numpy as np

from pachvault.format import index, layout
from pachvault.vault.columns import Columns
from pachvault.vault.vault import Vault

INDEX_ROWS = 250_000
"""Rows of an index object that is written anew, at most; one of half as many is no small one."""


def write(vault: Vault, rows: Columns) -> set[str]:
    """Write rows, all numbers of them, sorted; the index objects that have them now."""
    rows = rows.in_order()
    made = set()
    for first in range(0, len(rows), INDEX_ROWS):
        some = rows.take(np.arange(first, min(first + INDEX_ROWS, len(rows))))
        name = layout.index_path(vault.put_index(index.encode(some.table())).digest)
        vault.read(name)
        made.add(name)
    return made
