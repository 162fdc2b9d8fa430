"""Opens the store that a target's URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pachvault.errors import UsageError
from pachvault.store import bucket_url
from pachvault.store.folder_store import FolderStore
from pachvault.store.store import Store

_ALLOWED = "allowed: file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix"
_BUCKETS = ("s3", "gs", "gcs", "az", "azure", "abfs", "abfss")


def open_store(url: str) -> Store:
    """The store that `url` names: a plain path, `file:///path`, or a place in a bucket (see bucket_url).

    No request is sent. Raises UsageError for any other scheme, and for a URL that means nothing.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"not a target: {error}", where="target", hint=_ALLOWED) from error
    if any(ord(character) < 32 for character in unquote(url)):
        raise UsageError("a target has no control characters", where="target", hint=_ALLOWED)
    if not parts.scheme and parts.path:
        return FolderStore(Path(url).absolute())
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise UsageError("a file target needs an absolute path", where=url, hint="file:///folder")
        if parts.query or parts.fragment:
            raise UsageError("? and # in a file target are written %3F and %23", where=url)
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme in _BUCKETS:
        bucket = bucket_url.parse(parts)
        # imported here: a folder needs no library of object stores
        from pachvault.store.bucket_clients import open_bucket  # noqa: PLC0415

        return open_bucket(bucket)
    raise UsageError(  # the URL is not shown: it may contain a password
        f"target scheme {parts.scheme!r} is not supported" if parts.scheme else "the target is empty",
        where="target",
        hint=_ALLOWED,
    )
