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
    """The fields that `vault.json` has in every format."""

    type: Literal["pachvault"]
    format: Annotated[int, Field(gt=0, lt=2**31, strict=True)]


class Cutting(Document):
    """How the chunker divides files into blobs: FastCDC 2020. Sizes in bytes."""

    method: Literal["fastcdc-2020"] = "fastcdc-2020"
    min_bytes: Annotated[int, Field(ge=64, le=2**22)] = 512 * 1024
    avg_bytes: Annotated[int, Field(ge=256, le=2**22)] = 1024 * 1024
    max_bytes: Annotated[int, Field(ge=1024, le=2**24)] = 4 * 1024 * 1024

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min_bytes <= self.avg_bytes <= self.max_bytes:
            raise ValueError("the sizes must be in the order min, avg, max")
        return self


def _checksum(fields: dict[str, object]) -> str:
    """The digest of a JSON object, independent of the order of its fields and of white space."""
    return digest(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hex()


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
    """The grace period. It is a property of the vault, so that all writers use the same one."""

    @model_validator(mode="before")
    @classmethod
    def _check_checksum(cls, fields: object) -> object:
        """Raises ValueError for a wrong checksum. Earlier versions wrote none."""
        if isinstance(fields, dict) and "checksum" in fields:
            # format 8.1.4: unknown fields, too: a later version may add some, and its checksum covers them
            others = {name: value for name, value in fields.items() if name != "checksum"}
            if fields["checksum"] != _checksum(others):
                raise ValueError("its checksum is wrong: it was changed since it was written")
        return fields

    def encode(self) -> bytes:
        """The bytes of `vault.json`. They include a checksum, because its name has no digest."""
        fields = self.model_dump(mode="json")
        return (json.dumps(fields | {"checksum": _checksum(fields)}, indent=1) + "\n").encode()

    @property
    def grace(self) -> timedelta:
        """The grace period: the time between listing an object as a pending delete and deleting it."""
        return timedelta(seconds=self.grace_seconds)
