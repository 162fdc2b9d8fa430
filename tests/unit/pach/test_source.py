"""Reading files by name from the embedded server: names that mean something else in a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_pachyderm import daemon
from pachvault.errors import SourceGoneError
from pachvault.pach import codec
from pachvault.pach.connection import connect
from pachvault.pach.source import CommitRef, Source, file_set
from pachvault.pach.target import Target

NAMES = [",a", "a", "a,b", "b", "c\\d", "e$f", "g h", "i'j", 'k"l', "m|n", "o%p", ".q", "-", "~", "r,"]
FOLDERS = ["/", "/d/", "/p,q/", "/x\\y/", "/x|y/z/"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("pachyderm")
    yield daemon.start(state).address
    daemon.stop(state)


@pytest.mark.xdist_group("pach-source")
def test_files_are_read_by_whatever_legal_name(server: str, tmp_path: Path) -> None:
    with connect(server) as connection:
        source, target = Source(connection), Target(connection)
        target.ensure_project("odd")
        target.ensure_repo("odd", "names")
        ref = CommitRef("odd", "names", target.start("odd", "names", "master", parent=None, description=""))
        paths = [folder + name for folder in FOLDERS for name in NAMES]
        target.change(ref, put=[(path, path.encode()) for path in paths])
        target.finish(ref)
        source.commit(ref, wait=True)
        whole = file_set(source.file_set_of(ref, codec.TOTAL))
        for folder in FOLDERS:
            for names in (NAMES, NAMES[:1], ["c\\d"], ["m|n", "nothing"]):
                contents = {piece.path: bytes(piece.data) for piece in source.read_some(whole, folder, names)}
                wanted = [folder + name for name in names if name != "nothing"]
                assert contents == {path: path.encode() for path in wanted}
        with pytest.raises(SourceGoneError):
            list(source.read_some(whole, "/d/", ["nothing"]))
