"""Restore requests: what they mean, and errors that name file, line, field and what is allowed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pachvault import request
from pachvault.errors import UsageError
from pachvault.request import Extent, Request, When

BASE = "version: 1\nwhat:\n  - p/r@master\n"


def parse(more: str = "") -> Request:
    return request.parse(BASE + more, "request.yaml")


def refused(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        request.parse(text, "request.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_left_out_has_its_default() -> None:
    chosen = parse()
    assert chosen.snapshot == When(id="latest")
    assert chosen.history == Extent(last=1)
    assert (chosen.exists, chosen.source, chosen.verify, chosen.keep_going) == ("fail", "auto", "full", False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("latest", When(id="latest")),
        ("0a1b", When(id="0a1b")),
        ("20261120", When(id="20261120")),
        ("00001234", When(id="00001234")),
        ("2026-11-20 08:00", When(at=datetime(2026, 11, 20, 8, tzinfo=UTC))),
        ("{at: 2026-11-20 08:00:00}", When(at=datetime(2026, 11, 20, 8, tzinfo=UTC))),
        ("{at: '2026-11-20 08:00'}", When(at=datetime(2026, 11, 20, 8, tzinfo=UTC))),
        ("{at: '2026-11-20T08:00+02:00'}", When(at=datetime(2026, 11, 20, 6, tzinfo=UTC))),
    ],
)
def test_snapshots(written: str, meant: When) -> None:
    assert parse(f"snapshot: {written}\n").snapshot == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("all", Extent()),
        ("head", Extent(last=1)),
        ("{last: 3}", Extent(last=3)),
        ("{from: 'abcabc', to: 123456}", Extent(first="abcabc", newest="123456")),
        ("{to: 012345}", Extent(newest="012345")),
    ],
)
def test_histories(written: str, meant: Extent) -> None:
    assert parse(f"history: {written}\n").history == meant


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "snapshot: yesterday\n",
            "request.yaml:4: field 'snapshot': not a snapshot: 'yesterday' (latest, an",
        ),
        ("snapshot: {at: noon}\n", "request.yaml:4: field 'snapshot': not a time: 'noon' (a time is written"),
        ("snapshot: {at: latest}\n", "request.yaml:4: field 'snapshot': not a time: 'latest'"),
        ("snapshot: {on: latest}\n", "request.yaml:4: field 'snapshot': not a snapshot: {'on': 'latest'}"),
        ("snapshot: {at: 2026-11-20}\n", "request.yaml:4: field 'snapshot': 2026-11-20 is a day without an"),
        ("snapshot: 2026-11-20\n", "request.yaml:4: field 'snapshot': 2026-11-20 is a day without an hour"),
        ("snapshot: abc\n", "request.yaml:4: field 'snapshot': 'abc' is too short for the id of a snapshot"),
        ("history: {last: 0}\n", "request.yaml:4: field 'history': not a count: 0"),
        ("history: {last: 010}\n", "request.yaml:4: field 'history': not a count: '010'"),
        ("history: {last: true}\n", "request.yaml:4: field 'history': not a count: 'true'"),
        (
            "history: {from: abc}\n",
            "request.yaml:4: field 'history': 'abc' is too short for the id of a commit",
        ),
        ("history: {}\n", "request.yaml:4: field 'history': not a history: {} (head, all, "),
        ("paths: ['']\n", "request.yaml:4: field 'paths.0': a path is empty"),
        (
            "exists: overwrite\n",
            "request.yaml:4: field 'exists': Input should be 'fail', 'append' or 'replace'",
        ),
        ("from: tape\n", "request.yaml:4: field 'from': Input should be 'auto', 'backup' or 'vault'"),
        ("unknown: 1\n", "request.yaml:4: unknown field 'unknown' (allowed: version, "),
        ("to:\n  folder: x\n", "request.yaml:5: unknown field 'to.folder' (allowed: project, repo, branch)"),
        ("what: [a/b]\n", "request.yaml:4: field 'what' is there twice"),
    ],
)
def test_errors_name_file_line_field_and_what_is_allowed(more: str, message: str) -> None:
    assert refused(BASE + more).startswith(message)


@pytest.mark.parametrize("name", ["2024", "on", "no", "true", "007", "1_0", "0x1"])
def test_a_name_is_the_text_that_was_written(name: str) -> None:
    chosen = parse(f"to: {{project: {name}, repo: {name}, branch: {name}}}\npaths: [{name}]\n")
    assert chosen.to == request.RequestTarget(project=name, repo=name, branch=name)
    assert chosen.paths == [f"/{name}"]


@pytest.mark.parametrize("written", ["yes", "true", "on", "'true'"])
def test_a_switch_is_read_as_before(written: str) -> None:
    assert parse(f"pipelines: {written}\n").pipelines is True


@pytest.mark.parametrize("field", ["project", "repo", "branch"])
@pytest.mark.parametrize("name", ["", "a/b", "a b", "../x", "a*", "x\\n"])
def test_a_new_name_is_a_name(field: str, name: str) -> None:
    assert f"field 'to.{field}'" in refused(BASE + f'to: {{{field}: "{name}"}}\n')


@pytest.mark.parametrize("what", ["p", "p/", "p/r@", "p/r/s", "p r/x", ""])
def test_what_is_no_place_is_refused(what: str) -> None:
    assert "field 'what.0'" in refused(f"version: 1\nwhat: ['{what}']\n")


def test_equal_requests_have_equal_ids_and_others_have_others() -> None:
    assert parse().id == request.parse(BASE.replace("  - ", "- "), "other.yaml").id
    assert len({parse(more).id for more in ("", "exists: append\n", "keep_going: true\n")}) == 3
    assert parse("exists: fail\nhistory: head\nto: {}\n").id == parse().id, "a default says nothing"


def test_a_place_may_be_written_in_a_word() -> None:
    assert request.place("repo") == {"repo": "repo"}
    assert request.place("repo@v1") == {"repo": "repo", "branch": "v1"}
    assert request.place("project/repo@v1") == {"project": "project", "repo": "repo", "branch": "v1"}
    assert request.place("project/") == {"project": "project"}
    for bad in ("", "@v1", "/", "a/b/", "project/@v1"):
        with pytest.raises(UsageError, match="not a place"):
            request.place(bad)


@pytest.mark.parametrize(
    "odd", ["!!timestamp x", "!!bool x", '!!int ""', "&a [*a]", "&a {b: *a}", "!!str x", "[" * 2000]
)
def test_yaml_that_is_no_plain_data_is_refused_in_a_line(odd: str) -> None:
    for text in (BASE + f"paths: {odd}\n", f"what: {odd}\n", odd):
        assert refused(text).startswith("request.yaml")


def test_a_short_text_does_not_stand_for_an_endless_one() -> None:
    laughs = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    assert "an alias (*name) is not allowed" in refused(laughs)
    assert "more than 200,000 characters" in refused("a" * 200_001)


def test_a_field_of_a_list_is_not_there_twice_either() -> None:
    assert "is there twice" in refused(BASE + "paths: [{a: 1, a: 2}]\n")
