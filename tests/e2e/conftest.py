"""A server for each test process, a project and a vault for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.backup import Backup
from e2e.cluster import Cluster, Project


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The embedded Pachyderm of this test process."""
    new_cluster = Cluster(tmp_path_factory.mktemp("pachyderm"))
    yield new_cluster
    new_cluster.close()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Another, empty cluster, to restore into."""
    new_cluster = Cluster(tmp_path_factory.mktemp("other"))
    yield new_cluster
    new_cluster.close()


@pytest.fixture
def project(cluster: Cluster) -> Project:
    return cluster.project()


@pytest.fixture
def backup(project: Project, tmp_path: Path) -> Backup:
    """The test's project, backed up to a vault of its own."""
    return Backup.of(project, tmp_path / "vault")
