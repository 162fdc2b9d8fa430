"""What a cluster keeps beside data: metadata, defaults for pipelines, role bindings. Read and written.

Each came with a version of its own, and role bindings are there with authentication only: reading gives
None where this Pachyderm has no such thing, writing raises UnsupportedError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.auth import auth_pb2

from pachvault.errors import UnsupportedError
from pachvault.format.documents import Roles
from pachvault.format.ids import RepoName
from pachvault.pach import codec, unknown_fields
from pachvault.pach.connection import Connection, with_retries

Answer = TypeVar("Answer")

METADATA_SINCE = "2.10"
DEFAULTS_SINCE = "2.8"


@dataclass(frozen=True, slots=True)
class SettingsScope:
    """An object that has metadata: how requests name it, and what people call it."""

    field: int
    """Number of the field of metadata.Edit that names it."""
    picker: bytes
    text: str

    @classmethod
    def cluster(cls) -> SettingsScope:
        """The cluster itself."""
        return cls(5, b"", "the cluster")

    @classmethod
    def project(cls, name: str) -> SettingsScope:
        """A project."""
        return cls(1, _project(name), f"project {name}")

    @classmethod
    def repo(cls, name: RepoName) -> SettingsScope:
        """A repo of type user."""
        return cls(4, _repo(name), str(name))

    @classmethod
    def branch(cls, repo: RepoName, branch: str) -> SettingsScope:
        """A branch."""
        return cls(
            3, codec.field(1, codec.field(1, _repo(repo)) + codec.field(2, branch)), f"{repo}@{branch}"
        )

    @classmethod
    def commit(cls, repo: RepoName, commit: str) -> SettingsScope:
        """A commit."""
        return cls(
            2, codec.field(2, codec.field(1, _repo(repo)) + codec.field(2, commit)), f"{repo}@{commit}"
        )

    @classmethod
    def pipeline(cls, name: RepoName) -> SettingsScope:
        """A pipeline, by the name of its output repo."""
        picker = codec.field(1, codec.field(1, _project(name.project)) + codec.field(2, name.repo))
        return cls(6, picker, f"pipeline {name}")


class Settings:
    """The settings of one cluster. Methods raise PachydermError with one clear line."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cluster_defaults(self) -> str | None:
        """The defaults of pipeline specs, as JSON; None before Pachyderm 2.8."""
        answer = self._asked("pps_v2.API/GetClusterDefaults", b"", "cluster defaults")
        return None if answer is None else codec.text(answer, 2)

    def project_defaults(self, project: str) -> str | None:
        """The same for the pipelines of a project; None before Pachyderm 2.8."""
        request = codec.field(1, codec.field(1, project))
        answer = self._asked("pps_v2.API/GetProjectDefaults", request, f"defaults of project {project}")
        return None if answer is None else codec.text(answer, 1)

    def set_cluster_defaults(self, defaults_json: str) -> None:
        """Replace the cluster's defaults; existing pipelines keep theirs."""
        self._told("pps_v2.API/SetClusterDefaults", codec.field(5, defaults_json), "cluster defaults")

    def set_project_defaults(self, project: str, defaults_json: str) -> None:
        """Replace a project's defaults; existing pipelines keep theirs."""
        request = codec.field(1, codec.field(1, project)) + codec.field(5, defaults_json)
        self._told("pps_v2.API/SetProjectDefaults", request, f"defaults of project {project}")

    def cluster_metadata(self) -> dict[str, str]:
        """The cluster's own metadata."""
        answer = with_retries("the cluster", lambda: self._connection.admin.InspectCluster(Empty()))
        return unknown_fields.strings(answer, "metadata")

    def set_metadata(self, place: SettingsScope, metadata: Mapping[str, str]) -> None:
        """Replace an object's metadata. UnsupportedError before Pachyderm 2.10."""
        entries = (codec.field(1, codec.field(1, key) + codec.field(2, metadata[key])) for key in metadata)
        edit = codec.field(place.field, place.picker) + codec.field(10, b"".join(entries))
        self._told("metadata.API/EditMetadata", codec.field(1, edit), f"metadata of {place.text}")

    def caller(self) -> str:
        """Who calls, as role bindings name it: `robot:backup`. UnsupportedError without authentication."""
        request = auth_pb2.WhoAmIRequest()
        return str(with_retries("the caller", lambda: self._connection.auth.WhoAmI(request)).username)

    def is_authenticated(self) -> bool:
        """Whether authentication is active, so that there are role bindings."""
        try:
            self.caller()
        except UnsupportedError as error:
            if not is_not_activated(error):
                raise
            return False
        return True

    def cluster_roles(self) -> Roles | None:
        """Role bindings of the cluster; None without authentication."""
        return self._roles(auth_pb2.Resource(type=auth_pb2.CLUSTER))

    def project_roles(self, project: str) -> Roles | None:
        """The same for a project."""
        return self._roles(auth_pb2.Resource(type=auth_pb2.PROJECT, name=project))

    def repo_roles(self, repo: RepoName) -> Roles | None:
        """The same for a repo."""
        return self._roles(auth_pb2.Resource(type=auth_pb2.REPO, name=str(repo)))

    def add_cluster_roles(self, roles: Roles) -> list[str]:
        """Give principals the roles that they lack; a line for each that got some. No role is removed."""
        return self._add_roles(auth_pb2.Resource(type=auth_pb2.CLUSTER), "the cluster", roles)

    def add_project_roles(self, project: str, roles: Roles) -> list[str]:
        """The same for a project."""
        resource = auth_pb2.Resource(type=auth_pb2.PROJECT, name=project)
        return self._add_roles(resource, f"project {project}", roles)

    def add_repo_roles(self, repo: RepoName, roles: Roles) -> list[str]:
        """The same for a repo."""
        return self._add_roles(auth_pb2.Resource(type=auth_pb2.REPO, name=str(repo)), str(repo), roles)

    def _roles(self, resource: Any) -> Roles | None:
        request = auth_pb2.GetRoleBindingRequest(resource=resource)
        what = f"role bindings of {resource.name or 'the cluster'}"
        try:
            answer = with_retries(what, lambda: self._connection.auth.GetRoleBinding(request))
        except UnsupportedError as error:
            if not is_not_activated(error):
                raise
            return None
        return {
            principal: sorted(role for role, has in entry.roles.items() if has)
            for principal, entry in sorted(answer.binding.entries.items())
        }

    def _add_roles(self, resource: Any, text: str, wanted: Roles) -> list[str]:
        there = self._roles(resource)
        if there is None:
            raise UnsupportedError("authentication is not activated", where=f"role bindings of {text}")
        added = []
        for principal, roles in given_by_users(wanted).items():
            have = there.get(principal, [])
            missing = sorted(set(roles) - set(have))
            if missing:
                # ModifyRoleBinding replaces what a principal has: the roles that it has go with the new ones
                self._bind(resource, principal, [*have, *missing])
                added.append(f"{principal}: {', '.join(missing)} on {text}")
        return added

    def _bind(self, resource: Any, principal: str, roles: list[str]) -> None:
        request = auth_pb2.ModifyRoleBindingRequest(resource=resource, principal=principal, roles=roles)
        what = f"roles of {principal}"
        with_retries(what, lambda: self._connection.auth.ModifyRoleBinding(request))

    def _asked(self, method: str, request: bytes, what: str) -> bytes | None:
        try:
            return self._told(method, request, what)
        except UnsupportedError:
            return None

    def _told(self, method: str, request: bytes, what: str) -> bytes:
        call = self._connection.raw_call(method)
        return bytes(with_retries(what, lambda: call(request)))


def is_not_activated(error: UnsupportedError) -> bool:
    """Whether pachd reports that authentication is off.

    It does with status UNIMPLEMENTED, and so may a proxy for a path that it does not know.
    """
    return "not activated" in error.what


def given_by_users(roles: Roles) -> Roles:
    """The bindings without those that Pachyderm makes itself, for pipelines and for its own users."""
    own = ("pipeline:", "pach:", "internal:")
    return {principal: given for principal, given in roles.items() if not principal.startswith(own)}


def _project(name: str) -> bytes:
    return codec.field(1, name)


def _repo(name: RepoName) -> bytes:
    return codec.field(1, codec.field(1, _project(name.project)) + codec.field(2, name.repo))
