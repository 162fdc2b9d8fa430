"""The gRPC methods of projects, repos and branches: requests into transactions, rows into messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.metadata import branches, repos
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.metadata.records import BRANCH_COLUMNS, Branch, branches_of, repo_key
from embedded_pachyderm.pfs.pfs_errors import ArgumentError, NotFoundError, PfsError

Context: TypeAlias = grpc.ServicerContext

_DELETED = b"\x08\x01"  # DeleteRepoResponse.deleted, newer than python-pachyderm's messages


class ReposApi:
    """Where commits live."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_project(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            repos.create_project(
                transaction, request.project.name, request.description, update=request.update
            )
        return Empty()

    def inspect_project(self, request: Any, _context: Context) -> Any:
        name = request.project.name
        with self._database.read() as sql:
            projects = repos.list_projects(sql, name)
        if not projects:
            raise NotFoundError(
                f'error getting project "{name}": get project by name: project "{name}" not found'
            )
        return projects[0]

    def list_project(self, _request: Any, _context: Context) -> Iterator[Any]:
        with self._database.read() as sql:
            projects = repos.list_projects(sql)
        yield from projects

    def delete_project(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            repos.delete_project(transaction.sql, request.project.name, force=request.force)
        return Empty()

    def create_repo(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            repos.create(transaction, repo_key(request.repo), request.description, update=request.update)
        return Empty()

    def inspect_repo(self, request: Any, _context: Context) -> Any:
        with self._database.read() as sql:
            return repos.info(sql, repos.find(sql, repo_key(request.repo)), details=True)

    def list_repo(self, request: Any, _context: Context) -> Iterator[Any]:
        with self._database.read() as sql:
            selected = repos.select(sql, kind=request.type, projects=[p.name for p in request.projects])
            infos = [repos.info(sql, repo, details=False) for repo in selected]
        yield from infos

    def delete_repo(self, request: Any, _context: Context) -> bytes:
        if not request.HasField("repo"):
            raise ArgumentError("no repo specified")
        with self._database.write() as transaction:
            try:
                repo = repos.find(transaction.sql, repo_key(request.repo))
            except NotFoundError:
                return b""
            try:
                repos.delete(transaction.sql, repo, force=request.force)
            except PfsError as error:
                raise PfsError(f"delete repo: {error}") from None
        return _DELETED

    def delete_repos(self, request: Any, _context: Context) -> Any:
        projects = [project.name for project in request.projects]
        if not projects and not request.all:
            return pfs_pb2.DeleteReposResponse()
        with self._database.write() as transaction:
            deleted = repos.select(transaction.sql, projects=() if request.all else projects)
            repos.delete_all(transaction.sql, deleted, force=request.force)
        return pfs_pb2.DeleteReposResponse(repos=[repo.message() for repo in deleted])

    def create_branch(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            branches.create(transaction, request)
        return Empty()

    def inspect_branch(self, request: Any, _context: Context) -> Any:
        with self._database.read() as sql:
            return branches.info(sql, branches.find(sql, request.branch))

    def list_branch(self, request: Any, _context: Context) -> Iterator[Any]:
        with self._database.read() as sql:
            if request.HasField("repo"):
                repo = repos.find(sql, repo_key(request.repo))
                listed = branches_of(sql, repo.id, newest_first=not request.reverse)
            else:
                order = "ASC" if request.reverse else "DESC"
                query = f"SELECT {BRANCH_COLUMNS} FROM branch ORDER BY id {order}"  # noqa: S608
                listed = [Branch(*row) for row in sql.execute(query).fetchall()]
            infos = [branches.info(sql, branch) for branch in listed]
        yield from infos

    def delete_branch(self, request: Any, _context: Context) -> Any:
        with self._database.write() as transaction:
            try:
                branch = branches.find(transaction.sql, request.branch)
            except NotFoundError as error:
                raise NotFoundError(f"get branch {request.branch.name}: {error}") from None
            branches.delete(transaction.sql, branch, force=request.force)
        return Empty()
