"""The export stage: one share, from streams to packs, index objects and file tables in the vault.

A full commit is one stream over its paths. A delta is planned from `DiffFile`, and only files whose
content the vault does not have are read: first from the commit's own change (a DIFF file set). There an
appended file shows only its appended bytes; a file whose size differs is read completely from the commit.

Data flows one way: Pachyderm's pieces of files → chunker → stored files → rows of a file table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa

from pachvault.backup import base_lookup, missing_commits, run_records
from pachvault.backup.backup_messages import ExportShare, Item, ItemReceipt, Link, Receipt, WrittenObject
from pachvault.backup.base_lookup import KnownContent
from pachvault.backup.export.chunker import Chunker, StoredFiles
from pachvault.backup.export.delta_reader import changed_files
from pachvault.backup.export.row_builder import RowBuilder
from pachvault.backup.export.table_writer import TableWriter
from pachvault.errors import PachydermError, SourceGoneError, TransientError
from pachvault.format import table
from pachvault.format.ids import RepoName, digest
from pachvault.pach.records import Change
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.tar import FilePiece, FileRun
from pachvault.runtime import logs
from pachvault.runtime.progress import Progress
from pachvault.vault import pending_deletes
from pachvault.vault.index import blob_index
from pachvault.vault.pack_writer import PACK_BYTES, PackWriter
from pachvault.vault.vault import StoredObject, Vault


def export_share(source: Source, vault: Vault, share: ExportShare, progress: Progress) -> Receipt:
    """Carry out a share and return its receipt. An equal share of an earlier run is not repeated.

    Raises TransientError where Pachyderm cannot be reached at all. An item that cannot be read has a
    problem in the receipt instead, and nothing of it is in the table.
    """
    began = time.monotonic()
    # format 9.5: the marks before the index, or a pack that is marked in between would be relied on
    vault = pending_deletes.for_writing(vault)
    key = share.key(vault.config.vault_id)
    if share.items and (kept := run_records.kept_receipt(vault, key)) is not None:
        progress.add(share.expected_bytes, kept.files_read)
        run_records.keep_receipt(
            vault, kept
        )  # its new age keeps prune from the objects until this run is sealed
        return kept.model_copy(update={"run_id": share.run_id, "number": share.number, "is_reused": True})
    if not share.items:
        return Receipt(run_id=share.run_id, number=share.number, key=key, items=[])
    # three packs are in memory at once, as much again is in flight, and not all freed memory is reused
    with PackWriter(vault, min(PACK_BYTES, share.memory // 16)) as writer:
        with Chunker(writer, blob_index.load_digests(vault), vault.config.cutting) as chunker:
            exporter = _Exporter(source, vault, share, chunker, progress)
            for item in share.items:
                with logs.context(source=str(item.repo_name)):
                    exporter.export(item)
        writer.finish()
    items = exporter.receipts()
    receipt = Receipt(
        run_id=share.run_id,
        number=share.number,
        key=key,
        items=items,
        tables=objects(exporter.tables.written),
        index=objects(writer.indexes),
        packs=objects(writer.packs),
        files_read=exporter.files_read,
        files_known=exporter.files_known,
        bytes_read=exporter.bytes_read,
        bytes_new=writer.raw_bytes,
        blobs_new=writer.blobs,
        seconds=round(time.monotonic() - began, 3),
    )
    # a kept receipt with a problem would keep later runs from trying that commit again
    if not any(item.problem for item in items):
        run_records.keep_receipt(vault, receipt)
    return receipt


class _Exporter:
    """The items of one share, one after the other."""

    def __init__(
        self, source: Source, vault: Vault, share: ExportShare, chunker: Chunker, progress: Progress
    ) -> None:
        self._source, self._vault, self._chunker, self._progress = source, vault, chunker, progress
        self._throttle = _throttle(share.bandwidth)
        self.tables = TableWriter(vault)
        self._exported: list[tuple[ItemReceipt, RowBuilder]] = []
        self._whole: dict[tuple[RepoName, str], tuple[Item, RowBuilder]] = {}
        """The commits that were exported as one item: later deltas may have them as their base."""
        self.files_read = self.files_known = self.bytes_read = 0

    def receipts(self) -> list[ItemReceipt]:
        """The receipts of the items. Writes the rest of their rows."""
        self.tables.close()
        return [receipt.model_copy(update={"tables": rows.tables}) for receipt, rows in self._exported]

    def export(self, item: Item) -> None:
        """Export an item. Where that fails its receipt has the reason."""
        rows = self.tables.rows(item)
        receipt = ItemReceipt(project=item.project, repo=item.repo, commit=item.commit, lower=item.lower)
        try:
            size = self._delta(item, rows) if item.base_source else self._full(item, rows)
        except PachydermError as error:
            if isinstance(error, TransientError):
                self._source.projects()  # raises if the server is unreachable, not just this item
            commit = CommitRef(item.project, item.repo, item.commit)
            kind, problem = missing_commits.why(self._source, commit, item.repo_created_at, error)
            failed = receipt.model_copy(update={"problem": problem, "problem_kind": kind})
            # an empty builder: rows that are in a table already are not named, and nothing reaches them
            self._exported.append((failed, RowBuilder(item.repo_name, item.commit)))
            return
        self.tables.add(rows)
        if item.is_whole:
            self._whole[item.repo_name, item.commit] = (item, rows)
        self._exported.append((receipt.model_copy(update={"rows": rows.count, "bytes": size}), rows))

    def _full(self, item: Item, rows: RowBuilder) -> int:
        # without Pachyderm's hashes: a tar stream has none, and WalkFile takes seconds for 100,000 files
        for files in self._stored(self._source.read_runs(item.source.ref, item.lower, item.upper)):
            rows.files(*files)
        if item.is_whole and rows.bytes != item.commit_bytes:
            raise PachydermError(f"{rows.bytes} bytes arrived where the commit has {item.commit_bytes}")
        return rows.bytes

    def _delta(self, item: Item, rows: RowBuilder) -> int:
        assert item.base_source is not None  # noqa: S101  (for the type checker)
        try:
            differences = self._source.diff(item.source.ref, item.base_source.ref)
        except SourceGoneError:
            layers = base_lookup.sealed_layers(self._vault, item.repo_name, item.base_chain)
            if not layers:
                raise
            return self._on_sealed(item, rows, table.fold(layers))
        changes = [change for change in differences if _inside(item, change.path)]
        contents = base_lookup.known_contents(partial(self._base_layers, item), changes)
        unread = self._write_known(changes, contents, rows)
        hashes = {change.path: change.new_hash for change in unread.values()}
        for files in self._stored(changed_files(self._source, item, changes, unread)):
            rows.files(*files, [hashes[path] for path in files.paths])
        # the net change: the seal adds it to the size of the base and compares the sum with the commit
        return rows.bytes - sum(change.old_size for change in changes if change.old_size > 0)

    def _on_sealed(self, item: Item, rows: RowBuilder, base: pa.Table) -> int:
        """A delta whose base the cluster no longer has: the whole tree, compared with the vault's base."""
        sizes = zip(base["path"].to_pylist(), base["size"].to_pylist(), strict=True)
        replaced: dict[str, int] = {path: size for path, size in sizes if _inside(item, path)}
        # what the tree does not have any more; only a complete read can tell
        gone = set(replaced)
        for files in self._stored(self._source.read(item.source.ref, item.lower, item.upper)):
            rows.files(*files)
            gone.difference_update(files.paths)
        for path in sorted(gone):
            rows.deleted(path)
        return rows.bytes - sum(replaced.values())

    def _base_layers(self, item: Item) -> list[pa.Table]:
        """The rows of the base's chain: those of sealed commits, then those of commits of this share."""
        own: list[tuple[Item, RowBuilder]] = []
        while item.base is not None and (item.repo_name, item.base) in self._whole:
            own.append(self._whole[item.repo_name, item.base])
            item = own[-1][0]
        layers = base_lookup.sealed_layers(self._vault, item.repo_name, item.base_chain)
        for item, rows in reversed(own):
            if rows.tables:
                link = Link(commit=item.commit, tables=rows.tables)
                written = base_lookup.sealed_layers(self._vault, item.repo_name, [link])
                if not written:
                    return []  # without one of these an older row of a path would be taken for its newest
                layers += written
            layers.append(rows.table())
        return layers

    def _write_known(
        self, changes: Sequence[Change], contents: dict[bytes, KnownContent], rows: RowBuilder
    ) -> dict[str, Change]:
        """Write the rows of files whose content is known. Returns the other changes, by path."""
        unread = {}
        for change in changes:
            if change.new_size < 0:
                rows.deleted(change.path)
            elif change.new_size == 0:
                rows.file(change.path, 0, digest(b""), None, change.new_hash)
            elif (content := contents.get(change.new_hash)) and self._is_stored(content):
                rows.file(change.path, change.new_size, content.digest, content.blobs, change.new_hash)
                self.files_known += 1
                self._progress.add(change.new_size, 1)
            else:
                unread[change.path] = change
        return unread

    def _is_stored(self, content: KnownContent) -> bool:
        """Whether the vault has the content, or this share has just stored it."""
        return all(self._chunker.has(blob) for blob in content.blobs or [content.digest])

    def _stored(self, pieces: Iterable[FilePiece | FileRun]) -> Iterator[StoredFiles]:
        """The files that these pieces are of, once their content is stored."""
        return self._chunker.store(self._counted(pieces))

    def _counted(self, pieces: Iterable[FilePiece | FileRun]) -> Iterator[FilePiece | FileRun]:
        """The pieces, counted and slowed down to the share's bandwidth."""
        for piece in pieces:
            yield piece
            if isinstance(piece, FileRun):
                files, size = len(piece.paths), sum(map(len, piece.data))
            else:
                files, size = int(piece.is_last), len(piece.data)
            self.bytes_read += size
            self.files_read += files
            self._progress.add(size, files)
            self._throttle(size)


def objects(written: Sequence[StoredObject]) -> list[WrittenObject]:
    """What was written, as a receipt names it."""
    return [WrittenObject(digest=part.digest, size=part.size) for part in written]


def _inside(item: Item, path: str) -> bool:
    """Whether the item's range has the path."""
    return path >= item.lower and (not item.upper or path < item.upper)


def _throttle(bandwidth: int | None) -> Callable[[int], None]:
    """Called with each piece's size, waits so that no more than `bandwidth` bytes pass in a second."""
    if bandwidth is None:
        return lambda _: None
    began, passed = time.monotonic(), 0

    def wait(size: int) -> None:
        nonlocal passed
        passed += size
        ahead = passed / bandwidth - (time.monotonic() - began)
        if ahead > 0.01:
            time.sleep(ahead)

    return wait
