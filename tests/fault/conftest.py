"""The same server, project and vault as the end-to-end tests have, and processes that are killed."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("fault.driven")

from e2e.conftest import backup, cluster, project  # noqa: E402, F401  (fixtures)
