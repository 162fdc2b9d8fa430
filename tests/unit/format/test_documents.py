"""The vault's JSON objects: what is unknown is ignored, what is wrong is damage."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pachvault.errors import DamageError
from pachvault.format import documents
from pachvault.format.config import Config
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Cluster, Manifest, RepoEntry, Totals
from pachvault.format.records import Branch, RepoRecord, Segment

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
RECORD = RepoRecord(
    project="p",
    repo="r",
    created_at=AT,
    branches=[
        Branch(name="master", head="c1", provenance=["p/x@master"], trigger={"size": "1G", "all": True})
    ],
    segments=[Segment(table=digest(b"t"), commits=3)],
)
MANIFEST = Manifest(
    vault_id="v",
    run_id="run",
    policy="default",
    cluster=Cluster(id="c", version="2.11.6"),
    freeze_began_at=AT,
    frozen_at=AT,
    sealed_at=AT,
    partial=False,
    projects=[],
    repos=[RepoEntry(project="p", repo="r", record=digest(b"r"), branches=1, commits=3, size_bytes=9)],
    pipelines=digest(b"p"),
    totals=Totals(),
)


@pytest.mark.parametrize("made", [RECORD, MANIFEST, Config(vault_id="v", created_at=AT)])
def test_documents_survive_and_end_with_one_newline(made: documents.Document) -> None:
    data = documents.encode(made)
    assert documents.decode(type(made), data) == made
    assert data.endswith(b"}\n")
    assert documents.encode(documents.decode(type(made), data)) == data


def test_digests_are_written_as_hexadecimal_digits() -> None:
    assert json.loads(documents.encode(MANIFEST))["pipelines"] == digest(b"p").hex()


def test_fields_of_a_later_version_are_ignored() -> None:
    later = json.loads(documents.encode(RECORD)) | {"colour": "blue"}
    later["branches"][0]["age"] = 7
    assert documents.decode(RepoRecord, json.dumps(later).encode()) == RECORD


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "pipelines"),
        ("created_at", "yesterday"),
        ("branches", {}),
        ("branches", [{"head": "c1"}]),
        ("segments", [{"table": "no digits", "commits": 1}]),
        ("project", None),
        ("project", "../p"),
        ("repo", "a/b"),
        ("repo", "a\0"),
        ("created_at", "2026-01-01T00:00:00"),
        ("created_at", "0001-01-01T00:00:00+23:59"),
        ("created_at", "9999-12-31T23:59:59-23:59"),
        ("segments", [{"table": "AB" * 32, "commits": 1}]),
        ("segments", [{"table": "ab" * 32, "commits": -1}]),
        ("segments", [{"table": "ab" * 32, "commits": 10**30}]),
    ],
)
def test_a_field_of_the_wrong_kind_is_damage_that_names_it(field: str, value: object) -> None:
    wrong = json.loads(documents.encode(RECORD)) | {field: value}
    with pytest.raises(DamageError, match=f"not a valid repo record: {field}"):
        documents.decode(RepoRecord, json.dumps(wrong).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_bytes_that_are_no_such_document_are_damage(data: bytes) -> None:
    with pytest.raises(DamageError, match="not a valid repo record"):
        documents.decode(RepoRecord, data)


def test_a_repo_name_without_a_project_is_in_the_default_one() -> None:
    assert RepoName.parse("p/r") == RepoName("p", "r")
    assert RepoName.parse("r") == RepoName("default", "r")
    assert str(RepoName("p", "r")) == "p/r"
