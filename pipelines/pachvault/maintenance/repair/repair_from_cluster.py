"""A whole repair from a shell: the vault's own part, and what the cluster can still give back.

Lost blobs are looked for in the commit that put the file, in its mirror in the backup repo, then in the
heads of the repo's branches and its other mirrors. A blob is named by its digest, so what has the name is
the blob, wherever it was found.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pachvault.backup.export.chunker import Chunker
from pachvault.errors import PachydermError, SourceGoneError
from pachvault.format import index
from pachvault.format.config import Cutting
from pachvault.format.ids import RepoName
from pachvault.maintenance.repair import repair
from pachvault.maintenance.repair.repair import Repaired, RepairPlan
from pachvault.maintenance.repair.repair_needs import LostFile
from pachvault.maintenance.verify.verify import Level
from pachvault.mirror import mirrors
from pachvault.pach.connection import connect
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.tar import FilePiece
from pachvault.runtime.progress import Progress
from pachvault.store.store import Store
from pachvault.vault.blob_places import BlobPlaces
from pachvault.vault.pack_writer import PackWriter

_log = logging.getLogger(__name__)

_NAMES_A_CALL = 300
_MIRRORS = 8
"""Of a repo's other mirror commits, how many of the newest are looked through."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What the cluster can do about lost files."""

    there: tuple[LostFile, ...] = ()
    """Files whose commit, or a mirror of it, can still be read."""
    gone: tuple[LostFile, ...] = ()
    """Files that only later commits may still have."""
    unreachable: str = ""
    """Why nobody could be asked."""


def prospect(address: str, token: str | None, plan: RepairPlan) -> Prospect:
    """Where lost files could be read again; nothing is read or changed."""
    if not plan.needs.wants:
        return Prospect()
    try:
        with connect(address, token) as connection:
            finder = _Finder(Source(connection))
            there = [want for want in plan.needs.wants if finder.own_places(want.repo, want.commit)]
    except PachydermError as error:
        return Prospect(gone=tuple(plan.needs.wants), unreachable=str(error))
    known = set(there)
    return Prospect(tuple(there), tuple(want for want in plan.needs.wants if want not in known))


def run(
    address: str, token: str | None, store: Store, level: Level, progress: Progress
) -> tuple[Repaired, Prospect]:
    """Plan and carry out; where the cluster cannot be reached, without it."""
    plan = repair.plan(store, level, progress)
    outlook = prospect(address, token, plan)
    if not plan.needs.wants or outlook.unreachable:
        return repair.execute(plan, None, progress), outlook
    troubles: list[PachydermError] = []

    def heal(wants: Sequence[LostFile], writer: PackWriter) -> None:
        try:
            with connect(address, token) as connection:
                refill(Source(connection), plan.vault.config.cutting, wants, writer, progress)
        except PachydermError as error:
            troubles.append(error)  # what was found until then is kept

    done = repair.execute(plan, heal, progress)
    return done, replace(outlook, unreachable=str(troubles[0])) if troubles else outlook


def refill(
    source: Source, cutting: Cutting, wants: Sequence[LostFile], writer: PackWriter, progress: Progress
) -> None:
    """Read files again until every lost blob is found; those found are added to the writer."""
    finder = _Finder(source)
    lost = frozenset(blob for want in wants for blob in want.blobs)
    progress.start("repair: from the cluster", sum(want.size for want in wants))
    with Chunker(writer, _AllBut(lost), cutting) as chunker:
        for (repo, commit), group in groupby(
            sorted(wants, key=_commit_and_path), key=lambda want: (want.repo, want.commit)
        ):
            open_wants = _still(group, chunker)
            for place in (*finder.own_places(repo, commit), *finder.later_places(repo)):
                if not open_wants:
                    break
                for _ in chunker.store(_pieces(source, place, open_wants, progress)):
                    pass  # the tables have their rows already
                open_wants = _still(open_wants, chunker)


class _AllBut(BlobPlaces):
    """To a chunker: the vault has every blob but these, so that it stores no other."""

    def __init__(self, lost: frozenset[bytes]) -> None:
        super().__init__(index.SCHEMA.empty_table())
        self._lost = lost

    def has(self, digests: Sequence[bytes]) -> NDArray[np.bool_]:
        """See BlobPlaces.has."""
        return np.array([digest not in self._lost for digest in digests], np.bool_)


@dataclass(slots=True)
class _Finder:
    """Where a commit's files can be read; each is asked for once."""

    source: Source
    _own: dict[tuple[RepoName, str], list[CommitRef]] = field(default_factory=dict)
    _later: dict[RepoName, list[CommitRef]] = field(default_factory=dict)
    _mirrors: dict[str, CommitRef] | None = None

    def own_places(self, repo: RepoName, commit: str) -> list[CommitRef]:
        """The commit itself, and its mirror."""
        if (repo, commit) not in self._own:
            self._own[repo, commit] = list(self._own_places(repo, commit))
        return self._own[repo, commit]

    def later_places(self, repo: RepoName) -> list[CommitRef]:
        """Where else its files may still be: the heads of the repo's branches now, and its newest mirrors."""
        if repo not in self._later:
            try:
                branches = self.source.branches(repo)
            except SourceGoneError:
                branches = []
            heads = dict.fromkeys(branch.head for branch in branches if branch.head)
            held = [ref for name, ref in self._mirrored().items() if name.startswith(f"{repo}@")]
            refs = [CommitRef(repo.project, repo.repo, head) for head in heads]
            self._later[repo] = [*refs, *held[: -_MIRRORS - 1 : -1]]
        return self._later[repo]

    def _own_places(self, repo: RepoName, commit: str) -> Iterator[CommitRef]:
        ref = CommitRef(repo.project, repo.repo, commit)
        try:
            if self.source.commit(ref).finished_at is not None:
                yield ref
        except SourceGoneError:
            _log.info("commit %s of %s is gone from the cluster", commit, repo)
        mirror = self._mirrored().get(f"{repo}@{commit}")
        if mirror is not None:
            yield mirror

    def _mirrored(self) -> dict[str, CommitRef]:
        if self._mirrors is None:
            self._mirrors = mirrors(self.source)
        return self._mirrors


def _commit_and_path(want: LostFile) -> tuple[RepoName, str, str]:
    return want.repo, want.commit, want.path


def _still(wants: Iterable[LostFile], chunker: Chunker) -> list[LostFile]:
    return [want for want in wants if not all(chunker.has(blob) for blob in want.blobs)]


def _pieces(
    source: Source, place: CommitRef, wants: Sequence[LostFile], progress: Progress
) -> Iterator[FilePiece]:
    """The files as far as this place has them, each of the size it had."""
    sizes = {want.path: want.size for want in wants}
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
