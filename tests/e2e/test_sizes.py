"""Files around every border of the cutter, and content that is stored once."""

from __future__ import annotations

import random

import pytest

from e2e.backup import Backup
from pachvault.vault.snapshots import Snapshot

KIB, MIB = 1024, 1024 * 1024


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def stored(snapshot: Snapshot) -> tuple[int, int]:
    """New blobs, and their bytes."""
    return snapshot.manifest.totals.blobs_new, snapshot.manifest.totals.bytes_new


def test_files_at_the_borders_of_a_blob(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    borders = [1, 511, 512, 513, 512 * KIB, MIB, 4 * MIB]
    sizes = {size + step for size in borders for step in (-1, 0, 1)}
    project.commit(repo, {f"/{size}": noise(size, size) for size in sizes} | {"/zeros": bytes(9 * MIB)})
    backup.run()
    backup.assert_restorable()
    project.commit(repo, append={f"/{size}": b"+" for size in sizes})
    backup.run()
    backup.assert_restorable()


def test_files_of_about_a_message_of_pachyderm(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {f"/{step}": noise(20 * MIB + step, step + 2) for step in (-1, 0, 1)})
    backup.run()
    backup.assert_restorable()


def test_an_insertion_in_a_large_file_stores_about_one_blob_again(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    data = noise(30 * MIB)
    project.commit(repo, {"/large": data})
    backup.run()
    middle = len(data) // 2
    project.commit(repo, {"/large": data[:middle] + b"inserted" + data[middle:]})
    snapshot = backup.run()
    blobs, size = stored(snapshot)
    assert blobs <= 3
    assert size <= 8 * MIB
    backup.assert_restorable(snapshot)


def test_an_append_to_a_large_file_stores_only_its_end_again(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/large": noise(12 * MIB)})
    backup.run()
    project.commit(repo, append={"/large": noise(MIB, 9)})
    snapshot = backup.run()
    assert stored(snapshot)[1] <= 6 * MIB
    backup.assert_restorable(snapshot)


def test_equal_content_in_other_repos_and_branches_is_stored_once(backup: Backup) -> None:
    project = backup.project
    for repo in ("one", "two"):
        project.repo(repo)
    content = {f"/{number}": noise(1000, number) for number in range(20)} | {"/large": noise(3 * MIB)}
    head = project.commit("one", content)
    project.commit("one", {f"/copy{path}": data for path, data in content.items()}, branch="b", parent=head)
    project.commit("two", {f"/other{path}": data for path, data in content.items()})
    snapshot = backup.run()
    assert stored(snapshot)[1] == 20 * 1000 + 3 * MIB
    backup.assert_restorable()


def test_a_later_run_stores_nothing_for_content_the_vault_has(backup: Backup) -> None:
    project = backup.project
    project.repo("one")
    content = {f"/{number}": noise(5000, number) for number in range(10)}
    project.commit("one", content)
    backup.run()
    project.repo("two")
    project.commit("two", {f"/again{path}": data for path, data in content.items()})
    packs = backup.vault.files("packs", "index")
    snapshot = backup.run()
    assert stored(snapshot) == (0, 0)
    assert backup.vault.files("packs", "index") == packs
    backup.assert_restorable()


def test_a_rename_is_known_without_being_read(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    project.commit(repo, {"/before": noise(2 * MIB), "/other": b"x"})
    backup.run()
    project.commit(repo, {"/after": noise(2 * MIB)}, delete=["/before"])
    snapshot = backup.run()
    assert snapshot.manifest.totals.files_known == 1
    assert snapshot.manifest.totals.bytes_read == 0
    backup.assert_restorable()


@pytest.mark.slow
def test_twenty_thousand_small_files(backup: Backup) -> None:
    project = backup.project
    repo = project.repo("data")
    files = {f"/{number % 50:02}/{number:05}": f"content {number}".encode() for number in range(20_000)}
    project.commit(repo, files)
    backup.run()
    project.commit(repo, {"/00/00000": b"changed"}, delete=["/01/00001"])
    snapshot = backup.run()
    assert snapshot.manifest.totals.files_read == 1
    backup.assert_restorable()
