"""The base class of the documents between stages."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, ValidationError

from pachvault.errors import CorruptError
from pachvault.format import documents
from pachvault.format.documents import Document


class StageMessage(Document):
    """A document between stages: both sides are of one version, so unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def encode(self) -> bytes:
        """JSON for people and for the next stage."""
        return documents.encode(self)

    @classmethod
    def read(cls, data: bytes, where: str) -> Self:
        """From JSON; CorruptError where it is something else."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            reason = f"not a valid {documents.title(cls)}: {documents.first_error(error)}"
            raise CorruptError(reason, where=where, hint="was it written by another version?") from error
