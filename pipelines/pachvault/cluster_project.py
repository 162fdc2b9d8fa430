"""Project pachvault in a cluster: the files that users commit there, by repo, on branch master."""

from __future__ import annotations

import logging
import re

from pachvault.errors import DamageError, SourceGoneError, UsageError
from pachvault.format.ids import RepoName
from pachvault.pach.source import CommitRef, Source
from pachvault.policy import HOME_PROJECT
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

MASTER = "master"
POLICY = RepoName(HOME_PROJECT, "policy")
POLICY_FILE = "/policy.yaml"
REQUESTS = RepoName(HOME_PROJECT, "requests")

BY_RESTORE = re.compile(r"^(restored|appended) by pachvault, request [0-9a-f]{12}, from ", re.MULTILINE)
"""The description of commits that a restore made (restore/commit_trailer.py)."""


def files(source: Source, repo: RepoName, branch: str = MASTER) -> dict[str, bytes]:
    """All files on a branch of the repo, by path; none where there is no such repo or branch.

    Raises SourceGoneError where the head goes while it is read: what it held is not known then.
    """
    try:
        heads = {info.name: info.head for info in source.branches(repo)}
    except SourceGoneError:
        return {}
    return files_at(source, repo, heads[branch]) if heads.get(branch) else {}


def files_at(source: Source, repo: RepoName, commit: str) -> dict[str, bytes]:
    """All files of a commit, by path. SourceGoneError where it is not there."""
    contents: dict[str, bytes] = {}
    for piece in source.read(CommitRef(repo.project, repo.repo, commit)):
        contents[piece.path] = (contents[piece.path] if piece.offset else b"") + bytes(piece.data)
    return contents


def policy_text(source: Source) -> str:
    """The policy that the cluster's pipelines follow; UsageError where there is none."""
    data = files(source, POLICY).get(POLICY_FILE)
    if data is None:
        raise UsageError(f"no policy: the cluster has no {POLICY}@{MASTER}:{POLICY_FILE}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError("not a text file", where=f"{POLICY}@{MASTER}:{POLICY_FILE}") from error


def is_policy_restored(source: Source) -> bool:
    """Whether the policy is as a restore brought it: nobody has committed one since."""
    try:
        head = {branch.name: branch.head for branch in source.branches(POLICY)}.get(MASTER)
        return bool(
            head
            and BY_RESTORE.search(source.commit(CommitRef(POLICY.project, POLICY.repo, head)).description)
        )
    except SourceGoneError:
        return False


def check_in_force(source: Source, vault: Vault, policy_name: str) -> None:
    """Raise UsageError for a policy that a restore brought into another cluster than it was saved in.

    A restored policy alone must not make a second cluster write into the vault of the first. It is in force
    where the vault has a snapshot of this policy and cluster, and once somebody commits it in this cluster.
    """
    if not is_policy_restored(source):
        return
    here = (policy_name, source.connection.cluster_id())
    for name in reversed(snapshots.names(vault)):
        try:
            manifest = snapshots.load(vault, name).manifest
        except DamageError as error:
            _log.info("skipped a damaged snapshot when looking for one of this policy: %s", error)
            continue
        if (manifest.policy, manifest.cluster.id) == here:
            return
    raise UsageError(
        f"policy {policy_name} was restored from the backup of another cluster, and is not in force here",
        where=f"{POLICY}@{MASTER}:{POLICY_FILE}",
        hint="to back this cluster up into the same vault, commit it again: `pachvault deploy --policy FILE`",
    )
