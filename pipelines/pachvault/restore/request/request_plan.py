"""Plans the restore that a file of the requests repo asks for.

Every file gets a plan: with work, done before, or refused with the reason in one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pachvault import cluster_project, policy
from pachvault import request as requests
from pachvault.errors import EXIT_OK, PachvaultError, UsageError
from pachvault.format.ids import digest
from pachvault.pach.source import Source
from pachvault.request import Request
from pachvault.restore.plan.fetch_shares import PlanWithShares
from pachvault.restore.plan.resolve import resolve
from pachvault.restore.request.retry_policy import value_or_error
from pachvault.restore.restore_messages import FetchShare, RestorePlan
from pachvault.restore.state.restore_records import finished
from pachvault.store.open_store import open_store
from pachvault.vault.vault import open_vault

SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """The folder of a request in the outputs, its plan, and at least one share for the fetch stage."""

    folder: str
    plan: RestorePlan
    shares: list[FetchShare]


def plan_request(name: str, data: bytes | None, source: Source) -> RequestPlan:
    """The plan of a request file; `data` is None where the name is that of a folder.

    Raises PachvaultError only for retryable errors.
    """
    try:
        request = _parse(name, data)
    except UsageError as error:
        # an id that no valid request has: no two files may write to one folder
        request_id = digest(b"\0".join([name.encode(), data or b""])).hex()
        return _request_plan(
            name, PlanWithShares(_without_work(request_id, "refused", str(error), error.exit_code), [])
        )
    resolved = value_or_error(lambda: _resolve(request, source))
    if isinstance(resolved, PachvaultError):
        resolved = PlanWithShares(_without_work(request.id, "refused", str(resolved), resolved.exit_code), [])
    return _request_plan(name, resolved)


def done_before(request_id: str, source: Source) -> dict[str, object] | None:
    """The record of a request that is finished; None for any other."""
    return next((record for record in finished(source) if record["request"] == request_id), None)


def _parse(name: str, data: bytes | None) -> Request:
    if data is None:
        raise UsageError("a request is a file, this is a folder", where=name)
    if not name.endswith(SUFFIX):
        raise UsageError(f"the name of a request ends in {SUFFIX}", where=name)
    try:
        return requests.parse(data.decode(), name)
    except UnicodeDecodeError as error:
        raise UsageError("not a text file", where=name) from error


def _resolve(request: Request, source: Source) -> PlanWithShares:
    record = done_before(request.id, source)
    if record is not None:
        when = str(record["finished_at"])[:16].replace("T", " ")
        before = "" if record.get("came_back") else f"done on {when} UTC: "
        return PlanWithShares(_without_work(request.id, "done", f"{before}{record['summary']}"), [])
    url = request.vault
    if url is None:
        url = policy.parse(
            cluster_project.policy_text(source), f"{cluster_project.POLICY}:{cluster_project.POLICY_FILE}"
        ).target
    return resolve(request, open_vault(open_store(url)), source)


def _without_work(
    request_id: str, status: Literal["done", "refused"], summary: str, exit_code: int = EXIT_OK
) -> RestorePlan:
    return RestorePlan(request_id=request_id, status=status, summary=summary, exit_code=exit_code)


def _request_plan(name: str, resolved: PlanWithShares) -> RequestPlan:
    plan = resolved.plan
    # the name for people, the id because a changed file of the same name is another request
    folder = f"{name.removesuffix(SUFFIX)}-{plan.request_id[:12]}"
    # a request without a share would have no datum downstream, and never a report
    shares = resolved.shares or [FetchShare(request_id=plan.request_id, number=0)]
    return RequestPlan(folder, plan, shares)
