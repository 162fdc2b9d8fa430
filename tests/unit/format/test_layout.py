"""Names of objects, and the digests that they promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pachvault.backup.backup import new_run_id
from pachvault.format import layout
from pachvault.format.ids import digest
from pachvault.format.layout import Kind

NAME = digest(b"something")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "path",
    [
        layout.pack_path(NAME),
        layout.table_path(NAME),
        layout.record_path(NAME),
        layout.index_path(NAME),
        layout.snapshot_path(AT, 1, NAME),
    ],
)
def test_every_named_object_promises_its_digest(path: str) -> None:
    assert layout.named_digest(path) == NAME


@pytest.mark.parametrize(
    "path", [layout.CONFIG, "packs", "packs/aa/abc", "tables/zz/" + "z" * 64, "index/" + "a" * 63, ""]
)
def test_other_names_promise_none(path: str) -> None:
    assert layout.named_digest(path) is None


def test_snapshots_carry_the_time_in_utc() -> None:
    there = AT.astimezone(timezone(timedelta(hours=5)))
    assert layout.snapshot_path(there, 12, NAME) == f"snapshots/20260102T030405Z-00000012-{NAME.hex()}.json"
    assert layout.snapshot_path(there, 0, NAME) == f"snapshots/20260102T030405Z-{NAME.hex()}.json"


def test_packs_tables_and_records_are_fanned_out() -> None:
    digits = NAME.hex()
    assert layout.pack_path(NAME) == f"packs/{digits[:2]}/{digits}"
    assert layout.table_path(NAME) == f"tables/{digits[:2]}/{digits}.parquet"
    assert layout.record_path(NAME) == f"records/{digits[:2]}/{digits}.json"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (layout.CONFIG, Kind.CONFIG),
        (layout.pack_path(NAME), Kind.PACK),
        (layout.index_path(NAME), Kind.INDEX),
        (layout.table_path(NAME), Kind.TABLE),
        (layout.record_path(NAME), Kind.RECORD),
        (layout.snapshot_path(AT, 1, NAME), Kind.SNAPSHOT),
        (layout.pin_path(NAME.hex()), Kind.PIN),
        (layout.forgotten_path(layout.snapshot_path(AT, 1, NAME)), Kind.FORGOTTEN),
        (layout.stamped_path(layout.MARKS, AT, NAME), Kind.MARK),
        (layout.stamped_path(layout.AUDITS, AT, NAME), Kind.AUDIT),
        (layout.announcement_path("20260102T030405Z-0123abcd"), Kind.ANNOUNCEMENT),
        (layout.announcement_path("a" * 32), Kind.ANNOUNCEMENT),
        (layout.receipt_path(NAME.hex()), Kind.RECEIPT),
        (layout.clock_path("0" * 16), Kind.CLOCK),
    ],
)
def test_every_name_that_is_written_is_ours_and_no_name_beside_it(path: str, kind: Kind) -> None:
    name = layout.parse(path)
    assert name is not None
    assert name.kind is kind
    for other in (
        f"{path} ",
        f"{path}\n",
        f"/{path}",
        f"./{path}",
        f"x/{path}",
        f"{path}/x",
        path.upper(),
        f"{path}.part",
    ):
        assert layout.parse(other) is None


@pytest.mark.parametrize(
    "at", ["20261399T000000", "20260230T000000", "20260101T250000", "00000101T000000", "00800101T000000"]
)
def test_a_time_that_no_calendar_has_is_no_name(at: str) -> None:
    assert layout.parse(f"snapshots/{at}Z-{NAME.hex()}.json") is None
    assert layout.named_digest(f"snapshots/{at}Z-{NAME.hex()}.json") is None


def test_an_object_lies_in_its_place() -> None:
    digits = NAME.hex()
    for path in (
        f"packs/{digits}",
        f"packs/00/{digits}",
        f"index/{digits[:2]}/{digits}.parquet",
        f"marks/{digits}.json",
    ):
        assert layout.parse(path) is None


def test_a_run_from_a_shell_has_a_name_of_ours() -> None:
    assert layout.parse(layout.announcement_path(new_run_id())) is not None
