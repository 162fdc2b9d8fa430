"""What all JSON objects of a vault share: their base class, their field types, `encode` and `decode`.

The documents are in `config`, `records`, `manifest` and `maintenance_documents` beside this module.
Readers ignore fields that they do not know: a later version may add some (docs/format.md, sections 8 and 12).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, TypeVar

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
)

from pachvault.errors import CorruptError

_DIGEST = re.compile("[0-9a-f]{64}")
# room at both ends: such a time in any zone, or with the longest grace period added, is still a datetime
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _digest(value: object) -> object:
    if isinstance(value, str):
        if not _DIGEST.fullmatch(value):
            raise ValueError("a digest is 64 lower-case hexadecimal digits")
        return bytes.fromhex(value)
    return value


def _utc(value: datetime) -> datetime:
    try:
        in_utc = value.astimezone(UTC)
    except OverflowError:
        in_utc = _LATEST
    if not _EARLIEST <= in_utc < _LATEST:
        raise ValueError("no time between the years 1 and 9000")
    return in_utc


Hex = Annotated[
    bytes,
    BeforeValidator(_digest),
    Field(min_length=32, max_length=32),
    PlainSerializer(lambda value: value.hex(), return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"}),
]
"""A digest."""
Time = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time with a zone; it is converted to UTC when it is read."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things, or of bytes."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# pydantic's patterns are Rust's: there `$` is the end of the text, in Python a line end could follow
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,1000}$")]
"""The name of a project, a repo, a branch or a pipeline. Pachyderm allows no other characters."""

Roles = dict[str, list[str]]
"""Role names by principal (`user:ann@example.org`, `allClusterUsers`)."""


class Document(BaseModel):
    """A JSON object of the vault."""

    model_config = ConfigDict(frozen=True, extra="ignore")


AnyDocument = TypeVar("AnyDocument", bound=Document)


def encode(document: Document) -> bytes:
    """UTF-8 JSON in the fields' declared order, one newline at the end."""
    return (document.model_dump_json(indent=1) + "\n").encode()


def decode(kind: type[AnyDocument], data: bytes) -> AnyDocument:
    """The document in `data`; CorruptError, with the first wrong field, where it is not valid."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise CorruptError(f"not a valid {title(kind)}: {first_error(error)}") from error


def title(kind: type[Document]) -> str:
    """The name of a kind of document for users: `repo record` for RepoRecord."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()


def first_error(error: ValidationError) -> str:
    """The first wrong field, and what is wrong with it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
