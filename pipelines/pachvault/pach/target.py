"""Writing to Pachyderm: repos, branches, commits from file sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.transaction import transaction_pb2

from pachvault.errors import NotAllowedError, SourceGoneError
from pachvault.pach import codec
from pachvault.pach.connection import Connection, commit_message, explained, with_retries
from pachvault.pach.source import CommitRef

_PIECE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewCommit:
    """A commit to open; without a parent the branch must be new."""

    project: str
    repo: str
    branch: str
    parent: str | None
    description: str


@dataclass(frozen=True, slots=True)
class Pointed:
    """A branch, and the commit that it is to point at."""

    project: str
    repo: str
    branch: str
    commit: str


class Target:
    """Writes one cluster. Every method raises PachydermError with one clear line.

    Idempotent calls are retried after transient errors; the caller handles those of other calls.
    """

    def __init__(self, connection: Connection) -> None:
        self._pfs = connection.pfs
        self._modify = connection.raw_upload("ModifyFile", Empty.FromString)
        self._create_file_set = connection.raw_upload(
            "CreateFileSet", pfs_pb2.CreateFileSetResponse.FromString
        )
        self._transactions = connection.transactions

    def ensure_project(self, name: str, description: str = "") -> None:
        """Create a project unless it is there."""
        request = pfs_pb2.CreateProjectRequest(project=pfs_pb2.Project(name=name), description=description)
        look = pfs_pb2.InspectProjectRequest(project=request.project)
        self._ensured(
            f"project {name}",
            lambda: self._pfs.CreateProject(request),
            lambda: self._pfs.InspectProject(look),
        )

    def describe_project(self, name: str, description: str) -> None:
        """Change the description of an existing project."""
        project = pfs_pb2.Project(name=name)
        request = pfs_pb2.CreateProjectRequest(project=project, description=description, update=True)
        with_retries(f"project {name}", lambda: self._pfs.CreateProject(request))

    def ensure_repo(self, project: str, name: str, description: str = "") -> None:
        """Create a repo unless it is there."""
        repo = commit_message(project, name, "").repo
        request = pfs_pb2.CreateRepoRequest(repo=repo, description=description)
        look = pfs_pb2.InspectRepoRequest(repo=repo)
        self._ensured(
            f"repo {project}/{name}",
            lambda: self._pfs.CreateRepo(request),
            lambda: self._pfs.InspectRepo(look),
        )

    def describe_repo(self, project: str, name: str, description: str) -> None:
        """Change the description of an existing repo."""
        repo = commit_message(project, name, "").repo
        request = pfs_pb2.CreateRepoRequest(repo=repo, description=description, update=True)
        with_retries(f"repo {project}/{name}", lambda: self._pfs.CreateRepo(request))

    def start(self, project: str, repo: str, branch: str, *, parent: str | None, description: str) -> str:
        """Open a commit on a branch; without a parent the branch must be new. Its id."""
        name = commit_message(project, repo, "", branch=branch).branch
        request = pfs_pb2.StartCommitRequest(branch=name, description=description)
        if parent is not None:
            request.parent.CopyFrom(commit_message(project, repo, parent, branch=branch))
        # not retried: where the answer was lost, a second call would find the commit of the first open
        with explained(f"{project}/{repo}@{branch}"):
            return str(self._pfs.StartCommit(request).id)

    def start_together(self, wanted: Sequence[NewCommit]) -> list[str]:
        """Open commits of several repos as one commit set; their ids, which are equal."""
        requests = []
        for commit in wanted:
            request = pfs_pb2.StartCommitRequest(
                branch=commit_message(commit.project, commit.repo, "", branch=commit.branch).branch,
                description=commit.description,
            )
            if commit.parent is not None:
                request.parent.CopyFrom(
                    commit_message(commit.project, commit.repo, commit.parent, branch=commit.branch)
                )
            requests.append(transaction_pb2.TransactionRequest(start_commit=request))
        with explained("a commit set"):
            answer = self._transactions.BatchTransaction(
                transaction_pb2.BatchTransactionRequest(requests=requests)
            )
        return [str(response.commit.id) for response in answer.responses]

    def clear(self, ref: CommitRef) -> None:
        """Empty an open commit."""
        request = pfs_pb2.ClearCommitRequest(commit=ref.message)
        with_retries(str(ref), lambda: self._pfs.ClearCommit(request))

    def change(
        self,
        ref: CommitRef,
        *,
        delete: Iterable[str] = (),
        put: Iterable[tuple[str, bytes]] = (),
        append: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Delete, replace and append files in an open commit, in that order, in one call."""
        with explained(str(ref)):
            self._modify(_modifications(ref, delete, put, append))

    def make_file_set(self, delete: Iterable[str], put: Iterable[tuple[str, bytes]]) -> str:
        """A file set that deletes paths and puts files; its id. A path put twice in a row is appended to.

        Unlike in `change`, nothing is deleted before it is put: say so in `delete`. It lives for ten
        minutes, and goes at once into a commit. What `put` raises is raised.
        """
        failures: list[Exception] = []

        def guarded() -> Iterator[tuple[str, bytes]]:
            try:
                yield from put
            except Exception as error:  # noqa: BLE001  (gRPC would log it and raise something else)
                failures.append(error)

        try:
            with explained("a file set"):
                return str(self._create_file_set(_file_set(delete, guarded())).file_set_id)
        finally:
            if failures:
                raise failures[0]

    def put_file(self, project: str, repo: str, branch: str, path: str, data: bytes) -> None:
        """Put a file in a commit of its own, which is made and finished in the same call."""
        self.put_files(project, repo, branch, {path: data})

    def put_files(self, project: str, repo: str, branch: str, files: Mapping[str, bytes]) -> None:
        """Put small files in a commit of their own, which is made and finished in the same call."""
        requests = [_set_commit(commit_message(project, repo, "", branch=branch))]
        for path, data in files.items():
            # an add appends: without the delete a retry would double the file
            requests += [codec.delete_file(path), *_added(path, data)]
        with_retries(f"{project}/{repo}@{branch}", lambda: self._modify(iter(requests)))

    def point(
        self,
        project: str,
        repo: str,
        branch: str,
        commit: str,
        trigger: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        """Make a branch point at a commit; it is created where there is none."""
        name = commit_message(project, repo, "", branch=branch).branch
        head = commit_message(project, repo, commit)
        request = pfs_pb2.CreateBranchRequest(branch=name, head=head)
        if trigger:
            request.trigger.CopyFrom(pfs_pb2.Trigger(**trigger))
        with explained(f"{project}/{repo}@{branch}"):
            self._pfs.CreateBranch(request)

    def point_together(self, wanted: Sequence[Pointed]) -> None:
        """Make branches of several repos point at commits, in order: all of them, or none."""
        requests = [
            transaction_pb2.TransactionRequest(
                create_branch=pfs_pb2.CreateBranchRequest(
                    branch=commit_message(move.project, move.repo, "", branch=move.branch).branch,
                    head=commit_message(move.project, move.repo, move.commit),
                )
            )
            for move in wanted
        ]
        if requests:
            with_retries(
                f"{len(requests)} branch heads",
                lambda: self._transactions.BatchTransaction(
                    transaction_pb2.BatchTransactionRequest(requests=requests)
                ),
            )

    def delete_repo(self, project: str, repo: str) -> None:
        """Delete a repo with all its commits; no error where there is none."""
        name = commit_message(project, repo, "").repo
        with suppress(SourceGoneError), explained(f"{project}/{repo}"):
            self._pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=name, force=True))

    def add_file_set(self, ref: CommitRef, file_set_id: str) -> None:
        """Add a file set to an open commit. Not idempotent: adding twice appends twice."""
        with explained(str(ref)):
            self._pfs.AddFileSet(pfs_pb2.AddFileSetRequest(commit=ref.message, file_set_id=file_set_id))

    def finish(self, ref: CommitRef, *, description: str = "", error: str = "") -> None:
        """Finish a commit; with `error` as a failed one."""
        request = pfs_pb2.FinishCommitRequest(commit=ref.message, description=description, error=error)
        with_retries(str(ref), lambda: self._pfs.FinishCommit(request))

    def delete_branch(self, project: str, repo: str, branch: str) -> None:
        """Delete a branch; its commits stay."""
        name = commit_message(project, repo, "", branch=branch).branch
        request = pfs_pb2.DeleteBranchRequest(branch=name)
        with_retries(f"{project}/{repo}@{branch}", lambda: self._pfs.DeleteBranch(request))

    def squash(self, ref: CommitRef) -> None:
        """Squash a commit that is alone in its set and has children; they keep its content."""
        request = pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=ref.id))
        self._unless_gone(ref, lambda: self._pfs.SquashCommitSet(request))

    def drop(self, ref: CommitRef) -> None:
        """Drop a commit that is alone in its set and has no children, with its content."""
        request = pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=ref.id))
        self._unless_gone(ref, lambda: self._pfs.DropCommitSet(request))

    @staticmethod
    def _unless_gone(ref: CommitRef, call: Callable[[], object]) -> None:
        with suppress(SourceGoneError):
            with_retries(str(ref), call)

    @staticmethod
    def _ensured(what: str, create: Callable[[], object], look: Callable[[], object]) -> None:
        def unless_there() -> None:
            try:
                create()
            except grpc.RpcError as error:
                is_there = "already exists" in (error.details() or "")
                if not is_there and error.code() != grpc.StatusCode.ALREADY_EXISTS:
                    raise

        try:
            with_retries(what, unless_there)
        except NotAllowedError:
            # pachd checks the right to create before it looks whether there is anything to create
            try:
                with_retries(what, look)
            except SourceGoneError:
                is_there = False
            else:
                is_there = True
            if not is_there:
                raise


def _modifications(
    ref: CommitRef,
    delete: Iterable[str],
    put: Iterable[tuple[str, bytes]],
    append: Iterable[tuple[str, bytes]],
) -> Iterator[bytes]:
    yield _set_commit(ref.message)
    yield from map(codec.delete_file, delete)
    for path, data in put:  # an add appends: to replace is to delete, then to add
        yield codec.delete_file(path)
        yield from _added(path, data)
    for path, data in append:
        yield from _added(path, data)


def _set_commit(commit: Any) -> bytes:
    return bytes(pfs_pb2.ModifyFileRequest(set_commit=commit).SerializeToString())


def _file_set(delete: Iterable[str], put: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    yield from map(codec.delete_file, delete)
    for path, data in put:
        yield from _added(path, data)


def _added(path: str, data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(0, max(len(data), 1), _PIECE_BYTES):
        yield codec.add_file(path, view[at : at + _PIECE_BYTES])
