"""`vault.json`, the configuration of a vault (docs/format.md, 8.1)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pachvault.format.documents import Document, Time
from pachvault.format.ids import digest

FORMAT = 1
GRACE_SECONDS = 7 * 86400
GRACE_MOST_SECONDS = 100 * 366 * 86400


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
    grace_seconds: Annotated[float, Field(gt=0, le=GRACE_MOST_SECONDS, allow_inf_nan=False)] = GRACE_SECONDS
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
