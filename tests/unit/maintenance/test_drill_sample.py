"""What a drill takes where nothing is as small as it would like."""

from __future__ import annotations

from pathlib import Path

from made import Repo, back_up, new_vault
from pachvault.format.ids import RepoName
from pachvault.maintenance.drill.drill import DrillOutcome
from pachvault.maintenance.drill.drill_sample import sample


def test_the_smallest_file_with_content_is_taken_however_large(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    one, two = Repo(RepoName("p", "one")), Repo(RepoName("p", "two"))
    one.commit({"/empty": b"", "/large": bytes(3000)})
    two.commit({"/larger": bytes(4000), "/large": bytes(2000)})
    two.commit({"/other": bytes(2500)}, branch="other")
    snapshot = back_up(vault, one, two)
    for seed in range(5):
        trials, unread = sample(snapshot, seed, 100)
        assert unread == []
        (smallest,) = [trial for trial in trials if trial.size_bytes]
        assert (smallest.repo, smallest.paths, smallest.size_bytes) == (two.name, ("/large",), 2000)
        assert smallest.files_count == 1


def test_where_there_is_no_content_nothing_is_taken_for_it(tmp_path: Path) -> None:
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/empty": b""})
    trials, unread = sample(back_up(new_vault(tmp_path), repo), 1, 100)
    assert [trial.paths for trial in trials] == [("/empty",)]
    assert unread == []


def test_what_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"content"})
    snapshot = back_up(vault, repo)
    for info in list(vault.store.list("tables")):
        vault.store.delete(info.name)
    trials, unread = sample(snapshot, 1, 100)
    assert trials == []
    assert [unread_file.name for unread_file in unread] == ["p/r"]


def test_a_drill_without_a_trial_is_not_good() -> None:
    assert not DrillOutcome("abc").is_good
