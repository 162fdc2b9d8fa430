"""Which of a policy's retention rules apply to a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pachvault.format.ids import RepoName
from pachvault.format.manifest import Manifest
from pachvault.policy import Retention
from pachvault.syntax import selection
from pachvault.syntax.selection import SourcePattern
from pachvault.vault.vault import Vault


def branch_names(vault: Vault, record: bytes) -> tuple[str, ...]:
    """The names of the branches of a repo record."""
    return tuple(branch.name for branch in vault.repo_record(record).branches)


class RuleMatcher:
    """Matches rules with snapshots. `branches` returns the names of a repo record's branches."""

    def __init__(self, rules: Sequence[Retention], branches: Callable[[bytes], tuple[str, ...]]) -> None:
        self.patterns = [[selection.source(text) for text in rule.match] for rule in rules]
        self._branches = branches

    def rules(self, manifest: Manifest) -> frozenset[int]:
        """The numbers of the rules that match a branch of the snapshot."""
        return frozenset(
            number
            for number, patterns in enumerate(self.patterns)
            if any(self.has(manifest, pattern) for pattern in patterns)
        )

    def has(self, manifest: Manifest, pattern: SourcePattern) -> bool:
        """Whether the snapshot has a branch that the pattern matches."""
        for entry in manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            if not pattern.means_repo(repo):
                continue
            if pattern.reference is None:
                return True
            if any(pattern.means(repo, branch) for branch in self._branches(entry.record)):
                return True
        return False
