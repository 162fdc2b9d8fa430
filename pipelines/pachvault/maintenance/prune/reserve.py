"""The reserve: a few MiB of a vault that only maintenance may use, so that a full target can be emptied.

To forget a snapshot its manifest is written in another place first, and prune writes marks before it deletes.
Where there is no room for that, the reserve is deleted, and made again at the end, as far as there is room.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from blake3 import blake3

from pachvault.errors import FullError
from pachvault.format import layout
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

PARTS = 8
PART_BYTES = 2**20

Result = TypeVar("Result")


def fill(vault: Vault) -> bool:
    """Write the parts of the reserve that are missing; False where there is no room for all of them."""
    there = {info.name for info in vault.objects(layout.RESERVE) if info.size >= PART_BYTES}
    try:
        for number in range(PARTS):
            name = layout.reserve_path(number)
            if name not in there:
                # it must not compress, or a compressing file system would reserve nothing
                vault.store.put(name, [blake3(name.encode()).digest(length=PART_BYTES)], PART_BYTES)
    except FullError as error:
        _log.warning("there is no room for the reserve: %s", error)
        return False
    return True


def release(vault: Vault) -> bool:
    """Delete the reserve; False where there is none."""
    there = [info.name for info in vault.objects(layout.RESERVE)]
    for name in there:
        vault.delete(name)
    return bool(there)


def used(vault: Vault, work: Callable[[bool], Result]) -> Result:
    """Do `work`, once more with the reserve released where the target is full; then fill the reserve.

    `work` may be repeated. It is told whether the reserve is released: then it must write no more than it
    must. Raises what `work` raises, FullError where the reserve did not help.
    """
    try:
        result = work(False)
    except FullError as error:
        if not release(vault):
            error.hint = "the vault has no reserve left; `pachvault prune --now --dry-run` says what could go"
            raise
        try:
            result = work(True)
        finally:
            fill(vault)
        return result
    fill(vault)
    return result
