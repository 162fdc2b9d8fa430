"""Lost file tables made again from the cluster: their commits are exported once more, as the run did it.

The export writes into an overlay: nothing of it gets into the vault, content that the vault lacks neither.
The rows of a rebuilt table name that content, and repair then looks for it as for any lost blob.
All use of the export stage is in this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pachvault.backup.backup_messages import CommitPlace, ExportShare, Item, Link
from pachvault.backup.export.export import export_share
from pachvault.errors import DamageError
from pachvault.format.ids import RepoName
from pachvault.maintenance.repair import lost_tables
from pachvault.maintenance.repair.cluster_places import ClusterPlaces
from pachvault.maintenance.repair.lost_tables import CommitLists, LostTable, StoredCommit
from pachvault.maintenance.repair.overlay_store import OverlayStore
from pachvault.maintenance.repair.repair_needs import RepairNeeds
from pachvault.pach.source import CommitRef, Source
from pachvault.runtime.progress import Progress
from pachvault.vault.vault import Vault

_MEMORY = 2**30
"""Of an export, in bytes: as much as a worker has."""


def possible(places: ClusterPlaces, vault: Vault, needs: RepairNeeds) -> list[str]:
    """The lost tables whose commits can all be read; whether the same bytes come of it is not known yet."""
    lists = CommitLists(needs.graph, needs.lost_tables)
    return [lost.path for lost in lists.lost_tables() if _Rebuild(places, vault, lists).is_possible(lost)]


def rebuild(
    source: Source, places: ClusterPlaces, vault: Vault, needs: RepairNeeds, progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each lost table that can be made again. Raises PachydermError."""
    lists = CommitLists(needs.graph, needs.lost_tables)
    exporter = _Rebuild(places, vault, lists)
    for lost in lists.lost_tables():
        if not exporter.is_possible(lost):
            continue
        progress.start(f"repair: {lost.path}", sum(commit.size for commit in lost.commits))
        data = exporter.rebuilt(source, lost, progress)
        if data is not None:
            yield lost.path, data


@dataclass(frozen=True, slots=True)
class _Rebuild:
    places: ClusterPlaces
    vault: Vault
    lists: CommitLists

    def is_possible(self, lost: LostTable) -> bool:
        """Whether each commit can be read from the cluster, or from other tables."""
        return bool(lost.commits) and all(
            self._place(commit.repo, commit.id) or any(self.lists.readable(commit.repo, commit.id))
            for commit in lost.commits
        )

    def rebuilt(self, source: Source, lost: LostTable, progress: Progress) -> bytes | None:
        """The bytes of a lost table; None where they do not come of it."""
        # the run had the rows of a base that was sealed before, but not of one that another share exported
        items = list(self._items(lost))
        data = self._of_export(source, lost, items, progress)
        if data is None and any(item.base_chain for item in items):
            unchained = [item.model_copy(update={"base_chain": []}) for item in items]
            data = self._of_export(source, lost, unchained, progress)
        return data

    def _of_export(
        self, source: Source, lost: LostTable, items: Sequence[Item], progress: Progress
    ) -> bytes | None:
        # one for each attempt: the export writes tables that are not the lost one, which must not be taken
        # for rebuilt
        scratch = OverlayStore(self.vault.store)
        vault = replace(self.vault, store=scratch)
        share = ExportShare(
            run_id="repair",
            number=0,
            cluster_id="",
            target=scratch.url,
            bandwidth=None,
            memory=_MEMORY,
            items=list(items),
        )
        receipt = export_share(source, vault, share, progress)
        # the share of the run had the same commits: its table came out whole
        if lost.path in scratch.names:
            return vault.read(lost.path)
        exported = {
            (item.project, item.repo, item.commit): tuple(item.tables)
            for item in receipt.items
            if not item.problem
        }
        in_vault = lost_tables.rows_in_vault(self.vault, self.lists)

        def rows_of(commit: StoredCommit) -> pa.Table | None:
            tables = exported.get((commit.repo.project, commit.repo.repo, commit.id))
            if tables is None:
                return in_vault(commit)
            return lost_tables.rows_of_commit(vault, commit, tables)

        try:
            return lost_tables.rebuilt(vault, lost, self.lists, rows_of)
        except DamageError:
            return None  # a table of the vault that was intact a moment ago

    def _items(self, lost: LostTable) -> Iterator[Item]:
        """The items of the commits that the cluster has, in the order of the export."""
        own = {(commit.repo, commit.id) for commit in lost.commits}
        for commit in lost.commits:
            place = self._place(commit.repo, commit.id)
            if place is None:
                continue
            base_place = None
            if commit.base:
                here = CommitRef(commit.repo.project, commit.repo.repo, commit.base)
                base_place = self._place(commit.repo, commit.base) or here
            is_chained = commit.base and (commit.repo, commit.base) not in own
            yield Item(
                project=commit.repo.project,
                repo=commit.repo.repo,
                commit=commit.id,
                source=_message(place),
                change=_message(place) if commit.base else None,
                base=commit.base,
                base_source=_message(base_place) if base_place else None,
                base_chain=self._chain(commit.repo, commit.base) if is_chained else [],
                commit_bytes=commit.size,
                expected_bytes=commit.size,
            )

    def _chain(self, repo: RepoName, commit: str | None) -> list[Link]:
        """The readable tables that fold to a commit's tree, a full commit's first; none where one is lost."""
        chain: list[Link] = []
        while commit is not None:
            stored = next(self.lists.readable(repo, commit), None)
            if stored is None or any(link.commit == commit for link in chain):
                return []
            chain.append(Link(commit=commit, tables=list(stored.tables)))
            commit = stored.base
        return chain[::-1]

    def _place(self, repo: RepoName, commit: str) -> CommitRef | None:
        return next(iter(self.places.own(repo, commit)), None)


def _message(ref: CommitRef) -> CommitPlace:
    return CommitPlace(project=ref.project, repo=ref.repo, commit=ref.id)
