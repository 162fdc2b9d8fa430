"""The cases of a backup: first, nothing changed, one file changed, one byte inserted; peers in turn."""

from __future__ import annotations

from bench.bed import Bed, size_of
from bench.data import ONE
from bench.measure import Figures, Sample
from bench.peers import Peers
from bench.steps import Spent, of_backup

US, STREAM, DIFF = "pachvault", "stream", "diff"
READ, RESTIC, RCLONE = "read", "read + restic", "read + rclone"
FIRST, UNCHANGED, CHANGED, INSERTED = "first", "unchanged", "changed", "inserted"
CASES = (FIRST, UNCHANGED, CHANGED, INSERTED)
START_UP, SERVER, LIST = "start-up", "server", "list"


def measure(bed: Bed, figures: Figures, runs: int) -> None:
    """All cases of a data set that is in its bed already; the vault and restic's repository stay behind."""
    name = bed.data_set.name
    peers = Peers(bed.folder / "peers")
    for _ in range(runs):
        bed.new_vault()
        peers.begin()
        start_up(bed, figures, FIRST)
        figures.add(name, FIRST, US, _backup(bed))
        figures.add(name, FIRST, STREAM, bed.floor("stream"))
        _peers(bed, peers, figures, FIRST)
    _sizes(bed, peers, figures)
    for _ in range(runs):
        start_up(bed, figures, UNCHANGED)
        figures.add(name, UNCHANGED, US, _backup(bed))
        _peers(bed, peers, figures, UNCHANGED)
    case = CHANGED if bed.data_set.count > 1 else INSERTED
    for number in range(1, runs + 1):
        before = bed.head()
        bed.put(f"{case}:{number}")
        start_up(bed, figures, case)
        figures.add(name, case, US, _backup(bed))
        figures.add(name, case, DIFF, bed.floor("diff", "--against", before))
        _peers(bed, peers, figures, case)


def watched(bed: Bed) -> Spent:
    """Where the time of the cases goes, once for each; the sampler slows them, so no time is taken from here.

    Before anything is changed: a first backup has the first commit alone.
    """
    name = bed.data_set.name
    bed.new_vault()
    return {f"{name}, {case}": of_backup(bed) for case in (FIRST, UNCHANGED)}


def watched_change(bed: Bed) -> Spent:
    """The same for a change, on top of what was backed up."""
    case = CHANGED if bed.data_set.count > 1 else INSERTED
    bed.put(f"{case}:1000")
    return {f"{bed.data_set.name}, {case}": of_backup(bed)}


def freeze_alone(bed: Bed, figures: Figures, runs: int) -> None:
    """First backups of a data set that is only there to compare how long the freeze takes."""
    for _ in range(runs):
        bed.new_vault()
        figures.add(ONE.name, FIRST, US, _backup(bed))


def server(bed: Bed, figures: Figures, runs: int) -> None:
    """The embedded server itself: how fast it lists."""
    for _ in range(runs):
        figures.add(bed.data_set.name, SERVER, LIST, bed.floor("list"))


def _backup(bed: Bed) -> Sample:
    sample = bed.pachvault("backup", "--source", str(bed.repo))
    return Sample(sample.seconds, sample.cpu_seconds, sample.peak_bytes, dict(sample.printed["totals"]))


def start_up(bed: Bed, figures: Figures, case: str) -> None:
    """A backup whose pattern matches nothing: all that comes before the work. Each case has its own."""
    sample = bed.pachvault("backup", "--source", "bench/nothing-like-this", expect=(2,))
    figures.add(bed.data_set.name, case, START_UP, sample)


def _peers(bed: Bed, peers: Peers, figures: Figures, case: str) -> None:
    """The read counts to both, as it would for whoever uses one of them."""
    name = bed.data_set.name
    read = figures.add(name, case, READ, bed.read_to(peers.files))
    figures.add(name, case, RESTIC, read + peers.restic())
    figures.add(name, case, RCLONE, read + peers.rclone())


def _sizes(bed: Bed, peers: Peers, figures: Figures) -> None:
    for who, folder in ((US, bed.vault), (RESTIC, peers.restic_repository)):
        figures.note(bed.data_set.name, "size", who, size_of(folder))
