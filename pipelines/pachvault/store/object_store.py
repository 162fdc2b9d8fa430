"""A vault in a bucket: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

Durability and completeness are the service's: an object is there whole, or not at all. Objects are sent in
one request, which creates them only where the name is free (`If-None-Match: *`), and never in parts: an
aborted upload leaves nothing behind.

obstore (Rust's object_store) speaks the protocols, finds credentials and retries. docs/targets/ describes
what each service guarantees, and which rights it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from pachvault.errors import (
    AbsentError,
    CorruptError,
    DeniedError,
    FullError,
    StoreError,
    TakenError,
    UsageError,
)
from pachvault.store import requests
from pachvault.store.store import WHOLE_BYTES, ObjectInfo, object_url

if TYPE_CHECKING:
    from obstore import Attributes, ObjectMeta
    from obstore.store import ObjectStore as Client

_ABSENT = (FileNotFoundError, NotFoundError)
_PAGE = 1000
"""Names of one listing request: the most that the services give."""
_CODE = re.compile(r"<Code>(\w+)</Code>|\"reason\":\s*\"(\w+)\"")
_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_CREDENTIALS_OF_MACHINES = ("//169.254.169.254/", "//metadata.google.internal/", "//metadata/")
"""Where machines of the clouds get credentials. It is the last resort: nothing was configured."""
_NO_PLACE = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "AccountNotFound"})


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What an error code of a service means."""

    kind: Callable[..., StoreError]
    what: str
    hint: str = ""


_WRONG_KEY = _Refusal(DeniedError, "the service does not accept this key", "check the credentials")
_EXPIRED = _Refusal(DeniedError, "the credentials have expired", "renew them")
_NO_RIGHT = _Refusal(DeniedError, "permission is missing", "docs/targets names the rights of each command")
_CLOCK = _Refusal(StoreError, "this machine's clock differs too much from the service's", "set the clock")
_FULL = _Refusal(FullError, "the target is full", "make room and run again")
_LOCKED = _Refusal(DeniedError, "the object is locked", "its retention period has not ended")
_REFUSALS = {
    "InvalidAccessKeyId": _WRONG_KEY,
    "SignatureDoesNotMatch": _WRONG_KEY,
    "InvalidToken": _WRONG_KEY,
    "AuthenticationFailed": _WRONG_KEY,
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "AccessDenied": _NO_RIGHT,
    "AuthorizationFailure": _NO_RIGHT,
    "AuthorizationPermissionMismatch": _NO_RIGHT,
    "RequestTimeTooSkewed": _CLOCK,
    "QuotaExceeded": _FULL,
    "StorageFull": _FULL,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "BlobImmutableDueToPolicy": _LOCKED,
    "ObjectLocked": _LOCKED,
    "PermanentRedirect": _Refusal(
        StoreError, "the bucket is in another region", "add ?region=NAME to the URL"
    ),
    "AuthorizationHeaderMalformed": _Refusal(
        StoreError, "the bucket is in another region", "add ?region=NAME to the URL"
    ),
    "SlowDown": _Refusal(
        StoreError, "the service asks for fewer requests", "run again later, or use fewer workers"
    ),
    "ServerBusy": _Refusal(StoreError, "the service asks for fewer requests", "run again later"),
    "NotImplemented": _Refusal(
        StoreError, "the service does not support this request", "`pachvault probe` shows what it supports"
    ),
}


_NO_BUCKET = "no such bucket or container"


class _NoBucketError(StoreError):
    """The bucket does not exist."""


