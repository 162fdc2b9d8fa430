"""Reading from Pachyderm: listings, differences, file sets, and files as streams of pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from google.protobuf import json_format
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.errors import SourceGoneError, TransientError, UnsupportedError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Project
from pachvault.format.records import Pipeline
from pachvault.pach import codec, records, tar, unknown_fields
from pachvault.pach.access import rights
from pachvault.pach.connection import (
    Connection,
    commit_message,
    explained,
    retrying,
    with_retries,
)
from pachvault.pach.records import BranchInfo, Change, CommitInfo, RepoInfo
from pachvault.pach.tar import FilePiece, FileRun
from pachvault.pach.unknown_fields import UnknownField

FILE_SETS = "__filesets__"
_NAMES_A_CALL = 300
_PASSING = (
    "worker_rc", "workers_requested", "workers_available", "recent_error", "reason", "unclaimed_tasks"
)  # fmt: skip
"""Of a pipeline's details, what its running is like at the moment."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, order=True)
class CommitRef:
    """A commit that can be read: of a repo, or a file set."""

    project: str
    repo: str
    id: str

    @property
    def message(self) -> Any:
        """The PFS message that names it."""
        return commit_message(self.project, self.repo, self.id)

    def file(self, path: str) -> Any:
        """The PFS message that names a path in it."""
        return pfs_pb2.File(commit=self.message, path=path)

    def __str__(self) -> str:
        return f"{self.project}/{self.repo}@{self.id}"


def file_set(file_set_id: str) -> CommitRef:
    """A file set, addressed as Pachyderm lets one read it."""
    return CommitRef("default", FILE_SETS, file_set_id)


