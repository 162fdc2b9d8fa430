"""Where the commits of lost files can still be read: in the cluster itself, or from the backup repo."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from pachvault.errors import SourceGoneError
from pachvault.format.ids import RepoName
from pachvault.mirror import mirrors
from pachvault.pach.source import CommitRef, Source

_log = logging.getLogger(__name__)

_MIRRORS = 8
"""Of a repo's other mirror commits, how many of the newest are looked through."""


@dataclass(slots=True)
class ClusterPlaces:
    """The places of each commit; the cluster is asked once for each. Methods raise PachydermError."""

    source: Source
    _own: dict[tuple[RepoName, str], list[CommitRef]] = field(default_factory=dict)
    _later: dict[RepoName, list[CommitRef]] = field(default_factory=dict)
    _mirrors: dict[str, CommitRef] | None = None

    def own(self, repo: RepoName, commit: str) -> list[CommitRef]:
        """The commit itself, and its mirror; those that are there."""
        if (repo, commit) not in self._own:
            self._own[repo, commit] = list(self._own_places(repo, commit))
        return self._own[repo, commit]

    def later(self, repo: RepoName) -> list[CommitRef]:
        """Where else its files may still be: the heads of the repo's branches now, and its newest mirrors."""
        if repo not in self._later:
            try:
                branches = self.source.branches(repo)
            except SourceGoneError:
                branches = []
            heads = dict.fromkeys(branch.head for branch in branches if branch.head)
            mirrored = [ref for name, ref in self._mirrored().items() if name.startswith(f"{repo}@")]
            refs = [CommitRef(repo.project, repo.repo, head) for head in heads]
            self._later[repo] = [*refs, *mirrored[: -_MIRRORS - 1 : -1]]
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
