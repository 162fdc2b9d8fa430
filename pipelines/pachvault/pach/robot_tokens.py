"""Auth tokens of robot users, and the Kubernetes secrets that hold them; who calls, and with which rights."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from python_pachyderm.proto.v2.auth import auth_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from pachvault.errors import SourceGoneError, UnsupportedError
from pachvault.pach import records
from pachvault.pach.connection import Connection, explained, with_retries
from pachvault.pach.settings import is_not_activated

TO_RENEW = frozenset(
    {"CLUSTER_AUTH_GET_ROBOT_TOKEN", "CLUSTER_CREATE_SECRET", "SECRET_DELETE", "SECRET_INSPECT"}
)
"""Permissions on the cluster that it takes to make a token and to put it into a secret."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and until when its token is good."""

    name: str
    """As role bindings have it: `robot:backup`."""
    expires_at: datetime | None
    """None for a token that does not expire."""


class RobotTokens:
    """Tokens and secrets of one cluster. A call that is refused raises NotAllowedError with its remedy."""

    def __init__(self, connection: Connection) -> None:
        self._auth, self._pps = connection.auth, connection.pps

    def caller(self) -> Caller | None:
        """Who calls; None without authentication."""
        try:
            answer = with_retries("the caller", lambda: self._auth.WhoAmI(auth_pb2.WhoAmIRequest()))
        except UnsupportedError as error:
            if not is_not_activated(error):
                raise
            return None
        return Caller(str(answer.username), records.at(answer.expiration))

    def lacking(self, wanted: Iterable[str], project: str = "") -> frozenset[str]:
        """The permissions on a project, or on the cluster, that the caller lacks."""
        kind = auth_pb2.PROJECT if project else auth_pb2.CLUSTER
        resource = auth_pb2.Resource(type=kind, name=project)
        request = auth_pb2.GetPermissionsRequest(resource=resource)
        answer = with_retries("the caller's permissions", lambda: self._auth.GetPermissions(request))
        return frozenset(wanted) - records.permission_names(answer.permissions)

    def make(self, robot: str, lifetime: timedelta) -> str:
        """A new token of a robot user. Those made before stay good until they expire."""
        request = auth_pb2.GetRobotTokenRequest(robot=robot, ttl=int(lifetime.total_seconds()))
        return str(with_retries(f"a token of {robot}", lambda: self._auth.GetRobotToken(request)).token)

    def secret_made_at(self, name: str) -> datetime | None:
        """When a secret was created; None where there is none."""
        request = pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name=name))
        try:
            answer = with_retries(f"secret {name}", lambda: self._pps.InspectSecret(request))
        except SourceGoneError:
            return None
        return records.at(answer.creation_timestamp) or datetime.fromtimestamp(0, UTC)

    def put_secret(self, name: str, key: str, value: str) -> None:
        """Create a secret with one value, in place of one that is there: Pachyderm cannot change one."""
        secret = pps_pb2.Secret(name=name)
        if self.secret_made_at(name) is not None:
            with explained(f"secret {name}"):
                self._pps.DeleteSecret(pps_pb2.DeleteSecretRequest(secret=secret))
        document = {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": name},
            "data": {key: base64.b64encode(value.encode()).decode()},
        }
        with explained(f"secret {name}"):
            self._pps.CreateSecret(pps_pb2.CreateSecretRequest(file=json.dumps(document).encode()))
