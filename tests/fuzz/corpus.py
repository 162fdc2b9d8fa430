"""Seeds: for each target inputs that are valid, and inputs that once were not refused as they should be.

Larger ones lie in files below `corpus/TARGET/`, where the fuzzer's findings go, too.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pachvault.backup.run_records import Announcement
from pachvault.format import documents, index, pack, parquet, table
from pachvault.format.config import Config
from pachvault.format.ids import digest
from pachvault.format.maintenance_documents import Audit, AuditEntry, Mark, PendingDelete, Pin
from pachvault.format.manifest import Cluster, Manifest, RepoEntry, Totals
from pachvault.format.records import Branch, Pipeline, PipelinesRecord, RepoRecord, Segment

_FOLDER = Path(__file__).parent / "corpus"
_ROOT = Path(__file__).parents[2]
_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_NAME = digest(b"something")
_HEX = _NAME.hex()


def seeds(target: str) -> list[bytes]:
    """All seeds of a target."""
    saved = [file.read_bytes() for file in sorted((_FOLDER / target).glob("*")) if file.is_file()]
    return [*_MADE[target](), *saved]


def _names() -> list[bytes]:
    stamp = "20260102T030405Z"
    names = [
        "vault.json",
        f"packs/{_HEX[:2]}/{_HEX}",
        f"index/{_HEX}.parquet",
        f"tables/{_HEX[:2]}/{_HEX}.parquet",
        f"records/{_HEX[:2]}/{_HEX}.json",
        f"snapshots/{stamp}-{_HEX}.json",
        f"forgotten/{stamp}-{_HEX}.json",
        f"marks/{stamp}-{_HEX}.json",
        f"audits/{stamp}-{_HEX}.json",
        f"pins/{_HEX}.json",
        "runs/frozen-20260102T030405Z-0123abcd.json",
        f"runs/share-{_HEX}.json",
        "runs/clock-0123456789abcdef.json",
        # none of ours
        f"snapshots/20261399T000000Z-{_HEX}.json",
        f"snapshots/00000101T000000Z-{_HEX}.json",
        f"packs/00/{_HEX}",
        f"packs/{_HEX}",
        f"packs/{_HEX[:2]}/{_HEX}/x",
        f"packs/../packs/{_HEX[:2]}/{_HEX}",
        f"index/{_HEX.upper()}.parquet",
        f"index/{_HEX}.parquet\n",
        "index/Thumbs.db",
        "index/@eaDir/x.json",
        f"snapshots/٢0260102T030405Z-{_HEX}.json",
        "runs/frozen-.json",
        "lost+found",
        "",
    ]
    return [*(name.encode() for name in names), b"packs/\xff\xfe", b"snapshots/\0"]


def _arguments() -> list[bytes]:
    return [
        b"p/r@master:/a/*",
        b"p/r",
        b"3/30",
        b"file:///mnt/vault",
        b"//[",
        b"file:///a%00b",
        b"http://[::1",
        b"s3://x",
        b"a\0b",
        b"p/[!-]@*",
        b"\xff/\xff@\xff",
        b"9" * 5000,
        b"1/0",
        b"p/r@b\n",
    ]


def _pack() -> pack.Pack:
    builder = pack.PackBuilder()
    for blobs in ([b"one", b"two"], [b"z" * 4000]):
        names, sizes = [digest(blob) for blob in blobs], [len(blob) for blob in blobs]
        builder.add(pack.make_frame(b"".join(blobs), names, sizes, pack.new_compressor()))
    return builder.finish()


def _packs() -> list[bytes]:
    whole = b"".join(_pack().parts)
    toc = whole[8 : -pack.TRAILER_BYTES]
    absurd = pack.FRAME.itemsize
    claims = bytearray(bytes([1, 1]) + b"stored" + bytes(absurd) + bytes(pack.BLOB.itemsize))
    claims[8:24] = (8).to_bytes(8, "little") + (6).to_bytes(4, "little") + (2**32 - 1).to_bytes(4, "little")
    return [whole, bytes([2, 3]) + toc, bytes(claims), whole[:-1], b"", bytes([7, 31])]


def _frames() -> list[bytes]:
    large = pack.new_compressor().compress(bytes(100_000))
    raw = bytes([3, 0, 0, 0, pack.CODEC_RAW]) + b"abc"
    claims = (2**32 - 1).to_bytes(4, "little") + bytes([pack.CODEC_ZSTD])
    return [
        raw,
        (100_000).to_bytes(4, "little") + b"\1" + large,
        claims + large,
        claims + b"x",
        b"",
        b"\0\0\0\0\7",
    ]


def _index_objects() -> list[bytes]:
    rows = index.of_packs([_pack()])
    nulls = [
        rows.set_column(at, name, pa.nulls(len(rows), rows.schema.field(name).type))
        for at, name in enumerate(rows.column_names)
    ]
    negative = rows.set_column(2, "frame_offset", pa.array([-1] * len(rows)))
    return [
        index.encode(rows),
        b"PVSEAL",
        b"PAR1",
        b"",
        *(parquet.encode(odd_rows) for odd_rows in [*nulls, negative]),
    ]


def _file_tables() -> list[bytes]:
    row = {"repo": "p/r", "commit": "c", "path": "/a", "kind": 1, "size": 3, "digest": _NAME}
    odd = [
        {"kind": 77},
        {"kind": None},
        {"size": -1},
        {"digest": None},
        {"path": None},
        {"path": "/../x"},
        {"path": "/a\0"},
        {"path": "/" + "a/" * 1000},
        {"blobs": [_NAME, None]},
        {"blobs": [_NAME, _NAME]},
        {"size": 0, "digest": None},
        {"kind": 0, "size": 0, "digest": None},
        {"path": "", "size": 2**62},
    ]
    file_tables = [
        table.encode_files(pa.Table.from_pylist([row | odd_fields, row], schema=table.FILES))
        for odd_fields in [{}, *odd]
    ]
    no_text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    files = pa.Table.from_pylist([row], schema=table.FILES)
    return [*file_tables, table.encode_files(files.set_column(2, "path", no_text))]


def _commit_lists() -> list[bytes]:
    row = {
        "commit": "c",
        "listed": True,
        "origin": "user",
        "started": _AT,
        "description": "",
        "error": "",
        "size": 3,
        "depth": 0,
        "rows": 1,
        "tables": [_NAME],
    }
    rows = pa.Table.from_pylist([row], schema=table.COMMITS)
    late = rows.set_column(4, "started", pa.array([2**62], pa.int64()).cast(table.TIME))
    odd = [{"tables": None}, {"tables": [None]}, {"rows": -1}, {"commit": None}, {"listed": None}]
    commit_lists = [pa.Table.from_pylist([row | odd_fields], schema=table.COMMITS) for odd_fields in odd]
    return [table.encode_commits(commits) for commits in [rows, late, *commit_lists]]


def _vault_documents() -> list[bytes]:
    branch = Branch(name="master", head="c", trigger={"size": "1K", "all": True})
    record = RepoRecord(
        project="p", repo="r", created_at=_AT, branches=[branch], segments=[Segment(table=_NAME, commits=1)]
    )
    pipeline = Pipeline(project="p", name="x", version=1, stopped=False, spec_json="{}", details={"a": [1]})
    manifest = Manifest(
        vault_id="0" * 32,
        run_id="r",
        policy="default",
        cluster=Cluster(id="c", version="2.11.6"),
        freeze_began_at=_AT,
        frozen_at=_AT,
        sealed_at=_AT,
        partial=False,
        projects=[],
        pipelines=_NAME,
        totals=Totals(),
        repos=[RepoEntry(project="p", repo="r", record=_NAME, branches=1, commits=1, size_bytes=3)],
    )
    audit = Audit(audited_at=_AT, level="packs", objects=[AuditEntry(name="x", result="ok", audited_at=_AT)])
    written = [
        Config(vault_id="0" * 32, created_at=_AT),
        record,
        PipelinesRecord(pipelines=[pipeline]),
        manifest,
        audit,
        Mark(marked_at=_AT, objects=[PendingDelete(name="x", reason="y")]),
        Pin(snapshot=_HEX, pinned_at=_AT, reason="z"),
    ]
    whole = [documents.encode(document) for document in written]
    changes = [
        (b"2026-01-02T03:04:05Z", b"2026-01-02T03:04:05"),
        (b"2026-01-02T03:04:05Z", b"9999-12-31T23:59:59-23:59"),
        (b"2026-01-02T03:04:05Z", b"0001-01-01T00:00:00+23:59"),
        (b'"p"', b'"../p"'),
        (b'"p"', b'"p\\u0000"'),
        (_HEX.encode(), _HEX.upper().encode()),
        (_HEX.encode(), b" " + _HEX.encode()),
        (b": 1,", b": -1,"),
        (b": 1,", b": " + b"9" * 400 + b","),
        (b": 604800.0", b": NaN"),
        (b": 604800.0", b": 1e300"),
        (b"{", b"[" * 9999),
        (b'"z"', b'"\\ud800"'),
        (b": 524288", b": 0"),
    ]
    return [
        *whole,
        *(document.replace(*change) for document in whole for change in changes if change[0] in document),
        b"",
        b"\xff",
    ]


def _handed_on() -> list[bytes]:
    announcement = Announcement(run_id="r", policy="default", cluster_id="c", frozen_at=_AT).encode()
    bare = b'{"request_id": "r", "status": "refused", "summary": "s"}'
    return [
        announcement,
        announcement.replace(b"05Z", b"05"),
        bare,
        bare.replace(b"{", b'{"new": 1, '),
        b"[]",
        b"{}",
    ]


_ODD_YAML = [
    b"!!timestamp x",
    b"!!bool x",
    b'!!int ""',
    b"!!float ''",
    b"!!python/object:os.system x",
    b"&a [*a]",
    b"&a {b: *a}",
    b"[" * 5000,
    b"{a: " * 3000,
    b"2026-13-45",
    b"0001-01-01 00:00:00 +23:59",
    b"0x_",
    b"._",
    b"=",
    b"{<<: 5}",
    b"{[a]: b}",
    b"? {a: b}\n: c",
    b"1: 2",
    b"9" * 5000,
    b"1e999",
    b"\0",
    b"%TAG ! x",
    b"--- a\n--- b",
    b"{at: 9999-12-31 23:59:59 -23:59}",
    b"{last: 99999999999999999999999}",
    b"a: &x [l,l]\nb: &y [*x,*x,*x,*x,*x,*x,*x,*x]\nc: [*y,*y,*y,*y,*y,*y,*y,*y]",
    b"99999999999999999999999999d",
    b"9999999999999GiB",
    b"1e400GB",
    b"[{}]",
    b"[{a: 1, a: 2}]",
    b"~",
    b"{}",
    b"'@every 9999999999h'",
]


def _policies() -> list[bytes]:
    example = (_ROOT / "specs" / "policy.yaml").read_bytes()
    base = b"version: 1\ntarget: file:///x\nsources: ['*/*']\n"
    fields = (
        b"history",
        b"interval",
        b"limits",
        b"retention",
        b"maintenance",
        b"schedule",
        b"name",
        b"exclude",
    )
    odd = [base + field + b": " + value + b"\n" for value in _ODD_YAML for field in fields]
    return [example, base, *odd, *_ODD_YAML]


def _requests() -> list[bytes]:
    example = (_ROOT / "specs" / "request.yaml").read_bytes()
    base = b"version: 1\nwhat: ['p/r@master']\n"
    fields = (b"snapshot", b"history", b"to", b"paths", b"vault", b"exists")
    odd = [base + field + b": " + value + b"\n" for value in _ODD_YAML for field in fields]
    return [example, base, *odd, *_ODD_YAML, *(b"what: " + value for value in _ODD_YAML)]


def _tar_streams() -> list[bytes]:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as stream:
        for name, size in (("a", 3), ("b/" + "long" * 60, 700), ("ü", 0)):
            member = tarfile.TarInfo(name)
            member.size = size
            stream.addfile(member, io.BytesIO(bytes(size)))
    whole = sink.getvalue()
    header = bytearray(whole[:512])

    def record(body: bytes) -> bytes:
        block = bytearray(header)
        block[156:157], block[124:136] = b"x", b"%011o\0" % len(body)
        return b"\xff" + bytes(block) + body.ljust(512, b"\0") + whole

    records = [
        b"0 a=b\n",
        b"x a=b\n",
        b"10 size=-5\n",
        b"11 path=\xff\xff\n",
        b"99 a=b\n",
        b"17 size=99999999999999999999\n",
    ]
    negative = bytearray(header)
    negative[124:136] = b"-0000000001\0"
    large = bytearray(header)
    large[124:136] = b"\xff" * 12
    return [
        b"\xff" + whole,
        b"\1" + whole,
        *map(record, records),
        b"\xff" + bytes(negative),
        b"\xff" + bytes(large),
        b"",
    ]


_MADE: dict[str, Callable[[], list[bytes]]] = {
    "names": _names,
    "arguments": _arguments,
    "packs": _packs,
    "frames": _frames,
    "index_objects": _index_objects,
    "file_tables": _file_tables,
    "commit_lists": _commit_lists,
    "vault_documents": _vault_documents,
    "handed_on": _handed_on,
    "policies": _policies,
    "requests": _requests,
    "tar_streams": _tar_streams,
}
