"""What maintenance and users write beside snapshots: marks, audits, pins (docs/format.md, section 9)."""

from __future__ import annotations

from typing import Literal

from pachvault.format.documents import Document, Time


class PendingDelete(Document):
    """An object that prune will delete after the grace period, and the reason."""

    name: str
    reason: str


class Mark(Document):
    """A list of pending deletes. Each is deleted after the grace period, unless it is needed by then."""

    type: Literal["mark"] = "mark"
    marked_at: Time
    objects: list[PendingDelete]


class AuditEntry(Document):
    """The result of verifying one object, or one other thing."""

    name: str
    result: Literal["ok", "damaged", "unreadable"]
    message: str = ""
    audited_at: Time | None = None
    """Where several audits were merged into one: the time of this result."""


class Audit(Document):
    """The results of one verification."""

    type: Literal["audit"] = "audit"
    audited_at: Time
    level: str
    """One of: structure, packs, data, source, drill, repair, prune."""
    objects: list[AuditEntry]
    snapshots: list[str] | None = None
    """Every manifest that was there, forgotten ones included, as paths; None where the audit lists none."""


class Pin(Document):
    """Keeps a snapshot from being forgotten."""

    type: Literal["pin"] = "pin"
    snapshot: str
    pinned_at: Time
    reason: str = ""
