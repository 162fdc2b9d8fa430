"""The same server, project and vault as the end-to-end tests have, and processes that are killed."""

from __future__ import annotations

from e2e.conftest import backup, cluster, other, project  # noqa: F401  (fixtures)
