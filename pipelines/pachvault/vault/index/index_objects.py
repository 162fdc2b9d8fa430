"""Writes rows as new index objects of at most index.ROWS rows, and reads each back."""

from __future__ import annotations

import numpy as np

from pachvault.format import index, layout
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.vault import Vault


def write(vault: Vault, rows: IndexRows) -> set[str]:
    """Write rows, which must have all number columns; the names of the new index objects."""
    rows = rows.in_order()
    names = set()
    for first in range(0, len(rows), index.ROWS):
        part = rows.take(np.arange(first, min(first + index.ROWS, len(rows))))
        name = layout.index_path(vault.put_index(index.encode(part.table())).digest)
        # format 9.10: what it replaces is deleted only after this read
        vault.read(name)
        names.add(name)
    return names
