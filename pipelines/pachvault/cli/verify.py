"""`verify`: is the vault what it should be, and is it what the cluster has?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from pachvault.cli.common import CommandContext, common_options, human, put, put_json, put_table, say
from pachvault.errors import EXIT_DAMAGE, EXIT_OK, EXIT_PARTIAL, PachvaultError, UsageError
from pachvault.format.documents import Audited
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.findings import Finding, Severity, exit_code
from pachvault.maintenance.verify.verify import Level, PackShare, Verified, examine
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
    help="structure: every reference resolves. packs: and every checksum. data: and every byte's digest. "
    "source: a snapshot against the cluster. drill: a sample is restored, compared and removed again.",
)
@click.option("--share", metavar="N/M", help="Of the packs' bytes only the Nth part of M: 3/30.")
@click.option("--quick", is_flag=True, help="With source: compare what the cluster lists, read nothing.")
@common_options
@click.pass_obj
def verify_command(
    state: CommandContext, snap: str | None, level: str, share: str | None, quick: bool
) -> int:
    """Check the vault, or what one snapshot of it needs; and note in the vault what was looked at.

    Exits with 13 where damage is found, and says what it hits and what to do; with 3 where something could
    not be read, even when tried again, so that nothing is known of it.

    Example: pachvault verify --level packs --share 3/30
    """
    if share and level not in (Level.PACKS, Level.DATA):
        raise UsageError("--share goes with --level packs and data")
    if quick and level != _SOURCE:
        raise UsageError("--quick goes with --level source")
    if snap and level == audits.DRILL:
        raise UsageError("a drill is of the newest snapshot", hint="leave out SNAP")
    if level == _SOURCE:
        return _source(state, snap, is_quick=quick)
    if level == audits.DRILL:
        return _drill(state)
    chosen = PackShare.parse(share) if share else None
    vault = state.open_vault()
    snapshot = snapshots.resolve(vault, snap).name if snap else None
    with state.progress() as progress:
        done = examine(vault, Level(level), progress, snapshot=snapshot, share=chosen)
    _note(vault, level, done.audited)
    show_findings(state, done.findings)
    _summary(state, done)
    return exit_code(done.findings)


def show_findings(state: CommandContext, findings: Sequence[Finding]) -> None:
    """A table of them, then each with what it hits; or a JSON object each."""
    if state.json:
        for finding in findings:
            put_json("finding", **finding.as_fields())
        return
    if findings:
        headings = ["FINDING", "MEANS", "FILES", "COMMITS", "SNAPSHOTS", "OBJECT"]
        rows = [
            [each.kind, each.severity, each.files_count, each.commits_count, len(each.snapshots), each.object]
            for each in findings
        ]
        put_table(headings, rows, right=(2, 3, 4))
    for finding in findings:
        _show(finding)


def _show(finding: Finding) -> None:
    put()
    put(f"{finding.kind}: {finding.object}: {finding.message}")
    for what, named, count in (
        ("blob", finding.blobs, finding.blobs_count),
        ("file", finding.files, finding.files_count),
        ("commit", finding.commits, finding.commits_count),
    ):
        for each in named:
            put(f"  {what} {each}")
        if count > len(named):
            put(f"  and {count - len(named):,} {what}s more")
    if finding.snapshots:
        put(f"  in snapshots {', '.join(finding.snapshots)}")
    put(f"  to do: {finding.advice}")


def _note(vault: Vault, level: str, audited: Sequence[Audited]) -> None:
    try:
        audits.record(vault, level, audited)
    except PachvaultError as error:
        say(f"what was verified could not be noted in the vault: {error}")


def _summary(state: CommandContext, done: Verified) -> None:
    rate = done.bytes_read / max(done.seconds, 1e-9)
    if state.json:
        put_json(
            "summary",
            level=done.level,
            findings=len(done.findings),
            severities=_counted(done.findings),
            snapshots=done.snapshots,
            packs=done.packs_read,
            packs_total=done.packs_total,
            bytes=done.bytes_read,
            seconds=round(done.seconds, 3),
            bytes_per_second=round(rate),
            reads_repeated=done.repeated,
        )
        return
    looked = f"{done.snapshots} snapshots"
    if done.level is not Level.STRUCTURE:
        looked += f", {done.packs_read} of {done.packs_total} packs, {human(done.bytes_read)}"
        looked += f" in {done.seconds:.1f} s, {human(rate)}/s"
    if done.repeated:
        looked += f"; {done.repeated} reads went well only at a second try"
    say(f"{_said(done.findings)} at level {done.level}: {looked}")


def _source(state: CommandContext, snap: str | None, *, is_quick: bool) -> int:
    # what needs no cluster does not wait for its modules
    from pachvault.maintenance.compare.compare import compare  # noqa: PLC0415
    from pachvault.pach.connection import connect  # noqa: PLC0415
    from pachvault.pach.source import Source  # noqa: PLC0415

    vault = state.open_vault()
    snapshot = snapshots.resolve(vault, snap or "latest")
    with connect(state.pachd, state.token) as connection, state.progress() as progress:
        done = compare(Source(connection), vault, snapshot, progress, is_quick=is_quick)
    _note(vault, _SOURCE, [done.audited(snapshot)])
    show_findings(state, done.findings)
    rate = done.bytes / max(done.seconds, 1e-9)
    if state.json:
        put_json(
            "summary",
            level=_SOURCE,
            findings=len(done.findings),
            severities=_counted(done.findings),
            snapshot=snapshot.name.id,
            branches=done.branches,
            unchanged=done.unchanged,
            commits=done.commits,
            bytes=done.bytes,
            seconds=round(done.seconds, 3),
            bytes_per_second=round(rate),
        )
    else:
        how = "listed" if is_quick else f"read at {human(rate)}/s"
        say(
            f"{_said(done.findings)} at level source: snapshot {snapshot.short_id}, {done.unchanged} of "
            f"{done.branches} branches unchanged, {done.commits} commits compared, {human(done.bytes)} {how}"
        )
    return exit_code(done.findings)


def _drill(state: CommandContext) -> int:
    from pachvault.maintenance.drill.drill import NOTHING, drill  # noqa: PLC0415

    vault = state.open_vault()
    with state.progress() as progress:
        done = drill(state.pachd, state.token, vault, progress)
    for each in done.results:
        if state.json:
            put_json("drill", **each.model_dump(mode="json", include={"name", "result", "message"}))
        else:
            put(f"{each.result:<10}  {each.name}" + (f": {each.message}" if each.message else ""))
    if state.json:
        put_json(
            "summary",
            level=audits.DRILL,
            snapshot=done.snapshot,
            is_good=done.is_good,
            files=done.files,
            bytes=done.bytes,
            seconds=round(done.seconds, 3),
        )
    else:
        verdict = "restored and found equal" if done.is_good else "the drill failed"
        if done.results:
            say(f"{verdict}: {done.files:,} files, {human(done.bytes)} of snapshot {done.snapshot}")
        else:
            say(f"nothing could be tried: {NOTHING} {done.snapshot}")
    if any(each.result == "damaged" for each in done.results):
        return EXIT_DAMAGE
    return EXIT_OK if done.is_good else EXIT_PARTIAL


def _counted(findings: Sequence[Finding]) -> Counter[Severity]:
    return Counter(finding.severity for finding in findings)


def _said(findings: Sequence[Finding]) -> str:
    counts = _counted(findings)
    means = ", ".join(f"{counts[each]} {each}" for each in Severity if counts[each])
    return f"{len(findings)} findings ({means})" if findings else "no damage found"
