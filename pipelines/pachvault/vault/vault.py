"""An open vault: its configuration, and its named objects, each checked against its name."""

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
from pachvault.store.store import UNREADABLE, ObjectInfo, Store

_SALTS = 16
_REPAIR = "`pachvault repair --dry-run` says whether it can be rebuilt"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that was written: its digest and its size in bytes."""

    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault in a store. Use `create` or `open_vault`, and `pending_deletes.for_writing` for writing."""

    store: Store
    config: Config
    pending_deletes: frozenset[str] = frozenset()
    """Objects that are marked for deletion: not relied on, and not written under their names."""

    def objects(self, folder: str, kind: layout.Kind | None = None) -> Iterator[ObjectInfo]:
        """The vault's own objects in a folder, sorted by name, or those of one kind. Others are ignored."""
        for info in list_objects(self.store, folder):
            name = layout.parse(info.name)
            if kind is None or (name is not None and name.kind is kind):
                yield info

    def delete(self, name: str) -> None:
        """Remove an object of the vault; no error where there is none. Nothing else is ever removed."""
        if layout.parse(name) is None:
            raise PachvaultError(f"{name!r} is no object of the vault: not deleted", where=self.store.url)
        self.store.delete(name)

    def sweep(self, before: datetime) -> None:
        """Remove what aborted writes of objects left behind before a time of the store's clock."""
        self.store.sweep(before, lambda name: layout.parse(name) is not None)

    def get(self, name: str) -> bytes:
        """An object's bytes, as they are; CorruptError where they are more than such an object may have."""
        return self.store.get(name, layout.most_bytes(name))

    def read(self, name: str) -> bytes:
        """An object's bytes; DamageError unless they have the digest in its name."""
        data = self.get(name)
        if digest(data) != layout.named_digest(name):
            raise CorruptError("the object is not what its name promises", where=f"{self.store.url}/{name}")
        return data

    def repo_record(self, name: bytes) -> RepoRecord:
        """A repo record by digest."""
        return documents.decode(RepoRecord, self.read(layout.record_path(name)))

    def pipelines_record(self, name: bytes) -> PipelinesRecord:
        """A pipelines record by digest."""
        return documents.decode(PipelinesRecord, self.read(layout.record_path(name)))

    def commit_list(self, name: bytes, columns: Sequence[str] = table.COMMITS.names) -> pa.Table:
        """Columns of a commit list by digest (schema table.COMMITS); only these are decoded."""
        return parquet.decode(self.read(layout.table_path(name)), table.COMMITS_FORM.of(*columns))

    def file_table(self, name: bytes) -> pa.Table:
        """A file table by digest (schema table.FILES)."""
        return table.decode_files(self.read(layout.table_path(name)))

    def file_batches(self, name: bytes, columns: Sequence[str] = table.FILES.names) -> Iterator[pa.Table]:
        """Columns of a file table by digest, a row group at a time (schema table.FILES)."""
        return parquet.batches(self.read(layout.table_path(name)), table.FILES_FORM.of(*columns))

    def blobs_of_table(self, name: bytes) -> Digests:
        """Every blob that a file table names, each once; of the table only what tells them is decoded."""
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
        """Write the pack that `build` makes of a salt."""
        for salt in range(_SALTS):
            made = build(salt)
            if self._is_put(layout.pack_path(made.digest), made.parts, made.size):
                return made
        raise TakenError("no name is free for a pack", where=self.store.url)

    def _put(self, path: Callable[[bytes], str], salted: Callable[[int], bytes]) -> StoredObject:
        for salt in range(_SALTS):
            data = salted(salt)
            name = digest(data)
            if self._is_put(path(name), [data], len(data)):
                return StoredObject(name, len(data))
        raise TakenError("no name is free", where=f"{self.store.url}/{path(name)}")

    def _is_put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        """Write an object unless its name is marked, or taken by what is damaged: another name will do."""
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
    """Make an empty vault; UsageError where the place is taken by a vault or by anything else.

    `grace`: how long what is no longer needed is kept before prune deletes it; a run may take half of it.
    With `is_shared` the vault's folder, and what is written in it, is for its group, too.
    """
    store.create(is_shared=is_shared)
    if store.stat(layout.CONFIG):
        raise UsageError("there is a vault already", where=store.url)
    if _has_content(store):
        raise UsageError("a vault without its vault.json is there", where=store.url, hint=_REPAIR)
    if not _is_empty(store):
        raise UsageError("the place is not empty and holds no vault", where=store.url, hint="choose another")
    config = Config(
        vault_id=secrets.token_hex(16), created_at=datetime.now(UTC), grace_seconds=grace.total_seconds()
    )
    try:
        store.put_new(layout.CONFIG, config.encode())
    except TakenError as error:
        raise UsageError("another `init` has just made a vault here", where=store.url) from error
    return Vault(store, config)


def open_vault(store: Store) -> Vault:
    """The vault in `store`.

    Raises NoVaultError where there is none or its format is newer, VaultKeyError where it is sealed
    in a way this version does not know.
    """
    if not store.exists():
        raise NoVaultError(
            "no such place", where=store.url, hint="is it mounted? `pachvault init` makes a vault"
        )
    if not store.stat(layout.CONFIG):
        raise _no_vault(store)
    data = store.get(layout.CONFIG, layout.most_bytes(layout.CONFIG))
    where = f"{store.url}/{layout.CONFIG}"
    try:
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
            f"the vault is sealed with {config.seal!r}", where=store.url, hint="use a newer pachvault"
        )
    if config.digest != "blake3":
        raise NoVaultError(
            f"the vault's digests are {config.digest!r}", where=store.url, hint="use a newer pachvault"
        )
    return Vault(store, config)


def list_objects(store: Store, folder: str) -> Iterator[ObjectInfo]:
    """The objects in a folder of a store that have exactly the form of a vault's names, in their place.

    Raises DeniedError where a folder of the vault's own may not be read.
    """
    for info in store.list(folder):
        if info.other == UNREADABLE and layout.is_folder(info.name):
            raise DeniedError("no right to read here", where=f"{store.url}/{info.name}")
        if not info.other and layout.parse(info.name) is not None:
            yield info


def _no_vault(store: Store) -> NoVaultError:
    if _has_content(store):
        return NoVaultError("the vault has lost its vault.json", where=store.url, hint=_REPAIR)
    if _is_empty(store):
        hint = "is it mounted? If this is the place for a new vault: `pachvault init`"
        return NoVaultError("no vault here, the folder is empty", where=store.url, hint=hint)
    return NoVaultError(
        "no vault here", where=store.url, hint="`pachvault init` makes one in an empty folder"
    )


def _is_empty(store: Store) -> bool:
    """Whether nothing is there but what a file system brings with it."""
    return all(info.name.partition("/")[0] == layout.LOST_AND_FOUND for info in store.list(""))


def _has_content(store: Store) -> bool:
    """Whether packs or snapshots are there: more than `pachvault init` may build on."""
    return any(next(list_objects(store, folder), None) for folder in (layout.PACKS, layout.SNAPSHOTS))
