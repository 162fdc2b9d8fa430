"""What a data set is measured on: a fresh embedded server, a folder, the commands against both."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data import DataSet
from bench.measure import Sample, run
from embedded_pachyderm import daemon
from pachvault.format.ids import RepoName
from pachvault.mirror import BACKUP_REPO
from pachvault.pach.connection import connect
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT

PROJECT, BRANCH = "bench", "master"
PACHVAULT = Path(sys.executable).with_name("pachvault")
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Bed:
    """A running server that holds a data set in repo bench/<name>, and a folder."""

    data_set: DataSet
    address: str
    folder: Path

    @property
    def repo(self) -> RepoName:
        """The repo that is backed up."""
        return RepoName(PROJECT, self.data_set.name)

    @property
    def vault(self) -> Path:
        """Where the vault is."""
        return self.folder / "vault"

    def pachvault(self, *words: str, expect: Sequence[int] = (0,)) -> Sample:
        """The command, as a user starts it."""
        environment = {
            **os.environ,
            "PACHD_ADDRESS": self.address,
            "PACHVAULT_VAULT": self.vault.as_uri(),
        }
        return run([PACHVAULT, *words, "--json"], environment, expect)

    def floor(self, what: str, *words: str, repo: RepoName | None = None) -> Sample:
        """A program of bench.floors."""
        command = [sys.executable, "-m", "bench.floors", what, self.address, str(repo or self.repo), *words]
        return run(command, environment())

    def head(self) -> str:
        """The id of the repo's newest commit."""
        with connect(self.address) as connection:
            return Source(connection).commit(CommitRef(self.repo.project, self.repo.repo, BRANCH)).id

    def put(self, change: str = "all:0", repo: RepoName | None = None, *, lazy: bool = False) -> Sample:
        """The data set, or a change of it, written as a commit; `lazy` for what memory does not hold."""
        each = self.data_set
        shape = f"{each.name}:{each.count}:{each.size}:{'text' if each.is_text else 'random'}"
        words = ["--shape", shape, "--change", change, *(["--lazy"] if lazy else [])]
        return self.floor("put", *words, repo=repo)

    def read_to(self, folder: Path, repo: RepoName | None = None) -> Sample:
        """What a recursive get does: the repo as plain files in an emptied folder.

        The reader's start-up is left out: Pachyderm's own client has next to none.
        """
        empty(folder)
        cat = f"'{sys.executable}' -m bench.floors cat {self.address} {repo or self.repo}"
        extract = f"tar -x -P --transform 's,^/,,' -C '{folder}'"
        sample = run(["bash", "-o", "pipefail", "-c", f"{cat} | {extract}"], environment())
        return replace(sample, seconds=sample.seconds - sample.printed["start_up_seconds"], printed={})

    def new_vault(self) -> None:
        """An empty vault, and a cluster that was never backed up."""
        shutil.rmtree(self.vault, ignore_errors=True)
        with connect(self.address) as connection:
            Target(connection).delete_repo(HOME_PROJECT, BACKUP_REPO)
        self.pachvault("init")

    def drop(self, repo: RepoName) -> None:
        """Delete a repo of the server."""
        with connect(self.address) as connection:
            Target(connection).delete_repo(repo.project, repo.repo)


@contextmanager
def bed(data_set: DataSet, work: Path | None, pachd: str | None = None) -> Iterator[Bed]:
    """A bed with a data set; all of it is gone afterwards. On an embedded server of its own, or on `pachd`.

    BusyServerError where that has repos: the benchmark deletes what it finds under its names.
    """
    folder = Path(tempfile.mkdtemp(prefix="pachvault-bench-", dir=work))
    try:
        with _emptied(pachd) if pachd else _embedded(folder / "pachyderm") as address:
            yield Bed(data_set, address, folder)
    finally:
        shutil.rmtree(folder)


class BusyServerError(Exception):
    """The server given holds something."""


@contextmanager
def _embedded(state: Path) -> Iterator[str]:
    try:
        yield daemon.start(state).address
    finally:
        daemon.stop(state)


@contextmanager
def _emptied(address: str) -> Iterator[str]:
    with connect(address) as connection:
        if found := [str(each.name) for each in Source(connection).repos()]:
            raise BusyServerError(f"{address} has repos ({found[0]}, …): give an empty cluster to measure on")
    try:
        yield address
    finally:
        with connect(address) as connection:
            target = Target(connection)
            for each in Source(connection).repos():
                target.delete_repo(each.name.project, each.name.repo)


def empty(folder: Path) -> None:
    """Make a folder that is empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def environment() -> dict[str, str]:
    """Of the programs of this benchmark: they find it."""
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *([others] if others else [])])}
