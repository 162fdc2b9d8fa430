"""The policy that the cluster holds, for commands that were given none."""

from __future__ import annotations

from pachvault import home, policy
from pachvault.errors import UsageError
from pachvault.pach.connection import Connection
from pachvault.pach.source import Source
from pachvault.policy import Policy

WHERE = f"{home.POLICY}:{home.POLICY_FILE}"


def committed(connection: Connection, hint: str) -> Policy:
    """The policy in the cluster; UsageError, with the hint where there is none."""
    try:
        text = home.policy_text(Source(connection))
    except UsageError as error:
        error.hint = hint
        raise
    return policy.parse(text, WHERE)
