"""Which permissions each call needs, from its request. Pure.

Stricter than 2.11.6 in one thing: there every signed-in caller may write into an open commit and take the
file set of a commit. Here both need the right that is needed through a branch, so that what is granted is
enough for a server that does check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from embedded_pachyderm.auth.auth import THE_CLUSTER, Resource
from embedded_pachyderm.auth.roles import PROJECT, REPO, SPEC_REPO
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.service.specs import SpecError, parse_spec

Need: TypeAlias = tuple[Resource, tuple[str, ...]]
"""A resource, and the permissions on it."""

UNAUTHENTICATED = {
    "/admin_v2.API/InspectCluster",
    "/versionpb_v2.API/GetVersion",
    "/enterprise_v2.API/GetState",
    "/pfs_v2.API/GetFileTAR",
}
"""What works without a token. GetFileTAR checks it itself unless a file set is read."""

_CLUSTER = {
    "/pfs_v2.API/CreateProject": "PROJECT_CREATE",
    "/pfs_v2.API/SquashCommitSet": "REPO_DELETE_COMMIT",
    "/pfs_v2.API/DropCommitSet": "REPO_DELETE_COMMIT",
    "/pps_v2.API/CreateSecret": "CLUSTER_CREATE_SECRET",
    "/pps_v2.API/ListSecret": "CLUSTER_LIST_SECRETS",
    "/pps_v2.API/DeleteSecret": "SECRET_DELETE",
    "/pps_v2.API/InspectSecret": "SECRET_INSPECT",
    "/pps_v2.API/SetClusterDefaults": "CLUSTER_SET_DEFAULTS",
}
"""Calls that need a permission on the cluster itself, whatever they are about."""


def repo(message: Any) -> Resource:
    """The resource of a PFS repo."""
    kind = SPEC_REPO if message.type == "spec" else REPO
    return Resource(kind, f"{message.project.name or 'default'}/{message.name}")


def project(message: Any) -> Resource:
    """The resource of a project."""
    return Resource(PROJECT, message.name or "default")


def pipeline(message: Any) -> Resource:
    """The output repo of a pipeline, whose rights are those of the pipeline."""
    return Resource(REPO, f"{message.project.name or 'default'}/{message.name}")


def of_commit(commit: Any) -> Resource:
    """The repo of a commit, which may be named by its branch."""
    return repo(commit.repo if commit.repo.name else commit.branch.repo)


def spec(method: str, request: Any) -> Any:
    """The CreatePipelineRequest in a request to create a pipeline; None for a spec that cannot be read."""
    if method.endswith("V2"):
        try:
            return parse_spec(json.loads(request.create_pipeline_request_json))
        except (SpecError, ValueError):
            return None
    return request


def needs(method: str, request: Any, *, has_pipeline: Callable[[Resource], bool]) -> Iterator[Need]:
    """What a call needs."""
    if method in _CLUSTER:
        yield THE_CLUSTER, (_CLUSTER[method],)
        return
    service, _, name = method.lstrip("/").partition("/")
    if name in ("CreatePipeline", "CreatePipelineV2"):
        if request.dry_run:  # pachd answers before it asks for rights
            return
        yield from _creating(spec(name, request), has_pipeline)
    elif service == "transaction_v2.API" and name == "BatchTransaction":
        for item in request.requests:
            for field, call in item.ListFields():
                parts = field.name.split("_")
                yield from _pfs("".join(part.title() for part in parts), call)
    elif service == "pfs_v2.API":
        yield from _pfs(name, request)
    elif service == "pps_v2.API":
        yield from _pps(name, request)
    elif name == "EditMetadata":
        for edit in request.edits:
            yield from _metadata(edit)


_REPO_CALLS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "DeleteRepo": (lambda r: r.repo, ("REPO_DELETE",)),
    "StartCommit": (lambda r: r.branch.repo, ("REPO_WRITE",)),
    "ListCommit": (lambda r: r.repo, ("REPO_LIST_COMMIT",)),
    "CreateBranch": (lambda r: r.branch.repo, ("REPO_CREATE_BRANCH",)),
    "ListBranch": (lambda r: r.repo, ("REPO_LIST_BRANCH",)),
    "DeleteBranch": (lambda r: r.branch.repo, ("REPO_DELETE_BRANCH",)),
}
_COMMIT_CALLS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "FinishCommit": (lambda r: r.commit, ("REPO_WRITE",)),
    "ClearCommit": (lambda r: r.commit, ("REPO_WRITE",)),
    "InspectCommit": (lambda r: r.commit, ("REPO_INSPECT_COMMIT",)),
    "GetFile": (lambda r: r.file.commit, ("REPO_READ",)),
    "GetFileTAR": (lambda r: r.file.commit, ("REPO_READ",)),
    "InspectFile": (lambda r: r.file.commit, ("REPO_INSPECT_FILE",)),
    "ListFile": (lambda r: r.file.commit, ("REPO_LIST_FILE",)),
    "WalkFile": (lambda r: r.file.commit, ("REPO_READ", "REPO_LIST_FILE")),
    "GlobFile": (lambda r: r.commit, ("REPO_READ", "REPO_LIST_FILE")),
    "GetFileSet": (lambda r: r.commit, ("REPO_READ",)),
    "AddFileSet": (lambda r: r.commit, ("REPO_WRITE",)),
    "ModifyFile": (lambda r: r.set_commit, ("REPO_WRITE",)),
}
_FILE_SETS = "__filesets__"


def _pfs(name: str, request: Any) -> Iterator[Need]:
    if name == "CreateRepo":
        yield project(request.repo.project), ("PROJECT_CREATE_REPO",)
    elif name == "DeleteProject":
        yield project(request.project), ("PROJECT_DELETE", "PROJECT_MODIFY_BINDINGS")
    elif name == "DiffFile":
        for file in (request.new_file, request.old_file):
            if file.commit.repo.name not in ("", _FILE_SETS):
                yield of_commit(file.commit), ("REPO_READ",)
    elif name in _REPO_CALLS:
        message, permissions = _REPO_CALLS[name][0](request), _REPO_CALLS[name][1]
        if message.name:
            yield repo(message), permissions
    # a stream that does not begin with its commit is refused by the call itself
    elif name in _COMMIT_CALLS and not (name == "ModifyFile" and not hasattr(request, "set_commit")):
        commit, permissions = _COMMIT_CALLS[name][0](request), _COMMIT_CALLS[name][1]
        resource = of_commit(commit)
        # a file set is read by whoever has its id, but those calls that list check its made-up repo first
        is_free = resource.name.endswith(f"/{_FILE_SETS}") and name in (
            "GetFile",
            "GetFileTAR",
            "InspectCommit",
        )
        if not is_free:
            yield resource, permissions


def _pps(name: str, request: Any) -> Iterator[Need]:
    if name == "SetProjectDefaults":
        yield project(request.project), ("PROJECT_SET_DEFAULTS",)
    elif name in ("StartPipeline", "StopPipeline"):
        yield pipeline(request.pipeline), ("REPO_WRITE",)
    elif name == "DeletePipeline":
        yield pipeline(request.pipeline), ("REPO_DELETE",)
    elif name == "ListJob" and request.pipeline.name:
        yield pipeline(request.pipeline), ("PIPELINE_LIST_JOB",)
    elif name == "ListDatum" and request.job.pipeline.name:
        yield pipeline(request.job.pipeline), ("REPO_READ",)
    elif name == "GetLogs" and (request.pipeline.name or request.job.pipeline.name):
        yield pipeline(request.pipeline if request.pipeline.name else request.job.pipeline), ("REPO_READ",)


def _creating(request: Any, has_pipeline: Callable[[Resource], bool]) -> Iterator[Need]:
    if request is None:
        return
    own = request.pipeline.project
    for node in inputs.leaves(request.input):
        if node.HasField("pfs"):
            name = f"{node.pfs.project or own.name or 'default'}/{node.pfs.repo}"
            yield Resource(REPO, name), ("REPO_READ", "REPO_ADD_PIPELINE_READER")
    if has_pipeline(pipeline(request.pipeline)):
        yield pipeline(request.pipeline), ("REPO_WRITE",)
    else:
        yield project(own), ("PROJECT_CREATE_REPO",)


def _metadata(edit: Any) -> Iterator[Need]:
    if edit.HasField("cluster"):
        yield THE_CLUSTER, ("CLUSTER_EDIT_CLUSTER_METADATA",)
    elif edit.HasField("repo"):
        yield _picked(edit.repo.name), ("REPO_WRITE",)
    elif edit.HasField("branch"):
        yield _picked(edit.branch.name.repo.name), ("REPO_CREATE_BRANCH",)
    elif edit.HasField("pipeline"):
        yield _picked(edit.pipeline.name), ("REPO_WRITE",)


def _picked(name: Any) -> Resource:
    return Resource(REPO, f"{name.project.name or 'default'}/{name.name}")