class Source:
    """Reads one cluster. Every method raises PachydermError, or SourceGoneError for what is not there.

    Calls that fail in a way that may pass are tried again, up to eight times within about half a minute.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.unknown_fields: set[UnknownField] = set()
        """Fields of listed objects that this version does not know, gathered by all calls so far."""

    def projects(self) -> list[Project]:
        """All projects."""
        answers = self._listed("projects", lambda: self._pfs.ListProject(pfs_pb2.ListProjectRequest()))
        return [
            Project(
                name=info.project.name,
                description=info.description,
                metadata=unknown_fields.strings(info, "metadata"),
                created_by=unknown_fields.text(info, "created_by"),
            )
            for info in map(self._looked_at, answers)
        ]

    def hidden_projects(self) -> frozenset[str]:
        """The projects whose repos and pipelines are left out of listings where the caller may not read them.

        None without authentication. Every project itself is listed, whatever the caller's rights.
        """
        answers = self._listed("projects", lambda: self._pfs.ListProject(pfs_pb2.ListProjectRequest()))
        return frozenset(info.project.name for info in answers if records.lacking(info, [rights.LIST_REPOS]))

    def repos(self) -> list[RepoInfo]:
        """All repos of type user that the caller may see; see `hidden_projects`."""
        request = pfs_pb2.ListRepoRequest(type="user")
        answers = self._listed("repos", lambda: self._pfs.ListRepo(request))
        infos = (records.repo_info(self._looked_at(info)) for info in answers)
        return sorted(infos, key=lambda repo: repo.name)

    def repo(self, name: RepoName) -> RepoInfo:
        """One repo of type user; SourceGoneError where there is none."""
        request = pfs_pb2.InspectRepoRequest(repo=CommitRef(name.project, name.repo, "").message.repo)
        return records.repo_info(with_retries(str(name), lambda: self._pfs.InspectRepo(request)))

    def branches(self, repo: RepoName) -> list[BranchInfo]:
        """A repo's branches, by name."""
        request = pfs_pb2.ListBranchRequest(repo=CommitRef(repo.project, repo.repo, "").message.repo)
        answers = self._listed(f"branches of {repo}", lambda: self._pfs.ListBranch(request))
        infos = (records.branch_info(self._looked_at(info)) for info in answers)
        return sorted(infos, key=lambda branch: branch.name)

    def commits(self, repo: RepoName) -> list[CommitInfo]:
        """All commits of a repo, newest first, those on no branch included."""
        # without `all` the output of pipelines is left out
        request = pfs_pb2.ListCommitRequest(
            repo=CommitRef(repo.project, repo.repo, "").message.repo, all=True
        )

        def call() -> Iterator[CommitInfo]:
            return (records.commit_info(self._looked_at(info)) for info in self._pfs.ListCommit(request))

        return self._listed(f"commits of {repo}", call)

    def ancestry(self, ref: CommitRef, number: int) -> list[CommitInfo]:
        """A commit and its ancestors, newest first, at most `number` commits.

        Raises SourceGoneError where the commit is gone. It takes pachd about 11 ms a commit.
        """
        request = pfs_pb2.ListCommitRequest(repo=ref.message.repo, to=ref.message, number=number, all=True)

        def call() -> Iterator[CommitInfo]:
            return (records.commit_info(self._looked_at(info)) for info in self._pfs.ListCommit(request))

        return self._listed(f"commits of {ref}", call)

    def commit(self, ref: CommitRef, *, wait: bool = False) -> CommitInfo:
        """One commit; with `wait` only once it is finished."""
        state = pfs_pb2.CommitState.FINISHED if wait else pfs_pb2.CommitState.COMMIT_STATE_UNKNOWN
        request = pfs_pb2.InspectCommitRequest(commit=ref.message, wait=state)
        return records.commit_info(with_retries(str(ref), lambda: self._pfs.InspectCommit(request)))

    def pipelines(self) -> list[Pipeline]:
        """All pipeline definitions, as their users wrote them; auth tokens are left out."""
        request = pps_pb2.ListPipelineRequest(details=True)
        answers = self._listed("pipelines", lambda: self.connection.pps.ListPipeline(request))
        pipelines = []
        for info in map(self._looked_at, answers):
            details = json.loads(json_format.MessageToJson(info.details, preserving_proto_field_name=True))
            for passing in _PASSING:
                details.pop(passing, None)
            pipelines.append(
                Pipeline(
                    project=info.pipeline.project.name,
                    name=info.pipeline.name,
                    version=info.version,
                    stopped=info.stopped,
                    # field 13: details_json in python-pachyderm, user_spec_json since Pachyderm 2.8
                    spec_json=info.details_json or _rebuilt(info),
                    details=details,
                    effective_spec_json=unknown_fields.text(info, "effective_spec_json"),
                    metadata=unknown_fields.strings(info, "metadata"),
                    created_by=unknown_fields.text(info.details, "created_by"),
                )
            )
        return sorted(pipelines, key=lambda pipeline: (pipeline.project, pipeline.name))

    def has_secret(self, name: str) -> bool:
        """Whether Kubernetes has a secret, whoever made it: ListSecret shows only those of pachctl."""
        request = pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name=name))
        try:
            with_retries(f"secret {name}", lambda: self.connection.pps.InspectSecret(request))
        except SourceGoneError:
            return False
        return True

    def diff(self, new: CommitRef, old: CommitRef | None) -> list[Change]:
        """The files that differ, by path; from the parent's where `old` is None. Directories are left out.

        The parent may have failed, and then deletions show of what was never inherited: name an ancestor.
        """
        request = pfs_pb2.DiffFileRequest(
            new_file=new.file("/"), old_file=old.file("/") if old is not None else None
        )

        def call() -> Iterator[Change]:
            for difference in self._pfs.DiffFile(request):
                path = difference.new_file.file.path or difference.old_file.file.path
                if path.endswith("/"):
                    continue
                has_new, has_old = difference.HasField("new_file"), difference.HasField("old_file")
                yield Change(
                    path,
                    difference.new_file.size_bytes if has_new else -1,
                    difference.new_file.hash,
                    difference.old_file.size_bytes if has_old else -1,
                    difference.old_file.hash,
                )

        changes = self._listed(f"{new} against {old}", call)
        return sorted(changes, key=lambda change: change.path)

    def paths(self, ref: CommitRef, pattern: str) -> list[str]:
        """The paths that a glob pattern matches; directories end with /."""
        request = pfs_pb2.GlobFileRequest(commit=ref.message, pattern=pattern)
        paths = self._listed(str(ref), lambda: (str(info.file.path) for info in self._pfs.GlobFile(request)))
        return sorted(paths)

    def root(self, ref: CommitRef) -> tuple[int, bytes]:
        """Size in bytes and hash of a commit's or a file set's root; (0, b"") where it is empty."""
        request = pfs_pb2.InspectFileRequest(file=ref.file("/"))
        answer = with_retries(str(ref), lambda: self._pfs.InspectFile(request))
        return answer.size_bytes, answer.hash

    def walk(self, ref: CommitRef) -> list[tuple[str, int, bytes]]:
        """All files, in order of path: path, size and hash. Slow where there are many; see `diff`."""
        request = pfs_pb2.WalkFileRequest(file=ref.file("/"))

        def call() -> Iterator[tuple[str, int, bytes]]:
            for info in self._pfs.WalkFile(request):
                if not info.file.path.endswith("/"):
                    yield info.file.path, info.size_bytes, info.hash

        try:
            return self._listed(f"files of {ref}", call)
        except SourceGoneError:  # what pachd may answer for an empty tree, too: only the commit can tell
            self.commit(ref)
            return []

    def set_bytes(self, file_set_id: str) -> int:
        """Size of all files in a file set."""
        try:
            return self.root(file_set(file_set_id))[0]
        except SourceGoneError:  # what Pachyderm answers for the root of an empty one
            return 0

    @property
    def has_change_sets(self) -> bool:
        """Whether `file_set_of` gives the change of a commit."""
        return self.connection.has_change_sets

    def file_set_of(self, ref: CommitRef, kind: int) -> str:
        """A file set with a commit's whole tree (codec.TOTAL) or its own change (codec.DIFF); its id.

        Raises UnsupportedError for a change where the server has none, see `has_change_sets`.
        """
        if kind == codec.DIFF and not self.has_change_sets:
            raise UnsupportedError(
                "no file set of a commit's own change before Pachyderm 2.9", where=str(ref)
            )
        call = self.connection.channel.unary_unary(
            "/pfs_v2.API/GetFileSet",
            request_serializer=lambda request: codec.get_file_set(request, kind),
            response_deserializer=pfs_pb2.CreateFileSetResponse.FromString,
        )
        request = pfs_pb2.GetFileSetRequest(commit=ref.message)
        return str(with_retries(str(ref), lambda: call(request)).file_set_id)

    def renew(self, file_set_id: str, seconds: int) -> None:
        """Renew a file set for so many seconds; SourceGoneError where it has expired."""
        request = pfs_pb2.RenewFileSetRequest(file_set_id=file_set_id, ttl_seconds=seconds)
        with_retries(f"file set {file_set_id}", lambda: self._pfs.RenewFileSet(request))

    def shards(self, file_set_id: str) -> list[tuple[str, str]]:
        """Path ranges (lower inclusive, upper exclusive, "" for open) of about a gigabyte or a million files.

        The request's own limits are never sent: pachd 2.11 keeps them for every later caller, its own
        compaction included (docs/decisions/0003).
        """
        request = pfs_pb2.ShardFileSetRequest(file_set_id=file_set_id)
        answer = with_retries("a file set's shards", lambda: self._pfs.ShardFileSet(request))
        return [(shard.lower, shard.upper) for shard in answer.shards]

    def read(self, ref: CommitRef, lower: str = "", upper: str = "") -> Iterator[FilePiece]:
        """All files with `lower <= path < upper`, in order of path, as pieces; maybe none."""
        return tar.flat(self.read_runs(ref, lower, upper))

    def read_runs(self, ref: CommitRef, lower: str = "", upper: str = "") -> Iterator[FilePiece | FileRun]:
        """As `read`, but small files many at a time.

        After a broken connection the stream continues with the file it was in, which then begins again at
        offset 0. As long as complete files arrive in between, the number of attempts has no bound.
        """
        while True:
            began = lower
            try:
                for attempt in retrying():
                    with attempt:
                        for piece in self._files(ref, lower, upper):
                            yield piece
                            if isinstance(piece, FileRun):
                                lower = after(piece.paths[-1])
                            elif piece.is_last:
                                lower = after(piece.path)
            except TransientError:
                if lower == began:
                    raise
            else:
                return

    def _files(self, ref: CommitRef, lower: str, upper: str) -> Iterator[FilePiece | FileRun]:
        is_begun = False
        try:
            # a glob: with a path range a plain `/` is answered by NotFound
            for piece in tar.runs(self._tar(ref, "/**", lower, upper)):
                is_begun = True
                yield piece
        except SourceGoneError:
            # pachd answers NotFound where no file matches, too: only the commit itself can tell
            if is_begun:
                raise
            if ref.repo != FILE_SETS:
                self.commit(ref)

    def read_some(self, ref: CommitRef, folder: str, names: Sequence[str]) -> Iterator[FilePiece]:
        """Files of one folder (`/a/`), by name; a file that is not there is left out without a word.

        `folder` ends with `/`. A literal folder lets pachd scan nothing but it; a few hundred names at a
        time are quick, and a brace pattern must begin outside the braces.
        """
        # a backslash can be escaped within braces only: files of such a folder are ranges of one
        if "\\" in folder:
            for name in names:
                yield from self.read(ref, folder + name, after(folder + name))
            return
        pattern = f"{folder}{{{','.join(map(_escaped, names))}}}"
        for attempt in retrying():
            with attempt:
                yield from tar.pieces(self._tar(ref, pattern, "", ""))

    def read_paths(self, ref: CommitRef, paths: Sequence[str]) -> Iterator[FilePiece]:
        """Files by path, which are sorted; a file that is not there is left out without a word."""
        for folder, names in _by_folder(paths):
            yield from self.read_some(ref, folder, names)

    def _tar(self, ref: CommitRef, path: str, lower: str, upper: str) -> Iterator[memoryview]:
        request = pfs_pb2.GetFileRequest(file=ref.file(path))
        if lower or upper:
            request.path_range.lower, request.path_range.upper = lower, upper
        call = self.connection.raw_stream("GetFileTAR", pfs_pb2.GetFileRequest.SerializeToString)(request)
        try:
            with explained(str(ref)):
                yield from map(codec.bytes_value, call)
        finally:
            call.cancel()

    def _looked_at(self, message: Any) -> Any:
        """The message; its unknown fields are recorded."""
        self.unknown_fields.update(unknown_fields.unknown(message))
        return message

    @property
    def _pfs(self) -> Any:
        return self.connection.pfs

    @staticmethod
    def _listed(what: str, call: Callable[[], Iterable[Any]]) -> list[Any]:
        """All answers of a streaming call. `call` reduces each where there may be many: they take some KB."""
        return with_retries(what, lambda: list(call()))


def _by_folder(paths: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Sorted paths as folders with names in them, a bounded number at a time."""
    for folder, group in groupby(paths, key=lambda path: path[: path.rindex("/") + 1]):
        names = [path[len(folder) :] for path in group]
        for at in range(0, len(names), _NAMES_A_CALL):
            yield folder, names[at : at + _NAMES_A_CALL]


def _rebuilt(info: Any) -> str:
    """A spec that makes the same pipeline, from the server's parsed form: 2.7 keeps no other."""
    shared = {field.name for field in pps_pb2.CreatePipelineRequest.DESCRIPTOR.fields}
    request = pps_pb2.CreatePipelineRequest(pipeline=info.pipeline)
    for field, value in info.details.ListFields():
        if field.name not in shared:
            continue
        if field.label == field.LABEL_REPEATED:
            getattr(request, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(request, field.name).CopyFrom(value)
        else:
            setattr(request, field.name, value)
    return str(json_format.MessageToJson(request, preserving_proto_field_name=True))


def after(path: str) -> str:
    """The least legal path greater than `path`: paths hold no character below the space."""
    return path + " "


def _escaped(name: str) -> str:
    """A file's name as an alternative of a brace pattern."""
    return re.sub(r"[\\,|]", r"\\\g<0>", name)
