"""What the tests of the embedded Pachyderm are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pfs_server import Pfs, serving


@pytest.fixture
def pfs(tmp_path: Path) -> Iterator[Pfs]:
    """A file system of the test's own, with nothing in it."""
    with serving(tmp_path) as served:
        yield served
