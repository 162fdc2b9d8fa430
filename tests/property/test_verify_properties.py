"""Laws of verification: shares cover, damages do not hide each other, calendars come round."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made import Repo, back_up, flip, new_vault
from pachvault.format import layout
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import AuditEntry
from pachvault.maintenance.verify.audits import AuditResult
from pachvault.maintenance.verify.findings import Severity
from pachvault.maintenance.verify.verify import Level, PackShare, verify
from pachvault.maintenance.verify.verify_schedule import due, share_now
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault

NAME = RepoName("p", "r")
CONTENT = {f"/{number}": np.random.default_rng(number).bytes(2000) for number in range(16)}
NAMES = st.sets(st.integers(0, 2**32).map(lambda n: layout.pack_path(digest(str(n).encode()))), max_size=50)


@given(NAMES, st.integers(1, 400))
def test_the_shares_of_any_count_hold_every_pack_exactly_once(names: set[str], count: int) -> None:
    held = [name for number in range(1, count + 1) for name in names if PackShare(number, count).holds(name)]
    assert sorted(held) == sorted(names)


@given(NAMES, st.integers(1, 60), st.integers(1, 60), st.integers(0, 10**9))
def test_who_keeps_to_the_calendar_reads_every_pack_within_the_period(
    names: set[str], days: int, hours: int, start: int
) -> None:
    """Runs once every `between`, each reading what is due: nothing is ever older than the period."""
    period, between = timedelta(days=days), timedelta(hours=hours)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    known = {("packs", name): AuditResult(AuditEntry(name=name, result="ok"), now) for name in names}
    sizes = dict.fromkeys(names, 1)
    for _ in range(2 * (period // between) + 2):
        now += between
        for due_pack in due(known, sizes, now=now, period=period, between=between):
            known["packs", due_pack.name] = AuditResult(AuditEntry(name=due_pack.name, result="ok"), now)
        oldest = min((result.at for result in known.values() if result.at), default=now)
        assert now - oldest <= period


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 10**9))
def test_the_shares_follow_one_another_and_come_round_within_the_period(
    days: int, hours: int, start: int
) -> None:
    period, between = timedelta(days=days), timedelta(hours=hours)
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    first, second = share_now(at, period, between), share_now(at + between, period, between)
    assert second.number == first.number % first.count + 1
    assert first.count * between <= max(period, between)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault of one snapshot, with a pack for every few files."""
    folder = tmp_path_factory.mktemp("vault")
    vault = new_vault(folder)
    repo = Repo(NAME)
    tree: dict[str, bytes] = {}
    for path, content in CONTENT.items():
        tree[path] = content
        repo.commit(tree)
    back_up(vault, repo, pack_bytes=5000)
    return folder / "vault"


def damaged(path: Path, how: str, at: int) -> None:
    """Another content, or none."""
    size = path.stat().st_size
    if how == "flip":
        flip(path, at % size, at % 8)
    elif how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: at % size])
    else:
        path.write_bytes(bytes(size))


@settings(max_examples=40)
@given(st.data())
def test_any_damages_at_once_are_all_named_and_nothing_else_is(made: Path, data: st.DataObject) -> None:
    """Several packs, and one object above them: each is named, with the files of the packs it hits."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "vault"
        shutil.copytree(made, root)
        vault = open_vault(open_store(str(root)))
        packs = [info.name for info in vault.store.list(layout.PACKS)]
        above = [
            info.name
            for place in (layout.SNAPSHOTS, layout.RECORDS, layout.TABLES)
            for info in vault.store.list(place)
        ]
        chosen = data.draw(st.lists(st.sampled_from(packs), unique=True, max_size=4))
        upper = data.draw(st.none() | st.sampled_from(above))
        files = {
            name: {path for path, content in CONTENT.items() if content in (root / name).read_bytes()}
            for name in chosen
        }
        partly: set[str] = set()
        for name in [*chosen, *([upper] if upper else [])]:
            # a manifest that is gone is a snapshot that never was: nothing names it
            ways = ["flip", "cut", "zeros"] + ([] if name.startswith(layout.SNAPSHOTS) else ["gone"])
            how = data.draw(st.sampled_from(ways))
            damaged(root / name, how, data.draw(st.integers(0, 10**6)))
            if how == "flip" and name in files:
                partly |= files.pop(name)  # one of its frames, or all of it
        findings = verify(vault, Level.DATA, Quiet())
        assert {finding.object for finding in findings} == {*chosen, *([upper] if upper else [])}
        assert {finding.severity for finding in findings} <= {Severity.DAMAGE}
        if upper is None:
            named = [file.partition(":")[2] for finding in findings for file in finding.files]
            wholly = set().union(*files.values())
            assert wholly <= set(named) <= wholly | partly
            assert len(named) == len(set(named)) == sum(finding.files_count for finding in findings)
            assert all(finding.files_count for finding in findings)
