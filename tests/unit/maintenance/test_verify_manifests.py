"""Manifests that are gone: a loss is told from what forget, erase and prune do, by what audits listed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from erasable import Kept
from made import Repo, age_all, back_up, new_vault
from pachvault.errors import CorruptError, FullError
from pachvault.format import documents, layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import Audit
from pachvault.maintenance.forget import forget
from pachvault.maintenance.prune import emergency_prune, prune
from pachvault.maintenance.prune.prune_plan import PruneLimits
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.findings import Finding, Severity
from pachvault.maintenance.verify.verify import Level, PackShare, examine
from pachvault.runtime.progress import Quiet
from pachvault.store.folder_store import FolderStore
from pachvault.vault import snapshots
from pachvault.vault.snapshots import SnapshotName
from pachvault.vault.vault import Vault

DAY = timedelta(days=1)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Five snapshots, listed by an audit."""
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    for number in range(5):
        repo.commit({f"/{number}": bytes([number]) * 100})
        back_up(vault, repo)
    return vault


def verified(vault: Vault) -> list[Finding]:
    """The findings of a verification that leaves its audit, as the command does."""
    result = examine(vault, Level.STRUCTURE, Quiet())
    audits.record(vault, Level.STRUCTURE, result.audited, result.manifests)
    return result.findings


def missing(vault: Vault) -> list[Severity]:
    """What a verification makes of each manifest that it misses."""
    return [finding.severity for finding in verified(vault) if finding.kind == "manifest-missing"]


def lose(vault: Vault, number: int) -> SnapshotName:
    name = snapshots.names(vault)[number]
    vault.delete(name.path)
    return name


def forget_one(vault: Vault, number: int) -> SnapshotName:
    (name,) = forget.execute(vault, forget.plan_named(vault, [snapshots.names(vault)[number].id]))
    return name


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_deleted_manifest_is_damage_until_it_is_put_back(vault: Vault, number: int) -> None:
    assert verified(vault) == []
    name = snapshots.names(vault)[number]
    data = vault.read(name.path)
    lose(vault, number)
    for _ in range(2):  # the verification that found it first does not hide it from the next
        (finding,) = verified(vault)
        assert (finding.kind, finding.severity) == ("manifest-missing", Severity.DAMAGE)
        assert finding.object == name.path
        assert finding.snapshots == (name.id[:12],)
        assert "put the manifest back" in finding.advice
    result = examine(vault, Level.STRUCTURE, Quiet())
    assert (result.manifests, result.audited[0].result) == (None, "damaged")
    vault.store.put(name.path, [data], len(data))
    assert verified(vault) == []


def test_prune_deletes_nothing_while_a_manifest_is_missing(vault: Vault) -> None:
    assert verified(vault) == []
    lost = lose(vault, 2)
    before = {info.name for info in vault.store.list("")}
    for _ in range(2):
        with pytest.raises(CorruptError, match="nothing is deleted") as caught:
            prune.run(vault, PruneLimits(), Quiet())
        assert lost.path in caught.value.where
    age_all(vault, DAY)
    with pytest.raises(CorruptError, match="nothing is deleted") as caught:
        emergency_prune.execute(vault, PruneLimits(), Quiet())
    assert before <= {info.name for info in vault.store.list("")}
    (listing,) = [info.name for info in vault.objects(layout.AUDITS)]
    assert listing in caught.value.hint
    vault.delete(listing)  # as the advice says, where it is gone for good
    prune.run(vault, PruneLimits(), Quiet())


def test_a_number_that_is_missing_after_the_list_is_damage(vault: Vault) -> None:
    assert verified(vault) == []
    repo = Repo(RepoName("p", "later"))
    for _ in range(4):
        repo.commit({"/x": b"x"})
        back_up(vault, repo)
    lose(vault, 6)
    lose(vault, 6)
    (finding,) = verified(vault)
    assert (finding.kind, finding.severity) == ("manifest-missing", Severity.DAMAGE)
    assert "numbers 7 to 8" in finding.message


def test_nothing_is_said_where_no_audit_lists_manifests(vault: Vault) -> None:
    audits.record(vault, Level.STRUCTURE, [])
    lose(vault, 2)
    assert verified(vault) == []


def test_what_a_list_names_that_is_older_than_the_grace_period_is_a_note(vault: Vault) -> None:
    listed = examine(vault, Level.STRUCTURE, Quiet()).manifests
    audits.record(vault, Level.STRUCTURE, [], listed, at=datetime.now(UTC) - 8 * DAY)
    name = lose(vault, 1)
    lose(vault, 1)
    (finding,) = verified(vault)
    assert (finding.kind, finding.severity) == ("manifest-missing", Severity.NOTE)
    assert finding.object == name.path
    assert "and 1 more" in finding.message
    assert "if it was forgotten" in finding.advice
    assert verified(vault) == [], "it is said once: the new list does not have them"


