"""The three files that report the result of a request."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq

from pachvault.restore.request.request_result import IDS, RequestResult

IDS_MADE = {"p/b": {"2": "22", "1": "11"}, "p/a": {"1": "99"}, "p/none": {}}


def test_ids_are_a_row_a_commit_in_a_stable_order() -> None:
    given = RequestResult(request="r" * 64, status="restored", summary="all of it", ids=IDS_MADE)
    rows = pq.read_table(io.BytesIO(given.id_table()))
    assert rows.schema.names == IDS.names
    assert rows.to_pylist() == [
        {"project": "p", "repo": "a", "old": "1", "new": "99"},
        {"project": "p", "repo": "b", "old": "1", "new": "11"},
        {"project": "p", "repo": "b", "old": "2", "new": "22"},
    ]
    assert json.loads(given.id_map()) == IDS_MADE


def test_without_ids_the_files_are_there_and_empty() -> None:
    given = RequestResult(request="r" * 64, status="refused", summary="why not")
    assert json.loads(given.id_map()) == {}
    assert pq.read_table(io.BytesIO(given.id_table())).num_rows == 0
    report = json.loads(given.encode())
    assert (report["status"], report["summary"], report["finished_at"]) == ("refused", "why not", None)
