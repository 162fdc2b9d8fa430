"""A project of a random name, in which one test works, and which goes with all that is in it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Message, Pach


@dataclass(frozen=True, slots=True)
class Project:
    pach: Pach
    name: str

    @classmethod
    def create(cls, pach: Pach) -> Project:
        project = cls(pach, f"contract-{secrets.token_hex(5)}")
        pach.pfs.CreateProject(pfs_pb2.CreateProjectRequest(project=project.message))
        return project

    @property
    def message(self) -> Message:
        return pfs_pb2.Project(name=self.name)

    def named(self, name: str, kind: str = "user") -> Message:
        """The name of a repo, whether or not there is one."""
        return pfs_pb2.Repo(name=name, type=kind, project=self.message)

    def repo(self, name: str, *, description: str = "") -> Message:
        repo = self.named(name)
        self.pach.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo, description=description))
        return repo

    def branch(self, repo: str, name: str = "master") -> Message:
        return pfs_pb2.Branch(repo=self.named(repo), name=name)

    def pipeline(self, name: str) -> Message:
        return pps_pb2.Pipeline(project=self.message, name=name)

    def delete(self) -> None:
        pps, pfs = self.pach.pps, self.pach.pfs
        listed = pps.ListPipeline(pps_pb2.ListPipelineRequest(projects=[self.message]))
        if list(listed):
            pps.DeletePipelines(pps_pb2.DeletePipelinesRequest(projects=[self.message], force=True))
        pfs.DeleteRepos(pfs_pb2.DeleteReposRequest(projects=[self.message], force=True))
        pfs.DeleteProject(pfs_pb2.DeleteProjectRequest(project=self.message))
