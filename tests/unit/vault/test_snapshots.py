"""Finding snapshots and reading their histories."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from made import Repo, back_up, new_vault, tree_of
from pachvault.errors import DamageError, UsageError
from pachvault.format import documents, layout
from pachvault.format.ids import RepoName, digest
from pachvault.policy import History
from pachvault.syntax.selection import SourcePattern
from pachvault.vault import snapshots
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.vault import Vault

NAME = RepoName("p", "r")


def story(vault: Vault) -> Repo:
    """Three snapshots of a growing repo."""
    repo = Repo(NAME)
    repo.commit({"/a": b"1"})
    back_up(vault, repo)
    repo.commit({"/a": b"1", "/b": b"2"})
    repo.commit({"/b": b"22"})
    back_up(vault, repo)
    repo.commit({"/b": b"22", "/c": b""}, branch="side", parent=next(iter(repo.commits)))
    back_up(vault, repo)
    return repo


def heads(history: RepoHistory, reference: str) -> list[str]:
    branches = history.branches(SourcePattern(NAME.project, NAME.repo, reference))
    return [branch.head for branch in branches if branch.head]


def test_snapshots_are_listed_oldest_first_and_latest_is_the_last(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    story(vault)
    names = snapshots.names(vault)
    assert [name.frozen_at for name in names] == sorted(name.frozen_at for name in names)
    assert snapshots.resolve(vault, "latest").name == names[-1]


def test_a_snapshot_is_found_by_id_and_by_prefix(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    story(vault)
    for name in snapshots.names(vault):
        assert snapshots.resolve(vault, name.id).name == name
        assert snapshots.resolve(vault, name.id[:8]).name == name
        assert snapshots.load(vault, name).short_id == name.id[:12]


def test_an_empty_vault_an_unknown_and_a_short_reference_are_bad_input(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    with pytest.raises(UsageError, match="no snapshot yet"):
        snapshots.resolve(vault, "latest")
    story(vault)
    first = snapshots.names(vault)[0].id
    for reference, message in (
        ("", "not a snapshot: ''"),
        (first[:3], f"'{first[:3]}' is too short"),
        ("zzzz", "not a snapshot: 'zzzz'"),
        (first + "0", "not a snapshot: "),
        ("ffff", "no snapshot 'ffff'"),
        ("2001-01-01 00:00", "no snapshot was frozen at or before 2001-01-01 00:00:00 UTC"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            snapshots.resolve(vault, reference)


def test_a_prefix_of_two_snapshots_is_ambiguous(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    folder = tmp_path / "vault" / layout.SNAPSHOTS
    folder.mkdir()
    for last in "ab":
        (folder / f"20260101T000000Z-{'c' * 63}{last}.json").write_text("{}")
    with pytest.raises(UsageError, match="is ambiguous: it matches 2 snapshots"):
        snapshots.resolve(vault, "cccc")


def test_other_files_in_the_folder_are_no_snapshots(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    story(vault)
    count = len(snapshots.names(vault))
    for name in ("README", "20260101T000000Z-abc.json", f"20260101T000000Z-{'a' * 64}.json.tmp"):
        (tmp_path / "vault" / layout.SNAPSHOTS / name).write_text("x")
    assert len(snapshots.names(vault)) == count


def test_an_edited_a_renamed_and_a_foreign_manifest_are_damage(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    story(vault)
    first = snapshots.names(vault)[0]
    path = tmp_path / "vault" / first.path
    data = path.read_bytes()

    path.write_bytes(data.replace(b'"partial": false', b'"partial": true '))
    with pytest.raises(DamageError, match="does not have the digest in its name"):
        snapshots.resolve(vault, first.id)
    path.write_bytes(data)

    later = path.with_name(path.name.replace("2026", "2036"))
    path.rename(later)
    with pytest.raises(DamageError, match="another time of freeze"):
        snapshots.resolve(vault, first.id)
    later.rename(path)

    later = path.with_name(path.name.replace("-00000001-", "-00000009-"))
    path.rename(later)
    with pytest.raises(DamageError, match="another sequence number"):
        snapshots.resolve(vault, first.id)
    later.rename(path)

    manifest = snapshots.resolve(vault, first.id).manifest.model_copy(update={"vault_id": "another"})
    foreign = documents.encode(manifest)
    (
        tmp_path / "vault" / layout.snapshot_path(manifest.frozen_at, manifest.sequence, digest(foreign))
    ).write_bytes(foreign)
    with pytest.raises(DamageError, match="another vault"):
        snapshots.resolve(vault, digest(foreign).hex())


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", None])
def test_newest_manifests_that_cannot_be_read_hide_no_older_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes | None
) -> None:
    vault = new_vault(tmp_path)
    story(vault)
    *_, before, last = snapshots.names(vault)
    path = tmp_path / "vault" / last.path
    if data is None:
        with path.open("wb") as file:
            file.truncate(8 * 2**30)
    else:
        path.write_bytes(data)
    assert snapshots.resolve(vault, "latest").name == before
    assert last.id[:12] in caplog.text
    with pytest.raises(DamageError):
        snapshots.resolve(vault, last.id)
    for name in snapshots.names(vault):
        (tmp_path / "vault" / name.path).write_bytes(b"")
    with pytest.raises(DamageError, match="does not have the digest in its name"):
        snapshots.resolve(vault, "latest")


def test_every_commit_folds_to_its_tree(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = story(vault)
    snapshot = snapshots.resolve(vault, "latest")
    for commit, tree in repo.trees.items():
        assert tree_of(snapshot, NAME, commit) == {
            path: (len(data), digest(data)) for path, data in sorted(tree.items())
        }
        assert snapshot.repo(NAME).size_of(commit) == sum(map(len, tree.values()))


def test_commits_and_branches_are_found_by_name_id_and_prefix(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = story(vault)
    history = snapshots.resolve(vault, "latest").repo(NAME)
    head = repo.branches["master"]
    assert heads(history, "master") == heads(history, head) == heads(history, head[:6]) == [head]
    assert heads(history, "*") == [head, repo.branches["side"]]
    assert history.branch("side").head == repo.branches["side"]
    assert heads(history, "none") == []
    with pytest.raises(UsageError, match="no branch 'none'"):
        history.branch("none")
    assert heads(history, head[:5]) == []
    assert set(repo.commits) == set(history.by_id)
    with pytest.raises(UsageError, match="has no repo p/other"):
        snapshots.resolve(vault, "latest").repo(RepoName("p", "other"))


def test_commits_that_only_serve_as_bases_are_not_found(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    old = repo.commit({"/a": b"1"})
    back_up(vault, repo)
    repo.commit({"/a": b"1", "/b": b"2"})
    snapshot = back_up(vault, repo, history=History(newest=1))
    history = snapshot.repo(NAME)
    assert old in history.by_id
    assert heads(history, old) == []
    (head,) = heads(history, "master")
    assert sorted(tree_of(snapshot, NAME, head)) == ["/a", "/b"]


def test_a_record_that_lacks_a_base_is_damage(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = story(vault)
    history = snapshots.resolve(vault, "latest").repo(NAME)
    last = history.commits.slice(2, 1)
    broken = RepoHistory(vault, history.record)
    broken.__dict__["commits"] = last
    with pytest.raises(DamageError, match="which the record lacks"):
        broken.chain(last["commit"][0].as_py())
    assert history.chain(repo.branches["master"]) == [0, 1, 2]
