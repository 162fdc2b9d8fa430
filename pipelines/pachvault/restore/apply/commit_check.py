"""Compares the commits that were made with the vault, before the heads are moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from pachvault.format.ids import digest
from pachvault.pach import codec
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.tar import FilePiece, FileRun
from pachvault.restore.changes import Changes, changes
from pachvault.restore.restore_messages import BranchPlan, CommitStep, RepoPlan, RestorePlan
from pachvault.restore.restore_report import CommitDifference, Replayed
from pachvault.restore.stage.change_writer import readable
from pachvault.restore.stage.file_set_keepalive import check_exists, kept_alive
from pachvault.runtime.progress import Progress
from pachvault.syntax.selection import Paths
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.vault import Vault


def check(
    source: Source, vault: Vault, plan: RestorePlan, replayed: list[Replayed], progress: Progress
) -> list[CommitDifference]:
    """Compare every replayed commit with the vault's tables: paths, sizes, and content where `full`."""
    differences: list[CommitDifference] = []
    if plan.verify == "none":
        return differences
    damage = _Damage(vault)
    for repo, result in zip(
        plan.repos, replayed, strict=False
    ):  # repos without a plan were left out because of damage
        history = RepoHistory(vault, vault.repo_record(repo.record))
        for step in repo.steps:
            if step.old.id in result.ids and not step.old.error:
                differences += _Checked(source, plan, repo, history, result, damage).step(step, progress)
        for branch in repo.branches:
            if branch.action == "append" and branch.name in result.heads:
                differences += _appended(source, plan, repo, result, branch)
    return differences


@dataclass(frozen=True)
class _Damage:
    """Reads the vault for damaged files; only where a commit differs."""

    vault: Vault

    @cached_property
    def reader(self) -> BlobReader:
        return BlobReader(self.vault, blob_index.load_places(self.vault))


@dataclass(frozen=True, slots=True)
class _Checked:
    """The commits of one repo."""

    source: Source
    plan: RestorePlan
    repo: RepoPlan
    history: RepoHistory
    result: Replayed
    damage: _Damage

    def step(self, step: CommitStep, progress: Progress) -> list[CommitDifference]:
        """How a commit differs from what it should be."""
        wanted = changes(self.history, step.old.id, step.content_parent, self.plan.paths)
        ref = self._ref(self.result.ids[step.old.id])
        self.source.commit(ref, wait=True)
        if (
            self.plan.verify == "full" and step.content_parent is None
        ):  # every file of the commit was put by it
            problems = _contents(self.source.read_runs(ref), wanted, progress)
        else:
            problems = self._paths(ref, step, wanted)
            if self.plan.verify == "full":
                problems = self._put(ref, wanted, progress) | problems
        if problems and self.plan.keep_going:
            # only differing commits pay for this: it reads every blob of the change
            for path in _left_out(self.damage.reader, wanted, problems):
                problems.pop(path, None)
        return [
            CommitDifference(str(self.repo.target), step.old.id, ref.id, path, text)
            for path, text in sorted(problems.items())
        ]

    def _put(self, ref: CommitRef, wanted: Changes, progress: Progress) -> dict[str, str]:
        """The problems with the contents of the files that the commit itself put."""
        if not self.source.has_change_sets:
            with kept_alive(self.source, self.source.file_set_of(ref, codec.TOTAL)) as whole:
                paths = sorted(wanted.puts["path"].to_pylist())
                problems = _contents(self.source.read_paths(whole, paths), wanted, progress)
                if problems:
                    check_exists(self.source, whole)
            return problems
        # the commit's own change: to read its whole tree would read what earlier commits put once more for
        # each
        with kept_alive(self.source, self.source.file_set_of(ref, codec.DIFF)) as own:
            problems = _contents(self.source.read_runs(own), wanted, progress)
            if problems:
                # an expired file set reads as an empty one: without this its files would be reported as not
                # written
                check_exists(self.source, own)
        return problems

    def _paths(self, ref: CommitRef, step: CommitStep, wanted: Changes) -> dict[str, str]:
        parent = self.result.ids.get(step.content_parent or "")
        sizes = dict(zip(wanted.puts["path"].to_pylist(), wanted.puts["size"].to_pylist(), strict=True))
        # the parent is named: Pachyderm would compare with the direct parent, also where that failed
        differing = self.source.diff(ref, self._ref(parent) if parent else None)
        listed = {change.path: change for change in differing}
        problems = {}
        for path, change in listed.items():
            expected = sizes.get(path, -1)
            if problem := _wrong_size(change.new_size, expected):
                problems[path] = problem
            elif expected < 0 and path not in wanted.deletes:
                problems[path] = "was deleted"
        silent = (sizes.keys() | set(wanted.deletes)) - listed.keys()
        if silent:
            # where the same content was put again it need not show as a change
            same = self._unchanged(step, wanted)
            problems |= dict.fromkeys(silent - same, "did not change")
        return problems

    def _unchanged(self, step: CommitStep, wanted: Changes) -> set[str]:
        if step.content_parent is None:
            return set()
        old = self.history.tree(step.content_parent)
        before = dict(zip(old["path"].to_pylist(), old["digest"].to_pylist(), strict=True))
        return {
            path
            for path, digest in zip(
                wanted.puts["path"].to_pylist(), wanted.puts["digest"].to_pylist(), strict=True
            )
            if before.get(path) == digest
        }

    def _ref(self, commit: str) -> CommitRef:
        return CommitRef(self.repo.to_project, self.repo.to_repo, commit)


