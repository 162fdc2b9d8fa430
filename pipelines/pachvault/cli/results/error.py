"""Errors and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pachvault.cli.common import say
from pachvault.cli.render import Result, text_of


@dataclass(frozen=True, kw_only=True)
class ErrorResult(Result):
    """Why the command failed. It is the last line."""

    type: Literal["error"] = "error"
    message: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class WarningResult(Result):
    """Something that the command could not do or find; it did the rest."""

    type: Literal["warning"] = "warning"
    kind: Literal["file-not-extracted", "missing", "nothing-matched", "specs-not-kept"]
    """file-not-extracted: `extract` left a file or branch out. missing: `deploy` found that the cluster lacks
    something that backups need. nothing-matched: no snapshot matches a pattern of the policy's retention.
    specs-not-kept: this Pachyderm does not keep pipeline specs as they were written."""
    message: str


@text_of(ErrorResult)
def _error(error: ErrorResult) -> None:
    say(f"pachvault: {error.message}")


@text_of(WarningResult)
def _warning(warning: WarningResult) -> None:
    say(f"missing: {warning.message}" if warning.kind == "missing" else warning.message)
