"""auth_v2.API as far as a backup needs it: switched off until it is activated; then role bindings.

It keeps bindings and enforces nothing: any token may do anything.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from python_pachyderm.proto.v2.auth import auth_pb2

_FILE_NAME = "auth.json"
_NO_AUTH = "the auth service is not activated"
_ROOT = "pach:root"

Bindings = dict[str, dict[str, list[str]]]


class Auth:
    """Role bindings in a file of the state folder; the file is there while authentication is active."""

    def __init__(self, state: Path) -> None:
        self._file = state / _FILE_NAME
        self._lock = threading.Lock()

    def register(self, server: Any) -> None:
        server.add_generic_rpc_handlers((_Calls(self),))

    def activate(self, request: Any) -> Any:
        self._write({_key(auth_pb2.Resource(type=auth_pb2.CLUSTER)): {_ROOT: ["clusterAdmin"]}})
        return auth_pb2.ActivateResponse(pach_token=request.root_token)

    def deactivate(self, _request: Any) -> Any:
        self._file.unlink(missing_ok=True)
        return auth_pb2.DeactivateResponse()

    def who_am_i(self, _request: Any) -> Any:
        return auth_pb2.WhoAmIResponse(username=_ROOT)

    def get_role_binding(self, request: Any) -> Any:
        answer = auth_pb2.GetRoleBindingResponse()
        answer.binding.SetInParent()
        for principal, roles in (self._read() or {}).get(_key(request.resource), {}).items():
            for role in roles:
                answer.binding.entries[principal].roles[role] = True
        return answer

    def modify_role_binding(self, request: Any) -> Any:
        with self._lock:
            bindings = self._read() or {}
            of_resource = bindings.setdefault(_key(request.resource), {})
            of_resource.pop(request.principal, None)
            if request.roles:
                of_resource[request.principal] = list(request.roles)
            self._write(bindings)
        return auth_pb2.ModifyRoleBindingResponse()

    def is_active(self) -> bool:
        return self._file.exists()

    def _read(self) -> Bindings | None:
        try:
            bindings: Bindings = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        return bindings

    def _write(self, bindings: Bindings) -> None:
        temporary = self._file.with_name(f"{_FILE_NAME}.new")
        temporary.write_text(json.dumps(bindings) + "\n")
        temporary.replace(self._file)


def _key(resource: Any) -> str:
    return f"{resource.type}:{resource.name}"


class _Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every auth call: without authentication refused as by a cluster where it was never switched on."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._served: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "Activate": (auth_pb2.ActivateRequest, auth.activate),
            "Deactivate": (auth_pb2.DeactivateRequest, auth.deactivate),
            "WhoAmI": (auth_pb2.WhoAmIRequest, auth.who_am_i),
            "GetRoleBinding": (auth_pb2.GetRoleBindingRequest, auth.get_role_binding),
            "ModifyRoleBinding": (auth_pb2.ModifyRoleBindingRequest, auth.modify_role_binding),
        }

    def service(self, handler_call_details: Any) -> Any:
        prefix, _, method = handler_call_details.method.rpartition("/")
        if prefix != "/auth_v2.API":
            return None

        def answer(data: bytes, context: Any) -> bytes:
            if method != "Activate" and not self._auth.is_active():
                context.abort(grpc.StatusCode.UNIMPLEMENTED, _NO_AUTH)
            if method not in self._served:
                what = f"auth_v2.API.{method} is not served by the embedded Pachyderm"
                context.abort(grpc.StatusCode.UNIMPLEMENTED, what)
            request, behaviour = self._served[method]
            return bytes(behaviour(request.FromString(data)).SerializeToString())

        return grpc.unary_unary_rpc_method_handler(answer)
