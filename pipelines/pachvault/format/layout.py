"""The names of objects in a vault, and their kinds (docs/format.md, section 3).

`parse` alone decides whether a name is one of an object. A file with any other name is never read, relied on
or deleted.
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
"""A folder that a new ext4 volume has, and that only root can read. It is ignored."""

_STAMP = "%Y%m%dT%H%M%SZ"
_MIB = 2**20


class Kind(StrEnum):
    """The kind of an object, by its name."""

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
    """The parts of an object's name."""

    kind: Kind
    digest: bytes | None = None
    """The digest of the object; None where the name has none."""
    at: datetime | None = None
    """The time in the name, UTC."""
    sequence: int = 0
    """Of a manifest: its number in the order of sealing; 0 where the name has none."""
    subject: str = ""
    """An announcement's run id, a pin's snapshot id, a receipt's key of a share; else empty."""


# [0-9] and not \d in all forms: that also matches digits of other scripts, and int() reads them
_DIGEST = "(?P<digest>[0-9a-f]{64})"
# format 3.5: the folder is the beginning of the digest, so an object in another folder is none
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

# format 3.9
_MOST_BYTES = {
    Kind.CONFIG: _MIB,
    Kind.PIN: _MIB,
    Kind.ANNOUNCEMENT: _MIB,
    Kind.INDEX: 1024 * _MIB,
    Kind.TABLE: 2048 * _MIB,
}
_MOST_DOCUMENT_BYTES = 256 * _MIB


def parse(name: str) -> Name | None:
    """The parts of a name; None where it does not have exactly the form of an object's name."""
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
            # format 8.5.2: a number has one form only, or two names could mean the same manifest
            if sequence is not None and (int(sequence) == 0 or f"{int(sequence):08d}" != sequence):
                return None
            digest = bytes.fromhex(parts["digest"]) if "digest" in parts else None
            return Name(kind, digest, at, int(sequence or 0), parts.get("subject", ""))
    return None


def is_folder(name: str) -> bool:
    """Whether a folder of this name directly contains objects."""
    return not name or name in _BY_FOLDER or _FOLDER.fullmatch(name) is not None


def most_bytes(name: str) -> int:
    """The most bytes that an object with this name may have (docs/format.md, 3.9)."""
    parsed = parse(name)
    return _MOST_BYTES.get(parsed.kind, _MOST_DOCUMENT_BYTES) if parsed else _MOST_DOCUMENT_BYTES


def pack_path(digest: bytes) -> str:
    """The path of a pack, named by the digest of its table of contents."""
    return _fanned(PACKS, digest, "")


def table_path(digest: bytes) -> str:
    """The path of a file table or a commit list, named by the digest of its bytes."""
    return _fanned(TABLES, digest, ".parquet")


def record_path(digest: bytes) -> str:
    """The path of a repo or pipelines record, named by the digest of its bytes."""
    return _fanned(RECORDS, digest, ".json")


def index_path(digest: bytes) -> str:
    """The path of an index object, named by the digest of its bytes."""
    return f"{INDEX}/{digest.hex()}.parquet"


def snapshot_path(frozen_at: datetime, sequence: int, digest: bytes, folder: str = SNAPSHOTS) -> str:
    """The path of a manifest: the time of its freeze, its number in the order of sealing, its digest.

    An earlier version wrote manifests without a number (0); their names have none either.
    """
    number = f"{sequence:08d}-" if sequence else ""
    return f"{folder}/{_stamp(frozen_at)}-{number}{digest.hex()}.json"


def forgotten_path(snapshot: str) -> str:
    """The path of a manifest after it is forgotten. `unforgotten_path` is the inverse."""
    return f"{FORGOTTEN}/{snapshot.removeprefix(SNAPSHOTS + '/')}"


def unforgotten_path(forgotten: str) -> str:
    """The path of a forgotten manifest before it was forgotten, and after it is brought back."""
    return f"{SNAPSHOTS}/{forgotten.removeprefix(FORGOTTEN + '/')}"


def stamped_path(folder: str, at: datetime, digest: bytes) -> str:
    """The path of an object that is named by a time and the digest of its bytes: a mark or an audit."""
    return f"{folder}/{_stamp(at)}-{digest.hex()}.json"


def pin_path(snapshot_id: str) -> str:
    """The path of the pin of a snapshot; `snapshot_id` has 64 digits."""
    return f"{PINS}/{snapshot_id}.json"


def announcement_path(run_id: str) -> str:
    """The path of the announcement of a run. Advisory."""
    return f"{RUNS}/frozen-{run_id}.json"


def receipt_path(key: str) -> str:
    """The path of the receipt of a share. A later run may use it. Advisory."""
    return f"{RUNS}/share-{key}.json"


def clock_path(token: str) -> str:
    """The path of a probe object, which is written to read the store's clock, and deleted."""
    return f"{RUNS}/clock-{token}.json"


def reserve_path(number: int) -> str:
    """The path of a part of the reserve (docs/format.md, 9.13)."""
    return f"{RESERVE}/{number}"


def named_digest(path: str) -> bytes | None:
    """The digest in an object's name; None where it has none, or is not an object's name."""
    name = parse(path)
    return name.digest if name else None


def subject_of(path: str) -> str:
    """The subject in an object's name (see Name.subject); empty where it has none."""
    name = parse(path)
    return name.subject if name else ""


def _time(text: str) -> datetime | None:
    """The time in a name; None where the calendar does not have it, or it is before 1970."""
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
