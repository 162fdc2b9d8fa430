"""Plans, reports and lists of restores, as people and programs read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from pachvault.cli.common import CommandContext, human, put, put_json, put_table, say
from pachvault.errors import EXIT_DAMAGE, EXIT_PARTIAL
from pachvault.restore.request.in_progress import RestoreInProgress
from pachvault.restore.request.restore_records import RestoreReport, is_drill, state_of
from pachvault.restore.restore_messages import BranchPlan, PipelinePlan, RestorePlan, SettingsPlan

_SHOWN = 20


def show_plan(state: CommandContext, plan: RestorePlan) -> None:
    """What a restore would do."""
    if state.json:
        put_json("plan", **plan.model_dump(mode="json"), expected_seconds=plan.expected_seconds)
        return
    put(plan.summary)
    for project in plan.projects:
        put(f"create project {project.name}")
    for repo in plan.repos:
        new = " (new)" if repo.is_new else ""
        put(f"{repo.source} → {repo.target}{new}: {len(repo.steps)} commits from the {repo.origin}")
        for branch in repo.branches:
            put(f"  {_fate(branch, plan.paths)}")
    for pipeline in plan.pipelines:
        put(_pipeline(pipeline))
    for line in _settings(plan.settings):
        put(line)
    if plan.done_requests is not None:
        put("the record of finished requests is added to the cluster's")
    for line in plan.lost:
        put(f"left out, damaged: {line}")
    for line in plan.not_restored:
        put(f"not restored: {line}")
    for line in plan.notes + plan.settings.notes:
        put(f"note: {line}")
    put(_expected(plan))


def _pipeline(plan: PipelinePlan) -> str:
    name = f"{plan.project}/{plan.name}"
    if not plan.is_new:
        return f"stop pipeline {name}"
    return f"create pipeline {name} ({'stopped' if plan.stopped else 'running'})"


def _settings(plan: SettingsPlan) -> list[str]:
    """A line for each setting that is set."""
    lines = []
    if plan.cluster_metadata is not None:
        lines.append("set the metadata of the cluster")
    if plan.cluster_defaults_json is not None:
        lines.append("set the defaults of the cluster")
    for project in plan.projects:
        names = [name for name, value in project if name != "name" and value is not None]
        what = ", ".join(name.removesuffix("_json") for name in names)
        lines.append(f"set of project {project.name}: {what}")
    for repo in plan.repos:
        places = [f"{repo.project}/{repo.name}"] if repo.metadata else []
        places += [f"{repo.project}/{repo.name}@{branch}" for branch in repo.branches]
        lines += [f"set the metadata of {place}" for place in places]
    lines += [f"set the metadata of pipeline {each.project}/{each.name}" for each in plan.pipelines]
    for roles in plan.roles:
        lines += [
            f"give {principal} on {roles.text}: {', '.join(given)}"
            for principal, given in roles.roles.items()
        ]
    return lines


def _fate(branch: BranchPlan, paths: Sequence[str]) -> str:
    """What becomes of a branch, and of the head that it has."""
    text = f"{branch.action} {branch.name} at {branch.head[:12]}"
    if paths:
        rest = ", the rest of the branch stays" if branch.action == "append" else ""
        text += f", only {', '.join(paths)}{rest}"
    if not branch.current:
        return text
    if branch.action == "keep":
        return f"keep {branch.name}: restored to {branch.head[:12]} by an interrupted run, and newer since"
    if branch.current == branch.head:
        return f"{text}: it is there already"
    now = f"{text}; its head is {branch.current[:12]} now"
    if branch.keep_as:
        return f"{now}, kept as {branch.keep_as}"
    return f"{now}, and stays below" if branch.action == "append" else now


def _expected(plan: RestorePlan) -> str:
    if not plan.bytes:
        return "expected time: seconds, for no data comes from the vault"
    if plan.expected_seconds is None or plan.bytes_per_second is None:
        return f"expected time: unknown for {human(plan.bytes)}, for no bandwidth was measured yet"
    rate = f"{human(plan.bytes_per_second)}/s"
    time = timedelta(seconds=max(1, round(plan.expected_seconds)))
    return f"expected time: {time} for {human(plan.bytes)} at {rate}, as measured by {plan.measured_by}"


def show_report(state: CommandContext, report: RestoreReport) -> int:
    """What a restore did; the exit code."""
    if state.json:
        for each in report.differences:
            put_json("finding", kind="restored-differs", **asdict(each))
        put_json(
            "summary",
            request=report.request_id,
            summary=report.summary,
            ids=report.ids,
            lost=report.lost,
            differences=len(report.differences),
            kept=report.kept,
            moved=report.moved,
            pipelines=report.pipelines,
            not_restored=report.not_restored,
            notes=report.notes,
            is_unchanged=report.is_unchanged,
        )
    else:
        for line in report.lost:
            say(f"not restored: {line}")
        for each in report.differences[:_SHOWN]:
            say(f"differs: {each.repo}@{each.commit}:{each.path}: {each.message}")
        if len(report.differences) > _SHOWN:
            say(f"and {len(report.differences) - _SHOWN} more (--json names all)")
        for line in report.kept:
            say(f"what differs is kept as {line}, to be looked at and deleted; a next run makes it anew")
        for line in report.not_restored:
            say(f"not restored: {line}")
        for line in report.notes:
            say(f"note: {line}")
        for name in report.pipelines:
            say(f"created pipeline {name}")
        say(f"{_done(report)}; {report.summary}; request {report.request_id[:12]}")
    if report.differences:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if report.lost or report.not_restored else 0


def _done(report: RestoreReport) -> str:
    """What a restore did, in a few words."""
    if report.is_unchanged:
        return "nothing to do: all of it is there"
    commits = sum(len(each.ids) + len(each.appended) for each in report.replayed)
    if not report.is_settled:
        return f"no branch was touched: made {commits} commits"
    if commits or not report.moved:
        return f"restored {commits} commits"
    return f"moved {len(report.moved)} branches back: {', '.join(report.moved)}"


def show_restores(
    state: CommandContext, known: Sequence[dict[str, object]], others: Sequence[RestoreInProgress]
) -> None:
    """Recorded restores, and those that are not finished."""
    if state.json:
        for said in known:
            put_json("restore", state=state_of(said), is_drill=is_drill(said), **said)
        for each in others:
            put_json("restore", **asdict(each))
        return
    done = [
        [
            str(said["request"])[:12],
            state_of(said),
            _minute(said["finished_at"]),
            _summary(str(said["summary"]), is_drill=is_drill(said)),
        ]
        for said in known
    ]
    rest = [
        [
            each.request,
            f"{each.state} ({each.phase})" if each.phase else each.state,
            _minute(each.since),
            _summary(each.summary, is_drill=each.is_drill),
        ]
        for each in others
    ]
    put_table(["REQUEST", "STATE", "SINCE (UTC)", "SUMMARY"], [*done, *rest])


def _summary(text: str, *, is_drill: bool) -> str:
    return f"drill: {text}" if is_drill else text


def _minute(at: object) -> str:
    return str(at or "")[:19].replace("T", " ")
