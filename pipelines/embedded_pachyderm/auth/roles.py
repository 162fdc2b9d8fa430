"""The roles of Pachyderm 2.11: what each permits, and for which resources it counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER, REPO, SPEC_REPO, PROJECT = 1, 2, 3, 4
"""Types of resources, numbered as in auth_v2.ResourceType."""
PERMISSIONS = {
    "CLUSTER_MODIFY_BINDINGS": 100,
    "CLUSTER_AUTH_DEACTIVATE": 103,
    "CLUSTER_AUTH_GET_ROBOT_TOKEN": 139,
    "CLUSTER_AUTH_GET_PERMISSIONS_FOR_PRINCIPAL": 141,
    "CLUSTER_CREATE_SECRET": 143,
    "CLUSTER_LIST_SECRETS": 144,
    "SECRET_DELETE": 145,
    "SECRET_INSPECT": 146,
    "CLUSTER_EDIT_CLUSTER_METADATA": 151,
    "CLUSTER_SET_DEFAULTS": 302,
    "REPO_READ": 200,
    "REPO_WRITE": 201,
    "REPO_MODIFY_BINDINGS": 202,
    "REPO_DELETE": 203,
    "REPO_INSPECT_COMMIT": 204,
    "REPO_LIST_COMMIT": 205,
    "REPO_DELETE_COMMIT": 206,
    "REPO_CREATE_BRANCH": 207,
    "REPO_LIST_BRANCH": 208,
    "REPO_DELETE_BRANCH": 209,
    "REPO_INSPECT_FILE": 210,
    "REPO_LIST_FILE": 211,
    "REPO_ADD_PIPELINE_READER": 212,
    "REPO_REMOVE_PIPELINE_READER": 213,
    "REPO_ADD_PIPELINE_WRITER": 214,
    "PIPELINE_LIST_JOB": 301,
    "PROJECT_SET_DEFAULTS": 303,
    "PROJECT_CREATE": 400,
    "PROJECT_DELETE": 401,
    "PROJECT_LIST_REPO": 402,
    "PROJECT_CREATE_REPO": 403,
    "PROJECT_MODIFY_BINDINGS": 404,
}


@dataclass(frozen=True, slots=True)
class Role:
    """A fixed set of permissions. Others cannot be made."""

    permissions: frozenset[str]
    counts_for: frozenset[int]
    """The types of resources in whose `auth_info` it is listed."""


def _role(permissions: str, *counts_for: int, more: frozenset[str] = frozenset()) -> Role:
    return Role(frozenset(permissions.split()) | more, frozenset(counts_for))


_REPO_READER = _role(
    "REPO_READ REPO_INSPECT_COMMIT REPO_LIST_COMMIT REPO_LIST_BRANCH REPO_LIST_FILE REPO_INSPECT_FILE "
    "REPO_ADD_PIPELINE_READER REPO_REMOVE_PIPELINE_READER PIPELINE_LIST_JOB",
    REPO,
)
_REPO_WRITER = _role(
    "REPO_WRITE REPO_DELETE_COMMIT REPO_CREATE_BRANCH REPO_DELETE_BRANCH REPO_ADD_PIPELINE_WRITER",
    REPO,
    more=_REPO_READER.permissions,
)
_REPO_OWNER = _role("REPO_MODIFY_BINDINGS REPO_DELETE", REPO, more=_REPO_WRITER.permissions)
_PROJECT_VIEWER = _role("PROJECT_LIST_REPO", PROJECT)
_PROJECT_WRITER = _role("PROJECT_CREATE_REPO", PROJECT, more=_PROJECT_VIEWER.permissions)
ROLES = {
    "repoReader": _REPO_READER,
    "repoWriter": _REPO_WRITER,
    "repoOwner": _REPO_OWNER,
    "projectViewer": _PROJECT_VIEWER,
    "projectWriter": _PROJECT_WRITER,
    "projectOwner": _role(
        "PROJECT_DELETE PROJECT_MODIFY_BINDINGS PROJECT_SET_DEFAULTS",
        PROJECT,
        REPO,
        more=_REPO_OWNER.permissions | _PROJECT_WRITER.permissions,
    ),
    "projectCreator": _role("PROJECT_CREATE", CLUSTER),
    "robotUser": _role("CLUSTER_AUTH_GET_ROBOT_TOKEN", CLUSTER),
    "secretAdmin": _role("CLUSTER_CREATE_SECRET CLUSTER_LIST_SECRETS SECRET_INSPECT SECRET_DELETE", CLUSTER),
    "clusterAdmin": Role(frozenset(PERMISSIONS), frozenset({CLUSTER, PROJECT, REPO})),
}
