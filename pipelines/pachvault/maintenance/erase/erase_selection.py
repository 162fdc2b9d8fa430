"""What is to be erased: paths by pattern in repos by pattern."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Manifest
from pachvault.syntax import selection
from pachvault.syntax.selection import Paths, SourcePattern

_MENTIONED = re.compile(r"/[^\s,:;]+")
REMOVED = "(a path was erased here)"


@dataclass(frozen=True, slots=True)
class EraseSelection:
    """The files that `paths` mean (see selection.Paths), in each repo that matches one of `repos`."""

    repos: tuple[str, ...]
    paths: tuple[str, ...]

    @classmethod
    def of(cls, repos: Sequence[str], paths: Sequence[str]) -> EraseSelection:
        """From what the user gave; UsageError where that could mean more than was meant."""
        if not repos:
            raise UsageError("no repo was named", hint="--repo 'project/repo'; '*/*' for all")
        for repo in repos:
            if SourcePattern.parse(repo).reference is not None:
                raise UsageError(
                    f"not a repo: {repo!r}",
                    hint="project/repo: files go from all of its branches and commits",
                )
        return cls(tuple(repos), Paths.of(paths).patterns)

    @classmethod
    def erased(cls, manifest: Manifest) -> list[EraseSelection]:
        """What was taken out of a snapshot."""
        return [cls(tuple(each.repos), tuple(each.paths)) for each in manifest.erased]

    def __str__(self) -> str:
        return f"{', '.join(self.paths) or 'everything'} in {', '.join(self.repos)}"

    def has_repo(self, repo: RepoName) -> bool:
        """Whether a repo is meant."""
        return any(selection.source(pattern).means_repo(repo) for pattern in self.repos)

    def hits(self, files: pa.Table) -> NDArray[np.bool_]:
        """For each row of a file table whether it goes."""
        repos = [each for each in pc.unique(files["repo"]).to_pylist() if self.has_repo(RepoName.parse(each))]
        mine = pc.is_in(files["repo"], pa.array(repos, pa.string())).to_numpy()
        if self.paths and repos:
            paths = Paths(self.paths)
            rows = np.flatnonzero(mine)
            mine[rows] = [paths.has(path) for path in files["path"].take(rows).to_pylist()]
        return np.asarray(mine, np.bool_)

    def has(self, repo: RepoName, path: str) -> bool:
        """Whether a file goes."""
        return self.has_repo(repo) and Paths(self.paths).has(path)

    def mentions(self, repo: str, text: str) -> bool:
        """Whether a text about a repo names a path that goes."""
        if not self.has_repo(RepoName.parse(repo)):
            return False
        return any(map(Paths(self.paths).has, _MENTIONED.findall(text)))

    def unmatched(self, repos: Collection[RepoName], paths: pa.ChunkedArray) -> list[str]:
        """The patterns that match none of these repos, and none of these paths."""
        left = [each for each in self.repos if not any(map(selection.source(each).means_repo, repos))]
        return [*left, *Paths(self.paths).unmatched(pc.unique(paths).to_pylist()).patterns]
