"""Policies: what they mean, and errors that name file, line, field and what is allowed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from pachvault import policy
from pachvault.errors import UsageError
from pachvault.format.ids import RepoName
from pachvault.policy import History, Maintenance, Policy, Retention

BASE = "version: 1\ntarget: file:///vault\nsources:\n  - 'a/*'\n"


def parse(more: str = "", base: str = BASE) -> Policy:
    return policy.parse(base + more, "policy.yaml")


def refused(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        policy.parse(text, "policy.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_example_parses_and_has_the_defaults_it_speaks_of() -> None:
    example = Path(__file__).parents[2] / "specs" / "policy.yaml"
    chosen = policy.parse(example.read_text(), "policy.yaml")
    assert chosen.sources == ["*/*"]
    assert chosen.exclude == ["scratch/*"]
    assert chosen.interval == timedelta(hours=1)
    assert (chosen.limits.bandwidth, chosen.limits.memory) == (200_000_000, 512 * 2**20)


def test_the_example_explains_every_field_of_retention_and_maintenance() -> None:
    example = (Path(__file__).parents[2] / "specs" / "policy.yaml").read_text()
    chosen = policy.parse(example, "policy.yaml")
    (rule,) = chosen.retention
    assert all(value is not None for _, value in rule)
    assert chosen.maintenance == Maintenance()
    words = set(re.findall(r"^ +-? *(\w+):", example, re.MULTILINE))
    assert words >= {*Retention.model_fields, *Maintenance.model_fields}


def test_what_is_left_out_has_its_default() -> None:
    chosen = parse()
    assert chosen.history == History(newest=None, within=None)
    assert (chosen.outputs, chosen.pipelines, chosen.exclude, chosen.name) == (
        "include",
        "include",
        [],
        "default",
    )
    assert chosen.limits.bandwidth is None
    assert chosen.retention == []
    assert chosen.maintenance == Maintenance()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("all", History()),
        ("heads", History(newest=1)),
        ("{last: 10}", History(newest=10)),
        ("{since: 30d}", History(within=timedelta(days=30))),
    ],
)
def test_histories(written: str, meant: History) -> None:
    assert parse(f"history: {written}\n").history == meant


@pytest.mark.parametrize(
    "written",
    [
        "some",
        "{last: 1, since: 3d}",
        "{}",
        "5",
        "[]",
    ],
)
def test_other_histories_are_refused_with_what_is_allowed(written: str) -> None:
    assert refused(BASE + f"history: {written}\n") == (
        "policy.yaml:5: field 'history': allowed are heads, all, {last: 10} and {since: 30d}"
    )


@pytest.mark.parametrize("written", ["0", "-1", "true", "ten", "010", "0x10"])
def test_a_history_of_no_plain_count_is_refused(written: str) -> None:
    line = refused(BASE + f"history: {{last: {written}}}\n")
    assert line.startswith("policy.yaml:5: field 'history': not a count: ")


@pytest.mark.parametrize("written", ["-5", "0d", "-5d", "never"])
def test_a_history_since_no_time_is_refused(written: str) -> None:
    assert refused(BASE + f"history: {{since: {written}}}\n").startswith("policy.yaml:5: field 'history")


def test_policies_that_select_something_else_have_another_selection() -> None:
    for more in ("exclude: ['a/b']\n", "history: heads\n", "outputs: skip\n", "pipelines: skip\n"):
        assert parse(more).selection != parse().selection
    for more in ("", "schedule: '@every 3h'\n", "exclude: []\n", "name: other\n", "interval: 3h\n"):
        assert parse(more).selection == parse().selection
    given: dict[str, object] = {"version": 1, "target": "/v", "sources": ["a/*"]}
    assert policy.without_name(given, "--source").name == ""


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1w", 604800), ("12 h", 43200)],
)
def test_durations(written: str, seconds: int) -> None:
    assert parse(f"interval: {written}\n").interval == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["1x", "h", "1h30m", "-1h", "1.5h", "''", "0s", "0"])
def test_other_durations_are_refused(written: str) -> None:
    assert refused(BASE + f"interval: {written}\n").startswith("policy.yaml:5: field 'interval': ")


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1000", 1000),
        ("50MB", 50_000_000),
        ("2GiB", 2 * 2**30),
        ("2 gib", 2 * 2**30),
        ("1.5k", 1500),
        ("1Ki", 1024),
        ("1T", 10**12),
        ("7B", 7),
    ],
)
def test_sizes(written: str, size: int) -> None:
    assert parse(f"limits: {{bandwidth: {written}}}\n").limits.bandwidth == size


@pytest.mark.parametrize("written", ["0", "-1", "1XB", "MB", "1iB", "1 2"])
def test_other_sizes_are_refused(written: str) -> None:
    line = refused(BASE + f"limits:\n  bandwidth: {written}\n")
    assert line.startswith("policy.yaml:6: field 'limits.bandwidth': ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "policy.yaml:1: a policy is a mapping of fields (allowed: version, name, target"),
        ("- a\n", "policy.yaml:1: a policy is a mapping of fields (allowed: "),
        ("a: [\n", "policy.yaml:2: not YAML: "),
        ("a: \t b: c\n", "policy.yaml:1: not YAML: "),
        ("a: \0\n", "policy.yaml: not YAML: unacceptable character"),
        ("name: 2024-13-45\n", "policy.yaml:1: field 'version' is missing"),
        ("? [a]\n: b\n", "policy.yaml:1: not YAML: "),
        ("version: 1\ntarget: x\n", "policy.yaml:1: field 'sources' is missing"),
        (BASE.replace("1", "2", 1), "policy.yaml:1: field 'version': Input should be 1"),
        (BASE.replace("a/*", "a"), "policy.yaml:4: field 'sources.0': not a source: 'a' (project/repo or "),
        (BASE.replace("- 'a/*'", "[]"), "policy.yaml:3: field 'sources': List should have at least 1 item"),
        (BASE.replace("file:///vault", "''"), "policy.yaml:2: field 'target': "),
        (BASE + "sorces: [x]\n", "policy.yaml:5: unknown field 'sorces' (allowed: version, name, "),
        (
            BASE + "limits:\n  mem: 1GB\n",
            "policy.yaml:6: unknown field 'limits.mem' (allowed: bandwidth, memory)",
        ),
        (
            BASE + "limits: {memory: 1MB}\n",
            "policy.yaml:5: field 'limits.memory': at least 256MiB",
        ),
        (BASE + "outputs: no\n", "policy.yaml:5: field 'outputs': Input should be 'include' or 'skip'"),
        (BASE + "name: Not Good\n", "policy.yaml:5: field 'name': String should match"),
        (BASE + "exclude: a/b\n", "policy.yaml:5: field 'exclude': Input should be a valid list"),
        (BASE + "sources: [b/*]\n", "policy.yaml:5: field 'sources' is there twice"),
        (BASE + "limits:\n  memory: 1GB\n  memory: 2GB\n", "policy.yaml:7: field 'memory' is there twice"),
    ],
)
def test_errors_name_file_line_field_and_what_is_allowed(text: str, message: str) -> None:
    assert refused(text).startswith(message)


@pytest.mark.parametrize("pattern", ["a", "a/", "/b", "a/b@", "a/b/c", "a b/c", "a/b@c@d", "", "a/b{c}"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert "field 'sources.0'" in refused(f"version: 1\ntarget: x\nsources: ['{pattern}']\n")


def chooses(chosen: Policy, repo: str, branch: str = "master") -> bool:
    return chosen.chooses(RepoName.parse(repo), branch)


def test_exclusions_win() -> None:
    chosen = parse("exclude: ['a/tmp*', 'a/b@dev']\n")
    assert chooses(chosen, "a/b")
    assert not chooses(chosen, "a/b", "dev")
    assert not chooses(chosen, "a/tmp1")
    assert not chooses(chosen, "other/b")


def test_the_backup_itself_is_no_source_but_for_policy_and_requests() -> None:
    chosen = policy.validate({"version": 1, "target": "x", "sources": ["*/*", "pachvault/backup"]}, "here")
    for name in ("backup", "freeze", "export", "seal"):
        assert not chooses(chosen, f"pachvault/{name}")
        assert not chosen.reaches(RepoName("pachvault", name))
    for name in ("policy", "requests"):
        assert chooses(chosen, f"pachvault/{name}")
        assert chosen.reaches(RepoName("pachvault", name))
    assert not chooses(parse(), "pachvault/policy")


def test_a_repo_is_reached_where_some_branch_might_be_chosen() -> None:
    chosen = policy.validate({"version": 1, "target": "x", "sources": ["a/b@v1"]}, "here")
    assert chosen.reaches(RepoName("a", "b"))
    assert not chosen.reaches(RepoName("a", "c"))


def test_fields_without_a_file_are_checked_too() -> None:
    with pytest.raises(UsageError, match=r"^--source: field 'sources\.0': not a source: 'bad'"):
        policy.validate({"version": 1, "target": "x", "sources": ["bad"]}, "--source")


@pytest.mark.parametrize("schedule", ["@every 1h", "@every 1h30m", "*/15 * * * *", "@daily"])
def test_a_schedule_is_what_a_cron_input_takes(schedule: str) -> None:
    fields: dict[str, object] = {"version": 1, "target": "x", "sources": ["*/*"], "schedule": schedule}
    assert policy.validate(fields, "p").schedule == schedule


@pytest.mark.parametrize(
    "schedule",
    [
        "hourly",
        "@every hour",
        "61 * * * *",
        "",
        "0 0 * * * *",
        "0 0 L * *",
        "0 0 * * 5#2",
        "0 0 * * 7",
    ],
)
def test_a_schedule_that_would_never_tick_is_refused(schedule: str) -> None:
    text = f"version: 1\ntarget: x\nsources: ['*/*']\nschedule: '{schedule}'\n"
    with pytest.raises(UsageError, match=r"p\.yaml:4: field 'schedule': allowed are five cron fields"):
        policy.parse(text, "p.yaml")


def test_a_rule_may_stand_alone_or_in_a_list() -> None:
    (rule,) = parse("retention: {keep_daily: 7, keep_within: 30d}\n").retention
    assert rule == Retention(keep_daily=7, keep_within=timedelta(days=30))
    assert rule.match == ["*/*"]
    rules = parse("retention:\n- {match: ['a/*@m*'], keep_last: 1}\n- keep_yearly: 2\n").retention
    assert rules == [Retention(match=["a/*@m*"], keep_last=1), Retention(keep_yearly=2)]


@pytest.mark.parametrize(
    ("written", "line", "message"),
    [
        ("{match: ['a/*']}", 5, "field 'retention.0': it keeps nothing, and would forget everything: give"),
        ("{}", 5, "field 'retention.0': it keeps nothing, and would forget everything: give"),
        ("[]", 5, "field 'retention': the list is empty; without the field nothing is forgotten"),
        ("", 5, "field 'retention': Input should be a valid list"),
        (
            "\n- keep_last: 1\n- keep_dayly: 1",
            7,
            "unknown field 'retention.1.keep_dayly' (allowed: match, keep",
        ),
        ("\n  keep_dayly: 1", 6, "unknown field 'retention.0.keep_dayly' (allowed: match, keep_last, "),
        ("\n  match: ['a/*']\n  keep_last: 0", 7, "field 'retention.0.keep_last': not a count: 0 (a whole"),
        ("{keep_last: true}", 5, "field 'retention.0.keep_last': not a count: 'true' (a whole number from 1"),
        ("{keep_daily: 010}", 5, "field 'retention.0.keep_daily': not a count: '010' (a whole number from 1"),
        ("{keep_within: 30}", 5, "field 'retention.0.keep_within': a duration is a number and one of"),
        ("{keep_within: soon}", 5, "field 'retention.0.keep_within': a duration is a number and one of"),
        ("{match: [], keep_last: 1}", 5, "field 'retention.0.match': List should have at least 1 item"),
        ("{match: [a], keep_last: 1}", 5, "field 'retention.0.match.0': not a source: 'a' (project/repo or "),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(written: str, line: int, message: str) -> None:
    assert refused(BASE + f"retention: {written}\n").startswith(f"policy.yaml:{line}: {message}")


@pytest.mark.parametrize(("text", "meant"), [("on", True), ("off", False), ("'on'", True), ("'off'", False)])
def test_pruning_is_switched(text: str, meant: bool) -> None:
    assert parse(f"maintenance: {{prune: {text}}}\n").maintenance.prune is meant


def test_maintenance_is_read() -> None:
    chosen = parse(
        "maintenance:\n  schedule: '0 3 * * *'\n  verify_within: 2w\n  drill_within: off\n"
        "  repack_budget: 1GiB\n  max_dead: 12.5%\n  mirror_keep: 1d\n"
    ).maintenance
    assert chosen.schedule == "0 3 * * *"
    assert (chosen.verify_within, chosen.drill_within) == (timedelta(days=14), None)
    assert (chosen.repack_budget, chosen.max_dead) == (2**30, 0.125)
    assert chosen.mirror_keep == timedelta(days=1)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("prune: maybe", "maintenance.prune': allowed are on and off"),
        ("prune: 1", "maintenance.prune': allowed are on and off"),
        ("drill_within: on", "maintenance.drill_within': allowed are off and a duration, as in 30d"),
        ("verify_within: off", "maintenance.verify_within': "),
        ("max_dead: 0.5", "maintenance.max_dead': a part is more than 0% and at most 100%, as in 50%"),
        ("max_dead: 0%", "maintenance.max_dead': a part is more than 0% and at most 100%, as in 50%"),
        ("max_dead: 101%", "maintenance.max_dead': a part is more than 0% and at most 100%, as in 50%"),
        ("schedule: daily", "maintenance.schedule': allowed are five cron fields, @every 90m, or"),
        ("repack_budget: lots", "maintenance.repack_budget': a size is a number of bytes or one with a unit"),
    ],
)
def test_maintenance_that_cannot_be_meant_is_refused(written: str, message: str) -> None:
    assert refused(BASE + f"maintenance:\n  {written}\n").startswith(f"policy.yaml:6: field '{message}")


def test_the_project_of_restore_drills_is_no_source() -> None:
    chosen = policy.validate({"version": 1, "target": "x", "sources": ["*/*", "pachvault-drill/*"]}, "here")
    assert not chooses(chosen, "pachvault-drill/sample")
    assert not chosen.reaches(RepoName("pachvault-drill", "sample"))
