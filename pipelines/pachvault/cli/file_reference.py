"""PROJECT/REPO@BRANCH:PATH, as users write it on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pachvault.cli.common import say
from pachvault.errors import InvalidInputError, UsageError
from pachvault.format.ids import RepoName
from pachvault.syntax import selection
from pachvault.syntax.selection import Paths, SourcePattern
from pachvault.vault import suggestions
from pachvault.vault.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class FileReference:
    """A branch or commit of a repo, and a path pattern in it."""

    repo: RepoName
    reference: str
    path: str

    @classmethod
    def parse(cls, text: str) -> FileReference:
        """From `project/repo@branch:/path`; InvalidInputError otherwise."""
        # the first colon: no project, repo or branch has one, a path may
        branch, _, path = text.partition(":")
        source = _literal(branch, text, "project/repo@branch or project/repo@branch:/path")
        if source.literal_reference is None:
            raise InvalidInputError(
                f"not a branch: {text!r}", hint="project/repo@branch; BRANCH may be a commit id"
            )
        return cls(
            RepoName(source.project, source.repo), source.literal_reference, selection.path(path or "/")
        )

    @staticmethod
    def parse_repo(text: str) -> RepoName:
        """From `project/repo`; InvalidInputError otherwise."""
        source = _literal(text, text, "project/repo")
        if source.reference is not None:
            raise InvalidInputError(f"not a repo: {text!r}", hint="project/repo, without a branch")
        return RepoName(source.project, source.repo)

    @property
    def source(self) -> SourcePattern:
        """The branch or commit."""
        return SourcePattern(self.repo.project, self.repo.repo, self.reference)

    def tree_in(self, snapshot: Snapshot) -> pa.Table:
        """The files of the commit (schema table.FILES). A failed commit has none; a warning reports it.

        Raises UsageError if the snapshot does not have the commit.
        """
        history = suggestions.repo(snapshot, self.repo)
        commit = suggestions.commit(snapshot, history, self.reference)
        if error := history.commit(commit)["error"]:
            say(f"{self.source}: commit {commit} failed in Pachyderm, so it has no files: {error}")
        return history.tree(commit)

    def files_of(self, tree: pa.Table) -> pa.Table:
        """The files of a tree that the path selects."""
        if self.path == "/":
            return tree
        paths = Paths((self.path,))
        return tree.filter(pa.array([paths.has(file) for file in tree["path"].to_pylist()], pa.bool_()))

    def absent_in(self, snapshots: Sequence[Snapshot]) -> UsageError:
        """The error to raise if none of the snapshots has a file that the path selects."""
        return suggestions.no_path(snapshots[-1], [self.source], [self.path])


def _literal(text: str, whole: str, form: str) -> SourcePattern:
    try:
        source = SourcePattern.parse(text)
    except InvalidInputError as error:
        default = "" if "/" in text else "; a repo of project default is default/REPO"
        raise InvalidInputError(f"not a valid name: {whole!r}", hint=form + default) from error
    if source.literal_repo is None:
        raise InvalidInputError(f"wildcards are not allowed here: {whole!r}", hint=form)
    return source
