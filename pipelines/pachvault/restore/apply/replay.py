"""The replay of a plan: first the commits are made, on working branches; then the heads are moved, once.

In between, the commits are compared with the vault, see `apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from pachvault.cluster_project import MASTER, REQUESTS
from pachvault.errors import CorruptError, DamageError
from pachvault.format.ids import RepoName
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.restore import pipeline_definitions, working_branches
from pachvault.restore.apply.repo_replay import RepoReplay
from pachvault.restore.apply.settings_replay import SettingsReplay
from pachvault.restore.own_project import settle_requests
from pachvault.restore.restore_messages import CommitStep, RestorePlan
from pachvault.restore.restore_report import CommitDifference, Replayed
from pachvault.restore.state.restore_records import DONE
from pachvault.runtime.progress import Progress
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.vault import Vault


class Replay:
    """The replay of all repos of a plan. A new one after a failure continues where the last one was."""

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
    def results(self) -> list[Replayed]:
        """The result of each repo, those of the plan first and in its order."""
        left_out = [Replayed(RepoName.parse(line.partition(":")[0]), lost=[line]) for line in self._plan.lost]
        return [*(repo.result for repo in self._repos), *left_out, *self._lost_records]

    def rebuild(self) -> None:
        """Make the commits, from parts that are staged where they are large.

        Raises DamageError for a damaged vault unless the plan has `keep_going`: nothing of a damaged
        commit is committed.
        """
        # the order matters. Defaults of cluster and projects are part of the specs of pipelines that are
        # created after them. Pipelines that were stopped are created and stopped while their inputs are
        # empty: no pipeline can be created stopped, and with data a job would start before the stop
        self._repos = self._taken_up()
        self._settings.before_pipelines()
        pipeline_definitions.create_stopped(self._source, self._plan.pipelines)
        try:
            for members in _commit_sets(self._repos):
                _replay_set(self._target, members)
        except DamageError:
            self._tidy()
            raise
        for repo in self._repos:
            repo.prepare_heads()

    def _taken_up(self) -> list[RepoReplay]:
        """The repos of the plan, created where they are missing, each with what earlier runs left in it."""
        plan, target = self._plan, self._target
        from_vault = any(repo.origin == "vault" for repo in plan.repos)
        reader = BlobReader(self._vault, blob_index.load_places(self._vault)) if from_vault else None
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
        # one transaction: a failure never leaves some heads moved and others not
        self._target.point_together([move for repo in self._repos for move in repo.moves()])
        for repo in self._repos:
            repo.close()
        # after the heads: their first jobs read the restored data
        pipeline_definitions.create_rest(self._source, self._plan.pipelines)
        self._settings.after_heads()

    @property
    def lost_settings(self) -> list[str]:
        """A line for each setting that the cluster refuses."""
        return self._settings.lost

    def _settle_requests(self) -> None:
        """Record restored requests before the head of their repo moves: else the pipelines carry them out."""
        requests = next((repo for repo in self._repos if repo.repo.target == REQUESTS), None)
        if requests is None and self._plan.done_requests is None:
            return
        head = requests.result.heads.get(MASTER) if requests else None
        lost = settle_requests(self._source, self._target, self._vault, self._plan, head)
        if lost:
            self._lost_records = [Replayed(DONE, lost=lost)]

    def give_up(self, differences: Iterable[CommitDifference]) -> list[str]:
        """Keep the commits that differ on branches of their own, and do not move heads.

        Returns the names of the branches. The next run of the request makes these commits again.
        """
        differing = {(difference.repo, difference.found) for difference in differences}
        kept = []
        for repo in self._repos:
            target = str(repo.repo.target)
            kept += [f"{target}@{repo.keep(commit)}" for name, commit in sorted(differing) if name == target]
        self._tidy()
        return kept

    def _tidy(self) -> None:
        for repo in self._repos:
            repo.tidy(working_branches.replayed(self._plan.request_id))


def _commit_sets(repos: Sequence[RepoReplay]) -> list[list[tuple[RepoReplay, CommitStep]]]:
    """The steps of all repos, those of one old commit set together, each after its parent."""
    sets: dict[str, list[tuple[RepoReplay, CommitStep]]] = {}
    for repo in repos:
        for step in repo.repo.steps:
            sets.setdefault(step.old.id, []).append((repo, step))
    # by sets, not by repos: the commits of a set are opened in one call, so all their parents come before
    before = {
        commit: {step.old.parent for _, step in members if step.old.parent is not None}
        for commit, members in sets.items()
    }
    try:
        return [sets[commit] for commit in TopologicalSorter(before).static_order()]
    except CycleError as error:
        raise CorruptError(f"commit sets are before each other in two repos: {error.args[1][0]}") from error


def _replay_set(target: Target, members: Sequence[tuple[RepoReplay, CommitStep]]) -> None:
    """Make the commits of one set. They are opened together where none was begun, so that they share an id.

    None is finished before all are filled. Where one is damaged all are given up, so that a later run opens
    them together again.
    """
    fresh = [(repo, step) for repo, step in members if not repo.is_begun(step) and repo.has_parent(step)]
    # a set of which one was begun cannot be joined: Pachyderm gives new commits a new id. They are made one
    # by one
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
