"""A plan carried out: first the commits, on branches that nobody subscribes to; then the heads, once.

In between the commits can be compared with the vault: the heads need not move. See `carry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter

from pachvault.cluster_project import MASTER, REQUESTS
from pachvault.errors import DamageError
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore import working_branches
from pachvault.restore.apply import pipeline_definitions
from pachvault.restore.apply.commit_check import CommitDifference
from pachvault.restore.apply.repo_replay import Replayed, RepoReplay
from pachvault.restore.apply.settings_replay import SettingsReplay
from pachvault.restore.plan.own_project import settle_requests
from pachvault.restore.request.restore_records import DONE
from pachvault.restore.restore_messages import CommitStep, RestorePlan
from pachvault.runtime.progress import Progress
from pachvault.vault import blob_index
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.snapshots import RepoHistory
from pachvault.vault.vault import Vault


class Replay:
    """The replay of all repos of a plan. Made anew after a failure, it goes on where the last one was."""

    def __init__(
        self, source: Source, target: Target, vault: Vault, plan: RestorePlan, progress: Progress
    ) -> None:
        self._source, self._target, self._vault, self._plan = source, target, vault, plan
        self._progress = progress
        self._lost_records: list[Replayed] = []
        self._settings = SettingsReplay(source, target, plan.settings)
        self._repos: list[RepoReplay] = []
        """One for each repo of the plan, in its order; from `rebuild` on."""

    @property
    def done(self) -> list[Replayed]:
        """What became of each repo, those of the plan first and in its order."""
        left_out = [Replayed(RepoName.parse(line.partition(":")[0]), lost=[line]) for line in self._plan.lost]
        return [*(each.done for each in self._repos), *left_out, *self._lost_records]

    def rebuild(self) -> None:
        """Make the commits, from parts that are staged where they are large.

        Raises DamageError for a damaged vault unless the plan says to keep going: nothing of a damaged
        commit is committed.
        """
        self._repos = self._taken_up()
        self._settings.before_pipelines()
        pipeline_definitions.create_stopped(self._source, self._plan.pipelines)
        try:
            for members in _commit_sets(self._repos):
                _replay_set(self._target, members)
        except DamageError:
            self._tidy()
            raise
        for each in self._repos:
            each.prepare_heads()

    def _taken_up(self) -> list[RepoReplay]:
        """The repos of the plan, created where they are missing, each with what earlier runs left in it."""
        plan, target = self._plan, self._target
        from_vault = any(repo.origin == "vault" for repo in plan.repos)
        reader = BlobReader(self._vault, blob_index.load(self._vault)) if from_vault else None
        for project in plan.projects:
            target.ensure_project(project.name, project.description)
        repos = []
        for repo in plan.repos:
            target.ensure_repo(repo.to_project, repo.to_repo, repo.description)
            history = RepoHistory(self._vault, self._vault.repo_record(repo.record))
            replay = RepoReplay(self._source, target, plan, repo, history, reader, self._progress)
            replay.take_up()
            repos.append(replay)
        return repos

    def settle(self) -> None:
        """Move the heads, all or none; then their triggers, and the pipelines that read them."""
        self._settle_requests()
        self._target.point_together([move for each in self._repos for move in each.moves()])
        for each in self._repos:
            each.close()
        pipeline_definitions.create_rest(self._source, self._plan.pipelines)
        self._settings.after_heads()

    @property
    def lost_settings(self) -> list[str]:
        """A line for each setting that the cluster does not take."""
        return self._settings.lost

    def _settle_requests(self) -> None:
        """Before requests come back, and their pipelines see them: what becomes of each is known."""
        back = next((each for each in self._repos if each.repo.target == REQUESTS), None)
        if back is None and self._plan.done_requests is None:
            return
        head = back.done.heads.get(MASTER) if back else None
        lost = settle_requests(self._source, self._target, self._vault, self._plan, head)
        if lost:
            self._lost_records = [Replayed(DONE, lost=lost)]

    def give_up(self, differences: Iterable[CommitDifference]) -> list[str]:
        """Leave the heads alone; a line for each branch that keeps a commit which is not what it was.

        Such commits are not taken for restored ones when the request is carried out again.
        """
        wrong = {(each.repo, each.found) for each in differences}
        kept = []
        for each in self._repos:
            repo = str(each.repo.target)
            kept += [f"{repo}@{each.keep(commit)}" for name, commit in sorted(wrong) if name == repo]
        self._tidy()
        return kept

    def _tidy(self) -> None:
        for each in self._repos:
            each.tidy(working_branches.replayed(self._plan.request_id))


def _commit_sets(repos: Sequence[RepoReplay]) -> list[list[tuple[RepoReplay, CommitStep]]]:
    """The steps of all repos, those of one old commit set together, each after its parent."""
    sets: dict[str, list[tuple[RepoReplay, CommitStep]]] = {}
    for repo in repos:
        for step in repo.repo.steps:
            sets.setdefault(step.old.id, []).append((repo, step))
    before = {
        commit: {step.old.parent for _, step in members if step.old.parent is not None}
        for commit, members in sets.items()
    }
    return [sets[commit] for commit in TopologicalSorter(before).static_order()]


def _replay_set(target: Target, members: Sequence[tuple[RepoReplay, CommitStep]]) -> None:
    """The commits of one set: opened together where none was begun yet, so that they share an id.

    None is finished before all are filled: the others of a damaged one are given up with it, to be
    begun anew together.
    """
    fresh = [(repo, step) for repo, step in members if not repo.is_begun(step) and repo.has_parent(step)]
    if len(fresh) > 1 and len(fresh) == len(members):
        opened = target.start_together([repo.new_commit(step) for repo, step in fresh])
        for (repo, step), commit in zip(fresh, opened, strict=True):
            repo.begun[step.old.id] = commit
    try:
        for repo, step in members:
            repo.fill(step)
    except DamageError:
        for repo, step in members:
            repo.give_up(step)
        raise
    for repo, step in members:
        repo.finish(step)
