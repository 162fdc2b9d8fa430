"""Which settings a restore brings back: metadata, descriptions, defaults and role bindings.

What is empty in the cluster is filled in. What differs stays and is named in the plan, unless the request
asks for the snapshot's settings. What the snapshot has none of stays in any case. Role bindings come back
only when they are asked for; none is taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pachvault.errors import SourceGoneError, UsageError
from pachvault.format.documents import Roles
from pachvault.format.ids import RepoName
from pachvault.format.records import Pipeline
from pachvault.pach.settings import Settings, given_by_users
from pachvault.pach.source import Source
from pachvault.request import Request
from pachvault.restore.restore_messages import (
    MetadataPlan,
    ProjectSettings,
    RepoPlan,
    RolesPlan,
    SettingsPlan,
)
from pachvault.vault.snapshots import Snapshot

_NO_DEFAULTS = ("", "{}")


def plan(
    request: Request,
    snapshot: Snapshot,
    source: Source,
    repos: Sequence[RepoPlan],
    pipelines: Mapping[RepoName, Pipeline],
) -> SettingsPlan:
    """The settings to restore. Reads the cluster, changes nothing.

    `pipelines` are those that the request matches, whether they exist already or not.

    Raises UsageError where role bindings are asked for and the cluster has no authentication.
    """
    planner = _Planner(request, snapshot, source)
    # a repo restored into another project says nothing about that project's settings
    names = {repo.to_project for repo in repos if repo.to_project == repo.project}
    names |= {pipeline.project for pipeline in pipelines.values()}
    for name in sorted(names):
        planner.project(name)
    for repo in repos:
        planner.repo(repo)
    planner.pipelines(pipelines)
    planner.cluster(has_pipelines=bool(pipelines))
    if request.roles:
        planner.roles(sorted(names), repos)
    return planner.plan()


@dataclass(slots=True)
class _Planner:
    """Collects the settings of a plan."""

    request: Request
    snapshot: Snapshot
    source: Source
    cluster_metadata: dict[str, str] | None = None
    cluster_defaults_json: str | None = None
    of_projects: list[ProjectSettings] = field(default_factory=list)
    of_repos: list[MetadataPlan] = field(default_factory=list)
    of_pipelines: list[MetadataPlan] = field(default_factory=list)
    of_roles: list[RolesPlan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def plan(self) -> SettingsPlan:
        """The settings that were collected."""
        return SettingsPlan(
            cluster_metadata=self.cluster_metadata,
            cluster_defaults_json=self.cluster_defaults_json,
            projects=self.of_projects,
            repos=self.of_repos,
            pipelines=self.of_pipelines,
            roles=self.of_roles,
            notes=self.notes,
        )

    @property
    def _settings(self) -> Settings:
        return Settings(self.source.connection)

    def cluster(self, *, has_pipelines: bool) -> None:
        saved = self.snapshot.manifest.cluster
        if self.request.settings:
            self.cluster_metadata = self._wanted_metadata(
                "the cluster", saved.metadata, self._settings.cluster_metadata()
            )
        if saved.defaults_json is None or not (has_pipelines or self.request.settings):
            return
        now = self._settings.cluster_defaults()
        if now is not None and now != saved.defaults_json:
            if self.request.settings:
                self.cluster_defaults_json = saved.defaults_json
            else:
                self._note("the cluster's defaults for pipelines differ")

    def project(self, name: str) -> None:
        saved = {project.name: project for project in self.snapshot.manifest.projects}.get(name)
        if saved is None:
            return
        now = {project.name: project for project in self.source.projects()}.get(name)
        # a project that is to be created gets its description when it is created
        description, metadata = (now.description, now.metadata) if now else (saved.description, {})
        # an empty text and `{}` both mean that nothing was set: they do not differ
        wanted_defaults = "" if saved.defaults_json in _NO_DEFAULTS else saved.defaults_json or ""
        defaults = self._project_defaults(name) if wanted_defaults else ""
        where = f"project {name}"
        wanted = ProjectSettings(
            name=name,
            description=self._wanted(f"description of {where}", saved.description, description),
            metadata=self._wanted_metadata(where, saved.metadata, metadata),
            defaults_json=self._wanted(
                f"defaults of {where}",
                wanted_defaults,
                "" if defaults in _NO_DEFAULTS else defaults,
            ),
        )
        if wanted != ProjectSettings(name=name):
            self.of_projects.append(wanted)

    def repo(self, repo: RepoPlan) -> None:
        """A repo's metadata and that of its restored branches."""
        record = self.snapshot.vault.repo_record(repo.record)
        saved = {branch.name: branch.metadata for branch in record.branches}
        branches = {branch.name: saved.get(branch.source, {}) for branch in repo.branches}
        if not record.metadata and not any(branches.values()):
            return
        infos = {info.name: info.metadata for info in self.source.repos()}
        existing = self.source.branches(repo.target) if repo.target in infos else []
        now = {branch.name: branch.metadata for branch in existing}
        plan = MetadataPlan(
            project=repo.to_project,
            name=repo.to_repo,
            metadata=self._wanted_metadata(str(repo.target), record.metadata, infos.get(repo.target, {})),
            branches={
                name: wanted
                for name, metadata in branches.items()
                if (wanted := self._wanted_metadata(f"{repo.target}@{name}", metadata, now.get(name, {})))
            },
        )
        if plan.metadata or plan.branches:
            self.of_repos.append(plan)

    def pipelines(self, saved: Mapping[RepoName, Pipeline]) -> None:
        if not any(pipeline.metadata for pipeline in saved.values()):
            return
        existing = self.source.pipelines()
        now = {RepoName(pipeline.project, pipeline.name): pipeline.metadata for pipeline in existing}
        for name, pipeline in saved.items():
            wanted = self._wanted_metadata(f"pipeline {name}", pipeline.metadata, now.get(name, {}))
            if wanted:
                self.of_pipelines.append(MetadataPlan(project=name.project, name=name.repo, metadata=wanted))

    def roles(self, projects: Sequence[str], repos: Sequence[RepoPlan]) -> None:
        manifest = self.snapshot.manifest
        if manifest.cluster.roles is None:
            self.notes.append("the snapshot has no role bindings")
            return
        saved: list[tuple[RolesPlan, Roles | None, Roles | None]] = [
            (RolesPlan(kind="cluster"), manifest.cluster.roles, self._settings.cluster_roles())
        ]
        for project in manifest.projects:
            if project.name in projects:
                of_project = RolesPlan(kind="project", project=project.name)
                saved.append((of_project, project.roles, self._settings.project_roles(project.name)))
        for repo in repos:
            # under another name the repo is another resource: nobody was given roles on it
            if repo.target == repo.source:
                of_repo = RolesPlan(kind="repo", project=repo.project, repo=repo.repo)
                roles = self.snapshot.vault.repo_record(repo.record).roles
                saved.append((of_repo, roles, self._settings.repo_roles(repo.target)))
        for of_resource, wanted, now in saved:
            if now is None:
                raise UsageError(
                    "role bindings are asked for, and the cluster has no authentication",
                    hint="activate it first, or leave roles out",
                )
            missing = _missing(wanted or {}, now)
            if missing:
                self.of_roles.append(of_resource.model_copy(update={"roles": missing}))

    def _project_defaults(self, name: str) -> str:
        try:
            return self._settings.project_defaults(name) or ""
        except SourceGoneError:
            return ""

    def _wanted(self, what: str, saved: str, now: str) -> str | None:
        """What is to be set; None for nothing."""
        if not saved or saved == now:
            return None
        if not now or self.request.settings:
            return saved
        self._note(f"the {what} differs")
        return None

    def _wanted_metadata(
        self, what: str, saved: Mapping[str, str], now: Mapping[str, str]
    ) -> dict[str, str] | None:
        if not saved or saved == now:
            return None
        if not now or self.request.settings:
            return dict(saved)
        self._note(f"the metadata of {what} differs")
        return None

    def _note(self, difference: str) -> None:
        self.notes.append(
            f"{difference} from the snapshot's and stays: `settings` brings the snapshot's back"
        )


def _missing(wanted: Roles, now: Roles) -> Roles:
    """The roles that principals lack."""
    lacking = {
        principal: sorted(set(roles) - set(now.get(principal, []))) for principal, roles in wanted.items()
    }
    return {principal: roles for principal, roles in given_by_users(lacking).items() if roles}
