"""The file tables of one share. Rows are gathered until they are worth an object, then written."""

from __future__ import annotations

import pyarrow as pa

from pachvault.backup.backup_messages import Item
from pachvault.backup.export.row_builder import TABLE_ROWS, RowBuilder
from pachvault.format import table
from pachvault.vault.vault import StoredObject, Vault


class TableWriter:
    """A large item gets tables of its own, small ones share one."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._pending: list[RowBuilder] = []
        self.written: list[StoredObject] = []

    def rows(self, item: Item) -> RowBuilder:
        """An empty builder for the rows of an item."""
        return RowBuilder(item.repo_name, item.commit, self._put)

    def add(self, rows: RowBuilder) -> None:
        """Take the rows of an item that are in no table yet."""
        self._pending.append(rows)
        if sum(builder.held for builder in self._pending) >= TABLE_ROWS:
            self.close()

    def close(self) -> None:
        """Write what is pending."""
        pending, self._pending = [rows for rows in self._pending if rows.held], []
        if pending:
            table_digest = self._put(pa.concat_tables(rows.table() for rows in pending))
            for rows in pending:
                rows.release(table_digest)

    def _put(self, rows: pa.Table) -> bytes:
        self.written.append(self._vault.put_table(table.encode_files(rows)))
        return self.written[-1].digest
