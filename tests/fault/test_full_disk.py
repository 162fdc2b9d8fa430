"""A disk that is full to the last byte: what writes says so in one line and loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disk import fill, small_disk
from made import Repo, back_up, new_vault
from pachvault.cli.main import run
from pachvault.format.ids import RepoName


def test_extract_stops_with_one_line_and_goes_on_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = np.random.default_rng(1).bytes(5_000 * 300)
    tree = {f"/{number}": data[number * 5000 : number * 5000 + 5000] for number in range(300)}
    repo = Repo(RepoName("p", "r"))
    repo.commit(tree)
    back_up(new_vault(tmp_path), repo)
    with small_disk(tmp_path / "disk", 4 * 2**20) as disk:
        filler = fill(disk, leave=2**20)
        command = ["--vault", str(tmp_path / "vault"), "--quiet", "extract", "latest", str(disk / "out")]
        assert run(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"pachvault: {disk}/out: the disk is full (make room and run the same command")
        there = len(list((disk / "out/p/r/master").iterdir()))
        assert 50 < there < 300
        filler.unlink()
        assert run(command) == 0
        assert f"300 files, 1.4 MiB, to {disk}/out, {there} of them there before" in capsys.readouterr().err
        out = {f"/{path.name}": path.read_bytes() for path in (disk / "out/p/r/master").iterdir()}
        assert out == tree
        assert [path.name for path in (disk / "out").iterdir()] == ["p"]
