"""A whole repair from a shell: from the vault itself, and from the cluster where it still has the data.

Lost file tables are made again first (`table_rebuild`). Lost blobs are looked for in the commit that put the
file, in its mirror in the backup repo, then in the heads of the repo's branches and its other mirrors. A blob
is named by its digest, so content with that digest is the blob, wherever it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pachvault.backup.export.chunker import Chunker
from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format import index
from pachvault.format.config import Cutting
from pachvault.format.ids import RepoName
from pachvault.maintenance import reserve
from pachvault.maintenance.repair import repair, table_rebuild
from pachvault.maintenance.repair.cluster_places import ClusterPlaces
from pachvault.maintenance.repair.repair import Repaired, RepairPlan
from pachvault.maintenance.repair.repair_needs import LostFile
from pachvault.maintenance.verify.verify import Level
from pachvault.pach.connection import connect
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.tar import FilePiece
from pachvault.runtime.progress import Progress
from pachvault.store.store import Store
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.pack_writer import PackWriter

_NAMES_A_CALL = 300


@dataclass(frozen=True, slots=True)
class Prospect:
    """What the cluster still has of lost files and tables."""

    there: tuple[LostFile, ...] = ()
    """Files whose commit, or a mirror of it, can still be read."""
    gone: tuple[LostFile, ...] = ()
    """Files that only later commits may still have."""
    tables: tuple[str, ...] = ()
    """Lost file tables whose commits can all be read: repair exports these again."""
    unreachable: str = ""
    """Why the cluster could not be asked."""


def prospect(address: str, token: str | None, plan: RepairPlan) -> Prospect:
    """Where lost files and tables could be read again; no content is read, and nothing is changed."""
    needs = plan.needs
    if not needs.lost_files and not needs.lost_tables:
        return Prospect()
    try:
        with connect(address, token) as connection:
            places = ClusterPlaces(Source(connection))
            there = [file for file in needs.lost_files if places.own(file.repo, file.commit)]
            tables = table_rebuild.possible(places, plan.reader, needs)
    except PachydermError as error:
        return Prospect(gone=tuple(needs.lost_files), unreachable=str(error))
    known = set(there)
    gone = tuple(file for file in needs.lost_files if file not in known)
    return Prospect(tuple(there), gone, tuple(tables))


def run(
    address: str, token: str | None, store: Store, level: Level, progress: Progress
) -> tuple[Repaired, Prospect]:
    """Plan and carry out; without the cluster where that cannot be reached. May use the reserve."""
    plan = repair.plan(store, level, progress)
    if plan.is_intact:
        return repair.execute(plan, None, progress), Prospect()

    def attempt(is_repeated: bool) -> tuple[Repaired, Prospect]:
        # the first attempt may have written a part before the target was full
        current = repair.plan(store, level, progress) if is_repeated else plan
        return _with_cluster(address, token, current, progress)

    return reserve.used(plan.vault, attempt)


def _with_cluster(
    address: str, token: str | None, plan: RepairPlan, progress: Progress
) -> tuple[Repaired, Prospect]:
    outlook = prospect(address, token, plan)
    troubles: list[PachydermError] = []
    if outlook.tables:
        try:
            with connect(address, token) as connection:
                source = Source(connection)
                rebuilt = table_rebuild.rebuild(
                    source, ClusterPlaces(source), plan.reader, plan.needs, progress
                )
                plan = repair.with_rebuilt(plan, rebuilt)
        except PachydermError as error:
            troubles.append(error)
    if outlook.unreachable or not plan.needs.lost_files:
        return repair.execute(plan, None, progress), _with(outlook, troubles)

    def heal(files: Sequence[LostFile], writer: PackWriter) -> None:
        try:
            with connect(address, token) as connection:
                refill(Source(connection), plan.vault.config.cutting, files, writer, progress)
        except PachydermError as error:
            troubles.append(error)  # what was read until then is kept

    repaired = repair.execute(plan, heal, progress)
    return repaired, _with(outlook, troubles)


def _with(outlook: Prospect, troubles: Sequence[PachydermError]) -> Prospect:
    return replace(outlook, unreachable=str(troubles[0])) if troubles else outlook


def refill(
    source: Source, cutting: Cutting, files: Sequence[LostFile], writer: PackWriter, progress: Progress
) -> None:
    """Read files again until every lost blob is there; the writer gets those that are."""
    places = ClusterPlaces(source)
    lost = frozenset(blob for file in files for blob in file.blobs)
    progress.start("repair: from the cluster", sum(file.size for file in files))
    with Chunker(writer, _AllBut(lost), cutting) as chunker:
        for (repo, commit), group in groupby(
            sorted(files, key=_commit_and_path), key=lambda file: (file.repo, file.commit)
        ):
            incomplete = _incomplete(group, chunker)
            for place in (*places.own(repo, commit), *places.later(repo)):
                if not incomplete:
                    break
                for _ in chunker.store(_pieces(source, place, incomplete, progress)):
                    pass  # the tables have their rows already
                incomplete = _incomplete(incomplete, chunker)


class _AllBut(BlobPlaces):
    """To a chunker: the vault has every blob but these, so that it stores no other."""

    def __init__(self, lost: frozenset[bytes]) -> None:
        super().__init__(index.SCHEMA.empty_table())
        self._lost = lost

    def has(self, digests: Sequence[bytes]) -> NDArray[np.bool_]:
        """See BlobPlaces.has."""
        return np.array([digest not in self._lost for digest in digests], np.bool_)


def _commit_and_path(file: LostFile) -> tuple[RepoName, str, str]:
    return file.repo, file.commit, file.path


def _incomplete(files: Iterable[LostFile], chunker: Chunker) -> list[LostFile]:
    return [file for file in files if not all(chunker.has(blob) for blob in file.blobs)]


def _pieces(
    source: Source, place: CommitRef, files: Sequence[LostFile], progress: Progress
) -> Iterator[FilePiece]:
    """The files as far as this place has them, each of the size it had."""
    sizes = {file.path: file.size for file in files}
    for folder, paths in groupby(sizes, key=lambda path: path[: path.rindex("/") + 1]):
        names = [path[len(folder) :] for path in paths]
        for at in range(0, len(names), _NAMES_A_CALL):
            try:
                for piece in source.read_some(place, folder, names[at : at + _NAMES_A_CALL]):
                    if sizes.get(piece.path) == piece.size:
                        yield piece
                        progress.add(len(piece.data), int(piece.is_last))
            except SourceGoneError:
                continue  # none of them is here
            except PachydermError as error:
                progress.say(f"{place}: {error}")
