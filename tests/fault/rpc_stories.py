"""What is done while calls fail: a backup, a restore, a maintenance run; and which ends are honest.

An end is honest when it is one of: complete and equal; partial and named; failed, with nothing sealed or
moved. And whatever it was, the same again without a fault is complete.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project
from e2e.oracle import assert_equal, heads_in, heads_now
from e2e.restored import OldRepo, assert_restored, nothing_left, remember
from fault.proxy import FOR_EVER, Fault, Proxy
from pachvault.errors import EXIT_DAMAGE
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet

STATUSES = [
    (grpc.StatusCode.UNAVAILABLE, "Domain name not found"),
    (grpc.StatusCode.ABORTED, "panic: runtime error: invalid memory address or nil pointer dereference"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests"),
    (grpc.StatusCode.INTERNAL, "stream terminated by RST_STREAM"),
    (grpc.StatusCode.CANCELLED, "context canceled"),
    (grpc.StatusCode.PERMISSION_DENIED, "not authorized to perform this operation"),
    (grpc.StatusCode.UNKNOWN, "lookup postgres: server does not exist"),
    (grpc.StatusCode.NOT_FOUND, "not found"),
]
TIMES = [1, 2, FOR_EVER]
_RENEWED_AFTER = 12
"""So many rounds, and the story begins with a new project: histories are not to grow without end."""


def faults_of(calls: dict[str, int], methods: list[str] | None = None) -> Iterator[Fault]:
    """Every fault there is for these calls."""
    for method in sorted(methods or calls):
        for nth in range(1, calls[method] + 1):
            for code, text in STATUSES:
                for times in TIMES:
                    yield Fault(method, nth, times, code, text)


class BackupStory:
    """A project with new commits in several repos and branches is backed up."""

    def __init__(self, cluster: Cluster, proxy: Proxy, folder: Path) -> None:
        self.cluster, self.proxy, self.folder = cluster, proxy, folder
        self.rounds = 0
        self.backup: Backup
        self._renew()

    def calls(self) -> dict[str, int]:
        """How often each method is called when nothing fails."""
        self._change()
        with self.proxy.failing(None):
            assert self._back_up().code == 0
            return dict(self.proxy.calls)

    def check(self, fault: Fault) -> str:
        """Back up under a fault; the end, in a word. AssertionError where it is not an honest one."""
        if self.rounds % _RENEWED_AFTER == 0:
            self._renew()
        self.rounds += 1
        self._change()
        before = set(self.backup.vault.snapshots())
        with self.proxy.failing(fault):
            outcome = self._back_up()
        end = self._judge(fault, outcome, set(self.backup.vault.snapshots()) - before)
        if end != "complete":
            assert self._back_up().code == 0, "the next one"
            self.backup.assert_restorable()
        return end

    def _judge(self, fault: Fault, outcome: Outcome, sealed: set[str]) -> str:
        where = f"exit {outcome.code}: {outcome.err.strip()[-400:]}"
        assert "Traceback" not in outcome.err, where
        assert "(a bug" not in outcome.err, where
        if outcome.code == 0:
            assert len(sealed) == 1, where
            self.backup.assert_restorable(self.backup.vault.snapshot(next(iter(sealed))))
            return "complete"
        assert verify(self.backup.vault.vault, Level.DATA, Quiet()) == [], where
        if outcome.code == 3:
            assert len(sealed) == 1, where
            manifest = self.backup.vault.snapshot(next(iter(sealed))).manifest
            assert manifest.partial, where
            assert manifest.problems, where
            project = self.backup.project
            now, saved = heads_now(project), heads_in(self.backup.vault.snapshot(), project)
            wrong = {place.partition("@")[0] for place in now if now[place] != saved.get(place)}
            named = {problem.repo.rpartition("/")[2] for problem in manifest.problems}
            assert wrong <= named, f"{where}: {wrong - named} not named in {manifest.problems}"
            return "partial"
        assert not sealed, where
        # what the cluster said is neither the user's mistake nor the vault's damage
        allowed = (1, 2) if fault.code is grpc.StatusCode.NOT_FOUND else (1,)
        assert outcome.code in allowed, where
        return "failed"

    def _back_up(self) -> Outcome:
        arguments = self.backup.arguments("--quiet")
        arguments[arguments.index("--pachd") + 1] = self.proxy.address
        return pachvault(*arguments)

    def _renew(self) -> None:
        project = self.cluster.project()
        self.backup = Backup.of(project, self.folder / project.name)
        for repo in ("one", "two"):
            project.repo(repo)
            project.commit(repo, {"/a": b"1" * 1000, "/log": b"x", f"/{repo}": repo.encode()})
        self.backup.run()

    def _change(self) -> None:
        project, mark = self.backup.project, secrets.token_bytes(8)
        project.commit("one", {"/a": mark * 200, f"/new-{mark.hex()}": mark}, append={"/log": mark})
        project.commit("two", {"/b": mark}, branch="side")


class RestoreStory:
    """A project with a history is restored into another cluster."""

    def __init__(self, cluster: Cluster, other: Cluster, proxy: Proxy, folder: Path) -> None:
        project, noise = cluster.project(), random.Random(3)
        self.backup = Backup.of(project, folder / project.name)
        for repo in ("one", "two"):
            project.repo(repo, f"about {repo}")
            project.commit(repo, {"/log": b"1\n", "/gone": b"x", "/large": noise.randbytes(90_000)})
            project.commit(repo, append={"/log": b"2\n"}, delete=["/gone"])
        project.commit("two", {"/never": b"!"}, error="it failed")
        self.backup.run()
        self.old: dict[str, OldRepo] = remember(project)
        self.again, self.other, self.proxy = Project(other, project.name), other, proxy

    def calls(self) -> dict[str, int]:
        """See BackupStory.calls."""
        self._clear()
        with self.proxy.failing(None):
            outcome = self._restore()
            assert outcome.code == 0, outcome.err
            return dict(self.proxy.calls)

    def check(self, fault: Fault) -> str:
        """See BackupStory.check."""
        self._clear()
        with self.proxy.failing(fault):
            outcome = self._restore()
        where = f"exit {outcome.code}: {outcome.err.strip()[-400:]}"
        assert "Traceback" not in outcome.err, where
        assert "(a bug" not in outcome.err, where
        if outcome.code == 0:
            assert_restored(self.again, self.old)
            return "complete"
        # pachd answers NOT_FOUND for a path range without files, too: what is read back seems to lack them
        allowed = (1, 2, 11, 13) if fault.code is grpc.StatusCode.NOT_FOUND else (1,)
        assert outcome.code in allowed, where
        moved = self._moved()
        assert moved in (set(), set(self.old)), f"{where}: only {moved} moved"
        repeated = self._restore()
        assert repeated.code == 0, f"after {where}: {repeated.err}"
        if outcome.code == EXIT_DAMAGE:  # what seemed to differ is kept beside what was made anew
            self._assert_heads()
        else:
            assert_restored(self.again, self.old)
            nothing_left(self.other, self.again)
        return "failed"

    def _assert_heads(self) -> None:
        for repo, was in self.old.items():
            heads = self.again.heads(repo)
            for branch, head in was.heads.items():
                if was.commits[head].error:
                    continue  # nothing is remembered of what a failed commit holds
                assert_equal(self.again.tree(repo, heads[branch]), was.commits[head].tree, f"{repo}@{branch}")

    def _moved(self) -> set[str]:
        """The repos with a branch of the user's."""
        return {
            repo for repo in self.again.repos() if self.again.heads(repo).keys() & self.old[repo].heads.keys()
        }

    def _restore(self) -> Outcome:
        where = ["--vault", self.backup.vault.url, "--pachd", self.proxy.address, "--quiet"]
        what = self.backup.project.everything()
        return pachvault(*where, "restore", what, "--history", "all", "--workers", "1")

    def _clear(self) -> None:
        for repo in self.again.repos():
            self.again.delete_repo(repo)


