"""The documents beside the snapshots: marks, pins, audits, forgotten manifests, objects of runs.

No data is lost with one of them, but its protection or its information is. The snapshot of a pin must exist.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

from pachvault.errors import CorruptError
from pachvault.format import documents, layout
from pachvault.format.maintenance_documents import Audit, Mark, Pin
from pachvault.format.manifest import Manifest
from pachvault.maintenance.retrying_store import is_gone
from pachvault.maintenance.verify.findings import Damage, tried
from pachvault.vault.vault import Vault


def check(vault: Vault) -> Iterator[Damage]:
    """The documents that cannot be read, and the pinned snapshots that are missing."""
    readers: list[tuple[str, str, Callable[[str], object]]] = [
        ("mark", layout.MARKS, lambda name: documents.decode(Mark, vault.read(name))),
        ("audit", layout.AUDITS, lambda name: documents.decode(Audit, vault.read(name))),
        ("forgotten-manifest", layout.FORGOTTEN, lambda name: documents.decode(Manifest, vault.read(name))),
        ("pin", layout.PINS, lambda name: documents.decode(Pin, vault.get(name))),
        ("run", layout.RUNS, partial(_object, vault)),
    ]
    for kind, folder, read in readers:
        names, failed = tried(
            Damage(kind="listing", object=folder),
            lambda folder=folder: [info.name for info in vault.objects(folder)],  # type: ignore[misc]
        )
        yield from failed
        for name in names or ():
            # a forgotten snapshot that cannot be brought back is no loss: a user gave it up
            is_forgotten = folder == layout.FORGOTTEN
            about = Damage(kind=kind, object=name, is_degraded=not is_forgotten, is_stray=is_forgotten)
            _, damages = tried(about, partial(read, name))
            if damages and not is_gone(vault, name):
                yield from damages
    yield from _missing(vault)


def _object(vault: Vault, name: str) -> object:
    try:
        value = json.loads(vault.get(name))
    except (ValueError, RecursionError) as error:
        raise CorruptError("not JSON") from error
    if not isinstance(value, dict):
        raise CorruptError("not a JSON object")
    return value


def _missing(vault: Vault) -> Iterator[Damage]:
    """The snapshots that are pinned and missing."""

    def listed() -> tuple[list[str], set[bytes | None]]:
        pinned = [info.name for info in vault.objects(layout.PINS)]
        # after the pins: forget reads the pins last
        present = [
            info.name for folder in (layout.SNAPSHOTS, layout.FORGOTTEN) for info in vault.objects(folder)
        ]
        return pinned, {layout.named_digest(name) for name in present}

    # a listing that fails is a finding already
    listing, _ = tried(Damage(kind="listing", object=layout.SNAPSHOTS), listed)
    pinned, present = listing or ([], set())
    for name in pinned:
        snapshot = layout.subject_of(name)
        if bytes.fromhex(snapshot) not in present and not is_gone(vault, name):
            message = f"snapshot {snapshot[:12]} is pinned, and is neither in snapshots/ nor in forgotten/"
            yield Damage(
                kind="manifest-missing",
                object=name,
                message=message,
                is_vital=True,
                snapshots=frozenset([snapshot[:12]]),
            )
