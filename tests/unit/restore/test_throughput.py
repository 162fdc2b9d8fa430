"""The throughput that the estimate of a plan uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from made import Repo, back_up, new_vault
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Totals
from pachvault.restore.plan import throughput
from pachvault.restore.plan.throughput import measured
from pachvault.restore.restore_messages import RestorePlan
from pachvault.vault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    opened = new_vault(tmp_path)
    back_up(opened, repo)
    return opened


def restored(vault: Vault, size: int, seconds: float | None) -> dict[str, Any]:
    return {"vault": vault.config.vault_id, "bytes": size, "seconds": seconds}


def test_restores_of_this_vault_count_and_their_sums_are_divided(vault: Vault) -> None:
    others = [
        restored(vault, 10**9, 1.0) | {"vault": "another"},
        restored(vault, 10**9, None),
        restored(vault, 5, 0.001),
        {"vault": vault.config.vault_id},
    ]
    mine = [restored(vault, 3_000_000, 1.0), restored(vault, 1_000_000, 3.0)]
    throughput_now = measured([*mine, *others], vault)
    assert throughput_now == throughput.Throughput(1_000_000, "the last 2 restores of this vault")
    assert measured(mine[:1], vault) == throughput.Throughput(3_000_000, "the last restore of this vault")


def test_only_the_newest_count(vault: Vault) -> None:
    slow, fast = restored(vault, 1_000_000, 100.0), restored(vault, 1_000_000, 1.0)
    throughput_now = measured([slow, *([fast] * 10)], vault)
    assert throughput_now == throughput.Throughput(1_000_000, "the last 10 restores of this vault")


def test_before_any_restore_an_export_is_taken(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured([], vault) is None
    name = throughput.snapshots.names(vault)[-1]
    snapshot = throughput.snapshots.load(vault, name)
    for totals, expected in (
        (Totals(bytes_read=8_000_000, export_seconds=4.0), 2_000_000),
        (Totals(bytes_read=8_000_000, export_seconds=0.0), None),
        (Totals(bytes_read=999_999, export_seconds=1.0), None),
    ):
        manifest = snapshot.manifest.model_copy(update={"totals": totals})
        monkeypatch.setattr(
            throughput.snapshots, "load", lambda *_, manifest=manifest: type(snapshot)(vault, name, manifest)
        )
        throughput_now = measured([], vault)
        assert (throughput_now.bytes_per_second if throughput_now else None) == expected
        assert throughput_now is None or throughput_now.source.startswith(
            f"the export of snapshot {snapshot.short_id}"
        )


def test_expected_seconds_are_data_by_bandwidth() -> None:
    plan = RestorePlan(request_id="r", status="work", summary="", bytes=10, bytes_per_second=4.0)
    assert plan.expected_seconds == 2.5
    assert plan.model_copy(update={"bytes_per_second": None}).expected_seconds is None