class MaintenanceStory:
    """A round of maintenance with all its steps: verify, drill, forget, prune, trim."""

    def __init__(self, cluster: Cluster, proxy: Proxy, folder: Path) -> None:
        project = cluster.project()
        self.backup, self.proxy = Backup.of(project, folder / project.name), proxy
        project.repo("one")
        for number in range(3):
            project.commit("one", {f"/{number}": bytes([number]) * 500, "/log": b"x"})
            self.backup.run()
        self.policy = folder / f"{project.name}.yaml"
        fields = {
            "version": 1,
            "target": self.backup.vault.url,
            "sources": [project.everything()],
            "retention": {"keep_last": 50},
            "maintenance": {"drill_within": "1s", "verify_within": "1s"},
        }
        self.policy.write_text(json.dumps(fields))

    def calls(self) -> dict[str, int]:
        """See BackupStory.calls."""
        with self.proxy.failing(None):
            outcome = self._keep_up()
            assert outcome.code == 0, outcome.out + outcome.err
            return dict(self.proxy.calls)

    def check(self, fault: Fault) -> str:
        """See BackupStory.check. A round that could not do a step says which."""
        before = set(self.backup.vault.snapshots())
        with self.proxy.failing(fault):
            outcome = self._keep_up()
        where = f"exit {outcome.code}: {(outcome.out + outcome.err).strip()[-600:]}"
        assert "Traceback" not in outcome.err, where
        assert "a bug" not in outcome.out + outcome.err, where
        # an unreachable cluster is no damage; but a drill whose files pachd calls absent has failed
        allowed = (0, 1, 3, 13) if fault.code is grpc.StatusCode.NOT_FOUND else (0, 1, 3)
        assert outcome.code in allowed, where
        assert set(self.backup.vault.snapshots()) == before, where
        assert verify(self.backup.vault.vault, Level.DATA, Quiet()) == [], where
        if outcome.code == 0:
            return "complete"
        assert "failed" in outcome.out or outcome.err.startswith("pachvault: "), where
        return "failed"

    def _keep_up(self) -> Outcome:
        return pachvault(
            "--pachd", self.proxy.address, "--quiet", "maintenance", "--policy", str(self.policy)
        )


Story = BackupStory | RestoreStory | MaintenanceStory


def run(story: Story, faults: list[Fault], note: Callable[[Fault, str], None]) -> None:
    """All of the faults, one after the other."""
    for fault in faults:
        note(fault, story.check(fault))
