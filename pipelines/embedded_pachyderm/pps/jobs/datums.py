"""What a job works on: datums, made from the inputs' globs, with the ids and hashes that decide skipping."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from embedded_pachyderm.pps.jobs import captures, inputs


@dataclass(frozen=True, slots=True)
class DatumInput:
    """One input of a datum: a file or directory of one commit, and the name it has below /pfs."""

    name: str
    branch: str
    empty_files: bool
    info: Any
    #: What it is joined on, and whether it makes a datum even when its partners are missing.
    join_on: str = ""
    outer_join: bool = False

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
        """Names and paths, not content: the datum of a changed file keeps its id."""
        digest = hashlib.blake2b(digest_size=32)
        for item in self.inputs:
            for text in (item.name, item.info.file.commit.repo.name, item.branch, item.path):
                data = text.encode()
                digest.update(data + struct.pack(">q", len(data)))
        return digest.hexdigest()

    def hash(self, salt: str) -> str:
        """Id, content and the pipeline's salt: equal hashes need no work."""
        digest = hashlib.blake2b(self.id.encode(), digest_size=32)
        for item in self.inputs:
            digest.update(item.info.hash)
        digest.update(salt.encode())
        return digest.hexdigest()


#: Lists what a glob finds on the branch of an input.
Glob = Callable[[Any, str], Iterable[Any]]


def enumerate_datums(tree: Any, glob: Glob) -> list[Datum]:
    """All datums of an input tree, in the order of their ids. A cross with an empty member has none."""
    found = {datum.id: datum for datum in _expand(tree, glob)}
    return [found[key] for key in sorted(found)]


def _expand(node: Any, glob: Glob) -> list[Datum]:
    if node.cross:
        members = [_expand(child, glob) for child in node.cross]
        return [
            Datum(tuple(itertools.chain.from_iterable(datum.inputs for datum in combination)))
            for combination in itertools.product(*members)
        ]
    if node.union:
        return [datum for child in node.union for datum in _expand(child, glob)]
    if node.join:
        return _join([_expand(child, glob) for child in node.join])
    return [Datum((item,)) for item in _leaf(node, glob)]


def _leaf(node: Any, glob: Glob) -> list[DatumInput]:
    branch = inputs.branch_of(node)
    if node.HasField("cron"):
        found = glob(branch, "/*")
        return [
            DatumInput(name=node.cron.name, branch=branch.name, empty_files=False, info=info)
            for info in found
        ]
    pfs = node.pfs
    return [
        DatumInput(
            name=pfs.name,
            branch=branch.name,
            empty_files=pfs.empty_files,
            info=info,
            join_on=captures.replace(pfs.glob, info.file.path, pfs.join_on),
            outer_join=pfs.outer_join,
        )
        for info in glob(branch, pfs.glob)
    ]


def _join(members: list[list[Datum]]) -> list[Datum]:
    """Combinations of what has the same key; without a partner only what is joined outerly stays."""
    by_key: dict[str, list[list[DatumInput]]] = {}
    for number, member in enumerate(members):
        for item in itertools.chain.from_iterable(datum.inputs for datum in member):
            by_key.setdefault(item.join_on, [[] for _ in members])[number].append(item)
    datums = []
    for columns in by_key.values():
        present = [column for column in columns if column]
        for combination in itertools.product(*present):
            complete = len(combination) == len(members)
            chosen = combination if complete else tuple(item for item in combination if item.outer_join)
            if chosen:
                datums.append(Datum(chosen))
    return datums


def cut_sets(datums: list[Datum], spec: Any | None, workers: int) -> list[list[Datum]]:
    """Groups of datums that one worker takes at a time, as `datum_set_spec` says."""
    if spec is not None and spec.size_bytes:
        return _by_size(datums, spec.size_bytes)
    number = spec.number if spec is not None else 0
    if not number:
        per_worker = (spec.per_worker if spec is not None else 0) or 4
        number = max(1, len(datums) // (workers * per_worker))
    return [datums[start : start + number] for start in range(0, len(datums), number)]


def _by_size(datums: list[Datum], target: int) -> list[list[Datum]]:
    sets: list[list[Datum]] = []
    size = target
    for datum in datums:
        if size >= target:
            sets.append([])
            size = 0
        sets[-1].append(datum)
        size += sum(item.info.size_bytes for item in datum.inputs)
    return sets
