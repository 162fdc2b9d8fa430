"""The demo's accident: a byte of the vault decays, is found and named, and repaired from the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.maintenance.repair import repair_from_cluster
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault.vault import Vault

Say = Callable[[str], None]


def damage(address: str, vault: Vault, say: Say) -> None:
    """Flip a byte in the largest pack; PachvaultError unless it is found, named and repaired."""
    largest = max(vault.objects(layout.PACKS), key=lambda info: info.size)
    _flip(Path(unquote(urlsplit(vault.store.url).path)) / largest.name, largest.size // 2)
    say(f"flipped a bit of byte {largest.size // 2:,} of {largest.name[:20]}…")
    findings = lost(vault)
    if [finding.object for finding in findings] != [largest.name]:
        raise PachvaultError("the damage was not found", where=largest.name)
    (finding,) = findings
    say(
        f"found: {finding.message}; {finding.files_count} files affected in "
        f"{len(finding.snapshots)} snapshots,"
    )
    say(f"  such as {finding.files[0]}")
    began = time.monotonic()
    repaired, _ = repair_from_cluster.run(address, None, vault.store, Level.DATA, Quiet())
    left = lost(vault)
    if left or not repaired.is_intact:
        raise PachvaultError("the vault was not repaired", where=left[0].object if left else vault.store.url)
    say(
        f"repaired in {time.monotonic() - began:.1f} s: {repaired.healed} blobs read again from the cluster, "
        f"{repaired.copied} saved from the damaged pack; every byte has its digest again"
    )


def lost(vault: Vault) -> list[Finding]:
    """Findings about objects that are damaged or missing."""
    return [
        finding for finding in verify(vault, Level.DATA, Quiet()) if finding.severity is not Severity.NOTE
    ]


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
