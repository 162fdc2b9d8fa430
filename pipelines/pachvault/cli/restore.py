"""`restore`, `rollback`, `restores`: from the vault back into Pachyderm."""

from __future__ import annotations

from pathlib import Path

import click

from pachvault import request as requests
from pachvault.cli.common import CommandContext, common_options, read_text, workers_option
from pachvault.cli.file_reference import FileReference
from pachvault.cli.render import show, show_all
from pachvault.cli.results.restore import RestoreDifferenceResult, RestoreResult, RestoreSummary
from pachvault.cli.results.restore_plan import RestorePlanResult
from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, UsageError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.request import Request
from pachvault.restore.restore import plan_only, restore
from pachvault.restore.state.in_progress import unfinished_restores
from pachvault.restore.state.restore_records import finished
from pachvault.store.open_store import open_store
from pachvault.syntax import strict_yaml
from pachvault.vault.vault import Vault, open_vault


@click.command("restore")
@click.argument("what", nargs=-1, metavar="PROJECT/REPO[@BRANCH]...")
@click.option(
    "--request",
    "file",
    type=click.Path(path_type=Path),
    help="A request file, instead of arguments and flags.",
)
@click.option(
    "--snapshot",
    default=None,
    metavar="SNAP",
    help="An id, the start of an id, a time, or latest.  [default: latest]",
)
@click.option(
    "--at",
    default=None,
    metavar="TIME",
    help="Use the newest snapshot frozen at or before TIME, such as 2026-11-20 08:00.",
)
@click.option(
    "--history",
    default=None,
    help="How many commits: head (the newest only), all, or a number (the newest N).  [default: head]",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="GLOB",
    help="Restore only files and folders that match, such as '/2026'; an existing branch keeps the rest. "
    "Repeatable.",
)
@click.option(
    "--to",
    default=None,
    metavar="PROJECT/REPO[@BRANCH]",
    help="Restore under another name; PROJECT/ for another project.  [default: the same name]",
)
@click.option(
    "--exists",
    type=click.Choice(["fail", "append", "replace"]),
    default=None,
    help="If the branch exists: append adds a commit with the old files; replace moves the branch, or with "
    "--path adds a commit, and keeps the old head as BRANCH-before-TIME.  [default: fail]",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["auto", "backup", "vault"]),
    default=None,
    help="Where the data comes from: the backup repo in the cluster, or the vault.  [default: auto]",
)
@click.option(
    "--verify",
    type=click.Choice(["full", "hashes", "none"]),
    default=None,
    help="How to compare the restored commits before any head moves.  [default: full]",
)
@click.option(
    "--pipelines", is_flag=True, help="Also restore the definitions of pipelines whose output matches."
)
@click.option(
    "--outputs",
    type=click.Choice(["recompute", "as-repos"]),
    default=None,
    help="Outputs of pipelines: let the pipelines compute them again, or restore them as plain repos.  "
    "[default: recompute]",
)
@click.option(
    "--settings",
    is_flag=True,
    help="Also set metadata, descriptions and defaults to those of the snapshot, also those of the cluster.",
)
@click.option("--roles", is_flag=True, help="Also give principals the roles that they had.")
@click.option(
    "--keep-going",
    is_flag=True,
    help="Restore what is intact of a damaged vault, and move heads even if something differs.",
)
@workers_option("Number of processes that fetch large changes.")
@click.option("--dry-run", is_flag=True, help="Show the plan; change nothing.")
@common_options
@click.pass_obj
def restore_command(
    context: CommandContext,
    /,
    what: tuple[str, ...],
    file: Path | None,
    workers: int,
    dry_run: bool,
    **flags: object,
) -> int:
    """Restore branches from a snapshot into Pachyderm.

    --pachd may name another cluster. The vault is enough: the cluster that was backed up is not needed.

    A path pattern selects the files that match it, and everything below the folders that match it; * matches
    any characters, also /. If a source or a path matches nothing in the snapshot, the command names it with
    the newest snapshot that has it, and exits with 2.

    No head moves before all restored commits have been compared with the vault. The exit code is 3 if
    something could not be restored (--keep-going), or if the output of a stopped pipeline is not restored;
    11 if another run carries out the same request; 13 if the vault is damaged, or if a restored commit
    differs from the vault. In that case no branch is changed.

    Example: pachvault restore images/raw@master --at '2026-11-20 08:00' --to images/raw-before
    """
    request = _request(file, what, flags)
    vault = open_vault(open_store(context.vault or request.vault or context.vault_url()))
    return _carry_out(context, request, vault, workers, dry_run=dry_run)


