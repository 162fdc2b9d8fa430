"""Rows of the metadata as values, and their protobuf messages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm.pfs.metadata.names import DEFAULT_PROJECT

USER_REPO = "user"
SPEC_REPO = "spec"

RepoKey = tuple[str, str, str]  # project, name, type


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo of any type."""

    id: int
    project: str
    name: str
    type: str
    description: str
    created: int

    def __str__(self) -> str:
        return repo_text(self.key)

    @property
    def key(self) -> RepoKey:
        """What names it."""
        return self.project, self.name, self.type

    def message(self) -> Any:
        """The repo as requests and answers name it."""
        return pfs_pb2.Repo(name=self.name, type=self.type, project=pfs_pb2.Project(name=self.project))


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch and where its head is."""

    id: int
    repo: int
    name: str
    head: int
    trigger: bytes | None
    created: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; `diff` and `total` are stacks of layers, `total` known once it is finished."""

    id: int
    repo: int
    set_id: str
    branch: int | None
    origin: int
    description: str
    parent: int | None
    started: int
    finishing: int | None
    finished: int | None
    error: str
    size: int | None
    diff: tuple[int, ...]
    total: tuple[int, ...] | None


REPO_COLUMNS = "id, project, name, type, description, created"
BRANCH_COLUMNS = 'id, repo, name, head, "trigger", created'
COMMIT_COLUMNS = (
    "id, repo, set_id, branch, origin, description, parent, started, finishing, finished, error, size,"
    " diff, total"
)


def commit_of(row: tuple[Any, ...]) -> Commit:
    """The commit in a row of `COMMIT_COLUMNS`."""
    stacks = (None if stack is None else tuple(json.loads(stack)) for stack in row[-2:])
    return Commit(*row[:-2], *stacks)


def repo_key(message: Any) -> RepoKey:
    """Which repo a message names; the project may be left out."""
    return message.project.name or DEFAULT_PROJECT, message.name, message.type


def repo_text(key: RepoKey) -> str:
    """The repo as sentences name it."""
    project, name, kind = key
    return f"{project}/{name}" if kind == USER_REPO else f"{project}/{name}.{kind}"


def timestamp(nanoseconds: int | None) -> Timestamp | None:
    """The time as messages carry it."""
    if nanoseconds is None:
        return None
    return Timestamp(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def find_repo(sql: sqlite3.Connection, key: RepoKey) -> Repo | None:
    """The repo of that project, name and type."""
    row = sql.execute(
        f"SELECT {REPO_COLUMNS} FROM repo WHERE project = ? AND name = ? AND type = ?",  # noqa: S608
        key,
    ).fetchone()
    return Repo(*row) if row else None


def repo_by_id(sql: sqlite3.Connection, repo_id: int) -> Repo:
    """The repo a row refers to."""
    row = sql.execute(f"SELECT {REPO_COLUMNS} FROM repo WHERE id = ?", (repo_id,)).fetchone()  # noqa: S608
    return Repo(*row)


def find_branch(sql: sqlite3.Connection, repo_id: int, name: str) -> Branch | None:
    """The branch of that name."""
    row = sql.execute(
        f"SELECT {BRANCH_COLUMNS} FROM branch WHERE repo = ? AND name = ?",  # noqa: S608
        (repo_id, name),
    ).fetchone()
    return Branch(*row) if row else None


def branch_by_id(sql: sqlite3.Connection, branch_id: int) -> Branch:
    """The branch a row refers to."""
    row = sql.execute(f"SELECT {BRANCH_COLUMNS} FROM branch WHERE id = ?", (branch_id,)).fetchone()  # noqa: S608
    return Branch(*row)


def branches_of(sql: sqlite3.Connection, repo_id: int, *, newest_first: bool = False) -> list[Branch]:
    """A repo's branches in the order they were made."""
    order = "DESC" if newest_first else "ASC"
    query = f"SELECT {BRANCH_COLUMNS} FROM branch WHERE repo = ? ORDER BY id {order}"  # noqa: S608
    return [Branch(*row) for row in sql.execute(query, (repo_id,))]


def find_commit(sql: sqlite3.Connection, repo_id: int, set_id: str) -> Commit | None:
    """The repo's commit in that commit set."""
    row = sql.execute(
        f'SELECT {COMMIT_COLUMNS} FROM "commit" WHERE repo = ? AND set_id = ?',  # noqa: S608
        (repo_id, set_id),
    ).fetchone()
    return commit_of(row) if row else None


def commit_by_id(sql: sqlite3.Connection, commit_id: int) -> Commit | None:
    """The commit a row refers to, unless it is gone."""
    row = sql.execute(f'SELECT {COMMIT_COLUMNS} FROM "commit" WHERE id = ?', (commit_id,)).fetchone()  # noqa: S608
    return commit_of(row) if row else None


def children_of(sql: sqlite3.Connection, commit_id: int) -> list[Commit]:
    """The commits that have this one as their parent."""
    query = f'SELECT {COMMIT_COLUMNS} FROM "commit" WHERE parent = ? ORDER BY id'  # noqa: S608
    return [commit_of(row) for row in sql.execute(query, (commit_id,))]


def commit_message(sql: sqlite3.Connection, commit: Commit) -> Any:
    """The commit as answers name it: since 2.11 without its branch."""
    return pfs_pb2.Commit(repo=repo_by_id(sql, commit.repo).message(), id=commit.set_id)


def branch_message(sql: sqlite3.Connection, branch: Branch) -> Any:
    """The branch as answers name it."""
    return pfs_pb2.Branch(repo=repo_by_id(sql, branch.repo).message(), name=branch.name)


def commit_text(sql: sqlite3.Connection, commit: Commit) -> str:
    """The commit as sentences name it."""
    return f"{repo_by_id(sql, commit.repo)}@{commit.set_id}"


def metadata(sql: sqlite3.Connection, kind: str, object_id: int | str) -> dict[str, str]:
    """The metadata of an object, by the id of its row; of a project by its name."""
    row = sql.execute(
        "SELECT value FROM metadata WHERE kind = ? AND object = ?", (kind, object_id)
    ).fetchone()
    value: dict[str, str] = json.loads(row[0]) if row else {}
    return value


def put_metadata(sql: sqlite3.Connection, kind: str, object_id: int | str, value: Mapping[str, str]) -> None:
    """Replace the metadata of an object. Ids are not reused, so that of a deleted object is never read."""
    sql.execute("INSERT OR REPLACE INTO metadata VALUES (?, ?, ?)", (kind, object_id, json.dumps(value)))