def _appended(
    source: Source, plan: RestorePlan, repo: RepoPlan, result: Replayed, branch: BranchPlan
) -> list[CommitDifference]:
    """How a commit on top of a branch differs from the restored one, in the chosen paths.

    In all other paths it must be equal to its parent.
    """
    new, restored = (
        CommitRef(repo.to_project, repo.to_repo, commit)
        for commit in (result.heads[branch.name], result.ids[branch.head])
    )
    paths = Paths(tuple(plan.paths))
    problems = {
        change.path: "differs in the commit that was appended"
        for change in source.diff(new, restored)
        if paths.has(change.path) and not (plan.paths and plan.keep_going)
    }
    if plan.paths:
        problems |= dict.fromkeys(_beside(source, new, paths), "changed, and is none of the chosen paths")
    return [
        CommitDifference(str(repo.target), branch.head, new.id, path, text)
        for path, text in sorted(problems.items())
    ]


def _beside(source: Source, new: CommitRef, paths: Paths) -> list[str]:
    """What a commit changes besides the chosen paths."""
    parent = source.commit(new).parent
    # a failed parent has files that its child does not inherit: the diff would show them as deleted
    if parent is None or source.commit(CommitRef(new.project, new.repo, parent)).error:
        return []
    return [change.path for change in source.diff(new, None) if not paths.has(change.path)]


def _left_out(reader: BlobReader, wanted: Changes, problems: dict[str, str]) -> set[str]:
    """The paths whose problems are due to damage: unreadable files, or deletions of files left out."""
    _, lost = readable(reader, wanted)
    gone = {path for path in wanted.deletes if problems.get(path) == "did not change"}
    return lost.keys() | gone


def _contents(pieces: Iterable[FilePiece | FileRun], wanted: Changes, progress: Progress) -> dict[str, str]:
    """Compare all files with what was to be put."""
    columns = (wanted.puts[name].to_pylist() for name in ("path", "size", "digest"))
    missing = {path: (size, content) for path, size, content in zip(*columns, strict=True)}
    problems = {}

    def compare(path: str, size: int, content: bytes) -> None:
        expected = missing.pop(path, (-1, b""))
        if expected != (size, content):
            problems[path] = _wrong_size(size, expected[0]) or "has another content"
        progress.add(size, 1)

    hasher = blake3()
    for piece in pieces:
        if isinstance(piece, FileRun):
            for path, data in zip(*piece, strict=True):
                compare(path, len(data), digest(data))
            continue
        # also in the middle of a file: after a broken connection the stream begins it again
        if piece.offset == 0:
            hasher = blake3()
        hasher.update(piece.data)
        if piece.is_last:
            compare(piece.path, piece.size, hasher.digest())
    return problems | dict.fromkeys(missing, "was not written")


def _wrong_size(size: int, expected: int) -> str:
    """The problem where sizes differ; empty where they are equal. -1: no such file."""
    if size == expected:
        return ""
    if expected < 0:
        return f"was not expected: {size} bytes"
    return f"{size} bytes where {expected} were expected" if size >= 0 else "was deleted"
