"""Suggestions in errors: similar names, and the newest snapshot that has what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.syntax.selection import SourcePattern
from pachvault.vault import suggestions
from pachvault.vault.snapshots import Snapshot


@pytest.fixture
def made(tmp_path: Path) -> list[Snapshot]:
    """Three snapshots: p/data has a branch in the first two, p/logs is in the first two only."""
    vault = new_vault(tmp_path)
    data, logs = Repo(RepoName("p", "data")), Repo(RepoName("p", "logs"))
    logs.commit({"/l": b"l"})
    data.commit({"/2026/07/a.csv": b"1", "/2026/08/b.csv": b"2", "/readme": b"r"})
    data.commit({"/s": b"s"}, branch="side")
    first, second = back_up(vault, data, logs), back_up(vault, data, logs)
    del data.branches["side"]
    data.commit({"/2026/08/b.csv": b"2", "/readme": b"r"})
    return [first, second, back_up(vault, data)]


def named(snapshot: Snapshot) -> str:
    return f"snapshot {snapshot.short_id} of {snapshot.manifest.frozen_at:%Y-%m-%d %H:%M:%S} UTC"


def source(text: str, *paths: str, of: Snapshot) -> str:
    sources = [SourcePattern.parse(text)]
    return str(suggestions.no_path(of, sources, paths) if paths else suggestions.no_source(of, sources))


def test_a_repo_that_an_older_snapshot_has(made: list[Snapshot]) -> None:
    advice = f"{named(made[1])} is the newest that has it"
    assert source("p/logs", of=made[2]) == (
        f"nothing in snapshot {made[2].short_id} matches 'p/logs' ({advice})"
    )


def test_a_repo_whose_name_is_near(made: list[Snapshot]) -> None:
    assert source("p/dta", of=made[2]).endswith("(did you mean p/data?; no other snapshot has it)")
    assert source("P/Data@master", of=made[2]).endswith("(did you mean p/data?; no other snapshot has it)")


def test_a_branch_that_an_older_snapshot_has_and_the_branches_that_there_are(made: list[Snapshot]) -> None:
    suggestion = source("p/data@side", of=made[2])
    assert suggestion.endswith(f"(branches: master; {named(made[1])} is the newest that has it)")
    assert "did you mean p/data@master?" in source("p/data@mastre", of=made[2])


def test_a_path_that_an_older_snapshot_has(made: list[Snapshot]) -> None:
    suggestion = source("p/data@master", "/2026/07/**", of=made[2])
    assert f"{named(made[1])} is the newest that has it" in suggestion
    assert suggestion.startswith(
        f"no file of p/data@master in snapshot {made[2].short_id} matches '/2026/07/**' ("
    )


def test_a_path_whose_name_is_near(made: list[Snapshot]) -> None:
    assert "did you mean /2026?" in source("p/data@master", "/2025/08/b.csv", of=made[2])
    assert "did you mean /2026/08/b.csv?" in source("p/data@master", "/2026/08/a.csv", of=made[2])
    assert "did you mean" not in source("p/data@master", "/nothing/like/it", of=made[2])


def test_each_of_several_has_its_own_advice(made: list[Snapshot]) -> None:
    error = suggestions.no_source(made[2], [SourcePattern.parse("p/logs"), SourcePattern.parse("q/x")])
    assert "matches 'p/logs', 'q/x' (p/logs: " in str(error)
    assert str(error).endswith("; q/x: no other snapshot has it)")


def test_a_commit_that_another_snapshot_has(made: list[Snapshot]) -> None:
    commit = made[0].repo(RepoName("p", "logs")).record.branches[0].head
    assert f"{named(made[1])} is the newest" in source(f"p/logs@{commit}", of=made[2])


def test_how_far_was_looked_is_said(made: list[Snapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "_SNAPSHOTS", 1)
    assert source("p/logs", of=made[2]).endswith("(none of the 1 newest snapshots has it)")


def test_what_is_damaged_is_passed_over(made: list[Snapshot], tmp_path: Path) -> None:
    flip(tmp_path / "vault" / made[1].name.path, 30)
    assert f"{named(made[0])} is the newest" in source("p/logs", of=made[2])


def test_repos_and_commits_are_found_or_said_to_be_elsewhere(made: list[Snapshot]) -> None:
    history = suggestions.repo(made[2], RepoName("p", "data"))
    assert suggestions.commit(made[2], history, "master") == history.branch("master").head
    with pytest.raises(UsageError, match=r"matches 'p/logs' \(snapshot"):
        suggestions.repo(made[2], RepoName("p", "logs"))
    with pytest.raises(UsageError, match=r"matches 'p/data@side' \(branches: master; snapshot"):
        suggestions.commit(made[2], history, "side")
