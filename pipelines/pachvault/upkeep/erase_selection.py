"""What is to be erased: paths by pattern in repos by pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pachvault.errors import UsageError
from pachvault.format.documents import Manifest
from pachvault.format.ids import RepoName

_REPO = re.compile(r"[A-Za-z0-9_*?\[\]!-]+/[A-Za-z0-9_*?\[\]!-]+")
_MENTIONED = re.compile(r"/[^\s,:;]+")
REMOVED = "(a path was erased here)"


@dataclass(frozen=True, slots=True)
class Selection:
    """Each path that matches one of `paths` (all, where empty), in each repo that matches one of `repos`."""

    repos: tuple[str, ...]
    paths: tuple[str, ...]

    @classmethod
    def of(cls, repos: Sequence[str], paths: Sequence[str]) -> Selection:
        """From what the user gave; UsageError where that could mean more than was meant."""
        if not repos:
            raise UsageError("no repo was named", hint="--repo 'project/repo'; '*/*' for all")
        for repo in repos:
            if not _REPO.fullmatch(repo):
                raise UsageError(f"not a repo: {repo!r}", hint="project/repo, with * ? [] as wildcards")
        for path in paths:
            if not path.startswith(("/", "*")):
                raise UsageError(f"not a path: {path!r}", hint="a path begins with /, as in '/people/42/**'")
        return cls(tuple(repos), tuple(paths))

    @classmethod
    def erased(cls, manifest: Manifest) -> list[Selection]:
        """What was taken out of a snapshot."""
        return [cls(tuple(each.repos), tuple(each.paths)) for each in manifest.erased]

    def __str__(self) -> str:
        return f"{', '.join(self.paths) or 'everything'} in {', '.join(self.repos)}"

    def has_repo(self, repo: RepoName) -> bool:
        """Whether a repo is meant."""
        return any(
            fnmatchcase(repo.project, project) and fnmatchcase(repo.repo, name)
            for project, name in (pattern.split("/") for pattern in self.repos)
        )

    def hits(self, files: pa.Table) -> NDArray[np.bool_]:
        """For each row of a file table whether it goes."""
        repos = [each for each in pc.unique(files["repo"]).to_pylist() if self.has_repo(RepoName.parse(each))]
        mine = pc.is_in(files["repo"], pa.array(repos, pa.string())).to_numpy()
        if self.paths and repos:
            matches = self._pattern().fullmatch
            rows = np.flatnonzero(mine)
            mine[rows] = [matches(path) is not None for path in files["path"].take(rows).to_pylist()]
        return np.asarray(mine, np.bool_)

    def has(self, repo: RepoName, path: str) -> bool:
        """Whether a file goes."""
        return self.has_repo(repo) and (not self.paths or self._pattern().fullmatch(path) is not None)

    def mentions(self, repo: str, text: str) -> bool:
        """Whether a text about a repo names a path that goes."""
        if not self.has_repo(RepoName.parse(repo)):
            return False
        matches = self._pattern().fullmatch
        return any(not self.paths or matches(path) for path in _MENTIONED.findall(text))

    def _pattern(self) -> re.Pattern[str]:
        """As in a restore's `paths`: * is any characters, / too."""
        return re.compile("|".join(translate(path.replace("**", "*")) for path in self.paths))
