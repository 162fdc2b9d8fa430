"""`verify`: is the vault what it should be?"""

from __future__ import annotations

import dataclasses

import click

from pachvault.cli.common import State, common_options, put_json, say
from pachvault.errors import EXIT_DAMAGE
from pachvault.upkeep.verify import Finding, Level, verify


@click.command("verify")
@click.option(
    "--level",
    type=click.Choice([level.value for level in Level]),
    default=Level.STRUCTURE.value,
    show_default=True,
    help="structure: every reference resolves. packs: and every checksum. data: and every byte's digest.",
)
@common_options
@click.pass_obj
def verify_command(state: State, level: str) -> int:
    """Check the vault. Exits with 13 where damage is found, and names what it hits."""
    vault = state.open_vault()
    with state.progress() as progress:
        findings = verify(vault, Level(level), progress)
    for finding in findings:
        if state.json:
            put_json("finding", **dataclasses.asdict(finding))
        else:
            _show(finding)
    if state.json:
        put_json("summary", level=level, findings=len(findings))
    else:
        say(f"{len(findings)} findings at level {level}" if findings else f"no damage found at level {level}")
    return EXIT_DAMAGE if findings else 0


def _show(finding: Finding) -> None:
    click.echo(f"{finding.kind}: {finding.object}: {finding.message}")
    for blob in finding.blobs:
        click.echo(f"  blob {blob}")
    for file in finding.files:
        click.echo(f"  file {file}")
    if finding.files_count > len(finding.files):
        click.echo(f"  and {finding.files_count - len(finding.files)} files more")
