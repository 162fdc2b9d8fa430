"""Datums: enumerated from the inputs' globs, with the ids and hashes that decide which are skipped."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from embedded_pachyderm.pps.jobs import captures, inputs

_SETS_PER_WORKER = 4


@dataclass(frozen=True, slots=True)
class DatumInput:
    """One input of a datum: a file or directory of one commit, and the name it has below /pfs."""

    name: str
    branch: str
    info: Any
    #: The key that a join compares.
    join_on: str = ""

    @property
    def path(self) -> str:
        return str(self.info.file.path)

    @property
    def commit_id(self) -> str:
        return str(self.info.file.commit.id)


@dataclass(frozen=True, slots=True)
class Datum:
    """One unit of work: one file of every input."""

    inputs: tuple[DatumInput, ...]

    @property
    def id(self) -> str:
        """Of names and paths, not of content: the datum of a changed file keeps its id."""
        digest = hashlib.blake2b(digest_size=32)
        for item in self.inputs:
            for text in (item.name, item.info.file.commit.repo.name, item.branch, item.path):
                data = text.encode()
                digest.update(data + struct.pack(">q", len(data)))
        return digest.hexdigest()

    def hash(self, salt: str) -> str:
        """Of id, content and the pipeline's salt; a datum with an equal hash is skipped."""
        digest = hashlib.blake2b(self.id.encode(), digest_size=32)
        for item in self.inputs:
            digest.update(item.info.hash)
        digest.update(salt.encode())
        return digest.hexdigest()


#: Lists the files that a glob matches on the branch of an input.
Glob = Callable[[Any, str], Iterable[Any]]


def enumerate_datums(tree: Any, glob: Glob) -> list[Datum]:
    """All datums of an input tree, in the order of their ids. A cross with an empty member has none."""
    by_id = {datum.id: datum for datum in _expand(tree, glob)}
    return [by_id[datum_id] for datum_id in sorted(by_id)]


def _expand(node: Any, glob: Glob) -> list[Datum]:
    if node.cross:
        members = [_expand(child, glob) for child in node.cross]
        return [
            Datum(tuple(itertools.chain.from_iterable(datum.inputs for datum in combination)))
            for combination in itertools.product(*members)
        ]
    if node.join:
        return _join([_expand(child, glob) for child in node.join])
    return [Datum((item,)) for item in _leaf(node, glob)]


def _leaf(node: Any, glob: Glob) -> list[DatumInput]:
    branch = inputs.branch_of(node)
    if node.HasField("cron"):
        return [DatumInput(name=node.cron.name, branch=branch.name, info=info) for info in glob(branch, "/*")]
    pfs = node.pfs
    return [
        DatumInput(
            name=pfs.name,
            branch=branch.name,
            info=info,
            join_on=captures.replace(pfs.glob, info.file.path, pfs.join_on),
        )
        for info in glob(branch, pfs.glob)
    ]


def _join(members: list[list[Datum]]) -> list[Datum]:
    """Combinations of one file of every member, all with the same key."""
    by_key: dict[str, list[list[DatumInput]]] = {}
    for number, member in enumerate(members):
        for item in itertools.chain.from_iterable(datum.inputs for datum in member):
            by_key.setdefault(item.join_on, [[] for _ in members])[number].append(item)
    datums: list[Datum] = []
    for columns in by_key.values():
        datums.extend(Datum(combination) for combination in itertools.product(*columns))
    return datums


def datum_sets(datums: list[Datum], number: int, workers: int) -> list[list[Datum]]:
    """Groups of datums that one worker takes at a time: of `number` datums, else four groups a worker."""
    number = number or max(1, len(datums) // (workers * _SETS_PER_WORKER))
    return [datums[start : start + number] for start in range(0, len(datums), number)]
