"""An open vault: its configuration, and its objects by name, each verified against the digest in its name."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from pachvault.errors import (
    CorruptError,
    DamageError,
    DeniedError,
    NoVaultError,
    PachvaultError,
    TakenError,
    UsageError,
    VaultKeyError,
)
from pachvault.format import documents, layout, parquet, table
from pachvault.format.config import FORMAT, GRACE_SECONDS, Config, Header
from pachvault.format.digests import Digests
from pachvault.format.documents import Document
from pachvault.format.ids import digest
from pachvault.format.pack import Pack
from pachvault.format.records import PipelinesRecord, RepoRecord
from pachvault.store.store import UNREADABLE, ObjectInfo, Store, object_url

SALTS = 16
"""How many names are tried for one content. Few are taken: by pending deletes and damaged objects."""
_REPAIR = "`pachvault repair --dry-run` reports whether it can be rebuilt"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The digest and the size in bytes of an object that was written."""

    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault in a store. Use `create` or `open_vault`, and `pending_deletes.for_writing` for writing."""

    store: Store
    config: Config
    pending_deletes: frozenset[str] = frozenset()
    """Names of objects that are listed in `marks/`: they count as absent, and their names are not used."""

    def objects(self, folder: str, kind: layout.Kind | None = None) -> Iterator[ObjectInfo]:
        """The vault's objects in a folder, sorted by name; with `kind` only those. Others are left out."""
        for info in list_objects(self.store, folder):
            name = layout.parse(info.name)
            if kind is None or (name is not None and name.kind is kind):
                yield info

    def delete(self, name: str) -> None:
        """Delete an object, if it is there; PachvaultError where the name is not one of a vault."""
        if layout.parse(name) is None:
            raise PachvaultError(f"{name!r} is not an object of the vault: not deleted", where=self.store.url)
        self.store.delete(name)

    def sweep(self, before: datetime) -> None:
        """Remove temporary files that aborted writes left before a time of the store's clock."""
        self.store.sweep(before, lambda name: layout.parse(name) is not None)

    def get(self, name: str) -> bytes:
        """An object's bytes, not verified; CorruptError where it is longer than its kind may be."""
        return self.store.get(name, layout.most_bytes(name))

    def read(self, name: str) -> bytes:
        """An object's bytes; DamageError unless they have the digest in its name."""
        data = self.get(name)
        # format 3.1
        if digest(data) != layout.named_digest(name):
            raise CorruptError(
                "the object does not have the digest in its name", where=object_url(self.store.url, name)
            )
        return data

    def repo_record(self, name: bytes) -> RepoRecord:
        """A repo record by digest."""
        return documents.decode(RepoRecord, self.read(layout.record_path(name)))

    def pipelines_record(self, name: bytes) -> PipelinesRecord:
        """A pipelines record by digest."""
        return documents.decode(PipelinesRecord, self.read(layout.record_path(name)))

    def commit_list(self, name: bytes, columns: Sequence[str] = table.COMMITS.names) -> pa.Table:
        """Columns of a commit list by digest (schema table.COMMITS); only these are decoded."""
        return table.decode_commits(self.read(layout.table_path(name)), columns)

    def file_table(self, name: bytes) -> pa.Table:
        """A file table by digest (schema table.FILES)."""
        return table.decode_files(self.read(layout.table_path(name)))

    def file_batches(self, name: bytes, columns: Sequence[str] = table.FILES.names) -> Iterator[pa.Table]:
        """Columns of a file table by digest, a row group at a time (schema table.FILES)."""
        return parquet.batches(self.read(layout.table_path(name)), table.FILES_FORM.of(*columns))

    def blobs_of_table(self, name: bytes) -> Digests:
        """Every blob that a file table names, each once. Only the columns that this takes are decoded."""
        return table.digests_in(self.read(layout.table_path(name)))

    def put_record(self, record: Document) -> bytes:
        """Write a record; its digest."""
        data = documents.encode(record)
        return self._put(layout.record_path, lambda salt: data + b"\n" * salt).digest

    def put_table(self, data: bytes) -> StoredObject:
        """Write an encoded table."""
        return self._put(layout.table_path, lambda salt: parquet.salted(data, salt))

    def put_index(self, data: bytes) -> StoredObject:
        """Write an encoded index."""
        return self._put(layout.index_path, lambda salt: parquet.salted(data, salt))

    def put_pack(self, build: Callable[[int], Pack]) -> Pack:
        """Write a pack; `build` makes it with a salt, which gives the same content another name."""
        for salt in range(SALTS):
            pack = build(salt)
            if self._is_put(layout.pack_path(pack.digest), pack.parts, pack.size):
                return pack
        raise TakenError(f"pack name still taken after {SALTS} salts", where=self.store.url)

    def _put(self, path: Callable[[bytes], str], salted: Callable[[int], bytes]) -> StoredObject:
        for salt in range(SALTS):
            data = salted(salt)
            name = digest(data)
            if self._is_put(path(name), [data], len(data)):
                return StoredObject(name, len(data))
        raise TakenError(
            f"name still taken after {SALTS} salts", where=object_url(self.store.url, path(name))
        )

    def _is_put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """Write an object; False where its name is a pending delete or taken by another object."""
        # format 9.5: prune may delete it later by this name, even if the content was written again
        if name in self.pending_deletes:
            return False
        try:
            self.store.put(name, parts, size)
        except TakenError:
            return False
        return True


