"""A Pachyderm cluster as the tests use it: histories are made, and read back with a reader of its own."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import daemon
from embedded_pachyderm.faults import FILE_NAME
from pachvault.pach.connection import connect
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target

Tree = dict[str, bytes]
"""Path to content."""


class Cluster:
    """One embedded server. `close` stops it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.address = daemon.start(state, wait_seconds=90).address
        self.sign_in(None)

    def sign_in(self, token: str | None) -> None:
        """Call the server with a token from now on."""
        self.connection = connect(self.address, token)
        self.pfs = self.connection.pfs
        self.source, self.target = Source(self.connection), Target(self.connection)

    def close(self) -> None:
        self.connection.__exit__()
        daemon.stop(self.state)

    def project(self) -> Project:
        """A new project with a name of its own."""
        name = f"p{secrets.token_hex(5)}"
        self.target.ensure_project(name)
        return Project(self, name)

    @contextmanager
    def faults(self, *rules: Mapping[str, object]) -> Iterator[None]:
        """While it lasts, calls fail as the rules of the fault seam say."""
        path = self.state / FILE_NAME
        path.write_text(json.dumps(list(rules)))
        try:
            yield
        finally:
            path.unlink()

    def tree(self, ref: CommitRef) -> Tree:
        """A commit's files, read with the standard library's tar reader."""
        request = pfs_pb2.GetFileRequest(file=ref.file("/**"))
        try:
            data = b"".join(piece.value for piece in self.pfs.GetFileTAR(request))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:  # what an empty commit answers
                return {}
            raise
        contents = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    contents["/" + member.name.lstrip("/")] = content.read()
        return contents


class Project:
    """A project of one test: its repos, branches and commits by name."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def repo(self, name: str, description: str = "") -> str:
        self.cluster.target.ensure_repo(self.name, name, description)
        return name

    def delete_repo(self, name: str) -> None:
        self._pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=self._repo(name), force=True))

    def ref(self, repo: str, commit: str) -> CommitRef:
        return CommitRef(self.name, repo, commit)

    def start(self, repo: str, branch: str = "master", *, parent: str | None = None, text: str = "") -> str:
        return self.cluster.target.start(self.name, repo, branch, parent=parent, description=text)

    def change(
        self,
        repo: str,
        commit: str,
        *,
        put: Mapping[str, bytes] | None = None,
        append: Mapping[str, bytes] | None = None,
        delete: Iterable[str] = (),
    ) -> None:
        files, more = (put or {}).items(), (append or {}).items()
        self.cluster.target.change(self.ref(repo, commit), delete=delete, put=files, append=more)

    def finish(self, repo: str, commit: str, error: str = "") -> None:
        self.cluster.target.finish(self.ref(repo, commit), error=error)
        self.cluster.source.commit(self.ref(repo, commit), wait=True)

    def commit(
        self,
        repo: str,
        put: Mapping[str, bytes] | None = None,
        *,
        branch: str = "master",
        parent: str | None = None,
        append: Mapping[str, bytes] | None = None,
        delete: Iterable[str] = (),
        error: str = "",
        text: str = "",
    ) -> str:
        """A finished commit on the branch's head (or `parent`); its id."""
        commit = self.start(repo, branch, parent=parent, text=text)
        self.change(repo, commit, put=put, append=append, delete=delete)
        self.finish(repo, commit, error)
        return commit

    def branch(self, repo: str, name: str, head: str | None = None, **fields: Any) -> None:
        """Make or move a branch."""
        request = pfs_pb2.CreateBranchRequest(
            branch=pfs_pb2.Branch(repo=self._repo(repo), name=name),
            head=self.ref(repo, head).message if head else None,
            **fields,
        )
        self._pfs.CreateBranch(request)

    def delete_branch(self, repo: str, name: str) -> None:
        self.cluster.target.delete_branch(self.name, repo, name)

    def squash(self, commit: str) -> None:
        """Squash the commit set that a commit is alone in."""
        request = pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit))
        self._pfs.SquashCommitSet(request)

    def heads(self, repo: str) -> dict[str, str]:
        """Branch to head."""
        answers = self._pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=self._repo(repo)))
        return {info.branch.name: info.head.id for info in answers}

    def repos(self) -> list[str]:
        answers = self._pfs.ListRepo(pfs_pb2.ListRepoRequest(type="user"))
        return sorted(info.repo.name for info in answers if info.repo.project.name == self.name)

    def tree(self, repo: str, commit: str) -> Tree:
        return self.cluster.tree(self.ref(repo, commit))

    def everything(self) -> str:
        """A policy pattern for the project."""
        return f"{self.name}/*"

    @property
    def _pfs(self) -> Any:
        return self.cluster.pfs

    def _repo(self, name: str) -> Any:
        return self.ref(name, "").message.repo


def eventually(what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds; AssertionError that says `what` did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


def next_second() -> None:
    """Wait for it: ticks of one second are one file, hence one datum, and the later one is skipped."""
    time.sleep(1 - time.time() % 1)
