"""The environment of user code: the variables of any worker, and the secrets in its spec."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded_pachyderm.pps.state import State

#: All that user code gets of the server's own environment, beside the PATH.
_INHERITED = ("HOME", "LANG", "LC_ALL", "TZ")


def basic(port: int, sidecar_port: int, worker: str) -> dict[str, str]:
    """The variables of a real worker that have a meaning here; all addresses are those of this server."""
    variables = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # The commands of the server's own Python environment come first: specs name `pachvault`.
    own = str(Path(sys.executable).parent)
    return variables | {
        "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)]),
        "HOSTNAME": worker,
        "PACHD_PEER_SERVICE_HOST": "127.0.0.1",
        "PACHD_PEER_SERVICE_PORT": str(port),
        "PACHD_SERVICE_HOST": "127.0.0.1",
        "PACHD_SERVICE_PORT": str(port),
        "PACH_IN_WORKER": "true",
        "PACH_NAMESPACE": "default",
        "PEER_PORT": str(sidecar_port),
        "PPS_POD_NAME": worker,
        "PPS_WORKER_IP": "127.0.0.1",
    }


@dataclass(frozen=True, slots=True)
class MountedSecrets:
    """Secrets as variables, and as folders by where they are to be mounted."""

    variables: Mapping[str, str]
    mounts: Mapping[str, Path]


@contextmanager
def secrets(state: State, transform: Any, scratch: Path) -> Iterator[MountedSecrets]:
    """The secrets of a transform; their folders last as long as the context."""
    folder = scratch / f"secrets-{uuid.uuid4().hex}"
    variables: dict[str, str] = {}
    mounts: dict[str, Path] = {}
    try:
        for number, wanted in enumerate(transform.secrets):
            row = state.secret(wanted.name)
            data = {} if row is None else row.data
            if wanted.env_var:
                variables[wanted.env_var] = data.get(wanted.key, "")
            if wanted.mount_path:
                place = folder / str(number)
                place.mkdir(parents=True, mode=0o700)
                for name, value in data.items():
                    (place / name).write_text(value)
                mounts[wanted.mount_path] = place
        yield MountedSecrets(variables, mounts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
