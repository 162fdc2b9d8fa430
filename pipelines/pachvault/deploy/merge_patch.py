"""JSON merge patches (RFC 7386): made from two documents, applied, and listed as changes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
Patch = dict[str, Any]
"""Null removes a member; an object changes one; any other value, a list too, replaces it."""


def difference(old: Document, new: Document) -> Patch:
    """The patch that makes `new` of `old`."""
    patch: Patch = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        if name in old and isinstance(value, dict) and isinstance(old[name], dict):
            inner = difference(old[name], value)
            if inner:
                patch[name] = inner
        elif name not in old or old[name] != value:
            patch[name] = value
    return dict(sorted(patch.items()))


def applied(document: Document, patch: Patch) -> Document:
    """The document with the patch applied."""
    result = dict(document)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = applied(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def changes(old: Document, new: Document, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, old and new value of each difference, by path; None where there is none."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        place = f"{path}.{name}" if path else name
        if isinstance(before, dict) and isinstance(after, dict):
            yield from changes(before, after, place)
        elif before != after:
            yield place, before, after
