"""What maintenance and users write beside snapshots: marks, audits, pins (docs/format.md, section 9)."""

from __future__ import annotations

from typing import Literal

from pachvault.format.documents import Document, Time


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
