"""Names of objects, and the digests that they promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pachvault.format import layout
from pachvault.format.ids import digest

NAME = digest(b"something")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "path",
    [
        layout.pack_path(NAME),
        layout.table_path(NAME),
        layout.record_path(NAME),
        layout.index_path(NAME),
        layout.snapshot_path(AT, NAME),
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
    assert layout.snapshot_path(there, NAME) == f"snapshots/20260102T030405Z-{NAME.hex()}.json"


def test_packs_tables_and_records_are_fanned_out() -> None:
    digits = NAME.hex()
    assert layout.pack_path(NAME) == f"packs/{digits[:2]}/{digits}"
    assert layout.table_path(NAME) == f"tables/{digits[:2]}/{digits}.parquet"
    assert layout.record_path(NAME) == f"records/{digits[:2]}/{digits}.json"
