"""pachvault: backup for Pachyderm whose logic is Pachyderm pipelines.

The Python interface is `create_backup_task`; see `pachvault.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pachvault.api import BackupTask, create_backup_task

__all__ = ["BackupTask", "__version__", "create_backup_task"]


def __getattr__(name: str) -> object:
    """Load the interface when it is asked for: the command does without most of it."""
    if name in ("BackupTask", "create_backup_task"):
        from pachvault import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module 'pachvault' has no attribute {name!r}")
