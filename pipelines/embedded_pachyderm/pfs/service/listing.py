"""Listing: files with their directories between them, in path order, with sizes and hashes.

Directories are not stored: a directory is listed before the first file below it. Its hash is the hash of
its children's hashes in order, so it covers their content, not their names. Pages of listings and differences
between two listings are here, too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from blake3 import blake3

from embedded_pachyderm.pfs.content.layers import Entry
from embedded_pachyderm.pfs.metadata.names import clean_path, parent_directory
from embedded_pachyderm.pfs.pfs_errors import PfsError

ROOT = "/"
PAGE_LIMIT = 100_000


class Item(NamedTuple):
    """A file or directory of a listing; a directory has no parts."""

    path: str
    datum: str
    size: int
    digest: bytes
    parts: bytes


Match = Callable[[str], bool]


def below(entries: list[Entry], prefix: str) -> list[Entry]:
    """The entries whose paths begin so."""
    if not prefix:
        return entries
    start = bisect_left(entries, (prefix,))
    end = bisect_left(entries, (prefix + "\x7f",))  # paths are printable: nothing sorts behind it
    return entries[start:end]


def from_lower(entries: list[Entry], lower: str) -> list[Entry]:
    """The entries from a path on."""
    return entries[bisect_left(entries, (lower,)) :]


def items(entries: list[Entry], lower: str = "", upper: str = "", *, hashed: bool = True) -> Iterator[Item]:
    """The entries and the directories at or after `lower`, up to `upper`.

    A directory's size and hash cover what there is of it in `entries`. Without `hashed`, which
    saves a pass over all of them, directories come with neither.
    """
    directories = _directories(entries, lower) if hashed else {}
    parent = ""
    seen: set[str] = set()
    for entry in entries:
        if entry.path == ROOT:  # Pachyderm takes this name for a file, and then tells of a directory
            seen.add(ROOT)
            yield Item(ROOT, entry.datum, *directories.get(ROOT, (0, b"")), b"")
            continue
        own = parent_directory(entry.path)
        if own != parent:
            parent = own
            for directory in _new_parents(own, seen, lower):
                if upper and directory >= upper:
                    return
                seen.add(directory)
                size, digest = directories.get(directory, (0, b""))
                yield Item(directory, "", size, digest, b"")
        if upper and entry.path >= upper:
            return
        yield Item(*entry)


def _new_parents(directory: str, seen: set[str], lower: str) -> list[str]:
    """The directory and those above it that are not listed yet, the highest first."""
    parents = []
    while directory not in seen and directory >= lower:
        parents.append(directory)
        if directory == ROOT:
            break
        directory = parent_directory(directory)
    return parents[::-1]


def _directories(entries: list[Entry], lower: str) -> dict[str, tuple[int, bytes]]:
    """Size and hash of every directory at or after `lower`."""
    result: dict[str, tuple[int, bytes]] = {}
    stack: list[tuple[str, list[int], list[bytes]]] = []
    known: set[str] = set()

    def leave() -> None:
        path, sizes, digests = stack.pop()
        total = (sum(sizes), blake3(b"".join(digests)).digest())
        result[path] = total
        if stack:
            stack[-1][1].append(total[0])
            stack[-1][2].append(total[1])

    for entry in entries:
        path = entry.path
        if path == ROOT:
            known.add(ROOT)
            stack.append((ROOT, [], []))
            continue
        while stack and not path.startswith(stack[-1][0]):
            leave()
        own = parent_directory(path)
        if not stack or stack[-1][0] != own:
            for directory in _new_parents(own, known, lower):
                known.add(directory)
                stack.append((directory, [], []))
        if stack:
            stack[-1][1].append(entry.size)
            stack[-1][2].append(entry.digest)
    while stack:
        leave()
    return result


def matching(listed: Iterator[Item], match: Match) -> Iterator[Item]:
    """The items that match, and everything below a directory that does."""
    inside = ""
    for item in listed:
        if inside and item.path.startswith(inside):
            yield item
        elif match(item.path):
            if item.path.endswith("/"):
                inside = item.path
            yield item


def subtree(
    entries: list[Entry], path: str, datum: str = "", marker: Any | None = None, *, reverse: bool = False
) -> Iterator[Item]:
    """A path and what lies below it; with a marker, from it on or up to it."""
    lower, upper = path, ""
    if marker is None:
        entries = below(entries, path)
    elif reverse:
        lower, upper = "", marker.path
    else:
        lower = marker.path
        entries = from_lower(entries, lower)
    if datum:
        entries = [entry for entry in entries if entry.datum == datum]
    directory = path + "/"
    for item in items(entries, lower, upper):
        if not path or item.path == path or item.path.startswith(directory):
            yield item


def check_page(request: Any) -> None:
    if request.reverse and not request.number:
        raise PfsError("number must be > 0 when reverse is true")
    if request.number > PAGE_LIMIT:
        raise PfsError(f"cannot return more than {PAGE_LIMIT} files at a time")


def page(items: Iterator[Item], request: Any, marker: Any | None) -> Iterator[Item]:
    """So many items as were asked for, without the marker itself; in reverse the last come first."""
    if marker is not None:
        at = clean_path(marker.path)
        items = (item for item in items if clean_path(item.path) != at)
    if request.reverse:
        return iter(list(items)[: -request.number - 1 : -1])
    return islice(items, request.number) if request.number else items


def differences(
    new_items: Iterator[Item], old_items: Iterator[Item]
) -> Iterator[tuple[Item | None, Item | None]]:
    """Paths on one side only, and paths whose hashes differ, in path order."""
    new, old = next(new_items, None), next(old_items, None)
    while new is not None or old is not None:
        if old is None or (new is not None and new.path < old.path):
            yield new, None
            new = next(new_items, None)
        elif new is None or old.path < new.path:
            yield None, old
            old = next(old_items, None)
        else:
            if new.digest != old.digest:
                yield new, old
            new, old = next(new_items, None), next(old_items, None)
