"""Where each kind of object lives in a vault, and which names are ours (docs/format.md, section 3).

`parse` is the only judge of a name: what it does not know is no object of the vault. It is not read, not
relied on and never deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

AUDITS = "audits"
CONFIG = "vault.json"
FORGOTTEN = "forgotten"
INDEX = "index"
KEYS = "keys"
MARKS = "marks"
PACKS = "packs"
PINS = "pins"
RECORDS = "records"
RESERVE = "reserve"
RUNS = "runs"
SNAPSHOTS = "snapshots"
TABLES = "tables"
LOST_AND_FOUND = "lost+found"
"""What a new ext4 volume holds, for root alone to read: it is no stray."""

_STAMP = "%Y%m%dT%H%M%SZ"
_MIB = 2**20


class Kind(StrEnum):
    """What an object is, by its name."""

    CONFIG = "configuration"
    PACK = "pack"
    INDEX = "index object"
    TABLE = "table"
    RECORD = "record"
    SNAPSHOT = "manifest"
    FORGOTTEN = "forgotten manifest"
    PIN = "pin"
    MARK = "mark"
    AUDIT = "audit"
    ANNOUNCEMENT = "announcement of a run"
    RECEIPT = "receipt of a share"
    CLOCK = "probe of the store's clock"
    KEY = "key"
    RESERVE = "part of the reserve"


@dataclass(frozen=True, slots=True)
class Name:
    """What an object's name says."""

    kind: Kind
    digest: bytes | None = None
    """That of the object; None where the name promises none."""
    at: datetime | None = None
    """The time in the name, UTC."""
    sequence: int = 0
    """Of a manifest, its place in the order of sealing; 0 where the name has none."""
    subject: str = ""
    """Of an announcement the run's id, of a pin the snapshot's, of a receipt the key of its share."""


_DIGEST = "(?P<digest>[0-9a-f]{64})"
_FANNED = "(?P<fan>[0-9a-f]{2})/(?P<digest>(?P=fan)[0-9a-f]{62})"
_STAMPED = rf"(?P<at>[0-9]{{8}}T[0-9]{{6}}Z)-{_DIGEST}\.json"
_SEALED = rf"(?P<at>[0-9]{{8}}T[0-9]{{6}}Z)-(?:(?P<sequence>[0-9]{{8,18}})-)?{_DIGEST}\.json"
_FORMS = {
    Kind.PACK: rf"{PACKS}/{_FANNED}",
    Kind.INDEX: rf"{INDEX}/{_DIGEST}\.parquet",
    Kind.TABLE: rf"{TABLES}/{_FANNED}\.parquet",
    Kind.RECORD: rf"{RECORDS}/{_FANNED}\.json",
    Kind.SNAPSHOT: rf"{SNAPSHOTS}/{_SEALED}",
    Kind.FORGOTTEN: rf"{FORGOTTEN}/{_SEALED}",
    Kind.PIN: rf"{PINS}/(?P<subject>[0-9a-f]{{64}})\.json",
    Kind.MARK: rf"{MARKS}/{_STAMPED}",
    Kind.AUDIT: rf"{AUDITS}/{_STAMPED}",
    Kind.ANNOUNCEMENT: rf"{RUNS}/frozen-(?P<subject>[0-9A-Za-z][0-9A-Za-z_-]{{0,99}})\.json",
    Kind.RECEIPT: rf"{RUNS}/share-(?P<subject>[0-9a-f]{{64}})\.json",
    Kind.CLOCK: rf"{RUNS}/clock-[0-9a-f]{{16}}\.json",
    Kind.KEY: rf"{KEYS}/[0-9a-f]{{1,64}}\.json",
    Kind.RESERVE: rf"{RESERVE}/[0-9]{{1,4}}",
}
_BY_FOLDER: dict[str, list[tuple[Kind, re.Pattern[str]]]] = {}
for _kind, _form in _FORMS.items():
    _BY_FOLDER.setdefault(_form.partition("/")[0], []).append((_kind, re.compile(_form)))
_FOLDER = re.compile(rf"(?:{PACKS}|{TABLES}|{RECORDS})/[0-9a-f]{{2}}")

