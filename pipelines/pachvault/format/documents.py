"""The vault's JSON objects: configuration, records, manifests (docs/format.md, section 8).

Readers ignore fields they do not know: a later minor version may add some.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from pachvault.errors import CorruptError

FORMAT = 1
GRACE_SECONDS = 7 * 86400

Hex = Annotated[
    bytes,
    BeforeValidator(lambda value: bytes.fromhex(value) if isinstance(value, str) else value),
    PlainSerializer(lambda value: value.hex(), return_type=str),
]


class Document(BaseModel):
    """A JSON object of the vault."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Cutting(Document):
    """How files are cut into blobs: FastCDC 2020, sizes in bytes."""

    method: Literal["fastcdc-2020"] = "fastcdc-2020"
    min_bytes: int = 512 * 1024
    avg_bytes: int = 1024 * 1024
    max_bytes: int = 4 * 1024 * 1024


class Config(Document):
    """`vault.json`: written once."""

    type: Literal["pachvault"] = "pachvault"
    format: int = FORMAT
    vault_id: str
    created_at: datetime
    seal: str = "plain"
    digest: str = "blake3"
    cutting: Cutting = Cutting()
    grace_seconds: float = GRACE_SECONDS
    """How long an object is marked before it may be deleted. Of the vault, so that no two writers differ."""

    @property
    def grace(self) -> timedelta:
        """How long an object is marked before it may be deleted."""
        return timedelta(seconds=self.grace_seconds)


class Branch(Document):
    """A branch as it stood at the freeze."""

    name: str
    head: str | None
    """The newest readable commit, or None where the branch has none."""
    missing: str | None = None
    """The real head, where that could not be read."""
    provenance: list[str] = []
    trigger: dict[str, str | int | bool] | None = None


class Segment(Document):
    """A part of a repo's history: a commit list, oldest first."""

    table: Hex
    commits: int


class RepoRecord(Document):
    """One repo of a snapshot: its branches, and its commits in segments."""

    type: Literal["repo"] = "repo"
    project: str
    repo: str
    created_at: datetime
    description: str = ""
    output_of: str | None = None
    """The pipeline that writes this repo, if one does."""
    branches: list[Branch]
    segments: list[Segment]


class Pipeline(Document):
    """A pipeline's definition, as its user wrote it where the server still knows that."""

    project: str
    name: str
    version: int
    stopped: bool
    spec_json: str
    details: dict[str, object]


class PipelinesRecord(Document):
    """All pipeline definitions of a snapshot."""

    type: Literal["pipelines"] = "pipelines"
    pipelines: list[Pipeline]


class Cluster(Document):
    """The Pachyderm cluster a snapshot was taken from."""

    id: str
    version: str


class Project(Document):
    """A Pachyderm project."""

    name: str
    description: str = ""


class Problem(Document):
    """Something that could not be saved: what, where, why."""

    repo: str
    commit: str | None = None
    branch: str | None = None
    kind: str
    message: str


class RepoEntry(Document):
    """A repo in a manifest, with the figures a listing shows."""

    project: str
    repo: str
    record: Hex
    branches: int
    commits: int
    size_bytes: int
    """Sum of the heads' sizes."""


class Totals(Document):
    """What one run did, for people and for estimates."""

    commits_new: int = 0
    files_read: int = 0
    bytes_read: int = 0
    files_known: int = 0
    """Files not read because their content was known."""
    blobs_new: int = 0
    bytes_new: int = 0
    """Bytes of new blobs before compression."""
    bytes_stored: int = 0
    """Bytes of the packs written."""
    packs_new: int = 0
    shares: int = 0
    shares_reused: int = 0
    freeze_seconds: float = 0.0
    export_seconds: float = 0.0


class Erased(Document):
    """Something that was taken out of a sealed snapshot."""

    what: str
    """For people."""
    at: datetime
    files: int
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
    freeze_began_at: datetime
    frozen_at: datetime
    sealed_at: datetime
    partial: bool
    problems: list[Problem] = []
    projects: list[Project]
    repos: list[RepoEntry]
    pipelines: Hex
    totals: Totals
    erased: list[Erased] = []
    grace_seconds: float | None = None
    """The vault's when this was sealed: what a lost `vault.json` is rebuilt with."""


class Marked(Document):
    """An object that is to be deleted, and why."""

    name: str
    reason: str


class Mark(Document):
    """What a prune found that no snapshot needs: to be deleted after the grace, unless needed by then."""

    type: Literal["mark"] = "mark"
    marked_at: datetime
    objects: list[Marked]


class Audited(Document):
    """What became of one object, or one other thing, that was looked at."""

    name: str
    result: Literal["ok", "damaged", "unreadable"]
    message: str = ""
    audited_at: datetime | None = None
    """Where several audits were folded into one: when it was."""


class Audit(Document):
    """What one verification looked at, and what it found."""

    type: Literal["audit"] = "audit"
    audited_at: datetime
    level: str
    """structure, packs, data, source, drill, repair."""
    objects: list[Audited]


class Pin(Document):
    """Keeps a snapshot from being forgotten."""

    type: Literal["pin"] = "pin"
    snapshot: str
    pinned_at: datetime
    reason: str = ""


AnyDocument = TypeVar("AnyDocument", bound=Document)


def encode(document: Document) -> bytes:
    """UTF-8 JSON in the fields' declared order, one newline at the end."""
    return (document.model_dump_json(indent=1) + "\n").encode()


def decode(kind: type[AnyDocument], data: bytes) -> AnyDocument:
    """The document in `data`, or DamageError that says what is wrong with it."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptError(f"not a {kind.__name__}: {where + ': ' if where else ''}{first['msg']}") from error
