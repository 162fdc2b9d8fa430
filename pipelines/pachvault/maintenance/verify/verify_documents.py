"""The documents beside the snapshots: marks, pins, audits, forgotten manifests, what runs left.

No data is lost with one of them, but what it kept safe or told is. A pin says which snapshot must be there.
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
    """What does not read of them, and the pinned snapshots that are in no place where they could be."""
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
            # what cannot be brought back any more was given up by somebody
            is_given_up = folder == layout.FORGOTTEN
            about = Damage(kind=kind, object=name, is_degraded=not is_given_up, is_stray=is_given_up)
            _, damages = tried(about, partial(read, name))
            if damages and not is_gone(vault, name):
                yield from damages
    yield from _missing(vault)


def _object(vault: Vault, name: str) -> object:
    try:
        said = json.loads(vault.get(name))
    except (ValueError, RecursionError) as error:
        raise CorruptError("not JSON") from error
    if not isinstance(said, dict):
        raise CorruptError("not a JSON object")
    return said


def _missing(vault: Vault) -> Iterator[Damage]:
    """The snapshots that are pinned and gone."""

    def listed() -> tuple[list[str], set[bytes | None]]:
        pinned = [info.name for info in vault.objects(layout.PINS)]
        # after the pins: who forgets looks at them last
        there = [
            info.name for folder in (layout.SNAPSHOTS, layout.FORGOTTEN) for info in vault.objects(folder)
        ]
        return pinned, {layout.named_digest(name) for name in there}

    # a listing that fails is a finding already
    found, _ = tried(Damage(kind="listing", object=layout.SNAPSHOTS), listed)
    for name in found[0] if found else ():
        snapshot = layout.subject_of(name)
        if found and bytes.fromhex(snapshot) not in found[1] and not is_gone(vault, name):
            message = "it is pinned, and there is no such snapshot, nor a forgotten one"
            yield Damage(
                kind="manifest-missing",
                object=name,
                message=message,
                is_vital=True,
                snapshots=frozenset([snapshot[:12]]),
            )
