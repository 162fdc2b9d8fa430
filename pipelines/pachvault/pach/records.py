"""Answers of Pachyderm as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from python_pachyderm.proto.v2.auth import auth_pb2

from pachvault.format.documents import Time
from pachvault.format.ids import RepoName
from pachvault.pach import unknown_fields
from pachvault.pach.access import rights

_KNOWN = frozenset(auth_pb2.Permission.values())


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """A repo of type user."""

    name: RepoName
    created_at: datetime
    description: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    lacking: frozenset[str] = frozenset()
    """Permissions that the caller lacks to read it; none without authentication."""


@dataclass(frozen=True, slots=True)
class BranchInfo:
    """A branch; `head` is empty where there is none."""

    name: str
    head: str
    provenance: tuple[str, ...]
    trigger: dict[str, str | int | bool] | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_by: str = ""
    """Who, with authentication on and Pachyderm 2.11 or later; else empty."""


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """A commit, as the cluster has it and as the plans of backups and restores hand it on.

    `finished_at` is None while it is open; `size_bytes` is exact once it is finished.
    """

    id: str
    parent: str | None
    origin: str
    started_at: Time | None
    finished_at: Time | None
    description: str
    error: str
    size_bytes: int
    is_finishing: bool = False
    """It is closed for changes; pachd is finishing it."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_by: str = ""
    """Who, with authentication on and Pachyderm 2.11 or later; else empty."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that differs between two commits; `old_size` or `new_size` is -1 where it is absent."""

    path: str
    new_size: int
    new_hash: bytes
    old_size: int
    old_hash: bytes


def repo_info(message: Any) -> RepoInfo:
    """From a RepoInfo message."""
    name = RepoName(message.repo.project.name, message.repo.name)
    return RepoInfo(
        name=name,
        created_at=at(message.created) or datetime.fromtimestamp(0, UTC),
        description=message.description,
        metadata=unknown_fields.strings(message, "metadata"),
        lacking=lacking(message, rights.TO_READ),
    )


def lacking(message: Any, wanted: Iterable[str]) -> frozenset[str]:
    """The permissions that the caller lacks, by the `auth_info` of a listed repo or project."""
    if not message.HasField("auth_info"):
        return frozenset()
    return frozenset(wanted) - permission_names(message.auth_info.permissions)


def permission_names(numbers: Iterable[int]) -> frozenset[str]:
    """Permissions by name; those of a newer Pachyderm are left out."""
    return frozenset(auth_pb2.Permission.Name(number) for number in numbers if number in _KNOWN)


def branch_info(message: Any) -> BranchInfo:
    """From a BranchInfo message."""
    trigger = message.trigger if message.HasField("trigger") else None
    return BranchInfo(
        name=message.branch.name,
        head=message.head.id,
        provenance=tuple(
            f"{branch.repo.project.name}/{branch.repo.name}@{branch.name}"
            for branch in message.direct_provenance
            # the others, spec and meta, belong to pipelines
            if branch.repo.type == "user"
        ),
        trigger={field.name: value for field, value in trigger.ListFields()} if trigger is not None else None,
        metadata=unknown_fields.strings(message, "metadata"),
        created_by=unknown_fields.text(message, "created_by"),
    )


def commit_info(message: Any) -> CommitInfo:
    """From a CommitInfo message."""
    origin = {1: "user", 2: "auto", 3: "fsck"}.get(message.origin.kind, "unknown")
    return CommitInfo(
        id=message.commit.id,
        parent=message.parent_commit.id or None,
        origin=origin,
        started_at=at(message.started),
        finished_at=at(message.finished),
        description=message.description,
        error=message.error,
        size_bytes=message.details.size_bytes or message.size_bytes_upper_bound,
        is_finishing=bool(message.finishing.seconds and not message.finished.seconds),
        metadata=unknown_fields.strings(message, "metadata"),
        created_by=unknown_fields.text(message, "created_by"),
    )


def at(stamp: Any) -> datetime | None:
    """A Timestamp as UTC, to the microsecond; None where it is not set."""
    if not stamp.seconds:
        return None
    # whole seconds and whole microseconds: a float could round, and times are compared for equality
    return datetime.fromtimestamp(stamp.seconds, UTC) + timedelta(microseconds=stamp.nanos // 1000)
