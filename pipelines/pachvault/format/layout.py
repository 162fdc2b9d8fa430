"""Where each kind of object lives in a vault (docs/format.md, section 3)."""

from __future__ import annotations

from datetime import UTC, datetime

AUDITS = "audits"
CONFIG = "vault.json"
FORGOTTEN = "forgotten"
INDEX = "index"
MARKS = "marks"
PACKS = "packs"
PINS = "pins"
RECORDS = "records"
RESERVE = "reserve"
RUNS = "runs"
SNAPSHOTS = "snapshots"
TABLES = "tables"

_STAMP = "%Y%m%dT%H%M%SZ"


def pack_path(digest: bytes) -> str:
    """A pack, named by the digest of its table of contents."""
    return _fanned(PACKS, digest, "")


def table_path(digest: bytes) -> str:
    """A file table or a commit list, named by the digest of its bytes."""
    return _fanned(TABLES, digest, ".parquet")


def record_path(digest: bytes) -> str:
    """A repo or pipelines record, named by the digest of its bytes."""
    return _fanned(RECORDS, digest, ".json")


def index_path(digest: bytes) -> str:
    """An index object, named by the digest of its bytes."""
    return f"{INDEX}/{digest.hex()}.parquet"


def snapshot_path(frozen_at: datetime, digest: bytes) -> str:
    """A manifest: the time of its freeze, then the digest of its bytes."""
    return stamped_path(SNAPSHOTS, frozen_at, digest)


def forgotten_path(snapshot: str) -> str:
    """Where a manifest goes that is forgotten, by where it was; and back, see `remembered_path`."""
    return f"{FORGOTTEN}/{snapshot.removeprefix(SNAPSHOTS + '/')}"


def remembered_path(forgotten: str) -> str:
    """Where a forgotten manifest was."""
    return f"{SNAPSHOTS}/{forgotten.removeprefix(FORGOTTEN + '/')}"


def stamped_path(folder: str, at: datetime, digest: bytes) -> str:
    """An object named by a time and the digest of its bytes: manifests, marks, audits."""
    return f"{folder}/{at.astimezone(UTC).strftime(_STAMP)}-{digest.hex()}.json"


def pin_path(snapshot_id: str) -> str:
    """What keeps a snapshot from being forgotten, by the snapshot's 64 digits."""
    return f"{PINS}/{snapshot_id}.json"


def run_path(name: str) -> str:
    """What a run leaves for the next one: announcements and receipts. Advisory."""
    return f"{RUNS}/{name}.json"


def reserve_path(number: int) -> str:
    """A part of the reserve, see `upkeep.reserve`."""
    return f"{RESERVE}/{number}"


def named_digest(path: str) -> bytes | None:
    """The digest that an object's name promises; None where the name holds none."""
    stem = path.rpartition("/")[2].partition(".")[0].rpartition("-")[2]
    try:
        return bytes.fromhex(stem) if len(stem) == 64 else None
    except ValueError:
        return None


def _fanned(folder: str, digest: bytes, suffix: str) -> str:
    name = digest.hex()
    return f"{folder}/{name[:2]}/{name}{suffix}"
