"""PROJECT/REPO@BRANCH:PATH, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pyarrow as pa
import pyarrow.compute as pc

from pachvault.cli.common import say
from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.vault.snapshots import RepoHistory

_FORM = re.compile(r"(?P<repo>[\w-]+(/[\w-]+)?)@(?P<reference>[\w-]+)(:(?P<path>.*))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A branch or commit of a repo, and a path in it."""

    repo: RepoName
    reference: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """From `project/repo@branch:/path`; UsageError otherwise."""
        found = _FORM.fullmatch(text)
        if not found:
            raise UsageError(
                f"not a place: {text!r}", hint="project/repo@branch or project/repo@branch:/path"
            )
        path = "/" + (found["path"] or "").lstrip("/")
        return cls(RepoName.parse(found["repo"]), found["reference"], path)

    @staticmethod
    def parse_repo(text: str) -> RepoName:
        """From `project/repo`; UsageError otherwise."""
        if not re.fullmatch(r"[\w-]+(/[\w-]+)?", text):
            raise UsageError(f"not a repo: {text!r}", hint="project/repo")
        return RepoName.parse(text)

    def tree_in(self, history: RepoHistory) -> pa.Table:
        """The files of the commit that is meant (schema table.FILES); a failed one has none, and says so."""
        commit = history.find(self.reference)
        if error := history.commit(commit)["error"]:
            say(
                f"{self.repo}@{self.reference}: commit {commit} failed in Pachyderm, it has no files: {error}"
            )
        return history.tree(commit)

    def files_of(self, tree: pa.Table) -> pa.Table:
        """The files of a tree that are at the path, below it, or match it as a pattern."""
        if self.path == "/":
            return tree
        if any(sign in self.path for sign in "*?["):
            hits = [fnmatchcase(path, self.path) for path in tree["path"].to_pylist()]
            return tree.filter(pa.array(hits, pa.bool_()))
        below = pc.starts_with(tree["path"], self.path.rstrip("/") + "/")
        return tree.filter(pc.or_(pc.equal(tree["path"], self.path), below))
