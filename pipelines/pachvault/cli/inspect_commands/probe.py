"""`probe`: tests a place before a vault is kept there."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pachvault.cli.common import CommandContext, common_options
from pachvault.cli.render import show_all
from pachvault.cli.results.probe import ProbeResult
from pachvault.errors import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, PachvaultError
from pachvault.store.open_store import open_store
from pachvault.store.probe import Verdict, probe


@click.command("probe")
@click.argument("targets", nargs=-1, required=True, metavar="URL...")
@click.option("--quick", is_flag=True, help="Do not measure speed: no large objects are written.")
@click.option(
    "--size",
    type=click.IntRange(1, 1024),
    default=64,
    show_default=True,
    metavar="MIB",
    help="The size of the objects that speed is measured with.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="How many are sent at once."
)
@common_options
@click.pass_obj
def probe_command(
    context: CommandContext, targets: Sequence[str], quick: bool, size: int, workers: int
) -> int:
    """Test whether a place can be trusted with a vault, and how fast it is.

    Objects are written below one folder of each place, read, listed and deleted again. The exit code is 1 if
    a place is not suitable or cannot be reached, and 3 if something works in part, such as deletion.

    Example: pachvault probe file:///mnt/backup 's3://backups/pachvault?region=eu-central-1'
    """
    results = [_probed(url, size * 2**20, workers, is_quick=quick) for url in targets]
    show_all(context, ProbeResult, results)
    if not all(result.suitable for result in results):
        return EXIT_FAILED
    is_limited = any(check.verdict is Verdict.LIMITED for result in results for check in result.checks)
    return EXIT_PARTIAL if is_limited else EXIT_OK


def _probed(url: str, object_bytes: int, workers: int, *, is_quick: bool) -> ProbeResult:
    store = open_store(url)  # a URL that means nothing ends the command
    try:
        probed = probe(store, object_bytes=object_bytes, workers=workers, is_quick=is_quick)
    except PachvaultError as error:
        return ProbeResult(target=store.url, suitable=False, error=str(error))
    return ProbeResult.of(store.url, probed)
