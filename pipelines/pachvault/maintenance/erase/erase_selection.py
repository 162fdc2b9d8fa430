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
        """What was erased from a snapshot."""
        return [cls(tuple(erased.repos), tuple(erased.paths)) for erased in manifest.erased]

    def __str__(self) -> str:
        return f"{', '.join(self.paths) or 'everything'} in {', '.join(self.repos)}"

    def has_repo(self, repo: RepoName) -> bool:
        """Whether a repo is selected."""
        return any(selection.source(pattern).means_repo(repo) for pattern in self.repos)

    def matches(self, files: pa.Table) -> NDArray[np.bool_]:
        """For each row of a file table whether it is selected."""
        names = pc.unique(files["repo"]).to_pylist()
        repos = [name for name in names if self.has_repo(RepoName.parse(name))]
        is_selected = pc.is_in(files["repo"], pa.array(repos, pa.string())).to_numpy()
        if self.paths and repos:
            paths = Paths(self.paths)
            rows = np.flatnonzero(is_selected)
            is_selected[rows] = [paths.has(path) for path in files["path"].take(rows).to_pylist()]
        return np.asarray(is_selected, np.bool_)

    def has(self, repo: RepoName, path: str) -> bool:
        """Whether a file is selected."""
        return self.has_repo(repo) and Paths(self.paths).has(path)

    def mentions(self, repo: str, text: str) -> bool:
        """Whether a text about a repo names a selected path."""
        if not self.has_repo(RepoName.parse(repo)):
            return False
        return any(map(Paths(self.paths).has, _MENTIONED.findall(text)))

    def unmatched(self, repos: Collection[RepoName], paths: pa.ChunkedArray) -> list[str]:
        """The patterns that match none of these repos, and none of these paths."""
        unmatched = [
            pattern for pattern in self.repos if not any(map(selection.source(pattern).means_repo, repos))
        ]
        return [*unmatched, *Paths(self.paths).unmatched(pc.unique(paths).to_pylist()).patterns]
