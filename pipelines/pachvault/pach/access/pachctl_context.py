"""The active context of pachctl: where its cluster is, its CA, and the token of `pachctl auth login`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pachvault.errors import UsageError
from pachvault.pach.access.address import with_tls


@dataclass(frozen=True, slots=True)
class PachctlContext:
    """One context, as far as it tells how to reach a cluster."""

    name: str
    address: str
    """As `Address.parse` takes it."""
    token: str | None


def active(environment: Mapping[str, str]) -> PachctlContext | None:
    """The context that pachctl would use; None where there is no configuration, or no address in it.

    Raises UsageError where the configuration cannot be read.
    """
    file = environment.get("PACH_CONFIG") or str(
        Path(environment.get("HOME") or "~") / ".pachyderm/config.json"
    )
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
        v2 = _get(document, "v2") or {}
        name = environment.get("PACH_CONTEXT") or _get(v2, "active_context") or ""
        context = (_get(v2, "contexts") or {}).get(name) or {}
        address, cas = str(_get(context, "pachd_address") or ""), str(_get(context, "server_cas") or "")
        token = str(_get(context, "session_token") or "")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"pachctl's configuration cannot be read: {error.strerror}", where=file) from error
    except (ValueError, AttributeError) as error:
        raise UsageError("not a configuration of pachctl", where=file, hint="or give --pachd") from error
    if not address:
        return None
    ca = f"base64:{cas}" if cas else None
    return PachctlContext(name, with_tls(address, ca, None), token or None)


def _get(document: Any, name: str) -> Any:
    """A field, whose name protobuf's JSON may have in either form."""
    first, *others = name.split("_")
    return document.get(name, document.get(first + "".join(other.title() for other in others)))
