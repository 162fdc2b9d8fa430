"""The cases of a restore: everything, one file, a branch rolled back; peers and the floor in turn with us.

They follow the backups of a bed: its vault and restic's repository hold the data set by now.
"""

from __future__ import annotations

from dataclasses import replace

from bench.backups import start_up
from bench.bed import BRANCH, PROJECT, Bed
from bench.measure import Figures, run
from bench.peers import Peers
from pachvault.format.ids import RepoName

US, UNCHECKED, WRITE = "pachvault", "pachvault unchecked", "write"
RESTIC, COMPARED = "restic + put", "restic + put + compare"
RESTORE, ONE_FILE, ROLLBACK = "restore", "one file", "rollback"
CASES = (RESTORE, ONE_FILE, ROLLBACK)
_BACK = RepoName(PROJECT, "back")


def measure(bed: Bed, figures: Figures, runs: int) -> None:
    """From the vault, against writing the same bytes, and against restic and a recursive put."""
    name, peers = bed.data_set.name, Peers(bed.folder / "peers")
    folder, again = bed.folder / "restored", bed.folder / "again"
    whole = ("restore", f"{bed.repo}@{BRANCH}", "--to", str(_BACK), "--from", "vault")
    for _ in range(runs):
        start_up(bed, figures, RESTORE)
        figures.add(name, RESTORE, US, bed.pachvault(*whole))
        bed.drop(_BACK)
        figures.add(name, RESTORE, UNCHECKED, bed.pachvault(*whole, "--verify", "none"))
        bed.drop(_BACK)
        figures.add(name, RESTORE, WRITE, bed.put(repo=_BACK))
        bed.drop(_BACK)
        restored = peers.restic_restore(folder)
        put = bed.floor("put-folder", "--folder", str(folder) + str(peers.files), repo=_BACK)
        # the putter's start-up is left out: Pachyderm's own client has next to none
        theirs = figures.add(name, RESTORE, RESTIC, restored + replace(put, seconds=put.inner_seconds))
        read = bed.read_to(again, _BACK)
        compared = run(["diff", "-r", str(folder) + str(peers.files), str(again)])
        figures.add(name, RESTORE, COMPARED, theirs + read + compared)
        bed.drop(_BACK)
    if bed.data_set.count > 1:
        path = bed.data_set.path(bed.data_set.count // 3)
        for _ in range(runs):
            start_up(bed, figures, ONE_FILE)
            figures.add(name, ONE_FILE, US, bed.pachvault(*whole, "--path", path))
            bed.drop(_BACK)


def rollback(bed: Bed, figures: Figures, runs: int) -> None:
    """A branch set back to the newest snapshot, after a commit that changed it."""
    for number in range(1, runs + 1):
        bed.put(f"inserted:{100 + number}")
        sample = bed.pachvault("rollback", f"{bed.repo}@{BRANCH}", "--to", "latest")
        figures.add(bed.data_set.name, ROLLBACK, US, sample)
