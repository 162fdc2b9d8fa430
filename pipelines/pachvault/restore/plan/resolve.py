"""Resolves a request to a plan: which commits, in what order, from where, and what is in the way.

Reads the vault and the target cluster, and changes nothing. A dry run prints the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pachvault.cluster_project import POLICY, REQUESTS
from pachvault.errors import DamageError, PachydermError, UsageError
from pachvault.format.ids import RepoName
from pachvault.format.manifest import RepoEntry
from pachvault.format.records import Branch, Pipeline
from pachvault.pach.source import Source
from pachvault.request import Request, RequestTarget
from pachvault.restore import pipeline_definitions
from pachvault.restore.changes import changes
from pachvault.restore.own_project import means, note_left_out
from pachvault.restore.plan import cluster_needs, settings_plan
from pachvault.restore.plan.fetch_shares import PlanWithShares, RepoToRestore, with_shares
from pachvault.restore.plan.repo_plan import TargetCluster, repo_plan
from pachvault.restore.plan.throughput import Throughput, measured
from pachvault.restore.restore_messages import PipelinePlan, RepoPlan
from pachvault.restore.state.lock_holder import begun_with
from pachvault.restore.state.restore_records import DONE, finished
from pachvault.syntax import selection
from pachvault.syntax.selection import Paths, SourcePattern
from pachvault.vault import snapshots, suggestions
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault


def resolve(request: Request, vault: Vault, source: Source) -> PlanWithShares:
    """The plan of a request against the cluster that `source` reads.

    Raises UsageError where the request matches nothing, or where something is in the way that it does not
    allow to change; BusyError where that is an open commit.
    """
    # an interrupted run that moved heads decides the snapshot: `latest` may be another one by now, and half
    # of the heads would come from each
    begun = _begun(vault, begun_with(source, request.id))
    snapshot = begun or snapshots.resolve(vault, request.snapshot.reference)
    cluster = TargetCluster.of(source, is_resumed=begun is not None)
    is_erased = bool(snapshot.manifest.erased)
    repos: list[RepoToRestore] = []
    lost: list[str] = []
    patterns = [selection.source(text) for text in request.what]
    unmatched = dict.fromkeys(patterns)
    for entry in snapshot.manifest.repos:
        name = RepoName(entry.project, entry.repo)
        if not any(means(pattern, name) for pattern in patterns):
            continue
        if name == DONE and request.to == RequestTarget():  # its files are added, see `_done_requests`
            _strike(unmatched, [name])
            continue
        try:
            repo = _entry(request, cluster, vault, entry, unmatched, is_erased=is_erased)
        except DamageError as error:
            if not request.keep_going:
                raise
            lost.append(f"{name}: {error}")
            _strike(unmatched, [name])
        else:
            repos += [repo] if repo else []
    known = vault.pipelines_record(snapshot.manifest.pipelines).pipelines
    chosen = pipeline_definitions.matching(request, known)  # their outputs need not be in the snapshot
    _strike(unmatched, list(chosen))
    left_out = _left_out(request, snapshot, known)
    if unmatched:
        raise suggestions.no_source(snapshot, list(unmatched), left_out)
    plans = [repo.plan for repo in repos]
    done_requests = _done_requests(request, snapshot, plans)
    if len({plan.target for plan in plans}) < len(plans):
        raise UsageError(
            "several repos would be restored into one",
            hint="request them one by one, or into a project: `to: {project: NAME}`, --to NAME/",
        )
    if not repos and not lost and not request.pipelines and done_requests is None:
        raise UsageError(
            "all that matches is written by pipelines",
            hint="pipelines: true restores the pipelines, outputs: as-repos what they wrote",
        )
    pipelines, unmade = cluster_needs.can_run(
        pipeline_definitions.choose(request, known, source),
        cluster,
        plans,
        {f"{pattern.project}/{pattern.repo}" for pattern in patterns},
    )
    cluster_needs.check_specs(source, pipelines, cluster)
    cluster_needs.check_licence(source, pipelines, cluster.outputs)
    if repos or not lost:
        _check_paths(request, snapshot, repos)
    resolved = with_shares(request, snapshot, repos, lost)
    more: dict[str, object] = {
        "projects": cluster_needs.projects(snapshot, cluster, plans, pipelines),
        "pipelines": pipelines,
        "settings": settings_plan.plan(request, snapshot, source, plans, chosen),
        "done_requests": done_requests,
        "not_restored": unmade + cluster_needs.not_recomputed(snapshot, source, chosen, pipelines, cluster),
        "notes": _notes(plans, pipelines, begun, left_out),
    }
    throughput = _throughput(source, vault) if resolved.plan.bytes else None
    if throughput:
        more |= {"bytes_per_second": throughput.bytes_per_second, "measured_by": throughput.source}
    return replace(resolved, plan=resolved.plan.model_copy(update=more))


def _begun(vault: Vault, snapshot_id: str | None) -> Snapshot | None:
    """The snapshot with which an interrupted run of the request moved heads, if the vault still has it."""
    known = (name for name in snapshots.names(vault) if name.id == snapshot_id)
    name = next(known, None) if snapshot_id else None
    return snapshots.load(vault, name) if name else None


def _done_requests(request: Request, snapshot: Snapshot, plans: Sequence[RepoPlan]) -> bytes | None:
    """The record of repo `restored`, where that is named, or requests come back; None where there is none."""
    named = any(means(selection.source(text), DONE) for text in request.what)
    if not (named and request.to == RequestTarget()) and REQUESTS not in {plan.target for plan in plans}:
        return None
    entries = {RepoName(entry.project, entry.repo): entry.record for entry in snapshot.manifest.repos}
    return entries.get(DONE)


def _left_out(request: Request, snapshot: Snapshot, known: Sequence[Pipeline]) -> list[str]:
    repos = [RepoName(entry.project, entry.repo) for entry in snapshot.manifest.repos]
    if request.pipelines:
        repos += [RepoName(pipeline.project, pipeline.name) for pipeline in known]
    return note_left_out(repos, [selection.source(text) for text in request.what])


def _notes(
    plans: Sequence[RepoPlan],
    pipelines: Sequence[PipelinePlan],
    begun: Snapshot | None,
    left_out: list[str],
) -> list[str]:
    notes = list(left_out)
    if begun:
        notes.append(
            f"continues with snapshot {begun.short_id}, of which an interrupted run has restored a part"
        )
    targets = {plan.target for plan in plans}
    if running := [pipeline for pipeline in pipelines if pipeline.is_new and not pipeline.stopped]:
        notes.append(
            f"{len(running)} pipelines compute their outputs again, in jobs that are not waited for: "
            "`pachctl list job` shows them"
        )
    if REQUESTS in targets:
        notes.append("the requests that come back are not carried out again")
    if POLICY in targets:
        notes.append("a policy from another cluster is not in force before it is committed again")
    return notes


def _entry(
    request: Request,
    cluster: TargetCluster,
    vault: Vault,
    entry: RepoEntry,
    unmatched: dict[SourcePattern, None],
    *,
    is_erased: bool,
) -> RepoToRestore | None:
    """What to restore of a repo; None where the request matches nothing in it, or it is recomputed."""
    history = RepoHistory(vault, vault.repo_record(entry.record))
    name = history.name
    chosen = _branches(history, request, unmatched)
    if not chosen:
        return None
    target = RepoName(request.to.project or name.project, request.to.repo or name.repo)
    if history.record.output_of and request.outputs == "recompute" and target == name:
        is_named = any(selection.source(text).literal_repo == name for text in request.what)
        if not request.pipelines and is_named:
            raise UsageError(
                f"{name} is written by pipeline {history.record.output_of}",
                hint="restore the pipeline to have it recomputed, or name another repo with `to`",
            )
        return None
    if target in cluster.outputs:
        raise UsageError(
            f"{target} is written by a pipeline of the cluster", hint="name another repo with `to`"
        )
    return repo_plan(request, cluster, history, chosen, target, entry.record, is_erased=is_erased)


def _throughput(source: Source, vault: Vault) -> Throughput | None:
    try:
        recorded = finished(source)
    except PachydermError:  # the restore continues without an estimate
        recorded = []
    return measured(recorded, vault)


def _branches(history: RepoHistory, request: Request, unmatched: dict[SourcePattern, None]) -> list[Branch]:
    """The branches that the request matches. A commit counts as a branch of the name that is asked for."""
    chosen: dict[str, Branch] = {}
    for source in map(selection.source, request.what):
        for branch in history.branches(source) if means(source, history.name) else ():
            if branch.head is None:
                continue
            unmatched.pop(source, None)
            name = (request.to.branch or "restored") if branch.name == branch.head else branch.name
            # two patterns may match one branch; only different commits of one name conflict
            if chosen.setdefault(name, branch).head != branch.head:
                raise UsageError(
                    f"two commits of {history.name} would be restored into branch {name}",
                    hint="request them one by one, each with its own `to`",
                )
            chosen[name] = branch.model_copy(update={"name": name})
    return [chosen[name] for name in sorted(chosen)]


def _strike(unmatched: dict[SourcePattern, None], repos: Sequence[RepoName]) -> None:
    """Remove the patterns that match one of the repos, at least one branch of it."""
    for pattern in [pattern for pattern in unmatched if any(map(pattern.means_repo, repos))]:
        del unmatched[pattern]


def _check_paths(request: Request, snapshot: Snapshot, repos: Sequence[RepoToRestore]) -> None:
    """UsageError that names every path of the request that no commit to restore has."""
    unmatched = Paths(tuple(request.paths))
    try:
        for repo in repos:
            for head in {branch.head for branch in repo.plan.branches}:
                unmatched = unmatched.unmatched(repo.history.tree(head)["path"].to_pylist())
        # with history, an older commit may have what the heads lack. Asked last: it reads every change
        for repo in repos if unmatched.patterns else ():
            for step in repo.plan.steps:
                change = changes(repo.history, step.old.id, step.content_parent)
                unmatched = unmatched.unmatched(change.puts["path"].to_pylist())
    except DamageError:
        if not request.keep_going:
            raise
        return  # the damaged commit may have them
    if unmatched.patterns:
        raise suggestions.no_path(snapshot, list(map(selection.source, request.what)), unmatched.patterns)
