"""The vault's JSON objects: configuration, records, manifests (docs/format.md, section 8).

Readers ignore fields they do not know: a later minor version may add some.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from pachvault.errors import CorruptError
from pachvault.format.ids import digest

FORMAT = 1
GRACE_SECONDS = 7 * 86400

_GRACE_MOST_SECONDS = 100 * 366 * 86400
_DIGEST = re.compile("[0-9a-f]{64}")
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _digest(value: object) -> object:
    if isinstance(value, str):
        if not _DIGEST.fullmatch(value):
            raise ValueError("a digest is 64 lower-case hexadecimal digits")
        return bytes.fromhex(value)
    return value


def _utc(value: datetime) -> datetime:
    try:
        found = value.astimezone(UTC)
    except OverflowError:
        found = _LATEST
    if not _EARLIEST <= found < _LATEST:
        raise ValueError("no time between the years 1 and 9000")
    return found


Hex = Annotated[
    bytes,
    BeforeValidator(_digest),
    Field(min_length=32, max_length=32),
    PlainSerializer(lambda value: value.hex(), return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]
"""A digest."""
Time = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time with its zone, in UTC from here on."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things, or of bytes."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,1000}$")]
"""Of a project, a repo, a branch, a pipeline: Pachyderm allows no other."""


Roles = dict[str, list[str]]
"""The roles that principals (`user:ann@example.org`, `allClusterUsers`) have on something."""


class Document(BaseModel):
    """A JSON object of the vault."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Header(Document):
    """What `vault.json` says in every format."""

    type: Literal["pachvault"]
    format: Annotated[int, Field(gt=0, lt=2**31, strict=True)]


class Cutting(Document):
    """How files are cut into blobs: FastCDC 2020, sizes in bytes."""

    method: Literal["fastcdc-2020"] = "fastcdc-2020"
    min_bytes: Annotated[int, Field(ge=64, le=2**22)] = 512 * 1024
    avg_bytes: Annotated[int, Field(ge=256, le=2**22)] = 1024 * 1024
    max_bytes: Annotated[int, Field(ge=1024, le=2**24)] = 4 * 1024 * 1024

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min_bytes <= self.avg_bytes <= self.max_bytes:
            raise ValueError("sizes in another order than min, avg, max")
        return self


