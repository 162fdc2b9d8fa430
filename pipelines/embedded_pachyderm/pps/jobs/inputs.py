"""A pipeline's input tree: walking it, its defaults, its branches. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

_GROUPS = ("cross", "union", "join", "group")


def leaves(tree: Any) -> Iterator[Any]:
    """Every pfs and cron input of the tree, as the Input that holds it."""
    for node in walk(tree):
        if node.HasField("pfs") or node.HasField("cron"):
            yield node


def walk(tree: Any) -> Iterator[Any]:
    """Every input of the tree, itself first."""
    yield tree
    for group in _GROUPS:
        for child in getattr(tree, group):
            yield from walk(child)


def name_of(tree: Any) -> str:
    """The name that an input sorts by: its own, or that of its first member."""
    if tree.HasField("pfs"):
        return str(tree.pfs.name)
    for group in _GROUPS:
        if members := getattr(tree, group):
            return name_of(members[0])
    return ""


def set_defaults(tree: Any, *, project: str, pipeline: str, now: Any) -> None:
    """Fill in what a spec may leave out, in place, in the real server's order: sorted first, then named."""
    for node in walk(tree):
        for group in _GROUPS:
            members = sorted(getattr(node, group), key=name_of)
            del getattr(node, group)[:]
            getattr(node, group).extend(members)
    for node in leaves(tree):
        if node.HasField("pfs"):
            pfs = node.pfs
            pfs.project = pfs.project or project
            pfs.branch = pfs.branch or "master"
            pfs.name = pfs.name or pfs.repo
            pfs.repo_type = pfs.repo_type or "user"
            if pfs.glob:
                pfs.glob = posixpath.normpath("/" + pfs.glob.lstrip("/"))
        else:
            cron = node.cron
            cron.project = cron.project or project
            cron.repo = cron.repo or f"{pipeline}_{cron.name}"
            if not cron.HasField("start"):
                cron.start.CopyFrom(now)


def repo_of(node: Any) -> Any:
    """The repo that a leaf reads."""
    source = node.pfs if node.HasField("pfs") else node.cron
    kind = (node.pfs.repo_type or "user") if node.HasField("pfs") else "user"
    return pfs_pb2.Repo(name=source.repo, type=kind, project=pfs_pb2.Project(name=source.project))


def branch_of(node: Any) -> Any:
    """The branch that a leaf reads; a cron input ticks on master."""
    return pfs_pb2.Branch(repo=repo_of(node), name=node.pfs.branch if node.HasField("pfs") else "master")


def at_job(tree: Any, job_id: str) -> Any:
    """The tree as a job shows it: every leaf at the job's own commit set."""
    copy = type(tree)()
    copy.CopyFrom(tree)
    for node in leaves(copy):
        (node.pfs if node.HasField("pfs") else node.cron).commit = job_id
    return copy
