"""Flags of the places of blobs: a blob is lost only if all its places are bad."""

from __future__ import annotations

import numpy as np

from pachvault.vault.index.blob_places import BlobPlaces, Flags
from pachvault.vault.index.index_rows import IndexRows


class CheckedPlaces(BlobPlaces):
    """The index view, with three flags for each place, which the checks set."""

    def __init__(self, rows: IndexRows) -> None:
        super().__init__(rows)
        self.is_good: Flags = np.ones(len(self), bool)
        """Whether the bytes are there and intact, as far as was read."""
        self.is_staying: Flags = np.ones(len(self), bool)
        """Whether the pack is no pending delete."""
        self.is_needed: Flags = np.zeros(len(self), bool)
        """Of the first place of each blob: whether a table names the blob."""

    def lost(self) -> Flags:
        """For each place whether no place of its blob is good."""
        return ~self.any_of_blob(self.is_good)

    def degraded(self) -> Flags:
        """For each place whether all good places of its blob are in packs that are pending deletes."""
        return self.any_of_blob(self.is_good) & ~self.any_of_blob(self.is_good & self.is_staying)

    def needed(self) -> Flags:
        """For each place whether a table names its blob."""
        return self.any_of_blob(self.is_needed)

    def needed_packs(self) -> set[str]:
        """The packs with a place of a blob that a table names, as paths."""
        codes = np.unique(self.rows.pack_codes[self.needed()])
        return {self.pack_paths[code] for code in codes}
