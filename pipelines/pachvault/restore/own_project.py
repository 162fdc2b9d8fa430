"""The restore of project pachvault: it is left out unless named, and its requests are not carried out again.

What is restored of it would act: pipelines would back up into the vault that they come from, and requests
would be carried out again. (A restored policy is not in force: see `cluster_project.check_in_force`.)
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from pachvault import cluster_project
from pachvault import request as requests
from pachvault.errors import DamageError, UsageError
from pachvault.format import table
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.policy import DRILL_PROJECT, HOME_PROJECT
from pachvault.restore.restore_messages import RestorePlan
from pachvault.restore.state.restore_records import DONE, PURPOSE, not_carried_out
from pachvault.syntax.selection import SourcePattern
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.vault import Vault

_log = logging.getLogger(__name__)

OWN_PROJECTS = (HOME_PROJECT, DRILL_PROJECT)


def means(pattern: SourcePattern, repo: RepoName) -> bool:
    """Whether a pattern matches a repo. One of pachvault's own projects must be named in it."""
    return pattern.means_repo(repo) and (repo.project not in OWN_PROJECTS or pattern.project == repo.project)


def note_left_out(repos: Iterable[RepoName], patterns: Sequence[SourcePattern]) -> list[str]:
    """A line for each of pachvault's own projects that has repos among these, and that no pattern names."""
    left_out = {
        repo.project
        for repo in repos
        if any(pattern.means_repo(repo) for pattern in patterns)
        and all(pattern.project != repo.project for pattern in patterns)
    }
    return [
        f"project {project} is pachvault's own, and left out where it is not named, as in '{project}/*'"
        for project in sorted(left_out & {*OWN_PROJECTS})
    ]


def settle_requests(
    source: Source, target: Target, vault: Vault, plan: RestorePlan, requests_head: str | None
) -> list[str]:
    """Record the requests that are restored with repo `requests`, before its head moves.

    So none of them is carried out again. The records of the snapshot are restored; requests without one are
    recorded as not carried out.
    `requests_head` is the commit that is to be the head of `requests`, None where that repo is not restored.
    Returns a line for each damaged record where the plan keeps going; raises DamageError otherwise.
    """
    known = cluster_project.files(source, DONE)
    lost: list[str] = []
    new: dict[str, bytes] = {}
    if plan.done_requests is not None:
        reader = BlobReader(vault, blob_index.load_places(vault))
        for path, names in _saved(vault, plan.done_requests):
            # what this cluster knows of a request is newer than what the snapshot has
            if path in known:
                continue
            try:
                new[path] = b"".join(reader.stream(names))
            except DamageError as error:
                if not plan.keep_going:
                    raise
                lost.append(f"{DONE}@{cluster_project.MASTER}:{path}: {error}")
    if requests_head is not None:
        for request_id in _ids(cluster_project.files_at(source, cluster_project.REQUESTS, requests_head)):
            path = f"/{request_id}.json"
            # records of the cluster come first, then those of the snapshot. The request that is carried out
            # now is recorded by its own end
            if path not in known and path not in new and request_id != plan.request_id:
                record = not_carried_out(request_id, plan.snapshot, datetime.now(UTC))
                new[path] = (json.dumps(record, indent=1) + "\n").encode()
    if new:
        target.ensure_repo(DONE.project, DONE.repo, PURPOSE)
        target.put_files(DONE.project, DONE.repo, cluster_project.MASTER, new)
    return lost


def _saved(vault: Vault, record: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The files of repo `restored` in a snapshot, each with the blobs that hold it."""
    history = RepoHistory(vault, vault.repo_record(record))
    heads = {branch.name: branch.head for branch in history.record.branches}
    head = heads.get(cluster_project.MASTER)
    if head is None:
        return
    for row in history.tree(head).to_pylist():
        if row["kind"] == table.FILE:
            yield row["path"], row["blobs"] or ([row["digest"]] if row["size"] else [])


def _ids(files: dict[str, bytes]) -> Iterator[str]:
    """The ids of the requests in files. What is no valid request is skipped: it is refused anyway."""
    for path, data in sorted(files.items()):
        try:
            yield requests.parse(data.decode(), path).id
        except (UsageError, UnicodeDecodeError, RecursionError) as error:
            _log.info("skipped a request that cannot be read: %s: %s", path, error)
