"""The peers, from Debian: restic and rclone, on plain files that a recursive read puts on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.bed import empty
from bench.measure import Sample, run

NAMES = ("restic", "rclone")


class MissingPeerError(Exception):
    """A peer is not installed, and cannot be."""


def install() -> None:
    """Install what is missing, with apt-get and as root; MissingPeerError where that cannot be."""
    missing = [name for name in NAMES if shutil.which(name) is None]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingPeerError(f"{' and '.join(missing)} missing: as root run `{' '.join(command)}`")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingPeerError(f"apt-get could not install {' and '.join(missing)}: {done.stderr.strip()}")


def version(name: str) -> str:
    """The first line of a peer's `version` command."""
    done = subprocess.run([name, "version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


@dataclass(frozen=True, slots=True)
class Peers:
    """Both peers, on the plain files in `folder`/files."""

    folder: Path

    @property
    def files(self) -> Path:
        """Where the plain files are."""
        return self.folder / "files"

    @property
    def restic_repository(self) -> Path:
        """Where restic writes."""
        return self.folder / "restic"

    def begin(self) -> None:
        """Nothing was ever backed up."""
        empty(self.folder / "rclone")
        shutil.rmtree(self.restic_repository, ignore_errors=True)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        self._restic("init")

    def restic(self) -> Sample:
        """Back up."""
        return self._restic("backup", str(self.files))

    def rclone(self) -> Sample:
        """Copy."""
        return run(["rclone", "sync", self.files, self.folder / "rclone"], self._environment())

    def restic_restore(self, folder: Path) -> Sample:
        """Restore the newest snapshot to an emptied folder."""
        empty(folder)
        return self._restic("restore", "latest", "--target", str(folder))

    def restic_prune(self) -> Sample:
        """Forget every other snapshot, then prune."""
        listed = subprocess.run(
            ["restic", "-r", self.restic_repository, "snapshots", "--json"],
            env=self._environment(),
            capture_output=True,
            check=True,
        )
        ids = [each["id"] for each in json.loads(listed.stdout)]
        self._restic("forget", *ids[::2])
        return self._restic("prune")

    def _restic(self, *words: str) -> Sample:
        return run(["restic", "--quiet", "-r", self.restic_repository, *words], self._environment())

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
        }