_MOST_BYTES = {
    Kind.CONFIG: _MIB,
    Kind.PIN: _MIB,
    Kind.ANNOUNCEMENT: _MIB,
    Kind.INDEX: 1024 * _MIB,
    Kind.TABLE: 2048 * _MIB,
}
_MOST_DOCUMENT_BYTES = 256 * _MIB


def parse(name: str) -> Name | None:
    """What a name in the store says; None where it has not exactly the form of one of ours."""
    if name == CONFIG:
        return Name(Kind.CONFIG)
    for kind, form in _BY_FOLDER.get(name.partition("/")[0], ()):
        match = form.fullmatch(name)
        if match is not None:
            parts = match.groupdict()
            at = _time(parts["at"]) if "at" in parts else None
            if "at" in parts and at is None:
                return None
            sequence = parts.get("sequence")
            if sequence is not None and (int(sequence) == 0 or f"{int(sequence):08d}" != sequence):
                return None
            digest = bytes.fromhex(parts["digest"]) if "digest" in parts else None
            return Name(kind, digest, at, int(sequence or 0), parts.get("subject", ""))
    return None


def is_folder(name: str) -> bool:
    """Whether objects of ours lie directly in a folder of this name."""
    return not name or name in _BY_FOLDER or _FOLDER.fullmatch(name) is not None


def most_bytes(name: str) -> int:
    """How many bytes an object that is read whole may have (docs/format.md, 3.9)."""
    known = parse(name)
    return _MOST_BYTES.get(known.kind, _MOST_DOCUMENT_BYTES) if known else _MOST_DOCUMENT_BYTES


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


def snapshot_path(frozen_at: datetime, sequence: int, digest: bytes, folder: str = SNAPSHOTS) -> str:
    """A manifest: the time of its freeze, its place in the order of sealing, the digest of its bytes.

    A manifest without a place, 0, is of a version that gave none, and its name has none either.
    """
    place = f"{sequence:08d}-" if sequence else ""
    return f"{folder}/{_stamp(frozen_at)}-{place}{digest.hex()}.json"


def forgotten_path(snapshot: str) -> str:
    """Where a manifest goes that is forgotten, by where it was; and back, see `remembered_path`."""
    return f"{FORGOTTEN}/{snapshot.removeprefix(SNAPSHOTS + '/')}"


def unforgotten_path(forgotten: str) -> str:
    """Where a forgotten manifest was."""
    return f"{SNAPSHOTS}/{forgotten.removeprefix(FORGOTTEN + '/')}"


def stamped_path(folder: str, at: datetime, digest: bytes) -> str:
    """An object named by a time and the digest of its bytes: marks, audits."""
    return f"{folder}/{_stamp(at)}-{digest.hex()}.json"


def pin_path(snapshot_id: str) -> str:
    """What keeps a snapshot from being forgotten, by the snapshot's 64 digits."""
    return f"{PINS}/{snapshot_id}.json"


def announcement_path(run_id: str) -> str:
    """What other processes learn a run in progress from. Advisory."""
    return f"{RUNS}/frozen-{run_id}.json"


def receipt_path(key: str) -> str:
    """The receipt of a share, which a later run may use again. Advisory."""
    return f"{RUNS}/share-{key}.json"


def clock_path(token: str) -> str:
    """An object that is written to learn the store's time, and deleted."""
    return f"{RUNS}/clock-{token}.json"


def reserve_path(number: int) -> str:
    """A part of the reserve, see `maintenance.reserve`."""
    return f"{RESERVE}/{number}"


def named_digest(path: str) -> bytes | None:
    """The digest that an object's name promises; None where the name is none of ours, or promises none."""
    name = parse(path)
    return name.digest if name else None


def subject_of(path: str) -> str:
    """What an object is about, by its name (see Name.subject)."""
    name = parse(path)
    return name.subject if name else ""


def _time(text: str) -> datetime | None:
    """The time in a name; None for one that no calendar has, or from before computers had clocks."""
    try:
        at = datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return at if at.year >= 1970 else None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime(_STAMP)


def _fanned(folder: str, digest: bytes, suffix: str) -> str:
    name = digest.hex()
    return f"{folder}/{name[:2]}/{name}{suffix}"