@pytest.mark.parametrize("ahead", ["writer", "store"])
def test_a_list_from_the_future_does_not_count(vault: Vault, ahead: str) -> None:
    listed = examine(vault, Level.STRUCTURE, Quiet()).manifests
    at = datetime.now(UTC) + 2 * DAY if ahead == "writer" else None
    audits.record(vault, Level.STRUCTURE, [], listed, at=at)
    if ahead == "store":
        age_all(vault, -2 * DAY)
    lose(vault, 1)
    assert verified(vault) == []


def test_forgetting_and_bringing_back_is_no_loss(vault: Vault) -> None:
    assert verified(vault) == []
    first, second = forget_one(vault, 1), forget_one(vault, 1)
    assert verified(vault) == []
    forget.bring_back(vault, first.id)
    assert verified(vault) == []
    # what was already forgotten when it was listed may go: its grace period began before the list
    vault.delete(layout.forgotten_path(second.path))
    assert verified(vault) == []


def test_forgetting_and_pruning_after_the_grace_period_is_no_loss(vault: Vault) -> None:
    assert verified(vault) == []
    forget_one(vault, 4)
    age_all(vault, 6 * DAY)
    assert verified(vault) == []
    age_all(vault, 2 * DAY)
    prune.run(vault, PruneLimits(), Quiet())
    assert not list(vault.objects(layout.FORGOTTEN))
    assert Severity.DAMAGE not in missing(vault)


def test_erasing_is_no_loss_in_either_folder(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert verified(kept.vault) == []
    forget_one(kept.vault, 1)
    before = {name.path for name in snapshots.names(kept.vault)}
    kept.erase()
    assert before.isdisjoint(name.path for name in snapshots.names(kept.vault))
    assert missing(kept.vault) == []


def test_an_emergency_prune_leaves_a_list_so_that_what_it_deletes_is_no_loss(vault: Vault) -> None:
    assert verified(vault) == []
    gone = forget_one(vault, 2), forget_one(vault, 3)
    age_all(vault, DAY)
    emergency_prune.execute(vault, PruneLimits(), Quiet())
    assert not list(vault.objects(layout.FORGOTTEN))
    assert missing(vault) == []
    (listing,) = [stored for stored in audits.load(vault) if stored.audit.level == audits.PRUNE]
    assert {layout.forgotten_path(name.path) for name in gone} <= set(listing.audit.snapshots or ())
    lose(vault, 0)
    assert missing(vault) == [Severity.DAMAGE]


class WithoutRoom(FolderStore):
    """A target that takes no audit until something was deleted from the packs."""

    def put(self, name: str, parts: Iterator[bytes], size: int) -> bool:  # type: ignore[override]
        if name.startswith(layout.AUDITS) and not self.has_room:
            raise FullError("no space left", where=self.url)
        return super().put(name, parts, size)

    has_room = False

    def delete(self, name: str) -> None:
        self.has_room |= name.startswith(layout.PACKS)
        super().delete(name)


def test_where_there_is_no_room_before_an_emergency_prune_the_list_is_written_after_it(vault: Vault) -> None:
    assert verified(vault) == []
    forget_one(vault, 4)
    age_all(vault, DAY)
    full = Vault(WithoutRoom(Path(vault.store.url.removeprefix("file://"))), vault.config)
    emergency_prune.execute(full, PruneLimits(), Quiet())
    assert missing(vault) == []


def test_merging_audits_keeps_the_newest_list(vault: Vault) -> None:
    listed = examine(vault, Level.STRUCTURE, Quiet()).manifests
    for days in (60, 50, 40):
        audits.record(vault, Level.STRUCTURE, [], listed, at=datetime.now(UTC) - days * DAY)
    now = datetime.now(UTC)
    assert audits.compact(vault, now, 30 * DAY) == 2
    (stored,) = audits.load(vault)
    assert stored.audit.snapshots == sorted(listed or ())
    assert stored.audit.audited_at < now - 39 * DAY
    assert audits.compact(vault, now, 30 * DAY) == 0


def test_only_a_verification_of_the_whole_vault_lists_manifests(vault: Vault) -> None:
    name = snapshots.names(vault)[0]
    assert examine(vault, Level.STRUCTURE, Quiet(), snapshot=name).manifests is None
    share = examine(vault, Level.PACKS, Quiet(), share=PackShare(1, 3))
    assert share.manifests == [snapshot_name.path for snapshot_name in snapshots.names(vault)]


def test_a_manifest_under_a_wrong_name_is_one_finding(vault: Vault) -> None:
    assert verified(vault) == []
    file = Path(vault.store.url.removeprefix("file://")) / snapshots.names(vault)[2].path
    file.rename(file.with_name("lost.json"))
    assert [finding.kind for finding in verified(vault)] == ["manifest-misnamed"]


def test_an_audit_without_the_field_is_read(vault: Vault) -> None:
    data = b'{"type": "audit", "audited_at": "2026-01-01T00:00:00Z", "level": "packs", "objects": []}'
    assert documents.decode(Audit, data).snapshots is None
    assert vault.config.grace == 7 * DAY
