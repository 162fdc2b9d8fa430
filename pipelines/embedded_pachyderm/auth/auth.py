"""The state of authentication: tokens, role bindings, and who may do what. Not active until it is activated.

Resources inherit: a right on a repo comes from bindings of the cluster, of its project or of the repo.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc

from embedded_pachyderm.auth.roles import CLUSTER, PERMISSIONS, PROJECT, REPO, ROLES, SPEC_REPO

TOKEN_KEY = "authn-token"  # noqa: S105  (the name of a header)
ROOT = "pach:root"
_EVERYBODY = "allClusterUsers"
_INTERNAL = "internal:embedded"
_FILE_NAME = "auth.json"
_TYPE_NAMES = {CLUSTER: "CLUSTER", REPO: "REPO", SPEC_REPO: "SPEC_REPO", PROJECT: "PROJECT"}

Bindings = dict[str, dict[str, list[str]]]
"""Resource to principal to roles."""


class Denied(Exception):  # noqa: N818  (an answer, not a failure)
    """A refusal, as pachd phrases it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Resource:
    """What rights are about; a repo is named `project/repo`."""

    type: int
    name: str = ""

    @property
    def key(self) -> str:
        """Spec repos share the bindings of the repo that they belong to."""
        return f"{REPO if self.type == SPEC_REPO else self.type}:{self.name}"

    def __str__(self) -> str:
        return f"{_TYPE_NAMES.get(self.type, '?')} {self.name}"


THE_CLUSTER = Resource(CLUSTER)


