"""`restore`, `rollback`, `restores`: back into Pachyderm."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from pachvault import request as requests
from pachvault import strict_yaml
from pachvault.cli.common import State, common_options, put_json, put_table, read_text, say, workers_option
from pachvault.cli.place import Place
from pachvault.errors import EXIT_DAMAGE, EXIT_PARTIAL, UsageError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.request import Request
from pachvault.restore.run import Report, finished, plan_only, restore
from pachvault.restore.work import RestorePlan
from pachvault.store.store import open_store
from pachvault.vault.vault import open_vault

_SHOWN = 20


@click.command("restore")
@click.argument("what", nargs=-1, metavar="PROJECT/REPO[@BRANCH]...")
@click.option("--request", "file", type=click.Path(path_type=Path), help="A request file, instead of flags.")
@click.option(
    "--snapshot", default=None, metavar="SNAP", help="An id, a prefix, or latest.  [default: latest]"
)
@click.option(
    "--at", default=None, metavar="TIME", help="The newest snapshot frozen at or before: 2026-11-20 08:00."
)
@click.option("--history", default=None, help="head, all, or a number of commits.  [default: head]")
@click.option(
    "--path", "paths", multiple=True, metavar="GLOB", help="Only paths like this: '/2026/**'. Repeatable."
)
@click.option(
    "--to", default=None, metavar="PROJECT/REPO[@BRANCH]", help="Another name.  [default: the same]"
)
@click.option(
    "--exists",
    type=click.Choice(["fail", "append", "replace"]),
    default=None,
    help="Where the branch exists.  [default: fail]",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["auto", "backup", "vault"]),
    default=None,
    help="Where from.  [default: auto]",
)
@click.option(
    "--verify",
    type=click.Choice(["full", "hashes", "none"]),
    default=None,
    help="Compare afterwards.  [default: full]",
)
@click.option("--pipelines", is_flag=True, help="And the definitions of the pipelines that match.")
@click.option("--keep-going", is_flag=True, help="Restore what is intact of a damaged vault.")
@workers_option("Processes that fetch large changes.")
@click.option("--dry-run", is_flag=True, help="Print the plan, change nothing.")
@common_options
@click.pass_obj
def restore_command(
    state: State, /, what: tuple[str, ...], file: Path | None, workers: int, dry_run: bool, **flags: object
) -> int:
    """Bring branches back into Pachyderm, from a snapshot.

    Exits with 3 where something could not be had (--keep-going), with 13 where the vault is damaged or
    what was restored is not what it was.

    Example: pachvault restore images/raw@master --at '2026-11-20 08:00' --to images/raw-before
    """
    request = _request(file, what, flags)
    vault = open_vault(open_store(state.vault or request.vault or state.vault_url()))
    if dry_run:
        _show_plan(state, plan_only(state.pachd, state.token, request, vault).plan)
        return 0
    with state.progress() as progress:
        report = restore(state.pachd, state.token, request, vault, progress, workers)
    return _show_report(state, report)


@click.command("rollback")
@click.argument("place", metavar="PROJECT/REPO@BRANCH")
@click.option(
    "--to", "snapshot", required=True, metavar="SNAP|TIME", help="A snapshot, or a time: 2026-11-20 08:00."
)
@common_options
@click.pass_obj
def rollback_command(state: State, place: str, snapshot: str) -> int:
    """Set a branch back to what it was, at once where the cluster still holds it.

    The head that is replaced goes on under BRANCH-before-TIME.
    """
    where = Place.parse(place)
    fields: dict[str, object] = {
        "version": 1,
        "what": [f"{where.repo}@{where.reference}"],
        "snapshot": {"at": snapshot} if ":" in snapshot else snapshot,
        "exists": "replace",
    }
    request = strict_yaml.validate(Request, fields, "rollback")
    with state.progress() as progress:
        report = restore(state.pachd, state.token, request, state.open_vault(), progress)
    return _show_report(state, report)


@click.command("restores")
@common_options
@click.pass_obj
def restores_command(state: State) -> int:
    """List the restores that the cluster has seen, oldest first."""
    with connect(state.pachd, state.token) as connection:
        known = finished(Source(connection))
    if state.json:
        for said in known:
            put_json("restore", **said)
        return 0
    put_table(
        ["REQUEST", "FINISHED (UTC)", "STATE", "SUMMARY"],
        [
            [
                str(said["request"])[:12],
                str(said["finished_at"])[:19].replace("T", " "),
                "partial" if said["lost"] else "different" if said["differences"] else "done",
                said["summary"],
            ]
            for said in known
        ],
    )
    return 0


def _request(file: Path | None, what: tuple[str, ...], flags: dict[str, object]) -> Request:
    given = {name: value for name, value in flags.items() if value}
    if file is not None:
        if what or given:
            raise UsageError("--request and other flags exclude each other")
        return requests.parse(read_text(file), str(file))
    if not what:
        raise UsageError("nothing to restore was named", hint="PROJECT/REPO@BRANCH, or --request FILE")
    if "snapshot" in given and "at" in given:
        raise UsageError("--snapshot and --at exclude each other")
    fields: dict[str, object] = {"version": 1, "what": list(what)}
    if "at" in given:
        fields["snapshot"] = {"at": given.pop("at")}
    if "to" in given:
        fields["to"] = _to(str(given.pop("to")))
    history = str(given.pop("history", "head"))
    fields["history"] = {"last": int(history)} if history.isdigit() else history
    if "origin" in given:
        fields["from"] = given.pop("origin")
    if "paths" in given:
        fields["paths"] = list(flags["paths"])  # type: ignore[call-overload]  # click gives a tuple
        given.pop("paths")
    return strict_yaml.validate(Request, fields | given, "restore")


def _to(text: str) -> dict[str, str]:
    repo, _, branch = text.partition("@")
    project, _, name = repo.rpartition("/")
    if not name:
        raise UsageError(f"not a place: {text!r}", hint="project/repo or project/repo@branch")
    return {
        "repo": name,
        **({"project": project} if project else {}),
        **({"branch": branch} if branch else {}),
    }


def _show_plan(state: State, plan: RestorePlan) -> None:
    if state.json:
        put_json("plan", **plan.model_dump(mode="json"))
        return
    click.echo(plan.summary)
    for repo in plan.repos:
        new = " (new)" if repo.is_new else ""
        click.echo(f"{repo.source} → {repo.target}{new}: {len(repo.steps)} commits from the {repo.origin}")
        for branch in repo.branches:
            kept = f", the old head kept as {branch.keep_as}" if branch.keep_as else ""
            click.echo(f"  {branch.action} {branch.name} at {branch.head[:12]}{kept}")
    for pipeline in plan.pipelines:
        mode = "stopped" if pipeline.stopped else "running"
        click.echo(f"create pipeline {pipeline.project}/{pipeline.name} ({mode})")


def _show_report(state: State, report: Report) -> int:
    if state.json:
        for each in report.differences:
            put_json("finding", kind="restored-differs", **asdict(each))
        put_json(
            "summary",
            request=report.request_id,
            summary=report.summary,
            ids={str(each.repo): each.ids | each.appended for each in report.replayed},
            lost=report.lost,
            differences=len(report.differences),
        )
    else:
        for line in report.lost:
            say(f"not restored: {line}")
        for each in report.differences[:_SHOWN]:
            say(f"differs: {each.repo}@{each.commit}:{each.path}: {each.message}")
        if len(report.differences) > _SHOWN:
            say(f"and {len(report.differences) - _SHOWN} more (--json names all)")
        commits = sum(len(each.ids) + len(each.appended) for each in report.replayed)
        say(f"restored {commits} commits; {report.summary}; request {report.request_id[:12]}")
    if report.differences:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if report.lost else 0
