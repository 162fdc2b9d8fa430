"""The file tables of one share: rows are gathered until they are worth an object, then let go."""

from __future__ import annotations

import pyarrow as pa

from pachvault.backup.backup_messages import Item
from pachvault.backup.export.row_builder import TABLE_ROWS, RowBuilder
from pachvault.format import table
from pachvault.vault.vault import Vault, Written


class TableWriter:
    """A large item gets tables of its own, small ones share one."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._pending: list[RowBuilder] = []
        self.written: list[Written] = []

    def rows(self, item: Item) -> RowBuilder:
        """To be filled with the rows of an item."""
        return RowBuilder(item.repo_name, item.commit, self._put)

    def add(self, rows: RowBuilder) -> None:
        """Take in the rest of an item's rows."""
        self._pending.append(rows)
        if sum(each.held for each in self._pending) >= TABLE_ROWS:
            self.close()

    def close(self) -> None:
        """Write what is pending."""
        pending, self._pending = [each for each in self._pending if each.held], []
        if pending:
            name = self._put(pa.concat_tables(each.table() for each in pending))
            for each in pending:
                each.are_in(name)

    def _put(self, rows: pa.Table) -> bytes:
        self.written.append(self._vault.put_table(table.encode_files(rows)))
        return self.written[-1].digest
