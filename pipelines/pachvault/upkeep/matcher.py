"""Which of a policy's retention rules speak of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from pachvault.format.documents import Manifest
from pachvault.format.ids import RepoName
from pachvault.policy import Retention, matches
from pachvault.vault.vault import Vault


class Matcher:
    """Which rules speak of a snapshot. Records, which snapshots share, are read once."""

    def __init__(self, vault: Vault, rules: Sequence[Retention]) -> None:
        self._vault, self._rules = vault, rules
        self._branches: dict[bytes, tuple[str, ...]] = {}

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
            if not branch_pattern or any(matches(pattern, repo, each) for each in self._of(entry.record)):
                return True
        return False

    def _of(self, record: bytes) -> tuple[str, ...]:
        if record not in self._branches:
            branches = self._vault.repo_record(record).branches
            self._branches[record] = tuple(branch.name for branch in branches)
        return self._branches[record]
