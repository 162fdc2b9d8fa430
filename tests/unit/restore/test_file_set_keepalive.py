"""A file set that is in use is renewed until its use ends."""

from __future__ import annotations

import threading

import pytest

from e2e.cluster import Cluster, Project
from pachvault.errors import PachydermError, SourceGoneError
from pachvault.pach import codec
from pachvault.pach.source import Source, file_set
from pachvault.restore.stage.file_set_keepalive import check_exists, kept_alive


class Watched(Source):
    """Tells when a file set was renewed three times."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.connection)
        self.renewed = 0
        self.often = threading.Event()

    def renew(self, file_set_id: str, seconds: int) -> None:
        super().renew(file_set_id, seconds)
        self.renewed += 1
        if self.renewed == 3:
            self.often.set()


@pytest.fixture
def made(project: Project) -> str:
    project.repo("data")
    commit = project.commit("data", {"/a": b"1"})
    return project.cluster.source.file_set_of(project.ref("data", commit), codec.DIFF)


def test_it_is_renewed_again_and_again_while_it_is_in_use(cluster: Cluster, made: str) -> None:
    source = Watched(cluster)
    refusal = {"method": "RenewFileSet", "nth": 2, "code": "PERMISSION_DENIED"}
    with cluster.faults(refusal), kept_alive(source, made, every_seconds=0.01) as ref:
        assert source.often.wait(60), "one that fails is not the last"
        assert [piece.path for piece in source.read(ref)] == ["/a"]
    assert "file-set" not in {thread.name for thread in threading.enumerate()}


def test_what_has_expired_is_told(cluster: Cluster, made: str) -> None:
    with kept_alive(cluster.source, made) as ref:
        check_exists(cluster.source, ref)
    with kept_alive(cluster.source, "0" * 32) as ref, pytest.raises(SourceGoneError):
        check_exists(cluster.source, ref)


def test_it_lives_as_long_as_was_asked(cluster: Cluster, made: str) -> None:
    cluster.source.renew(made, 1800)
    assert cluster.source.set_bytes(made) == 1
    with pytest.raises(PachydermError, match="ttl"):
        cluster.source.renew(made, 1801)
    assert [piece.path for piece in cluster.source.read(file_set(made))] == ["/a"]
