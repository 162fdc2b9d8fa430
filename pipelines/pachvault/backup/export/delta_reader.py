"""Reads the changed files of a delta: from the change of the commit itself if possible, else its tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pachvault.backup.backup_messages import Item
from pachvault.errors import SourceGoneError
from pachvault.pach import codec
from pachvault.pach.records import Change
from pachvault.pach.source import Source, after, file_set
from pachvault.pach.tar import FilePiece

_BRIDGE_BYTES = 256 * 1024
"""Known files between two unknown ones are read too, up to so many bytes: less than another call costs."""


def changed_files(
    source: Source, item: Item, changes: Sequence[Change], unread: dict[str, Change]
) -> Iterator[FilePiece]:
    """The pieces of the `unread` files, from where least has to be read. A file read completely leaves it.

    Raises SourceGoneError where a file did not come.
    """
    if source.has_change_sets:
        own = file_set(_own_change(source, item))
        for lower, upper in _spans(changes, unread):
            yield from _wanted(source.read(own, lower, upper), unread)
    if unread:
        whole = file_set(source.file_set_of(item.source.ref, codec.TOTAL))
        yield from _wanted(source.read_paths(whole, sorted(unread)), unread)
    if unread:
        some = ", ".join(sorted(unread)[:3])
        raise SourceGoneError(f"{len(unread)} changed files did not arrive: {some}")


def _own_change(source: Source, item: Item) -> str:
    """The file set of what the commit itself put; of its mirror, where the commit itself is gone."""
    try:
        return source.file_set_of((item.change or item.source).ref, codec.DIFF)
    except SourceGoneError:
        return source.file_set_of(item.source.ref, codec.DIFF)


def _wanted(pieces: Iterable[FilePiece], unread: dict[str, Change]) -> Iterator[FilePiece]:
    """The pieces of `unread` files that are complete here. A file leaves `unread` with its last piece."""
    for piece in pieces:
        change = unread.get(piece.path)
        # in the file set of a change an appended file has its appended bytes only: its size differs then
        if change is not None and change.new_size == piece.size:
            yield piece
            if piece.is_last:
                del unread[piece.path]


def _spans(changes: Sequence[Change], unread: dict[str, Change]) -> list[tuple[str, str]]:
    """Path ranges that cover the unread files, and little that is known."""
    spans: list[tuple[str, str]] = []
    lower = last = ""
    known_bytes = 0
    for change in changes:
        if change.path not in unread:
            known_bytes += max(change.new_size, 0)
            continue
        if lower and known_bytes > _BRIDGE_BYTES:
            spans.append((lower, after(last)))
            lower = ""
        lower, last, known_bytes = lower or change.path, change.path, 0
    return [*spans, (lower, after(last))] if lower else spans
