"""Projects and repos: creation, description, and deletion with all they contain."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import newer_messages
from embedded_pachyderm.pfs.content.filesets import REPO_NAME as FILE_SETS
from embedded_pachyderm.pfs.metadata import branches, provenance
from embedded_pachyderm.pfs.metadata.database import Transaction, now_ns
from embedded_pachyderm.pfs.metadata.names import DEFAULT_PROJECT, check_name, check_project_name
from embedded_pachyderm.pfs.metadata.records import (
    REPO_COLUMNS,
    USER_REPO,
    Repo,
    RepoKey,
    branch_message,
    branches_of,
    commit_by_id,
    find_branch,
    find_repo,
    metadata,
    put_metadata,
    repo_text,
    timestamp,
)
from embedded_pachyderm.pfs.pfs_errors import ExistsError, NotFoundError, PfsError, PreconditionError


def ensure_default_project(sql: sqlite3.Connection) -> None:
    """The project that always is there."""
    sql.execute("INSERT OR IGNORE INTO project VALUES (?, '', ?)", (DEFAULT_PROJECT, now_ns()))


def create_project(transaction: Transaction, name: str, description: str, *, update: bool) -> None:
    """Create a project, or replace its description."""
    check_project_name(name)
    sql = transaction.sql
    exists = sql.execute("SELECT 1 FROM project WHERE name = ?", (name,)).fetchone()
    if update:
        if not exists:
            raise NotFoundError(f'get project {name}: get project by name: project "{name}" not found')
        sql.execute("UPDATE project SET description = ? WHERE name = ?", (description, name))
    elif exists:
        raise ExistsError(f'project "{name}" already exists\nproject {name} already exists')
    else:
        sql.execute("INSERT INTO project VALUES (?, ?, ?)", (name, description, transaction.time))


def list_projects(sql: sqlite3.Connection, name: str | None = None) -> list[Any]:
    """ProjectInfo messages of all projects, or of one."""
    rows = sql.execute(
        "SELECT name, description, created FROM project WHERE ?1 IS NULL OR name = ?1 ORDER BY created, name",
        (name,),
    ).fetchall()
    infos = [
        pfs_pb2.ProjectInfo(
            project=pfs_pb2.Project(name=project), description=text, created_at=timestamp(created)
        )
        for project, text, created in rows
    ]
    return [newer_messages.with_metadata(info, metadata(sql, "project", info.project.name)) for info in infos]


def delete_project(sql: sqlite3.Connection, name: str, *, force: bool) -> None:
    """Delete a project. With force also one that still has repos, which it orphans no more than asked."""
    check_project_name(name)
    repos = select(sql, projects=[name])
    if repos and not force:
        raise PreconditionError(
            f"cannot delete project {name}: " + "\n".join(f"repo {repo} still exists" for repo in repos)
        )
    if repos:
        raise PfsError(f'delete project "{name}": it still has repos')
    if not sql.execute("DELETE FROM project WHERE name = ?", (name,)).rowcount:
        raise NotFoundError(f'delete project "{name}": project "{name}" not found')
    put_metadata(sql, "project", name, {})


def create(transaction: Transaction, key: RepoKey, description: str, *, update: bool) -> None:
    """Create a repo, or replace its description."""
    sql = transaction.sql
    project, name, kind = key[0], key[1], key[2] or USER_REPO
    key = (project, name, kind)
    if name == FILE_SETS:
        raise PfsError(f"{FILE_SETS} is a reserved name")
    check_name(name)
    if not sql.execute("SELECT 1 FROM project WHERE name = ?", (project,)).fetchone():
        raise NotFoundError(
            f'cannot find project "{project}": get project by name: project "{project}" not found'
        )
    existing = find_repo(sql, key)
    if existing and not update:
        raise ExistsError(f"repo {repo_text(key)} already exists")
    if existing:
        sql.execute("UPDATE repo SET description = ? WHERE id = ?", (description, existing.id))
        return
    if kind != USER_REPO and not find_repo(sql, (project, name, USER_REPO)):
        raise NotFoundError(
            "cannot create a system repo without a corresponding 'user' repo:"
            f" repo (id=0, project={project}, name={name}, type=user) not found"
        )
    sql.execute(
        "INSERT INTO repo (project, name, type, description, created) VALUES (?, ?, ?, ?, ?)",
        (*key, description, transaction.time),
    )


def find(sql: sqlite3.Connection, key: RepoKey) -> Repo:
    """The repo a request names."""
    repo = find_repo(sql, key)
    if repo is None:
        raise NotFoundError(f"repo {repo_text(key)} not found")
    return repo


def select(sql: sqlite3.Connection, *, kind: str = "", projects: Iterable[str] = ()) -> list[Repo]:
    """The repos of a type and of some projects, by name."""
    wanted = set(projects)
    rows = sql.execute(f"SELECT {REPO_COLUMNS} FROM repo ORDER BY project, name, id")  # noqa: S608
    repos = [Repo(*row) for row in rows]
    return [repo for repo in repos if kind in {"", repo.type} and (not wanted or repo.project in wanted)]


def info(sql: sqlite3.Connection, repo: Repo, *, details: bool) -> Any:
    """The RepoInfo message; the size is that of branch master."""
    message = pfs_pb2.RepoInfo(
        repo=repo.message(),
        created=timestamp(repo.created),
        description=repo.description,
        branches=[branch_message(sql, branch) for branch in branches_of(sql, repo.id)],
    )
    if details:
        message.details.size_bytes = _size_bytes(sql, repo)
    else:
        message.size_bytes_upper_bound = _size_bytes(sql, repo)
    return newer_messages.with_metadata(message, metadata(sql, "repo", repo.id))


def _size_bytes(sql: sqlite3.Connection, repo: Repo) -> int:
    master = find_branch(sql, repo.id, "master")
    commit = commit_by_id(sql, master.head) if master else None
    while commit and commit.size is None and commit.parent is not None:
        commit = commit_by_id(sql, commit.parent)
    return (commit.size or 0) if commit else 0


def delete(sql: sqlite3.Connection, repo: Repo, *, force: bool) -> list[Repo]:
    """Delete a repo with its branches and commits; a user repo takes its spec and meta repos along."""
    related = [repo]
    if repo.type == USER_REPO:
        related = [r for r in select(sql, projects=[repo.project]) if r.name == repo.name]
    delete_all(sql, related, force=force)
    return related


def delete_all(sql: sqlite3.Connection, repos: list[Repo], *, force: bool) -> None:
    """Delete repos together: what lies downstream first."""
    to_delete = [branch for repo in repos for branch in branches_of(sql, repo.id)]
    for branch in sorted(to_delete, key=lambda b: -len(provenance.provenance(sql, b.id))):
        try:
            branches.delete(sql, branch, force=force)
        except PfsError as error:
            raise PfsError(f"delete branch {branches.text(sql, branch)}: {error}") from None
    for repo in repos:
        own = 'SELECT id FROM "commit" WHERE repo = ?1'
        sql.execute(
            f'DELETE FROM commit_provenance WHERE "commit" IN ({own}) OR upstream IN ({own})',  # noqa: S608
            (repo.id,),
        )
        sql.execute('DELETE FROM "commit" WHERE repo = ?', (repo.id,))
        sql.execute("DELETE FROM repo WHERE id = ?", (repo.id,))
