"""The reserve: a few MiB of a vault that only maintenance may use, so that a full target can be pruned.

Forget writes a manifest in `forgotten/` before it deletes it in `snapshots/`, and prune writes marks before
it deletes. If the target has no room for that, the reserve is deleted first, and written again afterwards, as
far as there is room.
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
"""Several small objects: where there is little room, some of them can be written again."""
PART_BYTES = 2**20

Result = TypeVar("Result")


def fill(vault: Vault) -> bool:
    """Write the parts of the reserve that are missing; False where there is no room for all of them."""
    # format 3.4: a shorter part is an aborted write, which `put` replaces
    complete = {info.name for info in vault.objects(layout.RESERVE) if info.size >= PART_BYTES}
    try:
        for number in range(PARTS):
            name = layout.reserve_path(number)
            if name not in complete:
                # incompressible bytes: on a compressing file system zeros would reserve nothing
                vault.store.put(name, [blake3(name.encode()).digest(length=PART_BYTES)], PART_BYTES)
    except FullError as error:
        _log.warning("there is no room for the reserve: %s", error)
        return False
    return True


def release(vault: Vault) -> bool:
    """Delete the reserve; False where there is none."""
    names = [info.name for info in vault.objects(layout.RESERVE)]
    for name in names:
        vault.delete(name)
    return bool(names)


def used(vault: Vault, work: Callable[[bool], Result]) -> Result:
    """Call `work`; where the target is full, release the reserve and call it again. Then fill the reserve.

    `work` must be repeatable. Its argument is True when the reserve is released: then it writes only what it
    cannot do without. Raises what `work` raises; FullError where the reserve was not enough.
    """
    try:
        result = work(False)
    except FullError as error:
        if not release(vault):
            error.hint = "the vault has no reserve left; `pachvault prune --now --dry-run` shows what can go"
            raise
        try:
            result = work(True)
        finally:
            # also after an error: the work may have freed room before it failed
            fill(vault)
        return result
    fill(vault)
    return result
