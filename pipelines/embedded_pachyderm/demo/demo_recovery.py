"""The demo's second half: a repo lost, a branch spoilt, a cluster gone, and each of them back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from embedded_pachyderm import daemon
from pachvault.errors import PachvaultError
from pachvault.format.ids import RepoName
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.request import Request
from pachvault.restore.restore import restore
from pachvault.restore.restore_report import RestoreReport
from pachvault.runtime.progress import Quiet
from pachvault.syntax import strict_yaml
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

Say = Callable[[str], None]
Compare = Callable[[Source, RepoName, str, str], int]
"""Compares a branch (repo, its name, its head) with the folder that was extracted; files compared."""


def recover(address: str, vault: Vault, folder: Path, compare: Compare, say: Say) -> None:
    """Delete and restore a repo, roll a branch back, rebuild everything in a second Pachyderm.

    Raises PachvaultError where what came back is not what was there.
    """
    _deleted_repo(address, vault, compare, say)
    _rollback(address, vault, say)
    _second_cluster(vault, folder / "second", compare, say)


def _deleted_repo(address: str, vault: Vault, compare: Compare, say: Say) -> None:
    repo = RepoName("library", "network")
    with connect(address) as connection:
        Target(connection).delete_repo(repo.project, repo.repo)
        say(f"deleted the repo {repo}")
        seconds, report = _timed(address, vault, {"what": [str(repo)], "history": "all"})
        source = Source(connection)
        (branch,) = source.branches(repo)
        count = compare(source, repo, branch.name, branch.head)
    commits = sum(len(replayed.ids) for replayed in report.replayed)
    say(f"restored it in {seconds:.1f} s: {commits} commits, {count:,} files equal")


def _rollback(address: str, vault: Vault, say: Say) -> None:
    repo = RepoName("library", "core")
    first = snapshots.load(vault, snapshots.names(vault)[0])
    fields: dict[str, object] = {"what": [f"{repo}@master"], "snapshot": first.name.id, "exists": "replace"}
    seconds, _ = _timed(address, vault, fields)
    wanted = first.repo(repo).branch("master").head
    with connect(address) as connection:
        heads = {branch.name: branch.head for branch in Source(connection).branches(repo)}
    if heads["master"] != wanted:
        raise PachvaultError("the branch was not rolled back", where=f"{repo}@master")
    kept = ", ".join(name for name in heads if name.startswith("master-before"))
    say(f"rolled {repo}@master back to snapshot {first.short_id} in {seconds:.1f} s; the old head is {kept}")


def _second_cluster(vault: Vault, state: Path, compare: Compare, say: Say) -> None:
    second = daemon.start(state)
    try:
        what = ["library/*", "research/*", "pachvault/policy"]
        seconds, report = _timed(second.address, vault, {"what": what, "history": "all", "pipelines": True})
        commits = sum(len(replayed.ids) for replayed in report.replayed)
        count = 0
        with connect(second.address) as connection:
            source = Source(connection)
            for replayed in report.replayed:
                for branch in source.branches(replayed.repo):
                    count += compare(source, replayed.repo, branch.name, branch.head)
            pipelines = ", ".join(f"{pipeline.project}/{pipeline.name}" for pipeline in source.pipelines())
        say(
            f"rebuilt in a second, empty Pachyderm from the vault alone in {seconds:.1f} s: "
            f"{len(report.replayed)} repos, {commits} commits, {count:,} files equal; pipelines {pipelines}"
        )
    finally:
        daemon.stop(state)


def _timed(address: str, vault: Vault, fields: dict[str, object]) -> tuple[float, RestoreReport]:
    request = strict_yaml.validate(Request, {"version": 1, **fields}, "demo")
    began = time.monotonic()
    report = restore(address, None, request, vault, Quiet())
    if report.lost or report.differences:
        where = report.lost[0] if report.lost else report.differences[0].path
        raise PachvaultError("not all came back", where=where)
    return time.monotonic() - began, report
