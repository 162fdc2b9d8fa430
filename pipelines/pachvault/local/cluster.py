"""What a cluster says of itself: version, identity, that it has no enterprise key and no authentication."""

from __future__ import annotations

import json
import platform
import uuid
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.admin import admin_pb2
from python_pachyderm.proto.v2.enterprise import enterprise_pb2
from python_pachyderm.proto.v2.version.versionpb import version_pb2

#: The Pachyderm this double is like; `additional` says that it is one.
_VERSION = version_pb2.Version(
    major=2, minor=11, micro=6, additional="-embedded", platform=platform.machine()
)
_FILE_NAME = "cluster.json"
_NO_AUTH = "the auth service is not activated"


def register(server: Any, state: Path) -> None:
    """Serve the version, admin, enterprise and auth APIs there."""
    identity = _identity(state)
    answers: dict[tuple[str, str], tuple[Any, Any]] = {
        ("versionpb_v2.API", "GetVersion"): (empty_pb2.Empty, _VERSION),
        ("admin_v2.API", "InspectCluster"): (admin_pb2.InspectClusterRequest, identity),
        ("enterprise_v2.API", "GetState"): (
            enterprise_pb2.GetStateRequest,
            enterprise_pb2.GetStateResponse(),
        ),
    }
    for (service, method), (request, answer) in answers.items():
        handler = grpc.unary_unary_rpc_method_handler(
            lambda _request, _context, answer=answer: answer,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_generic_rpc_handlers((_NoAuth(),))


def _identity(state: Path) -> Any:
    """A name for this state folder, drawn once."""
    file = state / _FILE_NAME
    if not file.exists():
        drawn = {"id": uuid.uuid4().hex, "deployment_id": uuid.uuid4().hex}
        temporary = file.with_name(f"{_FILE_NAME}.new")
        temporary.write_text(json.dumps(drawn) + "\n")
        temporary.replace(file)
    return admin_pb2.ClusterInfo(**json.loads(file.read_text()), version_warnings_ok=True)


class _NoAuth(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every auth call, refused as by a cluster where authentication was never switched on."""

    def service(self, handler_call_details: Any) -> Any:
        if not handler_call_details.method.startswith("/auth_v2.API/"):
            return None

        def refuse(_request: bytes, context: Any) -> Any:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, _NO_AUTH)

        return grpc.unary_unary_rpc_method_handler(refuse)
