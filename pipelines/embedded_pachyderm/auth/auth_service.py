"""auth_v2.API as far as a backup needs it; until it is activated every call is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from python_pachyderm.proto.v2.auth import auth_pb2

from embedded_pachyderm.auth.auth import THE_CLUSTER, TOKEN_KEY, Auth, Denied, Resource
from embedded_pachyderm.auth.roles import CLUSTER, PERMISSIONS, PROJECT, REPO, ROLES

_NO_AUTH = "the auth service is not activated"
_TO_BIND = {
    CLUSTER: "CLUSTER_MODIFY_BINDINGS",
    PROJECT: "PROJECT_MODIFY_BINDINGS",
    REPO: "REPO_MODIFY_BINDINGS",
}
_SUBJECTS = ("user:", "robot:", "pipeline:", "pach:", "group:", "internal:")


class AuthService(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every auth call."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._served: dict[str, tuple[Any, Callable[[Any, str], Any]]] = {
            "Deactivate": (auth_pb2.DeactivateRequest, self._deactivate),
            "GetRoleBinding": (auth_pb2.GetRoleBindingRequest, self._get_role_binding),
            "ModifyRoleBinding": (auth_pb2.ModifyRoleBindingRequest, self._modify_role_binding),
            "GetPermissions": (auth_pb2.GetPermissionsRequest, self._get_permissions),
            "GetPermissionsForPrincipal": (auth_pb2.GetPermissionsForPrincipalRequest, self._permissions_of),
            "GetRobotToken": (auth_pb2.GetRobotTokenRequest, self._get_robot_token),
            "RevokeAuthToken": (auth_pb2.RevokeAuthTokenRequest, self._revoke),
            "GetRolesForPermission": (auth_pb2.GetRolesForPermissionRequest, self._roles_for),
        }

    def service(self, handler_call_details: Any) -> Any:
        prefix, _, method = handler_call_details.method.rpartition("/")
        if prefix != "/auth_v2.API":
            return None
        token = dict(handler_call_details.invocation_metadata or ()).get(TOKEN_KEY)

        def answer(data: bytes, context: Any) -> bytes:
            try:
                return bytes(self._answer(method, data, token).SerializeToString())
            except Denied as denied:
                context.abort(denied.code, denied.message)
                raise  # never reached: abort raises

        return grpc.unary_unary_rpc_method_handler(answer)

    def _answer(self, method: str, data: bytes, token: str | None) -> Any:
        if method == "Activate":
            request = auth_pb2.ActivateRequest.FromString(data)
            return auth_pb2.ActivateResponse(pach_token=self._auth.activate(request.root_token))
        if not self._auth.is_active:
            raise Denied(grpc.StatusCode.UNIMPLEMENTED, _NO_AUTH)
        subject, ends_at = self._auth.who(token)
        if method == "WhoAmI":
            who = auth_pb2.WhoAmIResponse(username=subject)
            if ends_at is not None:
                who.expiration.FromMicroseconds(int(ends_at * 1e6))
            return who
        if method not in self._served:
            what = f"auth_v2.API.{method} is not served by the embedded Pachyderm"
            raise Denied(grpc.StatusCode.UNIMPLEMENTED, what)
        message, behaviour = self._served[method]
        return behaviour(message.FromString(data), subject)

    def _deactivate(self, _request: Any, subject: str) -> Any:
        self._auth.require(subject, THE_CLUSTER, "CLUSTER_AUTH_DEACTIVATE")
        self._auth.deactivate()
        return auth_pb2.DeactivateResponse()

    def _get_role_binding(self, request: Any, _subject: str) -> Any:
        answer = auth_pb2.GetRoleBindingResponse()
        answer.binding.SetInParent()
        for principal, roles in self._auth.binding(_resource(request)).items():
            for role in roles:
                answer.binding.entries[principal].roles[role] = True
        return answer

    def _modify_role_binding(self, request: Any, subject: str) -> Any:
        resource = _resource(request)
        if not request.principal.startswith(_SUBJECTS) and request.principal != "allClusterUsers":
            raise Denied(grpc.StatusCode.UNKNOWN, f"subject has unrecognized prefix: {request.principal}")
        if request.principal.startswith("pach:") and resource.type == CLUSTER:
            message = "cannot modify cluster role bindings for pach: users"
            raise Denied(grpc.StatusCode.UNKNOWN, message)
        self._auth.require(subject, resource, _TO_BIND[resource.type])
        self._auth.bind(resource, request.principal, list(request.roles))
        return auth_pb2.ModifyRoleBindingResponse()

    def _get_permissions(self, request: Any, subject: str) -> Any:
        names, roles = self._auth.permissions(subject, _resource(request))
        return auth_pb2.GetPermissionsResponse(
            permissions=sorted(PERMISSIONS[name] for name in names), roles=roles
        )

    def _permissions_of(self, request: Any, subject: str) -> Any:
        self._auth.require(subject, THE_CLUSTER, "CLUSTER_AUTH_GET_PERMISSIONS_FOR_PRINCIPAL")
        return self._get_permissions(request, request.principal)

    def _get_robot_token(self, request: Any, subject: str) -> Any:
        self._auth.require(subject, THE_CLUSTER, "CLUSTER_AUTH_GET_ROBOT_TOKEN")
        robot = request.robot.removeprefix("robot:")
        if ":" in robot:
            raise Denied(grpc.StatusCode.UNKNOWN, "robot names cannot contain colons (':')")
        token = self._auth.make_token(f"robot:{robot}", request.ttl)
        return auth_pb2.GetRobotTokenResponse(token=token)

    def _revoke(self, request: Any, _subject: str) -> Any:
        return auth_pb2.RevokeAuthTokenResponse(number=self._auth.revoke(request.token))

    def _roles_for(self, request: Any, _subject: str) -> Any:
        names = {number: name for name, number in PERMISSIONS.items()}
        wanted = names.get(request.permission)
        roles = [auth_pb2.Role(name=name) for name, role in ROLES.items() if wanted in role.permissions]
        return auth_pb2.GetRolesForPermissionResponse(roles=roles)


def _resource(request: Any) -> Resource:
    return Resource(request.resource.type, request.resource.name)
