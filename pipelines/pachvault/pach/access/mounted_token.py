"""The auth token of a worker's robot user: a file that a mounted Kubernetes secret holds."""

from __future__ import annotations

from pathlib import Path

from pachvault.errors import UsageError

FOLDER = "/run/secrets/pachvault"
"""Where specs mount the secret."""
KEY = "token"
"""Its name in the secret, hence the name of the file."""


def read() -> str | None:
    """The token; None where no secret is mounted. Read at each start: the file is renewed meanwhile."""
    file = Path(FOLDER) / KEY
    try:
        return file.read_text(encoding="ascii").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the auth token cannot be read", where=str(file)) from error
