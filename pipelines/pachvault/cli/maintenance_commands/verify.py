"""`verify`: check the vault, or compare a snapshot with the cluster."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pachvault.cli.common import CommandContext, common_options, say
from pachvault.cli.render import show, show_all
from pachvault.cli.results.verify import (
    DrillResult,
    DrillSummary,
    FindingResult,
    VerifySourceSummary,
    VerifySummary,
    severities_of,
)
from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, PachvaultError, UsageError
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.findings import Finding, exit_code
from pachvault.maintenance.verify.verify import Level, PackShare, examine
from pachvault.syntax import selection
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault

_SOURCE = "source"


@click.command("verify")
@click.argument("snap", required=False, metavar="[SNAP]")
@click.option(
    "--level",
    type=click.Choice([*(level.value for level in Level), _SOURCE, audits.DRILL]),
    default=Level.STRUCTURE.value,
    show_default=True,
    help="structure: every reference resolves. packs: also every checksum of the packs. data: also every "
    "blob's digest. source: compare a snapshot with the cluster. drill: restore a sample and compare it.",
)
@click.option("--share", metavar="N/M", help="Read only the Nth of M parts of the packs, such as 3/30.")
@click.option(
    "--quick", is_flag=True, help="With --level source: compare what the cluster lists, read no data."
)
@common_options
@click.pass_obj
def verify_command(
    context: CommandContext, snap: str | None, level: str, share: str | None, quick: bool
) -> int:
    """Check the vault, or compare a snapshot with the cluster.

    With SNAP, only what that snapshot needs is checked. What was checked is recorded in the vault.

    The exit code is 13 if there is damage; the output names what is affected and what to do. It is 3 if
    something could not be read, even after retries, so that its state is unknown, or if the last intact copy
    of something is in a pack that is a pending delete.

    Example: pachvault verify --level packs --share 3/30
    """
    if share and level not in (Level.PACKS, Level.DATA):
        raise UsageError("--share goes with --level packs and data")
    if quick and level != _SOURCE:
        raise UsageError("--quick goes with --level source")
    if level == audits.DRILL and snap not in (None, selection.LATEST):
        raise UsageError(
            "a drill is of the newest snapshot only", hint=f"`pachvault verify --level {audits.DRILL}`"
        )
    if level == _SOURCE:
        return _verify_source(context, snap, is_quick=quick)
    if level == audits.DRILL:
        return _drill(context)
    return _verify_vault(context, snap, Level(level), PackShare.parse(share) if share else None)


def _verify_vault(context: CommandContext, snap: str | None, level: Level, share: PackShare | None) -> int:
    vault = context.open_vault()
    snapshot = snapshots.resolve(vault, snap).name if snap else None
    with context.progress() as progress:
        verified = examine(vault, level, progress, snapshot=snapshot, share=share)
    _record(vault, level, verified.audited, verified.manifests)
    _show_findings(context, verified.findings)
    show(
        context,
        VerifySummary(
            level=verified.level,
            findings=len(verified.findings),
            severities=severities_of(verified.findings),
            snapshots=verified.snapshots,
            packs=verified.packs_read,
            packs_total=verified.packs_total,
            read_bytes=verified.bytes_read,
            elapsed_seconds=round(verified.seconds, 3),
            bytes_per_second=_rate(verified.bytes_read, verified.seconds),
            reads_repeated=verified.repeated,
        ),
    )
    return exit_code(verified.findings)


def _verify_source(context: CommandContext, snap: str | None, *, is_quick: bool) -> int:
    # commands that need no cluster do not wait for these modules
    from pachvault.maintenance.compare.compare import compare  # noqa: PLC0415
    from pachvault.pach.connection import connect  # noqa: PLC0415
    from pachvault.pach.source import Source  # noqa: PLC0415

    vault = context.open_vault()
    snapshot = snapshots.resolve(vault, snap or "latest")
    with connect(context.pachd, context.token) as connection, context.progress() as progress:
        compared = compare(Source(connection), vault, snapshot, progress, is_quick=is_quick)
    _record(vault, _SOURCE, [compared.audited(snapshot)])
    _show_findings(context, compared.findings)
    show(
        context,
        VerifySourceSummary(
            snapshot=snapshot.name.id,
            findings=len(compared.findings),
            severities=severities_of(compared.findings),
            branches=compared.branches,
            unchanged=compared.unchanged,
            commits=compared.commits,
            is_quick=is_quick,
            compared_bytes=compared.bytes,
            elapsed_seconds=round(compared.seconds, 3),
            bytes_per_second=_rate(compared.bytes, compared.seconds),
        ),
    )
    return exit_code(compared.findings)


def _drill(context: CommandContext) -> int:
    # commands that need no cluster do not wait for these modules
    from pachvault.maintenance.drill.drill import NOTHING, drill  # noqa: PLC0415

    vault = context.open_vault()
    with context.progress() as progress:
        outcome = drill(context.pachd, context.token, vault, progress)
    for result in outcome.results:
        show(context, DrillResult(name=result.name, result=result.result, message=result.message))
    show(
        context,
        DrillSummary(
            snapshot=outcome.snapshot,
            is_good=outcome.is_good,
            files=outcome.files,
            restored_bytes=outcome.bytes,
            elapsed_seconds=round(outcome.seconds, 3),
            reason="" if outcome.results else f"{NOTHING} {outcome.snapshot}",
        ),
    )
    if any(result.result == "damaged" for result in outcome.results):
        return EXIT_DAMAGE
    return EXIT_OK if outcome.is_good else EXIT_PARTIAL


def _show_findings(context: CommandContext, findings: Sequence[Finding]) -> None:
    show_all(context, FindingResult, [FindingResult.of(finding) for finding in findings])


def _record(
    vault: Vault, level: str, audited: Sequence[AuditEntry], manifests: Sequence[str] | None = None
) -> None:
    try:
        audits.record(vault, level, audited, manifests)
    # audits are advisory (format 9.9): a vault that cannot be written can still be verified
    except PachvaultError as error:
        say(f"the audit could not be written to the vault: {error}")


def _rate(size: int, seconds: float) -> int:
    # an empty vault may take no measurable time
    return round(size / max(seconds, 1e-9))
