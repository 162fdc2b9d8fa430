"""Sets the settings of a plan. What the cluster refuses is reported, and the restore continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pachvault.errors import PachydermError, TransientError
from pachvault.format.ids import RepoName
from pachvault.pach.settings import Settings, SettingsScope
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore.restore_messages import ProjectSettings, RolesPlan, SettingsPlan


@dataclass(slots=True)
class SettingsReplay:
    """Sets the settings of a plan. Safe to repeat."""

    source: Source
    target: Target
    plan: SettingsPlan
    lost: list[str] = field(default_factory=list)
    """A line for each setting that this cluster refuses."""

    @property
    def _settings(self) -> Settings:
        return Settings(self.source.connection)

    def before_pipelines(self) -> None:
        """Set those of the cluster and of the projects, which pipelines depend on. The projects exist."""
        defaults = self.plan.cluster_defaults_json
        if defaults is not None:
            self._try("cluster defaults", lambda: self._settings.set_cluster_defaults(defaults))
        self._set_metadata(SettingsScope.cluster(), self.plan.cluster_metadata)
        for project in self.plan.projects:
            self._project(project)

    def _project(self, project: ProjectSettings) -> None:
        description, defaults = project.description, project.defaults_json
        if description is not None:
            what = f"description of project {project.name}"
            self._try(what, lambda: self.target.describe_project(project.name, description))
        self._set_metadata(SettingsScope.project(project.name), project.metadata)
        if defaults is not None:
            what = f"defaults of project {project.name}"
            self._try(what, lambda: self._settings.set_project_defaults(project.name, defaults))

    def after_heads(self) -> None:
        """Set the metadata of repos, branches and pipelines, which exist by now, and role bindings."""
        for repo in self.plan.repos:
            name = RepoName(repo.project, repo.name)
            self._set_metadata(SettingsScope.repo(name), repo.metadata)
            for branch, metadata in repo.branches.items():
                self._set_metadata(SettingsScope.branch(name, branch), metadata)
        for pipeline in self.plan.pipelines:
            name = RepoName(pipeline.project, pipeline.name)
            self._set_metadata(SettingsScope.pipeline(name), pipeline.metadata)
        for roles in self.plan.roles:
            self._try(f"role bindings of {roles.text}", partial(self._add_roles, roles))

    def _add_roles(self, roles: RolesPlan) -> None:
        if roles.kind == "cluster":
            self._settings.add_cluster_roles(roles.roles)
        elif roles.kind == "project":
            self._settings.add_project_roles(roles.project, roles.roles)
        else:
            self._settings.add_repo_roles(RepoName(roles.project, roles.repo), roles.roles)

    def _set_metadata(self, place: SettingsScope, metadata: Mapping[str, str] | None) -> None:
        if metadata:
            self._try(f"metadata of {place.text}", lambda: self._settings.set_metadata(place, metadata))

    def _try(self, what: str, call: Callable[[], object]) -> None:
        """Report a setting that the cluster refuses, and go on."""
        try:
            call()
        # unreachable is not refused: the caller tries again
        except TransientError:
            raise
        except PachydermError as error:
            remedy = f" ({error.hint})" if error.hint else ""
            self.lost.append(f"{what}: {error.what}{remedy}")
