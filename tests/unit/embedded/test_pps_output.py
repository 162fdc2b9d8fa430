"""What user code leaves in /pfs/out and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded_pachyderm.pps.jobs.output import DatumOutputError, additions, deletions, find


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "data" / "dir").mkdir(parents=True)
    (tmp_path / "data" / "dir" / "a").write_bytes(b"input")
    return tmp_path


def test_files_are_found_by_their_paths_and_empty_folders_are_not(scratch: Path) -> None:
    (scratch / "out" / "empty").mkdir()
    (scratch / "out" / "b").mkdir()
    (scratch / "out" / "b" / "c").write_bytes(b"12")
    (scratch / "out" / "a").write_bytes(b"")
    assert [(file.path, file.size_bytes) for file in find(scratch)] == [("/a", 0), ("/b/c", 2)]


def test_a_link_is_an_error_that_names_it(scratch: Path) -> None:
    (scratch / "out" / "link").symlink_to("/pfs/data/dir/a")
    with pytest.raises(
        DatumOutputError, match=r"^/link is a link, which the embedded Pachyderm does not follow"
    ):
        find(scratch)


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 - 1, 1024 * 1024, 2 * 1024 * 1024 + 1])
def test_files_travel_whole_in_pieces(scratch: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (scratch / "out" / "file").write_bytes(content)
    messages = list(additions(find(scratch)))
    assert {message.add_file.path for message in messages} == {"/file"}
    assert b"".join(message.add_file.raw.value for message in messages) == content
    assert all(message.add_file.HasField("raw") for message in messages)
    assert max(len(message.add_file.raw.value) for message in messages) <= 1024 * 1024


def test_deletions_name_their_paths() -> None:
    assert [message.delete_file.path for message in deletions(["/a", "/b/c"])] == ["/a", "/b/c"]