@click.command("rollback")
@click.argument("place", metavar="PROJECT/REPO@BRANCH")
@click.option(
    "--to",
    "snapshot",
    required=True,
    metavar="SNAP|TIME",
    help="A snapshot, or a time such as 2026-11-20 08:00.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan; change nothing.")
@common_options
@click.pass_obj
def rollback_command(context: CommandContext, /, place: str, snapshot: str, dry_run: bool) -> int:
    """Set a branch back to a snapshot. No data is copied if the cluster still has the commit.

    The replaced head is kept as BRANCH-before-TIME.
    """
    reference = FileReference.parse(place)
    if reference.path != "/":
        raise UsageError(
            "rollback sets back a whole branch, not a path",
            where=place,
            hint=f"restore {reference.source} --path {reference.path} --exists append",
        )
    fields: dict[str, object] = {
        "version": 1,
        "what": [f"{reference.repo}@{reference.reference}"],
        "snapshot": snapshot,
        "exists": "replace",
    }
    return _carry_out(
        context, strict_yaml.validate(Request, fields, "rollback"), context.open_vault(), dry_run=dry_run
    )


@click.command("restores")
@click.option("--drills", is_flag=True, help="Also list restore drills; `pachvault status` sums them up.")
@common_options
@click.pass_obj
def restores_command(context: CommandContext, /, drills: bool) -> int:
    """List the restores of the cluster.

    Finished ones come first, oldest first, then those in progress. running: a run carries it out, in the
    phase shown. waiting: the pipelines have planned it. interrupted: its run ended early; request it again,
    and it continues where it stopped.
    """
    with connect(context.pachd, context.token) as connection:
        records = finished(Source(connection))
        in_progress = unfinished_restores(Source(connection), {str(record["request"]) for record in records})
    restores = [
        *(RestoreResult.of_record(record) for record in records),
        *(RestoreResult.in_progress(restore) for restore in in_progress),
    ]
    chosen = [restore for restore in restores if drills or not restore.is_drill]
    show_all(context, RestoreResult, chosen)
    return 0


def _carry_out(
    context: CommandContext, request: Request, vault: Vault, workers: int = 1, *, dry_run: bool
) -> int:
    """Restore, or print the plan; the exit code."""
    if dry_run:
        plan = plan_only(context.pachd, context.token, request, vault).plan
        show(context, RestorePlanResult.of(plan))
        return EXIT_OK
    with context.progress() as progress:
        report = restore(context.pachd, context.token, request, vault, progress, workers)
    differences = [RestoreDifferenceResult.of(difference) for difference in report.differences]
    show_all(context, RestoreDifferenceResult, differences)
    show(context, RestoreSummary.of(report))
    if report.differences:
        return EXIT_DAMAGE
    return EXIT_PARTIAL if report.lost or report.not_restored else EXIT_OK


def _request(file: Path | None, what: tuple[str, ...], flags: dict[str, object]) -> Request:
    # absent flags stay out, so that the defaults are those of a request file
    given = {name: value for name, value in flags.items() if value}
    if file is not None:
        if what or given:
            raise UsageError("--request excludes arguments and other flags")
        return requests.parse(read_text(file), str(file))
    if not what:
        raise UsageError("nothing to restore was named", hint="PROJECT/REPO@BRANCH, or --request FILE")
    if "snapshot" in given and "at" in given:
        raise UsageError("--snapshot and --at exclude each other")
    fields: dict[str, object] = {"version": 1, "what": list(what)}
    if "at" in given:
        fields["snapshot"] = {"at": given.pop("at")}
    if "to" in given:
        fields["to"] = requests.place(str(given.pop("to")))
    history = str(given.pop("history", "head"))
    fields["history"] = history if history in ("head", "all") else {"last": history}
    if "origin" in given:
        fields["from"] = given.pop("origin")
    if "paths" in given:
        fields["paths"] = list(flags["paths"])  # type: ignore[call-overload]  # click gives a tuple
        given.pop("paths")
    return strict_yaml.validate(Request, fields | given, "restore")