def _checksum(said: dict[str, object]) -> str:
    """The digest of a JSON object, whatever the order of its fields and its white space."""
    return digest(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hex()


class Config(Document):
    """`vault.json`: written once."""

    type: Literal["pachvault"] = "pachvault"
    format: int = FORMAT
    vault_id: str
    created_at: Time
    seal: str = "plain"
    digest: str = "blake3"
    cutting: Cutting = Cutting()
    grace_seconds: Annotated[float, Field(gt=0, le=_GRACE_MOST_SECONDS, allow_inf_nan=False)] = GRACE_SECONDS
    """How long an object is marked before it may be deleted. Of the vault, so that no two writers differ."""

    @model_validator(mode="before")
    @classmethod
    def _is_as_written(cls, said: object) -> object:
        """Raises ValueError where there is a checksum, and it is another one."""
        if isinstance(said, dict) and "checksum" in said:
            rest = {name: value for name, value in said.items() if name != "checksum"}
            if said["checksum"] != _checksum(rest):
                raise ValueError("it is not what was written: its checksum is that of something else")
        return said

    def encode(self) -> bytes:
        """As it lies in the vault: with a checksum of its own, for no name vouches for it."""
        said = self.model_dump(mode="json")
        return (json.dumps(said | {"checksum": _checksum(said)}, indent=1) + "\n").encode()

    @property
    def grace(self) -> timedelta:
        """How long an object is marked before it may be deleted."""
        return timedelta(seconds=self.grace_seconds)


class Unfinished(Document):
    """Commits of a branch that were there at the freeze and not finished: they come with a later snapshot."""

    count: Count
    head: str
    """The branch's real head."""
    first: str
    """The oldest of them; the others follow it up to the head."""
    since: Time | None = None
    """When the oldest was started, by the cluster's clock."""


class Branch(Document):
    """A branch as it stood at the freeze."""

    name: Name
    head: str | None
    """The newest readable commit, or None where the branch has none."""
    missing: str | None = None
    """The real head, where that could not be read."""
    unfinished: Unfinished | None = None
    """What follows on `head` and was not finished; None where the head is the branch's own."""
    provenance: list[str] = []
    trigger: dict[str, str | int | bool] | None = None
    metadata: dict[str, str] = {}
    created_by: str = ""


class Segment(Document):
    """A part of a repo's history: a commit list, oldest first."""

    table: Hex
    commits: Count


class RepoRecord(Document):
    """One repo of a snapshot: its branches, and its commits in segments."""

    type: Literal["repo"] = "repo"
    project: Name
    repo: Name
    created_at: Time
    description: str = ""
    output_of: str | None = None
    """The pipeline that writes this repo, if one does."""
    branches: list[Branch]
    segments: list[Segment]
    metadata: dict[str, str] = {}
    roles: Roles | None = None
    """Role bindings; None where there was no authentication, or they could not be read."""


class Pipeline(Document):
    """A pipeline's definition, as its user wrote it where the server still knows that."""

    project: Name
    name: Name
    version: Count
    stopped: bool
    spec_json: str
    details: dict[str, object]
    effective_spec_json: str = ""
    """The spec with the defaults of project and cluster; empty before Pachyderm 2.8."""
    metadata: dict[str, str] = {}
    created_by: str = ""


class PipelinesRecord(Document):
    """All pipeline definitions of a snapshot."""

    type: Literal["pipelines"] = "pipelines"
    pipelines: list[Pipeline]


class Cluster(Document):
    """The Pachyderm cluster a snapshot was taken from."""

    id: str
    version: str
    metadata: dict[str, str] = {}
    defaults_json: str | None = None
    """What pipelines get where their spec says nothing; None before Pachyderm 2.8, and where not read."""
    roles: Roles | None = None


class Project(Document):
    """A Pachyderm project."""

    name: Name
    description: str = ""
    metadata: dict[str, str] = {}
    created_by: str = ""
    defaults_json: str | None = None
    """The same for the pipelines of the project."""
    roles: Roles | None = None


GONE = "gone"
HEAD_MISSING = "head-missing"
INDEX_HEALED = "index-healed"
LEFT_OPEN = "left-open"
METADATA_LOST = "metadata-lost"
NOTHING_MATCHED = "nothing-matched"
UNSETTLED = "unsettled"
NOT_MIRRORED = "not-mirrored"
SETTINGS_UNREADABLE = "settings-unreadable"
SQUASHED = "squashed"
UNFINISHED = "unfinished"
UNKNOWN_FIELDS = "unknown-fields"
UNREADABLE = "unreadable"
CLOCKS_DIFFER = "clocks-differ"
REPO_DELETED = "repo-deleted"
REPO_MADE_ANEW = "repo-made-anew"
BRANCH_DELETED = "branch-deleted"
PIPELINE_DELETED = "pipeline-deleted"
NOTES = frozenset(
    {
        INDEX_HEALED,
        METADATA_LOST,
        NOTHING_MATCHED,
        NOT_MIRRORED,
        UNSETTLED,
        UNFINISHED,
        SETTINGS_UNREADABLE,
        UNKNOWN_FIELDS,
        CLOCKS_DIFFER,
        REPO_DELETED,
        REPO_MADE_ANEW,
        BRANCH_DELETED,
        PIPELINE_DELETED,
    }
)
"""Problems that a snapshot notes but that leave nothing out (docs/format.md, 8.4.2)."""


class Problem(Document):
    """Something that could not be saved, or that people should know: what, where, why."""

    repo: str
    commit: str | None = None
    branch: str | None = None
    kind: str
    message: str
    last_seen: str | None = None
    """Of what is missing, the id of the snapshot sealed last that has it."""
    since: str | None = None
    """The id of the first snapshot without it; None for this one."""

    @property
    def is_note(self) -> bool:
        """Whether it leaves nothing out."""
        return self.kind in NOTES

    @property
    def where(self) -> str:
        """The repo, with branch or commit."""
        reference = self.branch or self.commit
        return f"{self.repo}@{reference}" if reference else self.repo


class RepoEntry(Document):
    """A repo in a manifest, with the figures a listing shows."""

    project: Name
    repo: Name
    record: Hex
    branches: Count
    commits: Count
    size_bytes: Count
    """Sum of the heads' sizes."""


class Totals(Document):
    """What one run did, for people and for estimates."""

    commits_new: Count = 0
    files_read: Count = 0
    bytes_read: Count = 0
    files_known: Count = 0
    """Files not read because their content was known."""
    blobs_new: Count = 0
    bytes_new: Count = 0
    """Bytes of new blobs before compression."""
    bytes_stored: Count = 0
    """Bytes of the packs written."""
    packs_new: Count = 0
    shares: Count = 0
    shares_reused: Count = 0
    freeze_seconds: Seconds = 0.0
    export_seconds: Seconds = 0.0


class ErasureNote(Document):
    """Something that was taken out of a sealed snapshot."""

    what: str
    """For people."""
    at: Time
    files: Count
    """How many of the snapshot, of all its commits together."""
    repos: list[str] = []
    """Patterns of the repos that were meant."""
    paths: list[str] = []
    """Patterns of the paths that went; all of them, where empty."""


class Manifest(Document):
    """A sealed snapshot: the only commit point of a run."""

    type: Literal["snapshot"] = "snapshot"
    format: int = FORMAT
    vault_id: str
    run_id: str
    policy: str
    cluster: Cluster
    freeze_began_at: Time
    frozen_at: Time
    """By the store's clock where this machine's differs from it."""
    sealed_at: Time
    """By the store's clock."""
    sequence: Annotated[int, Field(ge=0, lt=10**18)] = 0
    """Its place in the order of sealing; 0 in manifests of versions that gave none."""
    partial: bool
    problems: list[Problem] = []
    projects: list[Project]
    repos: list[RepoEntry]
    pipelines: Hex
    totals: Totals
    erased: list[ErasureNote] = []
    grace_seconds: Annotated[float | None, Field(gt=0, le=_GRACE_MOST_SECONDS, allow_inf_nan=False)] = None
    """The vault's when this was sealed: what a lost `vault.json` is rebuilt with."""


class PendingDelete(Document):
    """An object that is to be deleted, and why."""

    name: str
    reason: str


class Mark(Document):
    """What a prune found that no snapshot needs: to be deleted after the grace, unless needed by then."""

    type: Literal["mark"] = "mark"
    marked_at: Time
    objects: list[PendingDelete]


class AuditEntry(Document):
    """What became of one object, or one other thing, that was looked at."""

    name: str
    result: Literal["ok", "damaged", "unreadable"]
    message: str = ""
    audited_at: Time | None = None
    """Where several audits were folded into one: when it was."""


class Audit(Document):
    """What one verification looked at, and what it found."""

    type: Literal["audit"] = "audit"
    audited_at: Time
    level: str
    """structure, packs, data, source, drill, repair."""
    objects: list[AuditEntry]


class Pin(Document):
    """Keeps a snapshot from being forgotten."""

    type: Literal["pin"] = "pin"
    snapshot: str
    pinned_at: Time
    reason: str = ""


AnyDocument = TypeVar("AnyDocument", bound=Document)


def encode(document: Document) -> bytes:
    """UTF-8 JSON in the fields' declared order, one newline at the end."""
    return (document.model_dump_json(indent=1) + "\n").encode()


def decode(kind: type[AnyDocument], data: bytes) -> AnyDocument:
    """The document in `data`, or CorruptError that says what is wrong with it."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise CorruptError(f"not a valid {title(kind)}: {first_error(error)}") from error


def title(kind: type[Document]) -> str:
    """What people call a kind of document: `repo record` for RepoRecord."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong: the field, and why."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
