"""The base classes of the documents between stages, and of the results that the last stages write."""

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


class Outcome(StageMessage):
    """The fields that the results of a backup, a maintenance run and a restore share.

    A verdict pipeline reads them, of this version or another one: all have defaults, and others are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: str = ""
    summary: str = ""
    """What happened, in one line."""
    next_step: str = ""
    """What to do about it, with the command to type; empty where there is nothing to do."""
    exit_code: int | None = None
    """Of the same outcome in a shell: 0 is good. None where an older version wrote the document."""
    is_signalled: bool = True
    """Whether another exit code than 0 makes the verdict pipeline's job fail: `verdicts` of the policy."""
    job: str = ""
    """The job whose stage wrote the document."""
