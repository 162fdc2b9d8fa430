"""The store's clock and this machine's: no decision depends on one machine's clock alone."""

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
        """The earlier time. Ages by it are never too great unless both clocks are ahead."""
        return min(self.store, self.here)

    @property
    def ahead(self) -> timedelta:
        """How far this machine's clock is ahead of the store's; negative where it is behind."""
        return self.here - self.store

    @property
    def difference(self) -> str:
        """A text for users about the difference; empty where it is within TOLERANCE."""
        if abs(self.ahead) <= TOLERANCE:
            return ""
        side = "ahead of" if self.ahead > timedelta() else "behind"
        return f"this machine's clock is {rounded_in_words(abs(self.ahead))} {side} the store's"


def read(vault: Vault, *, is_cleared: bool = True) -> Clocks:
    """Both clocks, read now. Raises what `store_now` raises."""
    store = store_now(vault, is_cleared=is_cleared)
    return Clocks(store, datetime.now(UTC))


def is_future(at: datetime, now: datetime) -> bool:
    """Whether a time lies further ahead of `now` than clocks may differ."""
    return at - now > TOLERANCE


def store_now(vault: Vault, *, is_cleared: bool = True) -> datetime:
    """The store's time, UTC: the modification time of a probe object, which is written and deleted again.

    Raises StoreError where the store refuses to write. With `is_cleared` it also raises PachvaultError where
    the store refuses to delete: forget and prune then stop before they change anything.
    """
    # a new name each time: an equal object under an old name would not be written again,
    # and its time would be that of the first write
    name = layout.clock_path(secrets.token_hex(8))
    vault.store.put(name, [b"{}\n"], 3)
    # not the time of the call: only the store's own listing has the store's clock (format 9.1)
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
        raise PachvaultError("an object that was just written is missing", where=vault.store.url)
    return probe.modified_at
