"""`restore`, `rollback`, `restores`: back into Pachyderm."""

from __future__ import annotations

from pathlib import Path

import click

from pachvault import request as requests
from pachvault.cli.common import CommandContext, common_options, read_text, workers_option
from pachvault.cli.file_reference import FileReference
from pachvault.cli.restore_output import show_plan, show_report, show_restores
from pachvault.errors import UsageError
from pachvault.pach.connection import connect
from pachvault.pach.source import Source
from pachvault.request import Request
from pachvault.restore.request.in_progress import under_way
from pachvault.restore.request.restore_records import finished, is_drill
from pachvault.restore.restore import plan_only, restore
from pachvault.store.open_store import open_store
from pachvault.syntax import strict_yaml
from pachvault.vault.vault import Vault, open_vault


@click.command("restore")
@click.argument("what", nargs=-1, metavar="PROJECT/REPO[@BRANCH]...")
@click.option("--request", "file", type=click.Path(path_type=Path), help="A request file, instead of flags.")
@click.option(
    "--snapshot", default=None, metavar="SNAP", help="An id, a prefix, a time, or latest.  [default: latest]"
)
@click.option(
    "--at", default=None, metavar="TIME", help="The newest snapshot frozen at or before: 2026-11-20 08:00."
)
@click.option("--history", default=None, help="head, all, or a number of commits.  [default: head]")
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="GLOB",
    help="Only files and folders like this: '/2026'. The rest of a branch that exists stays. Repeatable.",
)
@click.option(
    "--to",
    default=None,
    metavar="PROJECT/REPO[@BRANCH]",
    help="Another name; PROJECT/ for another project.  [default: the same]",
)
@click.option(
    "--exists",
    type=click.Choice(["fail", "append", "replace"]),
    default=None,
    help="Where the branch exists: append is a commit on top with the old tree or paths; replace moves the "
    "branch, or with --path does as append, and keeps the old head as BRANCH-before-TIME.  [default: fail]",
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
    help="How much to compare before heads move.  [default: full]",
)
@click.option("--pipelines", is_flag=True, help="And the definitions of the pipelines that match.")
@click.option(
    "--outputs",
    type=click.Choice(["recompute", "as-repos"]),
    default=None,
    help="What pipelines wrote: left to them, or restored as plain repos.  [default: recompute]",
)
@click.option(
    "--settings",
    is_flag=True,
    help="Metadata, descriptions and defaults that differ become the snapshot's, the cluster's too.",
)
@click.option("--roles", is_flag=True, help="Give principals the roles back that they lack.")
@click.option(
    "--keep-going",
    is_flag=True,
    help="Restore what is intact of a damaged vault; move heads whatever differs.",
)
@workers_option("Processes that fetch large changes.")
@click.option("--dry-run", is_flag=True, help="Print the plan, change nothing.")
@common_options
@click.pass_obj
def restore_command(
    state: CommandContext,
    /,
    what: tuple[str, ...],
    file: Path | None,
    workers: int,
    dry_run: bool,
    **flags: object,
) -> int:
    """Bring branches back into Pachyderm, from a snapshot.

    Into another cluster: --pachd says which. The vault alone is enough, the cluster that was backed up may
    be gone.

    A path pattern means the files it matches and all below the folders it matches; * is any characters, /
    too. What matches nothing in the snapshot is refused with 2 and named: each source and each path, with the
    newest snapshot that has it.

    No head moves before all that was restored has been compared with the vault. Exits with 3 where
    something could not be had (--keep-going) or a stopped pipeline's output is not brought back, with 11
    while another run carries out the same request, with 13 where the vault is damaged or what was restored
    is not what it was: the branches stay as they are then.

    Example: pachvault restore images/raw@master --at '2026-11-20 08:00' --to images/raw-before
    """
    request = _request(file, what, flags)
    vault = open_vault(open_store(state.vault or request.vault or state.vault_url()))
    return _carry_out(state, request, vault, workers, dry_run=dry_run)


@click.command("rollback")
@click.argument("place", metavar="PROJECT/REPO@BRANCH")
@click.option(
    "--to", "snapshot", required=True, metavar="SNAP|TIME", help="A snapshot, or a time: 2026-11-20 08:00."
)
@click.option("--dry-run", is_flag=True, help="Print the plan, change nothing.")
@common_options
@click.pass_obj
def rollback_command(state: CommandContext, /, place: str, snapshot: str, dry_run: bool) -> int:
    """Set a branch back to what it was, at once where the cluster still holds it.

    The head that is replaced goes on under BRANCH-before-TIME.
    """
    where = FileReference.parse(place)
    if where.path != "/":
        raise UsageError(
            "a rollback is of a whole branch",
            where=place,
            hint=f"restore {where.source} --path {where.path} --exists append",
        )
    fields: dict[str, object] = {
        "version": 1,
        "what": [f"{where.repo}@{where.reference}"],
        "snapshot": snapshot,
        "exists": "replace",
    }
    return _carry_out(
        state, strict_yaml.validate(Request, fields, "rollback"), state.open_vault(), dry_run=dry_run
    )


@click.command("restores")
@click.option("--drills", is_flag=True, help="Restore drills, too, which `pachvault status` sums up.")
@common_options
@click.pass_obj
def restores_command(state: CommandContext, /, drills: bool) -> int:
    """List the restores that the cluster has seen: finished ones, oldest first, then those under way.

    Running: a run carries it out, in the phase named. Waiting: the pipelines have planned it. Interrupted:
    its run died, and it goes on where it was when it is asked for again.
    """
    with connect(state.pachd, state.token) as connection:
        known = finished(Source(connection))
        others = under_way(Source(connection), {str(said["request"]) for said in known})
    if not drills:
        known = [said for said in known if not is_drill(said)]
        others = [each for each in others if not each.is_drill]
    show_restores(state, known, others)
    return 0


def _carry_out(
    state: CommandContext, request: Request, vault: Vault, workers: int = 1, *, dry_run: bool
) -> int:
    """Restore, or print the plan; the exit code."""
    if dry_run:
        show_plan(state, plan_only(state.pachd, state.token, request, vault).plan)
        return 0
    with state.progress() as progress:
        report = restore(state.pachd, state.token, request, vault, progress, workers)
    return show_report(state, report)


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
        fields["to"] = requests.place(str(given.pop("to")))
    history = str(given.pop("history", "head"))
    fields["history"] = history if history in ("head", "all") else {"last": history}
    if "origin" in given:
        fields["from"] = given.pop("origin")
    if "paths" in given:
        fields["paths"] = list(flags["paths"])  # type: ignore[call-overload]  # click gives a tuple
        given.pop("paths")
    return strict_yaml.validate(Request, fields | given, "restore")
