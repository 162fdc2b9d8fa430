"""The settings that a backup saves: defaults, metadata and role bindings of cluster, projects and repos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from pachvault.errors import PachydermError, TransientError
from pachvault.format.documents import Roles
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Cluster, Problem, Project
from pachvault.format.problem_kinds import SETTINGS_UNREADABLE, UNKNOWN_FIELDS
from pachvault.pach.settings import Settings
from pachvault.pach.unknown_fields import UnknownField

Answer = TypeVar("Answer")


@dataclass(slots=True)
class SettingsReader:
    """Reads settings. What the caller may not read becomes a problem, and the rest is read."""

    settings: Settings
    pool: Executor
    problems: list[Problem] = field(default_factory=list)
    is_authenticated: bool = False
    """Whether the cluster has role bindings; set by `cluster`."""

    def cluster(self, cluster: Cluster) -> Cluster:
        """The cluster with its settings."""
        # asked by itself: bindings that may not be read are no sign that there are none
        self.is_authenticated = self.settings.is_authenticated()
        roles = self._read("*", self.settings.cluster_roles) if self.is_authenticated else None
        return cluster.model_copy(
            update={
                "metadata": self._read("*", self.settings.cluster_metadata) or {},
                "defaults_json": self._read("*", self.settings.cluster_defaults),
                "roles": roles,
            }
        )

    def projects(self, projects: Iterable[Project]) -> list[Project]:
        """The projects with their settings."""
        return list(self.pool.map(self._project, projects))

    def roles(self, repos: Iterable[RepoName]) -> list[Roles | None]:
        """The role bindings of repos."""
        if not self.is_authenticated:
            return [None for _ in repos]
        read = self.settings.repo_roles
        return list(self.pool.map(lambda repo: self._read(str(repo), lambda: read(repo)), repos))

    def _project(self, project: Project) -> Project:
        where = f"{project.name}/*"
        defaults = self._read(where, lambda: self.settings.project_defaults(project.name))
        roles = None
        if self.is_authenticated:
            roles = self._read(where, lambda: self.settings.project_roles(project.name))
        return project.model_copy(update={"defaults_json": defaults, "roles": roles})

    def _read(self, where: str, call: Callable[[], Answer]) -> Answer | None:
        try:
            return call()
        # None would be sealed as a setting that the cluster does not have
        except TransientError:
            raise
        except PachydermError as error:
            self.problems.append(Problem(repo=where, kind=SETTINGS_UNREADABLE, message=str(error)))
            return None


def unknown_fields(fields: Iterable[UnknownField]) -> list[Problem]:
    """A note for each field that the server sent and this version does not know."""
    return [
        Problem(
            repo="*",
            kind=UNKNOWN_FIELDS,
            message=f"field {field.number} of {field.message} is not saved: this version does not know it",
        )
        for field in sorted(fields)
    ]
