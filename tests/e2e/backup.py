"""A project and a vault: what most tests back up, and look at afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cli import Outcome, pachvault
from e2e.cluster import Project
from e2e.oracle import Heads, Vaulted, assert_restorable
from pachvault.vault.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Backup:
    """A project, the vault it goes to, and the folder for policies."""

    project: Project
    vault: Vaulted

    @classmethod
    def of(cls, project: Project, folder: Path) -> Backup:
        """With a new vault in `folder`."""
        vaulted = Vaulted(folder)
        assert pachvault("--vault", vaulted.url, "init").code == 0
        return cls(project, vaulted)

    def arguments(self, *more: str, source: str | None = None) -> list[str]:
        """The command that backs the project up."""
        where = ["--vault", self.vault.url, "--pachd", self.project.cluster.address]
        return [*where, "backup", "--source", source or self.project.everything(), "--workers", "1", *more]

    def attempt(self, *more: str, source: str | None = None) -> Outcome:
        """Back up, however that ends."""
        return pachvault(*self.arguments(*more, source=source))

    def run(self, *more: str, source: str | None = None, code: int = 0) -> Snapshot:
        """Back up with this exit code; the new snapshot."""
        before = self.vault.snapshots()
        outcome = self.attempt("--quiet", *more, source=source)
        assert outcome.code == code, outcome.err
        after = self.vault.snapshots()
        assert len(after) == len(before) + 1
        return self.vault.snapshot(next(iter(set(after) - set(before))))

    def run_policy(self, code: int = 0, /, **fields: Any) -> Snapshot:
        """Back up as a policy with these fields says."""
        policy = {"version": 1, "target": self.vault.url, "sources": [self.project.everything()], **fields}
        file = self.vault.folder.with_name("policy.yaml")
        file.write_text(json.dumps(policy))
        outcome = pachvault(
            "--pachd", self.project.cluster.address, "backup", "--policy", str(file), "--workers", "1"
        )
        assert outcome.code == code, outcome.err
        return self.vault.snapshot()

    def command(self, *arguments: str) -> Outcome:
        """Any other command on the vault."""
        return pachvault("--vault", self.vault.url, *arguments)

    def json(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """What a command prints with --json."""
        outcome = self.command("--json", *arguments)
        assert outcome.code == code, outcome.out
        return outcome.objects

    def assert_restorable(self, snapshot: Snapshot | None = None, *, heads: Heads | None = None) -> None:
        """See oracle.assert_restorable."""
        assert_restorable(self.vault, self.project, snapshot, heads=heads)
