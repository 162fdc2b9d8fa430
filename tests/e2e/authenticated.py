"""A cluster with authentication switched on: users, their rights, and commands that run as one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from python_pachyderm.proto.v2.auth import auth_pb2

from e2e.cluster import Cluster
from pachvault.pach.access.rights import Place

ROOT_TOKEN = "root-token"  # noqa: S105  (of a test server)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The cluster, called as root; commands run as root, too, unless a test says otherwise."""

    cluster: Cluster
    environment: pytest.MonkeyPatch

    def robot(self, name: str, ttl_seconds: int = 0) -> str:
        """A token of a robot user."""
        request = auth_pb2.GetRobotTokenRequest(robot=name, ttl=ttl_seconds)
        return str(self.cluster.connection.auth.GetRobotToken(request).token)

    def bind(self, principal: str, place: Place, *roles: str) -> None:
        """Replace the roles of a principal at a place."""
        resource = auth_pb2.Resource(type=auth_pb2.CLUSTER)
        if place.repo:
            resource = auth_pb2.Resource(type=auth_pb2.REPO, name=f"{place.project}/{place.repo}")
        elif place.project:
            resource = auth_pb2.Resource(type=auth_pb2.PROJECT, name=place.project)
        request = auth_pb2.ModifyRoleBindingRequest(resource=resource, principal=principal, roles=roles)
        self.cluster.connection.auth.ModifyRoleBinding(request)

    def command_as(self, token: str | None) -> None:
        """Run the commands that follow with a token."""
        if token is None:
            self.environment.delenv("PACH_TOKEN", raising=False)
        else:
            self.environment.setenv("PACH_TOKEN", token)


@contextmanager
def authentication(cluster: Cluster, environment: pytest.MonkeyPatch) -> Iterator[Authenticated]:
    """Switch authentication on, and off again."""
    cluster.connection.auth.Activate(auth_pb2.ActivateRequest(root_token=ROOT_TOKEN))
    cluster.sign_in(ROOT_TOKEN)
    signed_in = Authenticated(cluster, environment)
    signed_in.command_as(ROOT_TOKEN)
    try:
        yield signed_in
    finally:
        cluster.connection.auth.Deactivate(auth_pb2.DeactivateRequest())
        cluster.sign_in(None)
