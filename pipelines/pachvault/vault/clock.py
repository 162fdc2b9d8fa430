"""The store's own clock: the ages that deletion rests on must not depend on any one machine's."""

from __future__ import annotations

import secrets
from datetime import datetime

from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.vault.vault import Vault


def store_now(vault: Vault, *, is_cleared: bool = True) -> datetime:
    """The time by the store's clock, UTC: that of an object written now, and deleted again.

    Raises PachvaultError where the store refuses to write, or, unless `is_cleared` is false, to delete:
    whoever is about to delete learns here that it cannot.
    """
    name = layout.run_path(f"clock-{secrets.token_hex(8)}")
    vault.store.put(name, [b"{}\n"], 3)
    found = vault.store.stat(name)
    try:
        vault.delete(name)
    except PachvaultError as error:
        if is_cleared:
            raise PachvaultError(
                f"the target does not allow deletion: {error.what}",
                where=vault.store.url,
                hint="nothing was deleted; forget and prune need a target that allows it",
            ) from error
    if found is None:
        raise PachvaultError("an object that was just written is not there", where=vault.store.url)
    return found.modified_at
