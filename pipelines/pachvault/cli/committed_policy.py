"""The policy in the cluster, for commands that were given none."""

from __future__ import annotations

from pachvault import cluster_project, policy
from pachvault.errors import UsageError
from pachvault.pach.connection import Connection
from pachvault.pach.source import Source
from pachvault.policy import Policy
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault

WHERE = f"{cluster_project.POLICY}:{cluster_project.POLICY_FILE}"


def in_force(connection: Connection, vault_url: str | None, hint: str) -> Policy:
    """The policy in the cluster, for commands that write to its target, or to `vault_url` if one is given.

    Raises UsageError also for a policy that a restore brought from another cluster.
    """
    chosen = committed(connection, hint)
    # a vault that is named is the user's own choice: then the policy's target is not written to
    if vault_url is not None:
        return chosen.model_copy(update={"target": vault_url})
    cluster_project.check_in_force(Source(connection), open_vault(open_store(chosen.target)), chosen.name)
    return chosen


def committed(connection: Connection, hint: str) -> Policy:
    """The policy in the cluster. Raises UsageError, with this hint, if there is none."""
    try:
        text = cluster_project.policy_text(Source(connection))
    except UsageError as error:
        error.hint = hint
        raise
    return policy.parse(text, WHERE)
