"""After replay: is every restored commit what the vault says it was?"""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from pachvault.pach import wire
from pachvault.pach.source import CommitRef, Source, file_set
from pachvault.progress import Progress
from pachvault.restore.changes import Changes, changes
from pachvault.restore.replay import Replayed
from pachvault.restore.work import RepoPlan, RestorePlan, Step
from pachvault.vault.snapshots import RepoHistory
from pachvault.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not what it should be."""

    repo: str
    commit: str
    """The old id."""
    path: str
    message: str


def check(
    source: Source, vault: Vault, plan: RestorePlan, replayed: list[Replayed], progress: Progress
) -> list[Difference]:
    """Compare every replayed commit with the vault's tables: paths, sizes, and content where `full`."""
    found: list[Difference] = []
    if plan.verify == "none":
        return found
    for repo, done in zip(plan.repos, replayed, strict=True):
        history = RepoHistory(vault, vault.repo_record(repo.record))
        for step in repo.steps:
            if step.commit in done.ids and not step.error:
                wanted = changes(history, step.commit, step.content_parent, plan.paths)
                found += _step(source, plan, repo, step, done, wanted, progress)
    return found


def _step(
    source: Source,
    plan: RestorePlan,
    repo: RepoPlan,
    step: Step,
    done: Replayed,
    wanted: Changes,
    progress: Progress,
) -> list[Difference]:
    ref = CommitRef(repo.to_project, repo.to_repo, done.ids[step.commit])
    parent = done.ids.get(step.content_parent or "")
    base = CommitRef(repo.to_project, repo.to_repo, parent) if parent else None
    source.commit(ref, wait=True)
    sizes = dict(zip(wanted.puts["path"].to_pylist(), wanted.puts["size"].to_pylist(), strict=True))
    problems = {}
    listed = {change.path: change.new_size for change in source.diff(ref, base)}
    for path in listed.keys() | sizes.keys() | set(wanted.deletes):
        expected = sizes.get(path, -1)
        if path not in listed:
            problems[path] = "did not change"
        elif listed[path] != expected:
            problems[path] = f"{listed[path]} bytes where {expected} were expected (-1: deleted)"
    if plan.verify == "full":
        problems |= _contents(source, ref, wanted, progress)
    return [Difference(str(repo.target), step.commit, path, text) for path, text in sorted(problems.items())]


def _contents(source: Source, ref: CommitRef, wanted: Changes, progress: Progress) -> dict[str, str]:
    """Read what the commit put and compare digests."""
    digests = dict(zip(wanted.puts["path"].to_pylist(), wanted.puts["digest"].to_pylist(), strict=True))
    own = file_set(source.file_set_of(ref, wire.DIFF))
    problems = {}
    hasher = blake3()
    for piece in source.read(own):
        if piece.offset == 0:
            hasher = blake3()
        hasher.update(piece.data)
        if piece.is_last:
            progress.add(piece.size, 1)
            if digests.pop(piece.path, None) != hasher.digest():
                problems[piece.path] = "has another content"
    return problems | dict.fromkeys(digests, "was not written")
