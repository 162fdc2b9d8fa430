"""Lost objects that the vault alone can make again: their bytes, from other objects with the same rows.

A file table whose commits a later backup stored again is in the tables of that backup. A commit list is in
the longer one that replaced it in later snapshots. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterator

from pachvault.errors import DamageError
from pachvault.format import table
from pachvault.maintenance.repair import lost_tables
from pachvault.maintenance.repair.lost_tables import CommitLists
from pachvault.maintenance.repair.repair_needs import RepairNeeds
from pachvault.vault.graph import Graph
from pachvault.vault.vault import Vault
from pachvault.vault.walk import NodeKind, Reached


def rebuild(vault: Vault, needs: RepairNeeds) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each lost object that can be made again."""
    for failure in needs.graph.failures:
        if failure.at.kind is NodeKind.COMMIT_LIST:
            data = _commit_list(vault, needs.graph, failure.at)
            if data is not None:
                yield failure.at.path, data
    lists = CommitLists(needs.graph, needs.lost_tables)
    rows_of = lost_tables.rows_in_vault(vault, lists)
    for lost in lists.lost_tables():
        try:
            data = lost_tables.rebuilt(vault, lost, lists, rows_of)
        except DamageError:
            continue  # damaged since the survey
        if data is not None:
            yield lost.path, data


def _commit_list(vault: Vault, graph: Graph, lost: Reached) -> bytes | None:
    for digest, offset, count in _longer_lists(graph, lost):
        rows = vault.commit_list(digest).slice(offset, count)
        # the digest decides: other metadata, which users may edit (format 7.2.5), gives other bytes, and
        # nothing is written
        data = lost_tables.named(table.encode_commits(rows.cast(table.COMMITS)), lost.digest)
        if data is not None:
            return data
    return None


def _longer_lists(graph: Graph, lost: Reached) -> Iterator[tuple[bytes, int, int]]:
    """Readable lists that have commits at the place of the lost one's: digest, offset, number of commits."""
    records = [record for record in graph.records.values() if record.repo == str(lost.repo)]
    spans = {
        (start, count)
        for record in records
        for name, start, count in _spans(record.lists)
        if name == lost.digest
    }
    seen: set[tuple[bytes, int, int]] = set()
    for record in records:
        for name, start, count in _spans(record.lists):
            for lost_start, lost_count in spans:
                # decision 0005: segments are merged, so the commits of a lost list are a slice of a longer
                # one
                candidate = name, lost_start - start, lost_count
                is_inside = start <= lost_start and lost_start + lost_count <= start + count
                if is_inside and candidate not in seen and (record.repo, name) in graph.lists:
                    seen.add(candidate)
                    yield candidate


def _spans(lists: dict[bytes, int]) -> Iterator[tuple[bytes, int, int]]:
    """Each commit list of a record with the number of the first commit, and how many it has."""
    start = 0
    for name, count in lists.items():
        yield name, start, count
        start += count
