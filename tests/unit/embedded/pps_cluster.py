"""A running embedded Pachyderm for the tests of its pipelines, and short ways to talk to it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
from python_pachyderm.proto.v2.pps import pps_pb2, pps_pb2_grpc

from embedded_pachyderm import daemon

WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Project:
    """One project of a running server."""

    name: str
    address: str
    pfs: Any
    pps: Any

    def repo(self, name: str, kind: str = "user") -> Any:
        return pfs_pb2.Repo(name=name, type=kind, project=pfs_pb2.Project(name=self.name))

    def commit(self, name: str, commit_id: str = "") -> Any:
        """The head of master, or a commit by its id."""
        repo = self.repo(name)
        if commit_id:
            return pfs_pb2.Commit(repo=repo, id=commit_id)
        return pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name="master"))

    def make_repo(self, name: str) -> None:
        self.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=self.repo(name)))

    def put(self, name: str, files: dict[str, bytes], delete: Sequence[str] = ()) -> str:
        """Commit to master; gives the commit's id."""
        changes = [pfs_pb2.ModifyFileRequest(set_commit=self.commit(name))]
        changes += [pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path)) for path in delete]
        for path, data in files.items():
            change = pfs_pb2.ModifyFileRequest()
            change.add_file.path = path
            change.add_file.raw.value = data
            changes.append(change)
        self.pfs.ModifyFile(iter(changes))
        branch = pfs_pb2.Branch(repo=self.repo(name), name="master")
        return str(self.pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=branch)).head.id)

    def files(self, name: str, commit_id: str = "") -> dict[str, bytes]:
        """Every file of the head of master, or of a commit."""
        commit = self.commit(name, commit_id)
        infos = self.pfs.WalkFile(pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=commit, path="/")))
        paths = [info.file.path for info in infos if info.file_type == pfs_pb2.FILE]
        return {path: self._read(commit, path) for path in paths}

    def _read(self, commit: Any, path: str) -> bytes:
        file = pfs_pb2.File(commit=commit, path=path)
        return b"".join(piece.value for piece in self.pfs.GetFile(pfs_pb2.GetFileRequest(file=file)))

    def pipeline(self, name: str) -> Any:
        return pps_pb2.Pipeline(name=name, project=pfs_pb2.Project(name=self.name))

    def input(self, repo: str, glob: str = "/*", **fields: Any) -> Any:
        return pps_pb2.Input(pfs=pps_pb2.PFSInput(repo=repo, glob=glob, project=self.name, **fields))

    def cron(self, name: str, spec: str, **fields: Any) -> Any:
        return pps_pb2.Input(cron=pps_pb2.CronInput(name=name, spec=spec, **fields))

    def create(self, name: str, tree: Any, script: str = "true", **fields: Any) -> None:
        transform = fields.pop("transform", None) or pps_pb2.Transform(cmd=["sh"], stdin=[script])
        self.pps.CreatePipeline(
            pps_pb2.CreatePipelineRequest(
                pipeline=self.pipeline(name), transform=transform, input=tree, **fields
            )
        )

    def delete(self, name: str, **fields: Any) -> None:
        self.pps.DeletePipeline(pps_pb2.DeletePipelineRequest(pipeline=self.pipeline(name), **fields))

    def job(self, name: str, job_id: str) -> Any:
        return pps_pb2.Job(pipeline=self.pipeline(name), id=job_id)

    def wait(self, name: str, job_id: str = "") -> Any:
        """The job at its end; without an id the newest."""
        job_id = job_id or self.jobs(name)[0].job.id
        request = pps_pb2.InspectJobRequest(job=self.job(name, job_id), wait=True, details=True)
        return self.pps.InspectJob(request, timeout=WAIT_SECONDS)

    def jobs(self, name: str, **fields: Any) -> list[Any]:
        return list(self.pps.ListJob(pps_pb2.ListJobRequest(pipeline=self.pipeline(name), **fields)))

    def datums(self, name: str, job_id: str, **fields: Any) -> list[Any]:
        return list(self.pps.ListDatum(pps_pb2.ListDatumRequest(job=self.job(name, job_id), **fields)))

    def user_log(self, name: str, job_id: str) -> list[str]:
        request = pps_pb2.GetLogsRequest(job=self.job(name, job_id))
        return [line.message for line in self.pps.GetLogs(request) if line.user]

    def repos(self) -> set[tuple[str, str]]:
        request = pfs_pb2.ListRepoRequest(projects=[pfs_pb2.Project(name=self.name)])
        return {(info.repo.name, info.repo.type) for info in self.pfs.ListRepo(request)}


@contextmanager
def connected(address: str, name: str) -> Iterator[Project]:
    """A project that exists, on a server that runs."""
    with grpc.insecure_channel(address.removeprefix("grpc://")) as channel:
        yield Project(name, address, pfs_pb2_grpc.APIStub(channel), pps_pb2_grpc.APIStub(channel))


@contextmanager
def lasting_project(address: str) -> Iterator[Project]:
    """A project of its own with a repo `data`; it outlives the context."""
    with connected(address, f"test-{uuid.uuid4().hex[:8]}") as project:
        message = pfs_pb2.Project(name=project.name)
        project.pfs.CreateProject(pfs_pb2.CreateProjectRequest(project=message))
        project.make_repo("data")
        yield project


@contextmanager
def new_project(address: str) -> Iterator[Project]:
    """The same, but its pipelines are gone afterwards: a server takes no more than sixteen."""
    with lasting_project(address) as project:
        yield project
        message = pfs_pb2.Project(name=project.name)
        project.pps.DeletePipelines(pps_pb2.DeletePipelinesRequest(projects=[message], force=True))


@contextmanager
def running_server(state: Path) -> Iterator[str]:
    """The address of a server that ends with the context."""
    try:
        yield daemon.start(state).address
    finally:
        daemon.stop(state)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"
