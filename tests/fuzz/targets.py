"""Every parser of what comes from outside, as a function of bytes: each ends in a value or in its documented
error, whatever the bytes are. A target raises AssertionError where a value is not what its type says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np

from memory import MemoryStore
from pachvault import policy, request
from pachvault.backup.backup_messages import ExportShare, Plan, Receipt
from pachvault.backup.run_records import Announcement
from pachvault.cli.file_reference import FileReference
from pachvault.errors import CorruptError, PachvaultError, TransientError, UsageError
from pachvault.format import digests, documents, index, layout, pack, table
from pachvault.format.config import Config, Header
from pachvault.format.documents import Document
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import Audit, Mark, Pin
from pachvault.format.manifest import Manifest
from pachvault.format.records import PipelinesRecord, RepoRecord
from pachvault.maintenance.maintenance_report import MaintenanceReport
from pachvault.maintenance.verify.checks.stray_objects import shown
from pachvault.maintenance.verify.verify import PackShare as VerifyShare
from pachvault.messages import StageMessage
from pachvault.pach import tar
from pachvault.restore.restore_messages import FetchReceipt, FetchShare, RestorePlan
from pachvault.store.open_store import open_store
from pachvault.syntax import quantities, selection
from pachvault.syntax.selection import Paths, SnapshotRef, SourcePattern
from pachvault.vault import snapshots
from pachvault.vault.index.blob_places import BlobPlaces
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.packs import blobs_by_frame, damaged_blobs, read_any_toc
from pachvault.vault.vault import Vault

CONFIG = Config(vault_id="0" * 32, created_at=datetime(2026, 1, 1, tzinfo=UTC))
DOCUMENTS: tuple[type[Document], ...] = (
    Config,
    Header,
    Manifest,
    RepoRecord,
    PipelinesRecord,
    Mark,
    Audit,
    Pin,
)
HANDED_ON: tuple[type[StageMessage], ...] = (
    Announcement,
    Receipt,
    ExportShare,
    Plan,
    RestorePlan,
    FetchShare,
    FetchReceipt,
    MaintenanceReport,
)


def one_line(error: PachvaultError) -> None:
    """What a user reads is one line."""
    assert "\n" not in str(error)


def names(data: bytes) -> None:
    """Names in listings: what is ours is written just so, and everything can be shown."""
    text = data.decode("utf-8", "surrogateescape")
    name = layout.parse(text)
    if name is not None:
        assert text.isascii()
        assert ".." not in text
        assert layout.named_digest(text) == name.digest
        assert layout.is_folder(text.rpartition("/")[0])
        if name.digest is not None:
            assert name.digest.hex() in text
    manifest = snapshots.parse_path(text)
    if manifest is not None:
        assert (
            layout.snapshot_path(
                manifest.frozen_at, manifest.sequence, bytes.fromhex(manifest.id), text.partition("/")[0]
            )
            == text
        )
    shown(text).encode()


def arguments(data: bytes) -> None:
    """What users write on a command line."""
    text = data.decode("utf-8", "surrogateescape")
    parsers: tuple[Callable[[str], object], ...] = (
        FileReference.parse,
        FileReference.parse_repo,
        VerifyShare.parse,
        request.place,
        open_store,
        lambda text: SourcePattern.parse(text).means(RepoName("p", "r"), "b"),
        lambda text: Paths.of([text]).has("/a/b"),
        SnapshotRef.parse,
        selection.time,
        quantities.duration,
        quantities.size,
        quantities.count,
    )
    for parse in parsers:
        try:
            parse(text)
        except UsageError as error:
            one_line(error)


def packs(data: bytes) -> None:
    """An object that should be a pack; and one whose digests are right and whose content is anything."""
    _read_pack(data)
    _read_pack(resealed(data))


def resealed(data: bytes) -> bytes:
    """A pack with a true trailer: its first bytes say how many frames and blobs its TOC has."""
    frames, blobs = data[0] % 8 if data else 0, data[1] % 32 if len(data) > 1 else 0
    size = frames * pack.FRAME.itemsize + blobs * pack.BLOB.itemsize
    body = data[2:].rjust(size, b"\0")
    content, toc = body[: len(body) - size], body[len(body) - size :]
    offset = len(pack.HEADER) + len(content)
    counts = struct.pack("<QIIB3xI", offset, frames, blobs, pack.SEAL_PLAIN, 0)
    return pack.HEADER + content + toc + counts + digest(toc + counts) + pack.END


def _read_pack(data: bytes) -> None:
    store = MemoryStore()
    store.put("pack", [data], len(data))
    try:
        name, toc = read_any_toc(Vault(store, CONFIG), "pack", len(data))
    except CorruptError:
        return
    index_of_it = BlobPlaces(IndexRows.of_toc(name, toc))
    assert len(index_of_it) == len(toc.blobs)
    for frame, rows in blobs_by_frame(toc):
        stored = store.get_range("pack", int(frame["offset"]), int(frame["stored"]))
        pack.frame_is_intact(stored, int(frame["checksum"]))
        try:
            raw = pack.open_frame(stored, int(frame["raw"]), int(frame["codec"]))
        except CorruptError:
            continue
        assert len(raw) == int(frame["raw"])
        damaged_blobs(toc, rows, raw)


def frames(data: bytes) -> None:
    """Stored bytes of a frame, after the four that say how long it is and the one that says its codec."""
    length = int.from_bytes(data[:4], "little")
    try:
        assert len(pack.open_frame(data[5:], length, data[4] if len(data) > 4 else 0)) == length
    except CorruptError:
        return


def index_objects(data: bytes) -> None:
    """An object that should be an index object."""
    for read in (index.ends_of, index.packs_of):
        try:
            read(data)
        except CorruptError:
            continue
    try:
        columns = IndexRows.read(data)
    except CorruptError:
        return
    known = BlobPlaces(columns)
    columns.in_order().table()
    columns.without(columns.packs[:1].tolist())
    if len(known):
        known.location(0)
        known.locations(columns.digests[0].tobytes())
    assert len(index.decode(data)) == len(columns)


def file_tables(data: bytes) -> None:
    """An object that should be a file table."""
    try:
        files = table.decode_files(data)
    except CorruptError:
        return
    files.to_pylist()
    table.fold([files, files]).to_pylist()
    wanted = table.digests_of(files)
    assert (table.digests_in(data) == wanted).all()
    rows, blobs = table.digests_by_row(files)
    assert len(rows) == len(blobs)
    table.files_with(files, pack.split_digests(wanted[:3]))
    digests.SortedDigests.of([wanted]).has(np.ascontiguousarray(blobs))


def commit_lists(data: bytes) -> None:
    """An object that should be a commit list."""
    try:
        commits = table.decode_commits(data)
    except CorruptError:
        return
    commits.to_pylist()
    table.tables_of(commits)


def vault_documents(data: bytes) -> None:
    """JSON objects of the vault: what is read is written again so that it reads as the same."""
    for kind in DOCUMENTS:
        try:
            document = documents.decode(kind, data)
        except CorruptError as error:
            one_line(error)
            continue
        assert documents.decode(kind, documents.encode(document)) == document
        str(document)


def handed_on(data: bytes) -> None:
    """Documents between stages, maybe of other versions."""
    for kind in HANDED_ON:
        try:
            document = kind.read(data, "here")
        except CorruptError as error:
            one_line(error)
            continue
        assert kind.read(document.encode(), "here") == document


def policies(data: bytes) -> None:
    """A policy in YAML."""
    try:
        chosen = policy.parse(data.decode("utf-8", "replace"), "policy.yaml")
    except UsageError as error:
        one_line(error)
        return
    chosen.chooses(RepoName("p", "r"), "b")
    chosen.model_dump_json()


def requests(data: bytes) -> None:
    """A restore request in YAML."""
    try:
        asked = request.parse(data.decode("utf-8", "replace"), "request.yaml")
    except UsageError as error:
        one_line(error)
        return
    assert len(asked.id) == 64


def tar_streams(data: bytes) -> None:
    """A stream of Pachyderm's, in messages as long as its first byte says."""
    step = data[0] * 16 + 1 if data else 1
    messages = (memoryview(data[at : at + step]) for at in range(1, len(data), step))
    try:
        for piece in _bounded(tar.pieces(messages)):
            assert piece.offset + len(piece.data) <= piece.size
    except TransientError:
        return


def _bounded(pieces: Iterator[tar.FilePiece]) -> Iterator[tar.FilePiece]:
    for number, piece in enumerate(pieces):
        assert number < 100_000
        yield piece


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        names,
        arguments,
        packs,
        frames,
        index_objects,
        file_tables,
        commit_lists,
        vault_documents,
        handed_on,
        policies,
        requests,
        tar_streams,
    )
}
