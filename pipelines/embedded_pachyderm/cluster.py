"""The version, admin and enterprise APIs: version, identity, metadata; no enterprise key."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.admin import admin_pb2
from python_pachyderm.proto.v2.enterprise import enterprise_pb2
from python_pachyderm.proto.v2.version.versionpb import version_pb2

from embedded_pachyderm import newer_messages

#: The Pachyderm this double is like; `additional` says that it is one.
_VERSION = version_pb2.Version(
    major=2, minor=11, micro=6, additional="-embedded", platform=platform.machine()
)
_FILE_NAME = "cluster.json"


def register(server: Any, state: Path, metadata: Callable[[], dict[str, str]]) -> None:
    """Serve the version, admin and enterprise APIs there."""

    def described() -> Any:
        return newer_messages.with_metadata(_identity(state), metadata())

    answers: dict[tuple[str, str], tuple[Any, Callable[[], Any]]] = {
        ("versionpb_v2.API", "GetVersion"): (empty_pb2.Empty, lambda: _VERSION),
        ("admin_v2.API", "InspectCluster"): (admin_pb2.InspectClusterRequest, described),
        ("enterprise_v2.API", "GetState"): (
            enterprise_pb2.GetStateRequest,
            enterprise_pb2.GetStateResponse,
        ),
    }
    for (service, method), (request, answer) in answers.items():
        handler = grpc.unary_unary_rpc_method_handler(
            lambda _request, _context, answer=answer: answer(),
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))


def _identity(state: Path) -> Any:
    """The ids of this state folder, generated once."""
    file = state / _FILE_NAME
    if not file.exists():
        drawn = {"id": uuid.uuid4().hex, "deployment_id": uuid.uuid4().hex}
        temporary = file.with_name(f"{_FILE_NAME}.new")
        temporary.write_text(json.dumps(drawn) + "\n")
        temporary.replace(file)
    return admin_pb2.ClusterInfo(**json.loads(file.read_text()), version_warnings_ok=True)
