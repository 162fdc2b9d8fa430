"""The store's own clock, beside this machine's: no decision rests on one machine's clock alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.syntax.quantities import rounded_in_words
from pachvault.vault.vault import Vault

TOLERANCE = timedelta(minutes=5)
"""How far two clocks may differ and still count as equal."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Two clocks, read at the same moment. UTC."""

    store: datetime
    here: datetime
    """This machine's."""

    @property
    def earlier(self) -> datetime:
        """The one by which less time has passed: for ages that must not be overrated."""
        return min(self.store, self.here)

    @property
    def ahead(self) -> timedelta:
        """How far this machine's clock is ahead of the store's; negative where it is behind."""
        return self.here - self.store

    @property
    def difference(self) -> str:
        """How they differ, in words; empty where they agree."""
        if abs(self.ahead) <= TOLERANCE:
            return ""
        side = "ahead of" if self.ahead > timedelta() else "behind"
        return f"this machine's clock is {rounded_in_words(abs(self.ahead))} {side} the store's"


def read(vault: Vault, *, is_cleared: bool = True) -> Clocks:
    """Both clocks. Raises what `store_now` raises."""
    store = store_now(vault, is_cleared=is_cleared)
    return Clocks(store, datetime.now(UTC))


def is_future(at: datetime, now: datetime) -> bool:
    """Whether a time lies further ahead of `now` than clocks may differ."""
    return at - now > TOLERANCE


def store_now(vault: Vault, *, is_cleared: bool = True) -> datetime:
    """The time by the store's clock, UTC: that of an object written now, and deleted again.

    Raises PachvaultError where the store refuses to write, or, unless `is_cleared` is false, to delete:
    whoever is about to delete learns here that it cannot.
    """
    name = layout.clock_path(secrets.token_hex(8))
    vault.store.put(name, [b"{}\n"], 3)
    probe = vault.store.stat(name)
    try:
        vault.delete(name)
    except PachvaultError as error:
        if is_cleared:
            raise PachvaultError(
                f"the target does not allow deletion: {error.what}",
                where=vault.store.url,
                hint="nothing was deleted; forget and prune need a target that allows it",
            ) from error
    if probe is None:
        raise PachvaultError("an object that was just written is not there", where=vault.store.url)
    return probe.modified_at
