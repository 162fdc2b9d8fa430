"""Audits and the calendar: what was verified when, whom to believe, and what is due."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from made import Repo, back_up, new_vault
from pachvault.errors import DeniedError
from pachvault.format import documents, layout
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import Audit, AuditEntry
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.audits import Results, compact, good_at, has_failed, load
from pachvault.maintenance.verify.verify_schedule import DueReason, due, is_drill_due, verified_share
from pachvault.store.folder_store import FolderStore
from pachvault.vault.vault import Vault

# what the tests themselves store is stored before it, however long after collection they run
NOW = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=6)
DAY, PERIOD = timedelta(days=1), timedelta(days=30)
Ending = Literal["ok", "damaged", "unreadable"]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    opened = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    for number in range(6):
        repo.commit({f"/{number}": bytes([number]) * 100 * number + b"x"})
        back_up(opened, repo)
    return opened


def packs(vault: Vault) -> dict[str, int]:
    return {info.name: info.size for info in vault.store.list(layout.PACKS)}


def note(
    vault: Vault,
    said_at: datetime,
    *names: str,
    result: Ending = "ok",
    level: str = "packs",
    stored_at: datetime | None = None,
) -> str:
    """An audit of a time, stored at another if need be."""
    objects = [AuditEntry(name=name, result=result) for name in names]
    data = documents.encode(Audit(audited_at=said_at, level=level, objects=objects))
    name = layout.stamped_path(layout.AUDITS, said_at, digest(data))
    vault.store.put(name, [data], len(data))
    stamp = (stored_at or said_at).timestamp()
    os.utime(Path(vault.store.url.removeprefix("file://")) / name, (stamp, stamp))
    return name


def known(vault: Vault) -> Results:
    return audits.results(load(vault), NOW)


def standing(vault: Vault) -> dict[str, tuple[datetime | None, bool]]:
    """What the audits say of each pack."""
    results = known(vault)
    return {name: (good_at(results, "packs", name), has_failed(results, name)) for name in packs(vault)}


def reasons(vault: Vault, **options: int) -> dict[str, DueReason]:
    due_packs = due(known(vault), packs(vault), now=NOW, period=PERIOD, between=DAY, **options)
    return {due_pack.name: due_pack.reason for due_pack in due_packs}


def test_what_was_never_read_is_due(vault: Vault) -> None:
    assert reasons(vault) == dict.fromkeys(packs(vault), DueReason.NEVER)


def test_what_was_read_lately_is_due_only_when_its_turn_comes(vault: Vault) -> None:
    note(vault, NOW - 2 * DAY, *packs(vault))
    turns = [
        {
            due_pack.name
            for due_pack in due(known(vault), packs(vault), now=NOW + n * DAY, period=PERIOD, between=DAY)
            if due_pack.reason is DueReason.SHARE
        }
        for n in range(28)
    ]
    assert sum(map(len, turns)) == len(set().union(*turns))
    note(vault, NOW, *packs(vault))
    assert reasons(vault) == {}


def test_what_is_overdue_comes_oldest_first_after_what_failed(vault: Vault) -> None:
    one, two, three, *rest = packs(vault)
    note(vault, NOW - 40 * DAY, one)
    note(vault, NOW - 50 * DAY, two)
    note(vault, NOW, *rest)
    note(vault, NOW - DAY / 2, three, result="unreadable")
    assert reasons(vault) == {three: DueReason.FAILED, two: DueReason.OVERDUE, one: DueReason.OVERDUE}
    assert list(reasons(vault)) == [three, two, one]


def test_a_budget_bounds_a_run_but_never_to_nothing(vault: Vault) -> None:
    sizes = packs(vault)
    assert len(reasons(vault, budget_bytes=1)) == 1
    two = list(reasons(vault, budget_bytes=sum(sorted(sizes.values())[-2:])))
    assert 2 <= len(two) < len(sizes)
    assert sum(sizes[name] for name in two) <= sum(sorted(sizes.values())[-2:])


def test_a_failure_is_made_up_for_only_by_a_later_good_result_as_deep(vault: Vault) -> None:
    pack, *_ = packs(vault)
    note(vault, NOW - 3 * DAY, pack, level="data")
    note(vault, NOW - 2 * DAY, pack, result="damaged", level="data")
    assert has_failed(known(vault), pack)
    note(vault, NOW - DAY, pack, level="packs")  # checksums do not tell what digests told
    assert has_failed(known(vault), pack)
    assert good_at(known(vault), "packs", pack) is None
    note(vault, NOW - DAY / 2, pack, level="data")
    assert not has_failed(known(vault), pack)
    assert good_at(known(vault), "packs", pack) == NOW - DAY / 2


def test_a_deeper_level_counts_for_the_shallower_and_not_the_other_way(vault: Vault) -> None:
    one, two, *_ = packs(vault)
    note(vault, NOW - DAY, one, level="packs")
    note(vault, NOW - DAY, two, level="data")
    assert good_at(known(vault), "packs", two) == NOW - DAY
    assert good_at(known(vault), "data", one) is None
    note(vault, NOW - DAY, one, result="damaged", level="packs")
    note(vault, NOW, one, level="data")
    assert not has_failed(known(vault), one)


@pytest.mark.parametrize(
    ("written_at", "stored"),
    [(NOW + DAY, NOW + DAY), (NOW - DAY, NOW + DAY), (NOW + DAY, NOW - DAY)],
    ids=["both", "store", "writer"],
)
def test_a_good_result_from_the_future_is_not_believed_and_a_bad_one_is(
    vault: Vault, written_at: datetime, stored: datetime
) -> None:
    one, two, *_ = packs(vault)
    note(vault, written_at, one, stored_at=stored)
    assert good_at(known(vault), "packs", one) is None
    assert reasons(vault)[one] is DueReason.NEVER
    note(vault, NOW - DAY, two)
    note(vault, written_at, two, result="damaged", stored_at=stored)
    assert reasons(vault)[two] is DueReason.FAILED


def test_the_earlier_of_two_times_counts(vault: Vault) -> None:
    """A vault that was copied has young objects with old contents."""
    one, *_ = packs(vault)
    note(vault, NOW - 60 * DAY, one, stored_at=NOW)
    assert reasons(vault)[one] is DueReason.OVERDUE


def test_a_damaged_audit_is_advice_that_is_not_to_be_had(vault: Vault) -> None:
    name = note(vault, NOW, *packs(vault))
    (Path(vault.store.url.removeprefix("file://")) / name).write_bytes(b"{}")
    assert load(vault) == []


def test_how_much_was_verified_within_the_period(vault: Vault) -> None:
    one, two, three, *_ = sizes = packs(vault)
    note(vault, NOW - DAY, one, two)
    note(vault, NOW - 31 * DAY, three)
    note(vault, NOW, two, result="damaged")
    share = verified_share(vault, PERIOD, NOW)
    assert (share.packs, share.bytes) == (1, sizes[one])
    assert (share.packs_total, share.bytes_total) == (len(sizes), sum(sizes.values()))


def test_folding_changes_no_answer_and_leaves_one_audit_a_level(vault: Vault) -> None:
    one, two, three, four, *_ = packs(vault)
    note(vault, NOW - 90 * DAY, one, two, three, "packs/00/gone")
    note(vault, NOW - 80 * DAY, two, result="damaged")
    note(vault, NOW - 70 * DAY, three, four, level="data")
    note(vault, NOW - 60 * DAY, four, level="data")
    note(vault, NOW - DAY, three)
    before = standing(vault)
    order = list(reasons(vault))
    assert compact(vault, NOW, PERIOD) == 4
    dated = load(vault)
    assert len(dated) == 3  # one fold a level, and the young one
    assert standing(vault) == before
    assert list(reasons(vault)) == order
    assert "packs/00/gone" not in {entry.name for audit in dated for entry in audit.audit.objects}
    assert compact(vault, NOW, PERIOD) == 0
    assert [noted.name for noted in load(vault)] == [noted.name for noted in dated]


class Undeletable(FolderStore):
    def delete(self, name: str) -> None:
        raise DeniedError("no right to delete", where=self._where(name))


def test_where_nothing_can_be_deleted_folding_leaves_all_as_it_is_and_does_not_pile_up(vault: Vault) -> None:
    for days in (40, 50, 60):
        note(vault, NOW - days * DAY, *packs(vault))
    locked = Vault(Undeletable(Path(vault.store.url.removeprefix("file://"))), vault.config)
    for _ in range(3):
        assert compact(locked, NOW, PERIOD) == 0
    assert len(load(vault)) == 4
    assert compact(vault, NOW, PERIOD) == 3


def test_a_kill_between_the_fold_and_the_deletions_is_folded_on(vault: Vault) -> None:
    for days in (40, 50, 60):
        note(vault, NOW - days * DAY, *packs(vault))
    expected = standing(vault)
    root = Path(vault.store.url.removeprefix("file://"))

    class Dying(FolderStore):
        left = 1

        def delete(self, name: str) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            super().delete(name)

    with pytest.raises(KeyboardInterrupt):
        compact(Vault(Dying(root), vault.config), NOW, PERIOD)
    assert standing(vault) == expected
    compact(vault, NOW, PERIOD)
    assert len(load(vault)) == 1
    assert standing(vault) == expected


def test_a_drill_is_due_when_none_was_when_it_is_long_ago_and_when_it_failed(vault: Vault) -> None:
    assert is_drill_due(known(vault), NOW, PERIOD)
    note(vault, NOW - 40 * DAY, "p/r@1", level="drill")
    assert is_drill_due(known(vault), NOW, PERIOD)
    note(vault, NOW - 10 * DAY, "p/r@2", level="drill")
    assert not is_drill_due(known(vault), NOW, PERIOD)
    note(vault, NOW - 5 * DAY, "p/r@3", level="drill", result="damaged")
    assert is_drill_due(known(vault), NOW, PERIOD)
    note(vault, NOW - 4 * DAY, "p/r@4", level="drill")
    assert not is_drill_due(known(vault), NOW, PERIOD)


@pytest.mark.parametrize("at", ["2026-01-01T00:00:00", "9999-12-31T23:59:59-23:59", 5e30, None])
def test_an_audit_with_a_time_that_is_none_says_nothing(vault: Vault, at: object) -> None:
    data = json.dumps({"type": "audit", "audited_at": at, "level": "packs", "objects": []}).encode()
    vault.store.put(layout.stamped_path(layout.AUDITS, datetime.now(UTC), digest(data)), [data], len(data))
    before = len(load(vault))
    audits.record(vault, "packs", [])
    assert len(load(vault)) == before + 1
    assert compact(vault, datetime.now(UTC), timedelta(days=1)) == 0
