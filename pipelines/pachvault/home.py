"""Project pachvault in a cluster: the files that users commit there, by repo, on branch master."""

from __future__ import annotations

from pachvault.errors import SourceGoneError, UsageError
from pachvault.format.ids import RepoName
from pachvault.pach.source import CommitRef, Source
from pachvault.policy import HOME_PROJECT

MASTER = "master"
POLICY = RepoName(HOME_PROJECT, "policy")
POLICY_FILE = "/policy.yaml"
REQUESTS = RepoName(HOME_PROJECT, "requests")


def files(source: Source, repo: RepoName) -> dict[str, bytes]:
    """All files on the repo's master, by path; none where there is no such repo or branch.

    Raises SourceGoneError where the head goes while it is read: what it held is not known then.
    """
    try:
        heads = {branch.name: branch.head for branch in source.branches(repo)}
    except SourceGoneError:
        return {}
    contents: dict[str, bytes] = {}
    if heads.get(MASTER):
        for piece in source.read(CommitRef(repo.project, repo.repo, heads[MASTER])):
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
