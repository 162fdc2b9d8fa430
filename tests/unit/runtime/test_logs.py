"""Log records: JSON lines in a worker, warnings in a shell, and no secret in either."""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, stop_after_attempt, wait_none

from pachvault.cli.main import run
from pachvault.runtime import logs

LOG = logging.getLogger("pachvault.somewhere")


@pytest.fixture
def output() -> Iterator[logs.LogOutput]:
    with logs.to_stderr(["t0ken"]) as output:
        yield output


@pytest.fixture
def in_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a worker, and its empty /pfs."""
    monkeypatch.setenv("PACH_JOB_ID", "job1")
    monkeypatch.setenv("PACHVAULT_PFS", str(tmp_path))
    monkeypatch.setenv("PACHD_PEER_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("PACHD_PEER_SERVICE_PORT", "1")
    monkeypatch.setenv("PACH_TOKEN", "t0ken")
    (tmp_path / "out").mkdir()
    return tmp_path


def test_a_shell_shows_warnings_alone_a_line_each(
    output: logs.LogOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    LOG.info("quiet")
    LOG.warning("two\nlines \x1b[1m %s", 5)
    output.use_verbose()
    LOG.info("now shown")
    assert capsys.readouterr().err == "pachvault: two lines \\x1b[1m 5\npachvault: now shown\n"


def test_a_worker_writes_json_lines_with_run_source_and_stage(
    output: logs.LogOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output.use_json(run="job1", stage="freeze")

    def in_a_thread() -> None:
        with logs.context(source="p/r"):
            LOG.info("skipped %s", "\n")

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    LOG.warning("after")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert abs(datetime.fromisoformat(first.pop("time")) - datetime.now(UTC)).total_seconds() < 60
    assert first == {
        "level": "info",
        "logger": "pachvault.somewhere",
        "message": "skipped \n",
        "run": "job1",
        "source": "p/r",
        "stage": "freeze",
    }
    assert second.pop("time").endswith("Z")
    assert "source" not in second, "a context ends with its block"


def test_an_exception_leaves_its_traceback_and_no_secret(
    output: logs.LogOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output.use_json(run="job1", stage="freeze")
    try:
        int("s3://user:pass@host t0ken")
    except ValueError:
        LOG.exception("call with t0ken to https://me@host/x failed")
    line = capsys.readouterr().err
    entry = json.loads(line)
    assert entry["message"] == "call with [redacted] to https://[redacted]@host/x failed"
    assert "test_logs.py" in entry["traceback"]
    assert "'s3://[redacted]@host [redacted]'" in entry["traceback"]
    assert "t0ken" not in line


def test_a_retry_is_logged_with_its_reason(
    output: logs.LogOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output.use_verbose()
    tries = Retrying(
        stop=stop_after_attempt(3), wait=wait_none(), before_sleep=logs.retries(LOG), reraise=True
    )
    with pytest.raises(OSError, match="full"):
        tries(lambda: (_ for _ in ()).throw(OSError("full")))
    assert capsys.readouterr().err.splitlines() == [
        "pachvault: attempt 1 failed, the next is in 0.0 s: full",
        "pachvault: attempt 2 failed, the next is in 0.0 s: full",
    ]


def test_contexts_nest_and_take_known_fields_only() -> None:
    record = logging.makeLogRecord({})
    with logs.context(run="r", source="a"), logs.context(source="b"):
        logs.ContextFilter(stage="seal", source="c").filter(record)
    assert (record.run, record.source, record.stage) == ("r", "b", "seal")  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="not a field of log records: repo"), logs.context(repo="x"):
        pass


def test_the_command_leaves_the_loggers_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pachvault")
    before = logger.level, list(logger.handlers)
    run(["--verbose", "snapshots", "--vault", "file:///nowhere"])
    assert (logger.level, logger.handlers) == before


def test_a_stage_writes_nothing_but_json_lines(in_worker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stage", "freeze"]) == 0
    (entry,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (entry["level"], entry["run"], entry["stage"]) == ("info", "job1", "freeze")
    assert entry["message"].startswith("refused: ")


def test_a_stage_that_fails_says_so_in_a_json_line(
    in_worker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["stage", "seal"]) == 1
    out, err = capsys.readouterr()
    (entry,) = (json.loads(line) for line in err.splitlines())
    assert (entry["level"], entry["stage"]) == ("error", "seal")
    assert "expected exactly one plan.json of freeze" in entry["message"]
    assert not out


def test_a_bug_in_a_stage_leaves_its_traceback(
    in_worker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> str:
        raise KeyError("t0ken")

    monkeypatch.setattr(importlib.import_module("pachvault.stages.seal"), "run", broken)
    assert run(["stage", "seal"]) == 1
    (entry,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (entry["level"], entry["message"]) == ("critical", "KeyError: '[redacted]' (a bug)")
    assert "in broken" in entry["traceback"]


def test_a_tick_file_of_another_name_is_skipped_and_named(
    in_worker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_worker / "tick").mkdir()
    (in_worker / "tick" / "noon").touch()
    run(["stage", "freeze"])
    assert "skipped file noon of input tick: its name is no time" in capsys.readouterr().err


def test_records_of_worker_processes_reach_the_loggers_of_the_command(
    output: logs.LogOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output.use_json(run="job1", stage="export")
    with logs.context(run="run1"):
        child = logs.ChildLog.of_this_process()
    context = multiprocessing.get_context("spawn")
    records = context.Queue()
    process = context.Process(target=log_in_child, args=(child, records))
    process.start()
    logs.relay(records.get(timeout=60))
    process.join()
    entry = json.loads(capsys.readouterr().err)
    assert (entry["message"], entry["run"], entry["source"], entry["stage"]) == (
        "at 5",
        "run1",
        "p/r",
        "export",
    )


def log_in_child(child: logs.ChildLog, records: Any) -> None:
    child.send_to(records)
    with logs.context(source="p/r"):
        LOG.info("at %d", 5)