class ObjectStore:
    """A store in a bucket. See `Store` for the contract."""

    def __init__(self, url: str, client: Client, storage_class: str = "") -> None:
        """`url`: without anything secret. `client`: one whose prefix is the place in the bucket."""
        self.url = url
        self._client = client
        self._attributes: Attributes | None = {"Storage-Class": storage_class} if storage_class else None
        self._is_seen = False

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        content = b"".join(parts)
        if len(content) != size:
            raise CorruptError(
                f"{len(content)} bytes to write, {size} were expected", where=self._where(name)
            )
        if self._created(name, content):
            return True
        existing = self.stat(name)
        # deleted between the two requests: tried once more, and the second answer counts
        if existing is None:
            return self._created(name, content) or self._is_same(name, content)
        if existing.size == size and self._is_same(name, content):
            return False
        if existing.size >= size:
            raise TakenError("another object has this name already", where=self._where(name))
        # format 3.4: a shorter one is an aborted write. No service here makes one; another writer may have
        with self._explained(name):
            requests.run(
                lambda: obstore.put_async(
                    self._client, name, content, attributes=self._attributes, use_multipart=False
                )
            )
        return True

    def put_new(self, name: str, data: bytes) -> None:
        """See Store.put_new."""
        # a request whose answer was lost is sent again: then the existing object is ours
        if not self._created(name, data) and not self._is_same(name, data):
            raise TakenError("an object has this name already", where=self._where(name))

    def get(self, name: str, most: int = WHOLE_BYTES) -> bytes:
        """See Store.get."""
        with self._explained(name):
            result = requests.run(lambda: obstore.get_async(self._client, name))
            size = result.meta["size"]
            if size > most:
                raise CorruptError(
                    f"{size:,} bytes long, such an object has at most {most:,}", where=self._where(name)
                )
            return requests.run(result.bytes_async).to_bytes()

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See Store.get_range."""
        if length <= 0 or offset < 0:
            data, reason = b"", ""
            if length == 0 and self._size_of(name) >= offset >= 0:
                return b""
        else:
            data, reason = self._range(name, offset, length)
        if len(data) != length:
            raise CorruptError(
                reason or f"the object ends before byte {offset + length}, to which a read goes",
                where=self._where(name),
            )
        return data

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store.stat."""
        with self._explained(name):
            try:
                return _entry(requests.run(lambda: obstore.head_async(self._client, name)))
            except _ABSENT:
                self._check_place()
                return None

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        last = ""
        with self._explained(folder):
            for page in self._pages(folder, _PAGE):
                for meta in page:
                    info = _entry(meta)
                    if any(part.startswith(".") for part in info.name.split("/")):
                        continue
                    # consumers merge listings, and need this order
                    if info.name < last:
                        raise StoreError("the service lists names in no order", where=self.url)
                    last = info.name
                    yield info
        self._is_seen = True

    def delete(self, name: str) -> None:
        """See Store.delete."""
        with self._explained(name):
            try:
                requests.run(lambda: obstore.delete_async(self._client, name))
            except _ABSENT:
                self._check_place()

    def sweep(self, before: datetime, is_own: Callable[[str], bool]) -> None:
        """See Store.sweep. There is nothing: an aborted upload leaves no trace."""

    def create(self, *, is_shared: bool = False) -> None:  # noqa: ARG002
        """See Store.create. The bucket must exist."""
        if not self.exists():
            raise UsageError(_NO_BUCKET, where=self.url, hint="create it first")

    def exists(self) -> bool:
        """See Store.exists. A place in a bucket exists where the bucket exists."""
        try:
            self._check_place()
        except _NoBucketError:
            return False
        return True

    def _pages(self, folder: str, size: int) -> Iterator[Sequence[ObjectMeta]]:
        pages = obstore.list(self._client, folder or None, chunk_size=size)
        while True:
            try:
                yield requests.run(pages.__anext__)
            except StopAsyncIteration:
                return

    def _created(self, name: str, content: bytes) -> bool:
        """Whether the object was created; False where the name is taken."""
        with self._explained(name):
            try:
                requests.run(
                    lambda: obstore.put_async(
                        self._client, name, content, mode="create", attributes=self._attributes
                    )
                )
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def _is_same(self, name: str, content: bytes) -> bool:
        """Whether the object has these bytes. Format 3.3: a damaged object may have the right size."""
        try:
            return self.get(name, len(content)) == content
        except (AbsentError, CorruptError):
            return False

    def _size_of(self, name: str) -> int:
        info = self.stat(name)
        if info is None:
            raise AbsentError("no such object", where=self._where(name))
        return info.size

    def _range(self, name: str, offset: int, length: int) -> tuple[bytes, str]:
        with self._explained(name):
            try:
                data = requests.run(
                    lambda: obstore.get_range_async(self._client, name, start=offset, length=length)
                )
                return data.to_bytes(), ""
            except _ABSENT:
                raise
            except BaseError as error:
                if (
                    "416" not in str(error)
                    and "InvalidRange" not in str(error)
                    and "range" not in str(error).lower()
                ):
                    raise
        size = self._size_of(name)  # the range begins after the end
        return b"", f"the object ends at byte {size}, a read goes up to {offset + length}"

    def _check_place(self) -> None:
        """Raise StoreError where the bucket does not exist. It is asked for once.

        The answers to some requests do not show whether the object is missing, or the bucket.
        """
        if not self._is_seen:
            with self._explained(""):
                try:
                    next(self._pages("", 1), None)
                except _ABSENT as error:
                    raise _NoBucketError(_NO_BUCKET, where=self.url, hint="create it first") from error
            self._is_seen = True

    def _where(self, name: str) -> str:
        return object_url(self.url, name)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Raise errors of the service as errors of pachvault, each with one line and no secret."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            if _code(error) in _NO_PLACE:
                raise _NoBucketError(_NO_BUCKET, where=self.url, hint="create it first") from error
            if isinstance(error, _ABSENT):
                raise AbsentError("no such object", where=self._where(name)) from error
            raise self._failure(error, name) from error

    def _failure(self, error: Exception, name: str) -> StoreError:
        code = _code(error)
        if any(place in str(error) for place in _CREDENTIALS_OF_MACHINES):
            return DeniedError(
                "no credentials: the environment has none, and neither has this machine",
                where=self._where(name),
                hint="docs/targets names the variables of each service",
            )
        if refusal := _REFUSALS.get(code):
            return refusal.kind(f"{refusal.what} ({code})", where=self._where(name), hint=refusal.hint)
        if isinstance(error, UnauthenticatedError):
            return DeniedError(_WRONG_KEY.what, where=self._where(name), hint=_WRONG_KEY.hint)
        if isinstance(error, PermissionDeniedError):
            return DeniedError(_NO_RIGHT.what, where=self._where(name), hint=_NO_RIGHT.hint)
        return StoreError(f"the service does not answer: {_first_line(error, code)}", where=self._where(name))


def _code(error: BaseException) -> str:
    """The service's own code in an error, such as NoSuchBucket; empty where there is none."""
    match = _CODE.search(str(error))
    return next((group for group in match.groups() if group), "") if match else ""


def _first_line(error: BaseException, code: str) -> str:
    """A short reason. The rest of such a text is a dump of the request."""
    text = str(error).strip()
    status = _STATUS.search(text)
    if code or status:
        return " ".join(filter(None, [f"HTTP {status[1]}" if status else "", code]))
    first = text.splitlines()[0] if text else type(error).__name__
    # what comes before names the request and counts the retries
    return re.sub(r"https?://\S*", "…", first.rpartition(" - ")[2])[:200]


def _entry(meta: ObjectMeta) -> ObjectInfo:
    modified = meta["last_modified"]
    return ObjectInfo(meta["path"], meta["size"], modified.astimezone(UTC))
