"""metadata.API: maps of strings on projects, repos, branches, commits, pipelines and the cluster."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import newer_messages
from embedded_pachyderm.pfs.metadata import branches, commits, records, repos
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.pfs_errors import NotFoundError, PfsError
from embedded_pachyderm.pps.state import Key, State

_OPERATIONS = ("replace", "add_key", "edit_key", "delete_key")


class _KeyTakenError(PfsError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class MetadataService:
    """All edits of a request, or none."""

    def __init__(self, database: Database, pipelines: State) -> None:
        self._database, self._pipelines = database, pipelines

    def register(self, server: Any) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self.edit,
            request_deserializer=newer_messages.METADATA["EditMetadataRequest"].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        methods = {"EditMetadata": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("metadata.API", methods),))

    def edit(self, request: Any, context: Any) -> Any:
        for number, edit in enumerate(request.edits):
            if wrong := _wrong(edit):
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"validate request: invalid EditMetadataRequest.Edits[{number}]: {wrong}",
                )
        number = 0
        pipelines: dict[Key, dict[str, str]] = {}
        try:
            with self._database.write() as transaction:
                for edit in request.edits:
                    self._apply(transaction.sql, edit, pipelines)
                    number += 1
                for key, metadata in pipelines.items():
                    self._pipelines.edit_pipeline(key, partial(_replace, metadata))
        except PfsError as error:
            code = error.code if isinstance(error, _KeyTakenError) else grpc.StatusCode.UNKNOWN
            context.abort(code, f"apply edits: edit #{number}: {error}")
        return newer_messages.METADATA["EditMetadataResponse"]()

    def _apply(self, sql: sqlite3.Connection, edit: Any, pipelines: dict[Key, dict[str, str]]) -> None:
        if edit.HasField("pipeline"):
            key = Key(edit.pipeline.name.project.name or "default", edit.pipeline.name.name)
            info = self._pipelines.pipeline(key)
            if info is None:
                raise NotFoundError(f'pick pipeline: pipeline "{key}" not found')
            pipelines[key] = _edited(edit, pipelines.get(key, newer_messages.metadata_of(info)))
            return
        kind, object_id = _target(sql, edit)
        records.put_metadata(sql, kind, object_id, _edited(edit, records.metadata(sql, kind, object_id)))


def _target(sql: sqlite3.Connection, edit: Any) -> tuple[str, str | int]:
    """The kind of object that an edit means, and what its row is known by."""
    if edit.HasField("cluster"):
        return "cluster", ""
    if edit.HasField("project"):
        if not repos.list_projects(sql, edit.project.name):
            raise NotFoundError(f'pick project: project "{edit.project.name}" not found')
        return "project", edit.project.name
    if edit.HasField("repo"):
        return "repo", repos.find(sql, records.repo_key(_repo(edit.repo))).id
    if edit.HasField("branch"):
        return "branch", branches.find(sql, _branch(edit.branch)).id
    if edit.commit.HasField("id"):
        message = pfs_pb2.Commit(repo=_repo(edit.commit.id.repo), id=edit.commit.id.id)
    else:
        branch = _branch(edit.commit.branch_head)
        message = pfs_pb2.Commit(repo=branch.repo, branch=branch)
    return "commit", commits.resolve(sql, message).id


def _edited(edit: Any, metadata: dict[str, str]) -> dict[str, str]:
    if edit.HasField("replace"):
        return dict(edit.replace.replacement)
    if edit.HasField("delete_key"):
        return {key: value for key, value in metadata.items() if key != edit.delete_key.key}
    if edit.HasField("add_key") and edit.add_key.key in metadata:
        raise _KeyTakenError(
            f"add_key target key {json.dumps(edit.add_key.key)} already exists; use edit_key instead"
        )
    pair = edit.add_key if edit.HasField("add_key") else edit.edit_key
    return {**metadata, pair.key: pair.value}


def _wrong(edit: Any) -> str | None:
    """What the real server's validation refuses."""
    targets = ("project", "commit", "branch", "repo", "cluster", "pipeline")
    if not any(edit.HasField(name) for name in targets):
        return "invalid Edit.Target: value is required"
    operation = next((name for name in _OPERATIONS if edit.HasField(name)), None)
    if operation is None:
        return "invalid Edit.Op: value is required"
    keys = edit.replace.replacement if operation == "replace" else [getattr(edit, operation).key]
    return "value length must be at least 1 runes" if "" in keys else None


def _replace(metadata: dict[str, str], info: Any) -> None:
    info.DiscardUnknownFields()  # it carries no other
    newer_messages.with_metadata(info, metadata)


def _repo(picker: Any) -> Any:
    project = pfs_pb2.Project(name=picker.name.project.name)
    return pfs_pb2.Repo(name=picker.name.name, type=picker.name.type or records.USER_REPO, project=project)


def _branch(picker: Any) -> Any:
    return pfs_pb2.Branch(repo=_repo(picker.name.repo), name=picker.name.name)
