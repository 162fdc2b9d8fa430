"""Writing the index anew: rows into index objects of a good size, each read back."""

from __future__ import annotations

import numpy as np

from pachvault.format import index, layout
from pachvault.vault.index_rows import IndexRows
from pachvault.vault.vault import Vault


def write(vault: Vault, rows: IndexRows) -> set[str]:
    """Write rows, all numbers of them, sorted; the index objects that have them now."""
    rows = rows.in_order()
    made = set()
    for first in range(0, len(rows), index.ROWS):
        some = rows.take(np.arange(first, min(first + index.ROWS, len(rows))))
        name = layout.index_path(vault.put_index(index.encode(some.table())).digest)
        vault.read(name)
        made.add(name)
    return made
