"""One renderer writes results: as text for people, or as a JSON object a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

import json_output
from embedded_pachyderm.commands.results import DemoStepResult, DemoSummary
from pachvault.cli.common import CommandContext
from pachvault.cli.render import Result, json_line, show, show_all
from pachvault.cli.results.error import ErrorResult
from pachvault.cli.results.forget import ForgetSummary, RuleResult
from pachvault.cli.results.prune import RunResult
from pachvault.cli.results.repair import LostObjectResult
from pachvault.cli.results.restore import RestoreDifferenceResult, RestoreResult

RESULTS = [
    (
        LostObjectResult(object="records/a", message="wrong digest", snapshots=["ab"], lost=["p/r"]),
        ["cannot be rebuilt: records/a: wrong digest; affected: ab", "  lost: p/r"],
    ),
    (
        RestoreDifferenceResult(
            repo="p/r", commit="c1", restored_commit="c2", path="/a", message="other size"
        ),
        ["differs: p/r@c1:/a: other size"],
    ),
    (
        RunResult(run="20261120-aa", age_seconds=3700.0),
        ["backup 20261120-aa, begun 1 hour 1 minute ago, can no longer be sealed"],
    ),
    (DemoStepResult(elapsed_seconds=1.5, message="made data"), ["[  1.5 s] made data"]),
    (
        DemoSummary(vault="file:///v", folder="/v", backup_seconds=[1.0, 0.5], restore_bytes_per_second=9.5),
        ["", "The vault is at /v. Look at it:", "", "  pachvault --vault file:///v snapshots"],
    ),
]


@pytest.mark.parametrize(("result", "text"), RESULTS, ids=lambda value: type(value).__name__)
def test_a_result_is_text_or_json(
    result: Result, text: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def written(context: CommandContext) -> list[str]:
        if isinstance(result, LostObjectResult | RestoreDifferenceResult):
            show_all(context, type(result), [result])
        else:
            show(context, result)
        captured = capsys.readouterr()
        return [*captured.out.splitlines(), *captured.err.splitlines()]

    assert written(CommandContext())[: len(text)] == text
    (line,) = written(CommandContext(json=True))
    (read,) = json_output.checked(line)
    assert read["type"] in json_output.result_classes()


def test_json_has_what_quiet_leaves_out_of_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    rule = RuleResult(match=["*/*"], keeps=["keep_last 1"])
    show(CommandContext(quiet=True), rule)
    assert capsys.readouterr() == ("", "")
    show(CommandContext(quiet=True, json=True), rule)
    assert json_output.checked(capsys.readouterr().out)


def test_times_end_in_z_and_what_is_not_known_is_null() -> None:
    until = datetime(2026, 11, 20, 8, tzinfo=UTC)
    summary = ForgetSummary(kept=1, forgotten=1, to_forget=1, damaged=0, until=until, dry_run=False)
    assert json.loads(json_line(summary))["until"] == "2026-11-20T08:00:00Z"


def test_names_that_are_no_utf8_are_written() -> None:
    line = json_line(ErrorResult(message="no file \udcff", exit_code=2))
    assert json.loads(line)["message"] == "no file \udcff"


@pytest.mark.parametrize("finished_at", ["2026-11-20T08:00:00.5+00:00", "2026-11-20T10:00:00.5+02:00"])
def test_the_record_of_a_restore_is_read_with_times_in_utc(finished_at: str) -> None:
    record = {"request": "a", "finished_at": finished_at, "summary": "s", "vault": "v", "bytes": 1}
    record |= {"seconds": None, "ids": {}, "lost": [], "differences": []}
    (read,) = json_output.checked(json_line(RestoreResult.of_record(record)))
    assert read["since"] == "2026-11-20T08:00:00.500000Z"
    assert (read["state"], read["notes"]) == ("done", [])


def test_a_record_with_no_time_is_listed_all_the_same() -> None:
    record = {"request": "a", "finished_at": "soon", "summary": "s", "vault": "v", "bytes": 1}
    record |= {"seconds": None, "ids": {}, "lost": [], "differences": []}
    (read,) = json_output.checked(json_line(RestoreResult.of_record(record)))
    assert read["since"] is None