class Auth:
    """Tokens and role bindings, in a file of the state folder that exists while authentication is active."""

    def __init__(self, state: Path) -> None:
        self._file = state / _FILE_NAME
        self._lock = threading.RLock()
        self._bindings: Bindings = {}
        self._tokens: dict[str, tuple[str, float | None]] = {}
        """By digest: subject and time of expiry."""
        self.is_active = self._file.exists()
        if self.is_active:
            document = json.loads(self._file.read_text())
            self._bindings = document["bindings"]
            self._tokens = {digest: (subject, ends) for digest, (subject, ends) in document["tokens"].items()}
        self.internal_token = uuid.uuid4().hex
        """What the server's own parts call each other with."""
        self.existing: Callable[[], Iterable[Resource]] = lambda: ()
        """All projects and repos: they get bindings when authentication is activated."""

    def activate(self, root_token: str) -> str:
        with self._lock:
            if self.is_active:
                raise Denied(grpc.StatusCode.UNIMPLEMENTED, "the auth service is already activated")
            self._bindings = {resource.key: {} for resource in self.existing()}
            self._bindings[THE_CLUSTER.key] = {ROOT: ["clusterAdmin"]}
            self.is_active = True
            return self.make_token(ROOT, token=root_token)

    def deactivate(self) -> None:
        with self._lock:
            self.is_active = False
            self._bindings, self._tokens = {}, {}
            self._file.unlink(missing_ok=True)

    def make_token(self, subject: str, ttl_seconds: float = 0, token: str = "") -> str:
        token = token or uuid.uuid4().hex
        with self._lock:
            self._tokens[_digest(token)] = (subject, time.time() + ttl_seconds if ttl_seconds > 0 else None)
            self._write()
        return token

    def revoke(self, token: str) -> int:
        with self._lock:
            count = int(self._tokens.pop(_digest(token), None) is not None)
            self._write()
        return count

    def who(self, token: str | None) -> tuple[str, float | None]:
        """The subject of a token, and when it expires."""
        if token is None:
            raise Denied(grpc.StatusCode.UNAUTHENTICATED, "no authentication token (try logging in)")
        if token == self.internal_token:
            return _INTERNAL, None
        known = self._tokens.get(_digest(token))
        if known is None:
            message = "provided auth token is corrupted or has expired (try logging in again)"
            raise Denied(grpc.StatusCode.UNAUTHENTICATED, message)
        if known[1] is not None and known[1] <= time.time():
            raise Denied(grpc.StatusCode.INTERNAL, "token expiration is in the past")
        return known

    def binding(self, resource: Resource) -> dict[str, list[str]]:
        return self._bindings.get(resource.key, {})

    def bind(self, resource: Resource, principal: str, roles: list[str]) -> None:
        """Replace the roles of a principal; none remove it."""
        unknown = [role for role in roles if role not in ROLES]
        if unknown:
            raise Denied(grpc.StatusCode.UNKNOWN, f'unknown role "{unknown[0]}"')
        with self._lock:
            if resource.key not in self._bindings:
                raise _no_binding(resource)
            principals = self._bindings[resource.key]
            principals.pop(principal, None)
            if roles:
                principals[principal] = roles
            self._write()

    def created(self, resource: Resource, owner: str, role: str) -> None:
        """A new project or repo belongs to whoever made it."""
        with self._lock:
            entries = {} if owner == _INTERNAL else {owner: [role]}
            self._bindings.setdefault(resource.key, entries)
            self._write()

    def deleted(self, resource: Resource) -> None:
        with self._lock:
            self._bindings.pop(resource.key, None)
            self._write()

    def roles(self, principal: str, resource: Resource) -> list[str]:
        """All roles of a principal that count for a resource, inherited ones included."""
        if resource.type == SPEC_REPO:
            return ["repoReader", *self.roles(principal, Resource(REPO, resource.name))]
        roles: list[str] = []
        for level in _levels(resource):
            if level.key not in self._bindings:
                raise _no_binding(level)
            for who in (principal, _EVERYBODY):
                roles += self._bindings[level.key].get(who, [])
        return roles

    def permissions(self, principal: str, resource: Resource) -> tuple[set[str], list[str]]:
        """What `auth_info` lists: permissions and roles, of the roles that are meant for such a resource."""
        if principal == _INTERNAL:
            return set(PERMISSIONS), ["clusterAdmin"]
        roles = [role for role in self.roles(principal, resource) if resource.type in ROLES[role].counts_for]
        return {name for role in roles for name in ROLES[role].permissions}, sorted(set(roles))

    def may(self, principal: str, resource: Resource, *permissions: str) -> bool:
        """Whether a principal has all of these permissions. What it has higher up is looked at first."""
        if principal == _INTERNAL:
            return True
        roles: list[str] = ["repoReader"] if resource.type == SPEC_REPO else []
        for level in _levels(resource):
            if self._satisfied(roles, permissions):
                break
            if level.key not in self._bindings:
                raise _no_binding(level)
            for who in (principal, _EVERYBODY):
                roles += self._bindings[level.key].get(who, [])
        return self._satisfied(roles, permissions)

    def require(self, principal: str, resource: Resource, *permissions: str) -> None:
        if not self.may(principal, resource, *permissions):
            raise Denied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{principal} is not authorized to perform this operation - needs permissions "
                f"[{' '.join(permissions)}] on {resource}. Run `pachctl auth roles-for-permission` to find "
                "roles that grant a given permission.",
            )

    @staticmethod
    def _satisfied(roles: Iterable[str], permissions: Iterable[str]) -> bool:
        held = {name for role in roles for name in ROLES[role].permissions}
        return all(name in held for name in permissions)

    def _write(self) -> None:
        temporary = self._file.with_name(f"{_FILE_NAME}.new")
        temporary.write_text(json.dumps({"bindings": self._bindings, "tokens": self._tokens}) + "\n")
        temporary.replace(self._file)


def _levels(resource: Resource) -> list[Resource]:
    """The resource, after those that it inherits from."""
    if resource.type in (REPO, SPEC_REPO):
        project = Resource(PROJECT, resource.name.partition("/")[0])
        return [THE_CLUSTER, project, Resource(REPO, resource.name)]
    return [THE_CLUSTER] if resource.type == CLUSTER else [THE_CLUSTER, resource]


def _no_binding(resource: Resource) -> Denied:
    return Denied(grpc.StatusCode.UNKNOWN, f"no role binding exists for {resource}")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
