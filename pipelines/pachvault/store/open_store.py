"""Opens the store that a target's URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pachvault.errors import UsageError
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import Store


def open_store(url: str) -> Store:
    """The store that `url` names: `file:///path`, or a plain path.

    Raises UsageError for any other scheme, and for a file URL with a host.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"not a target: {error}", where="target", hint="allowed: file:///folder") from error
    if any(ord(character) < 32 for character in unquote(url)):
        raise UsageError("a target has no control characters", where="target", hint="allowed: file:///folder")
    if not parts.scheme and parts.path:
        return FolderStore(Path(url).absolute())
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise UsageError("a file target needs an absolute path", where=url, hint="file:///folder")
        if parts.query or parts.fragment:
            raise UsageError("? and # in a file target are written %3F and %23", where=url)
        return FolderStore(Path(unquote(parts.path)))
    raise UsageError(  # the URL is not shown: it may contain a password
        f"target scheme {parts.scheme!r} is not supported" if parts.scheme else "the target is empty",
        where="target",
        hint="allowed: file:///folder",
    )
