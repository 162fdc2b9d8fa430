"""`pachvault probe` on every kind of target, and on places that do not keep their promises."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from e2e.cli import pachvault
from pachvault.errors import DeniedError, TakenError
from pachvault.store.folder_store import FolderStore
from pachvault.store.probe import Probe, Verdict, probe
from pachvault.store.store import Store
from targets.servers import Server


def failed(probed: Probe) -> list[str]:
    return [check.name for check in probed.checks if check.verdict is Verdict.FAILED]


@pytest.mark.targets
def test_every_target_is_suitable_and_nothing_is_left(url: str, store: Store) -> None:
    outcome = pachvault("--json", "probe", url, "--size", "4")
    assert outcome.code == 0, outcome.out
    result = outcome.only("probe")
    assert result["suitable"]
    assert {check["verdict"] for check in result["checks"]} == {"passed"}
    assert result["up_bytes_per_second"] > 0
    assert result["latency_seconds"] > 0
    assert list(store.list("")) == []


@pytest.mark.targets
def test_a_place_that_cannot_be_reached_is_a_line(remote: Server) -> None:
    wrong = remote.at("v").replace("://vaults", "://no-such-bucket")
    outcome = pachvault("--json", "probe", wrong)
    assert outcome.code == 1
    assert "no such folder, bucket or container" in outcome.only("probe")["error"]


class _Overwriting(FolderStore):
    """Creates over what exists, as an object store without conditional writes."""

    def put_new(self, name: str, data: bytes) -> None:
        self.delete(name)
        super().put_new(name, data)


class _Keeping(FolderStore):
    """Refuses to delete."""

    def delete(self, name: str) -> None:
        raise DeniedError("permission is missing", where=name)


class _CaseBlind(FolderStore):
    """Takes names for equal that differ in case."""

    def put(self, name: str, parts: Iterable[bytes], size: int) -> bool:
        if name.endswith("CASE"):
            raise TakenError("another object has this name already", where=name)
        return super().put(name, parts, size)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (_Overwriting, ["exclusive create", "several writers"]),
        (_CaseBlind, ["case of names"]),
        (_Keeping, []),
    ],
)
def test_a_place_that_breaks_a_promise_is_found_out(
    kind: type[FolderStore], names: list[str], tmp_path: Path
) -> None:
    probed = probe(kind(tmp_path), is_quick=True)
    assert set(names) <= set(failed(probed))
    assert bool(failed(probed)) == bool(names)
    if kind is _Keeping:
        limited = [check for check in probed.checks if check.verdict is Verdict.LIMITED]
        assert [check.name for check in limited] == ["delete"]
        assert "forget and prune do not" in limited[0].detail


def test_a_quick_probe_measures_nothing(tmp_path: Path) -> None:
    outcome = pachvault("probe", "--quick", str(tmp_path))
    assert outcome.code == 0
    assert f"{tmp_path.as_uri()}: suitable for a vault" in outcome.err
    assert list(tmp_path.iterdir()) == []
    assert "no such folder" in pachvault("probe", str(tmp_path / "absent")).err