def create(
    store: Store, grace: timedelta = timedelta(seconds=GRACE_SECONDS), *, is_shared: bool = False
) -> Vault:
    """Create an empty vault; UsageError where the place holds a vault or anything else.

    `grace`: the time between listing an object as a pending delete and deleting it. A run may take half.
    With `is_shared` the vault's folder, and what is written in it, is accessible to its group, too.
    """
    store.create(is_shared=is_shared)
    if store.stat(layout.CONFIG):
        raise UsageError("a vault exists already", where=store.url)
    if _has_content(store):
        raise UsageError("the place holds a vault without its vault.json", where=store.url, hint=_REPAIR)
    if not _is_empty(store):
        raise UsageError("the place is not empty and is not a vault", where=store.url, hint="choose another")
    config = Config(
        vault_id=secrets.token_hex(16), created_at=datetime.now(UTC), grace_seconds=grace.total_seconds()
    )
    try:
        # format 11.1: created exclusively. The checks above only give the better messages
        store.put_new(layout.CONFIG, config.encode())
    except TakenError as error:
        raise UsageError("another `init` has just created a vault here", where=store.url) from error
    return Vault(store, config)


def open_vault(store: Store) -> Vault:
    """The vault in `store`.

    Raises NoVaultError where there is none or its format is newer, VaultKeyError where it is encrypted:
    this version reads plain vaults only.
    """
    if not store.exists():
        if not store.url.startswith("file:"):
            raise NoVaultError("no such bucket or container", where=store.url, hint="create it first")
        raise NoVaultError(
            "no such place", where=store.url, hint="is it mounted? `pachvault init` creates a vault"
        )
    if not store.stat(layout.CONFIG):
        raise _no_vault(store)
    data = store.get(layout.CONFIG, layout.most_bytes(layout.CONFIG))
    where = object_url(store.url, layout.CONFIG)
    try:
        # format 12.1: the number alone first, so that a newer vault is refused as newer and not as damaged
        version = documents.decode(Header, data).format
    except CorruptError as error:
        hint = _REPAIR if _has_content(store) else ""
        raise NoVaultError("not a pachvault vault", where=where, hint=hint) from error
    if version > FORMAT:
        raise NoVaultError(
            f"the vault has format {version}, this pachvault reads up to {FORMAT}",
            where=store.url,
            hint="use a newer pachvault",
        )
    try:
        config = documents.decode(Config, data)
    except DamageError as error:
        raise type(error)(error.what, where=where, hint=_REPAIR) from error
    if config.seal != "plain":
        raise VaultKeyError(
            f"the vault is encrypted with {config.seal!r}", where=store.url, hint="use a newer pachvault"
        )
    if config.digest != "blake3":
        raise NoVaultError(
            f"the vault's digests are {config.digest!r}", where=store.url, hint="use a newer pachvault"
        )
    return Vault(store, config)


def list_objects(store: Store, folder: str) -> Iterator[ObjectInfo]:
    """The objects in a folder whose names have a form of docs/format.md, section 3. Others are left out.

    Raises DeniedError where a folder of the vault is not readable.
    """
    for info in store.list(folder):
        # a folder that cannot be listed must not look empty: its objects would count as missing
        if info.other == UNREADABLE and layout.is_folder(info.name):
            raise DeniedError("permission to read is missing", where=object_url(store.url, info.name))
        if not info.other and layout.parse(info.name) is not None:
            yield info


def _no_vault(store: Store) -> NoVaultError:
    if _has_content(store):
        return NoVaultError("vault.json is missing", where=store.url, hint=_REPAIR)
    if not store.url.startswith("file:"):
        return NoVaultError("no vault here", where=store.url, hint="`pachvault init` creates one")
    if _is_empty(store):
        hint = "is it mounted? If this is the place for a new vault: `pachvault init`"
        return NoVaultError("no vault here, the folder is empty", where=store.url, hint=hint)
    return NoVaultError(
        "no vault here", where=store.url, hint="`pachvault init` creates one in an empty folder"
    )


def _is_empty(store: Store) -> bool:
    """Whether a folder is empty, but for what a new file system contains."""
    return all(info.name.partition("/")[0] == layout.LOST_AND_FOUND for info in store.list(""))


def _has_content(store: Store) -> bool:
    """Whether there are packs or snapshots: then `init` must not create a vault here."""
    return any(next(list_objects(store, folder), None) for folder in (layout.PACKS, layout.SNAPSHOTS))
