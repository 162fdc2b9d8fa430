"""A whole restore from a shell: plan, stage, then `apply.carry_out`."""

from __future__ import annotations

from functools import lru_cache
from time import monotonic

from pachvault.errors import DamageError
from pachvault.pach.connection import Connection, connect, retrying
from pachvault.pach.source import Source
from pachvault.pach.target import Target
from pachvault.pach.worker_processes import spread
from pachvault.request import Request
from pachvault.restore.apply.apply import carry_out
from pachvault.restore.plan.fetch_shares import PlanWithShares
from pachvault.restore.plan.resolve import resolve
from pachvault.restore.restore_messages import FetchShare
from pachvault.restore.restore_report import RestoreReport
from pachvault.restore.stage.staging import fetch
from pachvault.restore.state.lock_holder import LockHolder
from pachvault.restore.state.request_lock import held
from pachvault.runtime.progress import Progress
from pachvault.store.open_store import open_store
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.vault import Vault, open_vault


def plan_only(address: str, token: str | None, request: Request, vault: Vault) -> PlanWithShares:
    """The dry run."""
    with connect(address, token) as connection:
        return resolve(request, vault, Source(connection))


def restore(
    address: str, token: str | None, request: Request, vault: Vault, progress: Progress, workers: int = 1
) -> RestoreReport:
    """Carry out a request. After a crash, it continues where it was when it is called again.

    Raises HeldError while another run carries it out.
    """
    with connect(address, token) as connection:
        source, target = Source(connection), Target(connection)
        progress.start("plan", 0)
        resolved = resolve(request, vault, source)
        plan = resolved.plan
        progress.say(f"plan: {plan.summary}")
        # the plan holds even if another run of the request acted since: what that one did is found
        with held(source, target, request.id, LockHolder.this_process()) as lock:
            if resolved.shares:
                lock.enter("fetch")
            began = monotonic()
            # every stage continues where it was, so a temporary failure is retried as a whole
            try:
                fetched = _fetch_all(connection, resolved, vault, address, token, progress, workers)
                return retrying()(
                    carry_out,
                    source,
                    target,
                    vault,
                    plan,
                    lock,
                    progress,
                    staged_bytes=_bytes(resolved.shares),
                    # parts that an earlier run staged cost no time here: the throughput would look too good
                    began=began if fetched == plan.shares else None,
                )
            except DamageError:
                lock.give_up()
                raise


def _fetch_all(
    connection: Connection,
    resolved: PlanWithShares,
    vault: Vault,
    address: str,
    token: str | None,
    progress: Progress,
    workers: int,
) -> int:
    """Stage all parts. Returns how many were not staged yet."""
    shares = resolved.shares
    if not shares:
        return 0
    progress.start("fetch", _bytes(shares))
    if workers > 1 and len(shares) > 1:
        return sum(spread(_fetch, None, shares, address, token, progress, workers))
    source, target = Source(connection), Target(connection)
    reader = BlobReader(vault, blob_index.load_places(vault))
    return sum(retrying()(fetch, source, target, vault, share, progress, reader) for share in shares)


def _bytes(shares: list[FetchShare]) -> int:
    return sum(share.part.span.size_bytes for share in shares if share.part)


def _fetch(connection: Connection, _: None, share: FetchShare, progress: Progress) -> bool:
    """Stage a share in a worker process."""
    reader, source, target = _reader(share.vault), Source(connection), Target(connection)
    return retrying()(fetch, source, target, reader.vault, share, progress, reader)


@lru_cache(maxsize=1)
def _reader(url: str) -> BlobReader:
    """Loads the index once in a process, not for each share. These processes live as long as one fetch."""
    vault = open_vault(open_store(url))
    return BlobReader(vault, blob_index.load_places(vault))
