"""Which of a policy's retention rules speak of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pachvault.format.documents import Manifest
from pachvault.format.ids import RepoName
from pachvault.policy import Retention, matches


class Matcher:
    """Which rules speak of a snapshot. `branches` gives the names of a repo record's branches."""

    def __init__(self, rules: Sequence[Retention], branches: Callable[[bytes], tuple[str, ...]]) -> None:
        self._rules, self._branches = rules, branches

    def rules(self, manifest: Manifest) -> frozenset[int]:
        """The numbers of the rules that speak of a branch of the snapshot."""
        return frozenset(
            number
            for number, rule in enumerate(self._rules)
            if any(self._has(manifest, pattern) for pattern in rule.match)
        )

    def _has(self, manifest: Manifest, pattern: str) -> bool:
        repo_pattern, _, branch_pattern = pattern.partition("@")
        for entry in manifest.repos:
            repo = RepoName(entry.project, entry.repo)
            if not matches(repo_pattern, repo, ""):
                continue
            if not branch_pattern or any(
                matches(pattern, repo, each) for each in self._branches(entry.record)
            ):
                return True
        return False
