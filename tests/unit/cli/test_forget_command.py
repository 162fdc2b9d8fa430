"""`forget` and `snapshots pin`: what users see, and what they may not ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cli import Outcome, pachvault
from made import Repo, back_up, flip, new_vault
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.vault.snapshots import Snapshot


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACHVAULT_VAULT", "PACHD_ADDRESS", "PACH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def made(tmp_path: Path) -> list[Snapshot]:
    """Three snapshots."""
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1"})
    return [back_up(vault, repo) for _ in range(3)]


def run(made: list[Snapshot], *arguments: str) -> Outcome:
    return pachvault("--vault", made[0].vault.store.url, *arguments)


def listed(made: list[Snapshot], *more: str) -> list[str]:
    return [line_object["id"] for line_object in run(made, "snapshots", "--json", *more).kind("snapshot")]


def test_a_dry_run_shows_what_would_be_forgotten_and_why(made: list[Snapshot]) -> None:
    files = {info.name for info in made[0].vault.store.list("")}
    outcome = run(made, "forget", "--keep-last", "2", "--dry-run")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["ID", "FROZEN", "(UTC)", "STATE", "POLICY", "ACTION", "WHY"]
    assert lines[1].endswith("sealed  default  forget  no rule keeps it")
    assert lines[3].endswith("keep    newest good; last 1")
    assert outcome.err.splitlines() == ["rule for */*: keep_last 2", "1 of 3 snapshots would be forgotten"]
    assert {info.name for info in made[0].vault.store.list("")} == files


def test_what_is_forgotten_is_listed_apart_and_comes_back(made: list[Snapshot]) -> None:
    outcome = run(made, "forget", "--keep-last", "1")
    assert "\n2 of 3 snapshots forgotten; `forget --bring-back` until 20" in outcome.err
    assert listed(made) == [made[2].name.id]
    assert listed(made, "--forgotten") == [made[0].name.id, made[1].name.id]
    table = run(made, "snapshots", "--forgotten").out.splitlines()
    assert table[0].endswith("UNTIL (UTC)")
    assert len(table) == 3
    back = run(made, "forget", "--bring-back", made[0].short_id)
    assert f"snapshot {made[0].short_id} is back, and pinned" in back.err
    assert listed(made) == [made[0].name.id, made[2].name.id]
    again = run(made, "forget", "--keep-last", "1", "--json")
    decisions = again.kind("decision")
    assert [(decision["action"], decision["reasons"]) for decision in decisions] == [
        ("keep", ["pinned"]),
        ("keep", ["newest good", "last 1"]),
    ]
    assert again.only("forget_summary") == {
        "type": "forget_summary", "kept": 2, "to_forget": 0, "forgotten": 0, "dry_run": False,
        "damaged": 0, "until": None,
    }  # fmt: skip


def test_named_snapshots_are_forgotten(made: list[Snapshot]) -> None:
    assert run(made, "forget", made[0].short_id, "latest").code == 0
    assert listed(made) == [made[1].name.id]


def test_a_policy_file_says_what_is_kept_of_its_own_snapshots(made: list[Snapshot], tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    text = f"version: 1\ntarget: {made[0].vault.store.url}\nsources: ['*/*']\n"
    file.write_text(text)
    nothing = pachvault("forget", "--policy", str(file))
    assert "the policy has no retention: nothing is forgotten" in nothing.says(2)
    file.write_text(text + "name: other\nretention: {keep_last: 1}\n")
    assert pachvault("forget", "--policy", str(file)).out.count("of policy default") == 3
    file.write_text(text + "retention: {keep_last: 1}\n")
    assert pachvault("forget", "--policy", str(file)).code == 0
    assert listed(made) == [made[2].name.id]


def test_pins_are_shown_and_taken_away(made: list[Snapshot]) -> None:
    assert "PINNED" not in run(made, "snapshots").out
    pinned = run(made, "snapshots", "pin", made[0].short_id, "--reason", "before the migration")
    assert pinned.err == f"snapshot {made[0].short_id} pinned\n"
    assert run(made, "snapshots", "pin", made[0].short_id, "--json").only("pin_summary") == {
        "type": "pin_summary",
        "snapshot": made[0].name.id,
        "outcome": "was pinned already",
    }
    lines = run(made, "snapshots").out.splitlines()
    assert lines[0].endswith("PINNED")
    assert lines[1].endswith("before the migration")
    shown = run(made, "--json", "snapshots").kind("snapshot")
    assert [(line_object["pinned"], line_object.get("pin_reason")) for line_object in shown] == [
        (True, "before the migration"),
        (False, None),
        (False, None),
    ]
    assert "is pinned" in run(made, "forget", made[0].short_id).says(2)
    assert run(made, "snapshots", "unpin", made[0].short_id).err == f"snapshot {made[0].short_id} unpinned\n"
    assert "was not pinned" in run(made, "snapshots", "unpin", made[0].short_id).err
    assert run(made, "forget", made[0].short_id).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forget", "latest", "--keep-last", "1"], "exclude each other"),
        (["forget", "--bring-back", "abcd", "--policy", "p.yaml"], "exclude each other"),
        (["forget", "--bring-back", "abcd", "--dry-run"], "has no --dry-run"),
        (["forget", "--bring-back", "abcd"], "no forgotten snapshot 'abcd'"),
        (["forget", "--keep-last", "0"], "--keep-last"),
        (["forget", "--keep-within", "30"], "keep_within': a duration is"),
        (["forget", "--match", "p/*"], "--match goes with --keep-…"),
        (["forget", "--keep-last", "1", "--match", "p"], "not a source: 'p' (project/repo"),
        (["forget", "--keep-daily", "010"], "--keep-daily': not a count: '010'"),
        (
            ["forget", "--keep-last", "1", "--match", "p/*", "--match", "p/typo", "--match", "p/r@none"],
            "no snapshot has a branch that matches 'p/typo', 'p/r@none'",
        ),
        (["forget", "0000"], "no snapshot '0000'"),
        (["forget", "00"], "'00' is too short for the id of a snapshot (4 digits or more)"),
        (["forget", "2100-01-01 00:00"], "a snapshot to forget is named by its id, not by a time"),
        (["forget", "2100-01-01"], "2100-01-01 is a day without an hour"),
        (["forget", "--bring-back", "ab"], "'ab' is too short for the id of a snapshot"),
        (["snapshots", "unpin", "ab"], "'ab' is too short for the id of a snapshot"),
        (["forget", "--policy", "/does/not/exist.yaml"], "cannot be read"),
        (["snapshots", "pin", "0000"], "no snapshot '0000'"),
        (["snapshots", "unpin", "0000"], "no snapshot '0000'"),
        (["snapshots", "pin"], "SNAP"),
        (["snapshots", "nail"], "nail"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_one_line_and_code_2(
    made: list[Snapshot], arguments: list[str], message: str
) -> None:
    assert message in run(made, *arguments).says(2)
    assert listed(made) == [snapshot.name.id for snapshot in made]


def test_without_a_policy_or_rules_the_way_out_is_told(made: list[Snapshot]) -> None:
    outcome = run(made, "--pachd", "grpc://127.0.0.1:1", "forget")
    assert "127.0.0.1:1" in outcome.says(1)


def test_a_damaged_snapshot_does_not_count_as_the_newest_good_one(
    made: list[Snapshot], tmp_path: Path
) -> None:
    repo = Repo(RepoName("p", "r"))
    for content in (b"1", b"2"):
        repo.commit({"/a": content})
    last = back_up(made[0].vault, repo)
    flip(tmp_path / "vault" / layout.record_path(last.manifest.repos[0].record), 30)
    outcome = run(made, "forget", "--keep-last", "1")
    assert outcome.code == 0, outcome.err
    assert "damaged" in outcome.out
    assert listed(made) == [made[2].name.id, last.name.id]


def test_rules_are_refused_where_damage_is_known_and_names_are_not(
    made: list[Snapshot], tmp_path: Path
) -> None:
    vault = made[0].vault
    flip(tmp_path / "vault" / layout.record_path(made[0].manifest.repos[0].record), 30)
    assert run(made, "verify").code == 13
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"version: 1\ntarget: {vault.store.url}\nsources: ['*/*']\nretention: {{keep_last: 1}}\n"
    )
    for rules in (["--keep-last", "1"], ["--keep-last", "1", "--dry-run"], ["--policy", str(policy)]):
        assert "name the snapshots to forget" in run(made, "forget", *rules).says(13)
    assert len(listed(made)) == 3
    assert run(made, "forget", made[0].short_id).code == 0
    assert listed(made) == [snapshot.name.id for snapshot in made[1:]]


def test_what_was_understood_is_said(made: list[Snapshot], tmp_path: Path) -> None:
    outcome = run(made, "forget", "--keep-within", "7m", "--keep-last", "1", "--dry-run")
    assert "rule for */*: keep_last 1, keep_within 7 minutes\n" in outcome.err
    assert "within 7 minutes" in outcome.out
    assert run(made, "forget", "--keep-within", "7m", "--dry-run", "--json").only("rule")["keeps"] == [
        "keep_within 7 minutes"
    ]


def test_a_pattern_of_a_policy_that_no_snapshot_matches_is_said(made: list[Snapshot], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"version: 1\ntarget: {made[0].vault.store.url}\nsources: ['*/*']\n"
        "retention:\n- {match: [p/typo], keep_last: 1}\n- {match: ['p/*'], keep_last: 9}\n"
    )
    outcome = run(made, "forget", "--policy", str(policy), "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "no snapshot has a branch that matches 'p/typo' of the policy's retention" in outcome.err
    assert "'p/*'" not in outcome.err


def test_what_cannot_be_brought_back_is_not_promised(made: list[Snapshot], tmp_path: Path) -> None:
    for snapshot in made[:2]:
        flip(tmp_path / "vault" / snapshot.name.path, 30)
    alone = run(made, "forget", made[0].name.id)
    assert alone.err == "1 of 1 snapshots forgotten; 1 damaged, which cannot be brought back\n"
    both = run(made, "forget", made[1].name.id, made[2].name.id)
    summary = (
        "2 of 2 snapshots forgotten; 1 damaged, which cannot be brought back; `forget --bring-back` until 20"
    )
    assert both.err.startswith(summary)


def test_the_help_says_that_rules_judge_the_whole_vault() -> None:
    assert "applies to every policy and every cluster in the vault" in " ".join(
        pachvault("forget", "--help").out.split()
    )
