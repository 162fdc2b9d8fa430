"""`python -m bench.curves`: how cost grows with bytes, files, commits, repos, workers, blobs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import report
from bench.bed import Bed, bed, environment
from bench.data import MIB, DataSet
from bench.measure import CommandError, Sample, run
from pachvault.format.ids import RepoName

_FILE = 64 * MIB
Row = list[str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description=__doc__)
    parser.add_argument("--gib", type=float, nargs="*", default=[0.5, 1, 2], help="full: 1 2 4 8 16")
    parser.add_argument(
        "--files", type=int, nargs="*", default=[1000, 10_000, 100_000], help="full: to 10000000"
    )
    parser.add_argument("--commits", type=int, nargs="*", default=[1, 10, 100, 1000], help="full: to 10000")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="full: 1 2 3 4")
    parser.add_argument("--repos", type=int, nargs="*", default=[50], help="of 20 commits each; full: 500")
    parser.add_argument("--blobs", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--work", type=Path, help="a folder with room; a temporary one by default")
    parser.add_argument("--document", type=Path, default=report.DOCUMENT, help="where the report goes")
    options = parser.parse_args()
    began_at = datetime.now(UTC)
    rows: list[Row] = []
    try:
        for row in _measured(options):
            rows.append(row)  # a run that is broken off leaves what it has
            _write(options, began_at, rows)
    except CommandError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stderr.write(f"written to {options.document}\n")
    return 0


def _write(options: argparse.Namespace, began_at: datetime, rows: list[Row]) -> None:
    parts = [
        report.heading("How cost grows", "make bench-curves", began_at, "one run of each", options.work),
        _WHAT,
        report.table(["what", "seconds", "peak, MiB", "unit cost"], rows),
    ]
    report.write_part(options.document, "curves", "\n\n".join(parts))


def _measured(options: argparse.Namespace) -> Iterator[Row]:
    on = partial(_on_bed, options.work)
    for gib in options.gib:
        data = DataSet("bytes", "", max(1, round(gib * 1024 * MIB / _FILE)), _FILE)
        yield from on(data, f"first backup, {gib:g} GiB in files of 64 MiB", gib, "s a GiB")
    for count in options.files:
        data = DataSet("files", "", count, 35)
        yield from on(data, f"first backup, {count:,} files of 35 B", count / 1e6, "s a million files")
    for count in options.commits:
        yield from _commits(options.work, count)
    for count in options.repos:
        yield from _repos(options.work, count)
    for count in options.blobs:
        yield from _blobs(options.work, count)
    if options.workers:
        yield from _workers(options.work, options.workers)


def _on_bed(work: Path | None, data: DataSet, what: str, units: float, unit: str) -> Iterator[Row]:
    with bed(data, work) as made:
        made.put(lazy=True)
        made.new_vault()
        yield _row(what, _backup(made), units, unit)
        yield _row(what.replace("first backup", "nothing changed"), _backup(made), units, unit)


def _workers(work: Path | None, workers: Iterable[int]) -> Iterator[Row]:
    """Four gigabytes are several shares."""
    data = DataSet("bytes", "", 4_200 // 64, _FILE)
    with bed(data, work) as made:
        made.put(lazy=True)
        for count in workers:
            made.new_vault()
            sample = _backup(made, "--workers", str(count))
            what = f"first backup, {data.bytes / 2**30:.1f} GiB, {count} worker{'s' * (count > 1)}"
            yield _row(what, sample, data.bytes / 2**30, "s a GiB")


def _commits(work: Path | None, count: int) -> Iterator[Row]:
    data = DataSet("commits-0", "", 1, 1)
    with bed(data, work) as made:
        made.floor("history", "--commits", str(count), repo=RepoName(made.repo.project, "commits"))
        made.new_vault()
        for what in ("first backup", "nothing changed"):
            yield _row(f"{what}, {count:,} commits of one repo", _backup(made), count, "s a commit")


def _repos(work: Path | None, count: int) -> Iterator[Row]:
    data = DataSet("repos", "", 1, 1)
    with bed(data, work) as made:
        words = ["--repos", str(count), "--commits", "20"]
        made.floor("history", *words)
        made.new_vault()
        for what in ("first backup", "nothing changed"):
            sample = made.pachvault("backup", "--source", "bench/*", "--quiet")
            yield _row(f"{what}, {count} repos, {20 * count:,} commits", sample, count, "s a repo")


def _blobs(work: Path | None, count: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="pachvault-bench-", dir=work) as folder:
        program = [sys.executable, "-m", "bench.vaults"]
        run([*program, "make", folder + "/vault", "--blobs", str(count)], environment())
        # the command sets it for itself before it imports Arrow
        sample = run(
            [*program, "open", folder + "/vault"], environment() | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
        )
        inner = Sample(sample.inner_seconds, sample.cpu_seconds, sample.peak_bytes)
        yield _row(f"a vault of {count:,} blobs opened, start-up left out", inner, count / 1e6, "s a million")


def _backup(made: Bed, *words: str) -> Sample:
    return made.pachvault("backup", "--source", str(made.repo), *words)


def _row(what: str, sample: Sample, units: float, unit: str) -> Row:
    row = [
        what,
        f"{sample.seconds:.2f}",
        f"{sample.peak_bytes / MIB:.0f}",
        f"{sample.seconds / units:.3g} {unit}",
    ]
    sys.stderr.write("  " + "  ".join(row) + "\n")
    return row


_WHAT = "Whole commands, start-up included. The full sizes are options: `python -m bench.curves --help`."

if __name__ == "__main__":
    sys.exit(main())
