"""The reports of a request for people, beside the JSON documents of the three stages of a restore."""

from __future__ import annotations

from datetime import datetime

from pachvault import markdown
from pachvault.markdown import Table, listing
from pachvault.restore.request.request_result import NEXT_STEPS, RequestResult
from pachvault.restore.restore_messages import FetchReceipt, RestorePlan
from pachvault.syntax.quantities import counted


def plan_report(folder: str, plan: RestorePlan) -> bytes:
    """What a request would do, or why it does nothing."""
    name = _name(folder)
    facts = _facts(plan.request_id, plan.vault, plan.snapshot, plan.frozen_at)
    if plan.status != "work":
        status = f"{plan.status}{markdown.failed(plan.exit_code)}"
        return markdown.report(
            f"Restore {name}: {status}: {plan.summary}",
            facts,
            next_step=NEXT_STEPS.get(plan.status, ""),
        )
    rows = [
        (repo.source, f"{repo.target}@{branch.name}", branch.action, branch.head, len(repo.steps))
        for repo in plan.repos
        for branch in repo.branches
    ]
    facts["Shares to fetch"] = plan.shares
    return markdown.report(
        f"Restore {name} is planned: {plan.summary}.",
        facts,
        next_step=f"the result will be in `restore_replay@master:/{folder}/report.md`",
        tables=[
            listing("Cannot be restored", [*plan.lost, *plan.not_restored]),
            Table("Branches", ("From", "To", "Action", "Commit", "Commits of the repo"), rows),
            listing("Pipelines to create", plan.new_pipelines),
            listing("Notes", plan.notes),
        ],
    )


def receipt_report(folder: str, receipt: FetchReceipt, *, has_part: bool) -> bytes:
    """What became of a share of a request."""
    if receipt.problem:
        outcome = f"cannot be fetched: {receipt.problem}"
    elif not has_part:
        outcome = "has nothing to fetch: the request has no large change"
    else:
        outcome = "is staged" if receipt.staged else "was staged already"
    return markdown.report(
        f"Restore {_name(folder)}: share {receipt.number} {outcome}", {"Request": receipt.request_id}
    )


def result_report(folder: str, result: RequestResult) -> bytes:
    """The result of a request."""
    sentence = (
        f"Restore {_name(folder)}: {result.status}{markdown.failed(result.exit_code)}: {result.summary}"
    )
    facts = _facts(result.request, result.vault, result.snapshot, result.frozen_at)
    facts["Finished at"] = (result.finished_at or "")[:19].replace("T", " ")
    commits = sum(len(ids) for ids in result.ids.values())
    facts["Restored"] = (
        f"{counted(commits, 'commit')}: `ids.json` has their old and new ids" if commits else ""
    )
    differences = [
        (f"{difference['repo']}@{difference['commit']}", difference["path"], difference["message"])
        for difference in result.differences
    ]
    return markdown.report(
        sentence,
        facts,
        next_step=result.next_step,
        tables=[
            listing("Not restored", [*result.lost, *result.not_restored]),
            Table("Different from the vault", ("Commit in the snapshot", "File", "How"), differences),
            listing("Branches that keep what differs", result.kept),
            listing("Branches", result.targets),
            listing("Pipelines that were created", result.pipelines),
            listing("Notes", result.notes),
        ],
    )


def _facts(request: str, vault: str, snapshot: str, frozen_at: datetime | None) -> dict[str, object]:
    return {
        "Snapshot": snapshot,
        "Frozen at": markdown.at(frozen_at),
        "Vault": vault,
        "Request": request,
    }


def _name(folder: str) -> str:
    """The name of the request file, without the digits of its id."""
    return folder.rpartition("-")[0]
