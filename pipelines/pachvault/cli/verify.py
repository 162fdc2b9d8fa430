"""`verify`: is the vault what it should be?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from pachvault.cli.common import State, common_options, human, put_json, put_table, say
from pachvault.errors import PachvaultError
from pachvault.format.documents import Audited
from pachvault.upkeep import audits
from pachvault.upkeep.findings import Finding, Severity, exit_code
from pachvault.upkeep.verify import Level, Share, Verified, examine
from pachvault.vault import snapshots
from pachvault.vault.vault import Vault


@click.command("verify")
@click.argument("snap", required=False, metavar="[SNAP]")
@click.option(
    "--level",
    type=click.Choice([level.value for level in Level]),
    default=Level.STRUCTURE.value,
    show_default=True,
    help="structure: every reference resolves. packs: and every checksum. data: and every byte's digest.",
)
@click.option("--share", metavar="N/M", help="Of the packs' bytes only the Nth part of M: 3/30.")
@common_options
@click.pass_obj
def verify_command(state: State, snap: str | None, level: str, share: str | None) -> int:
    """Check the vault, or what one snapshot of it needs; and note in the vault what was looked at.

    Exits with 13 where damage is found, and says what it hits and what to do; with 3 where something could
    not be read, even when tried again, so that nothing is known of it.
    """
    chosen = Share.parse(share) if share else None
    vault = state.open_vault()
    snapshot = snapshots.resolve(vault, snap).name if snap else None
    with state.progress() as progress:
        done = examine(vault, Level(level), progress, snapshot=snapshot, share=chosen)
    _note(vault, level, done.audited)
    show_findings(state, done.findings)
    _summary(state, done)
    return exit_code(done.findings)


def show_findings(state: State, findings: Sequence[Finding]) -> None:
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
    click.echo(f"\n{finding.kind}: {finding.object}: {finding.message}")
    for what, named, count in (
        ("blob", finding.blobs, finding.blobs_count),
        ("file", finding.files, finding.files_count),
        ("commit", finding.commits, finding.commits_count),
    ):
        for each in named:
            click.echo(f"  {what} {each}")
        if count > len(named):
            click.echo(f"  and {count - len(named):,} {what}s more")
    if finding.snapshots:
        click.echo(f"  in snapshots {', '.join(finding.snapshots)}")
    click.echo(f"  to do: {finding.advice}")


def _note(vault: Vault, level: str, audited: Sequence[Audited]) -> None:
    try:
        audits.record(vault, level, audited)
    except PachvaultError as error:
        say(f"what was verified could not be noted in the vault: {error}")


def _summary(state: State, done: Verified) -> None:
    rate = done.bytes_read / max(done.seconds, 1e-9)
    if state.json:
        put_json(
            "summary",
            level=done.level,
            findings=len(done.findings),
            severities=Counter(finding.severity for finding in done.findings),
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
    counts = Counter(finding.severity for finding in done.findings)
    means = ", ".join(f"{counts[each]} {each}" for each in Severity if counts[each])
    found = f"{len(done.findings)} findings ({means})" if done.findings else "no damage found"
    say(f"{found} at level {done.level}: {looked}")
