"""`python -m bench.prune`: a prune of many snapshots beside restic's, into docs/benchmarks.md.

Each snapshot has small files of its own; half of the snapshots are forgotten. Ours marks in one prune and
deletes in a later one, after the grace: both are measured, and their sum is compared.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import peers, report, snapshots
from bench.bed import PACHVAULT, empty
from bench.measure import CommandError, Sample, run
from pachvault.format import layout
from pachvault.vault.vault import Vault


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prune", description=__doc__)
    parser.add_argument("--snapshots", type=int, default=1000)
    parser.add_argument("--files", type=int, default=1000, help="of each snapshot, a blob each")
    parser.add_argument("--restic-snapshots", type=int, default=100, help="of as many files altogether")
    parser.add_argument("--work", type=Path, help="a folder with 5 GiB free; a temporary one by default")
    parser.add_argument("--document", type=Path, default=report.DOCUMENT, help="where the report goes")
    options = parser.parse_args()
    began_at = datetime.now(UTC)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was begun is cleared away
    try:
        peers.install()
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            text = _measured(options, Path(folder), began_at)
    except (peers.MissingPeerError, CommandError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    report.write_part(options.document, "bench-prune", text)
    sys.stderr.write(f"written to {options.document}\n")
    return 0


def _measured(options: argparse.Namespace, folder: Path, began_at: datetime) -> str:
    count, files, few = options.snapshots, options.files, options.restic_snapshots
    ours = _ours(snapshots.make(folder / "vault", count, files), folder / "vault")
    theirs = _restic(peers.Peers(folder), few, count * files // few)
    rows = [
        _row("pachvault prune: mark", ours[0]),
        _row("pachvault prune: delete, after the grace", ours[1]),
        _row(f"restic prune, {few} snapshots", theirs),
    ]
    both = ours[0].seconds + ours[1].seconds
    workload = f"{count:,} snapshots of {files:,} files of their own, half of the snapshots forgotten"
    return "\n\n".join(
        [
            report.heading("A prune at scale", "make bench-prune", began_at, "1 run of each", options.work),
            f"{workload}. restic has as many files in fewer snapshots, which is the easier task.",
            report.table(["", "seconds", "peak MiB"], rows),
            f"Both of ours together take {both / theirs.seconds:.2f} × restic's time.",
        ]
    )


def _ours(vault: Vault, root: Path) -> tuple[Sample, Sample]:
    """Two prunes of a vault, half of whose snapshots are forgotten, the second after the grace."""
    (root / layout.FORGOTTEN).mkdir()
    for manifest in sorted((root / layout.SNAPSHOTS).iterdir())[::2]:
        manifest.rename(root / layout.FORGOTTEN / manifest.name)
    samples = []
    for _ in range(2):
        _age(root, vault.config.grace + timedelta(hours=1))
        samples.append(run([PACHVAULT, "--vault", vault.store.url, "--quiet", "prune"]))
    return samples[0], samples[1]


def _age(root: Path, by: timedelta) -> None:
    """Let time pass: every object becomes older."""
    for path in root.rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - by.total_seconds()
            os.utime(path, (then, then))


def _restic(peer: peers.Peers, count: int, files: int) -> Sample:
    """restic's prune of a repository, half of whose snapshots are forgotten."""
    peer.begin()
    for number in range(count):
        empty(peer.files)
        for at in range(files):
            (peer.files / str(at)).write_bytes(snapshots.content(number * files + at))
        peer.restic()
    return peer.restic_prune()


def _row(what: str, sample: Sample) -> tuple[str, str, str]:
    return what, f"{sample.seconds:.2f}", f"{sample.peak_bytes / 2**20:.0f}"


if __name__ == "__main__":
    sys.exit(main())
