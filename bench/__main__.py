"""`python -m bench`: backups and restores beside the peers, into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench import backups, peers, report, restores, steps
from bench.bed import BusyServerError, bed
from bench.data import ONE, SETS
from bench.measure import CommandError, Figures
from bench.steps import Spent


def main() -> int:
    names = [each.name for each in SETS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each figure; the 2 GiB file has one")
    parser.add_argument("--sets", nargs="+", choices=names, default=names, help="data sets")
    parser.add_argument("--scale", type=float, default=1, help="of the data's size, for trying it out")
    parser.add_argument("--work", type=Path, help="a folder with 30 GiB free; a temporary one by default")
    parser.add_argument("--pachd", help="an empty cluster to measure on; an embedded one by default")
    parser.add_argument("--document", type=Path, default=report.DOCUMENT, help="where the report goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is cleared away
    began_at = datetime.now(UTC)
    runs = f"{options.runs} runs of each, 1 of `big`"
    if options.scale != 1:
        runs += f", data scaled by {options.scale:g}"
    figures, spent = Figures(), Spent()
    try:
        peers.install()
        steps.command()
        for measured in _measured(options, figures, spent):
            part = report.benchmark(figures, spent, began_at, runs, options.work, options.pachd)
            report.write_part(options.document, "bench-real" if options.pachd else "bench", part)
            sys.stderr.write(f"{measured} written to {options.document}\n")
    except (peers.MissingPeerError, CommandError, BusyServerError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    return 0


def _measured(options: argparse.Namespace, figures: Figures, spent: Spent) -> Iterator[str]:
    """The data sets that are done: a run that is broken off leaves what it has."""
    for data_set in (each.scaled(options.scale) for each in SETS if each.name in options.sets):
        runs = options.runs if data_set.count > 1 else 1
        with bed(data_set, options.work, options.pachd) as made:
            made.put()
            spent |= backups.watched(made)
            backups.measure(made, figures, runs)
            spent |= backups.watched_change(made)
            backups.server(made, figures, runs)
            restores.measure(made, figures, runs)
            if data_set.count == 1:
                restores.rollback(made, figures, runs)
        yield data_set.name
    with bed(ONE, options.work, options.pachd) as made:
        made.put()
        backups.freeze_alone(made, figures, options.runs)
        restores.rollback(made, figures, options.runs)
    yield ONE.name


if __name__ == "__main__":
    sys.exit(main())
