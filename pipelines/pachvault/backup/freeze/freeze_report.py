"""`report.md` of stage freeze: the plan for people."""

from __future__ import annotations

from pachvault import markdown
from pachvault.backup.backup_messages import Plan
from pachvault.backup.problem_tables import problem_tables
from pachvault.markdown import Table
from pachvault.syntax.quantities import counted


def freeze_report(plan: Plan) -> bytes:
    """What was frozen and is to be exported, or why nothing is."""
    facts = {
        "Policy": plan.policy,
        "Target": plan.target,
        "Run": plan.run_id,
        "Tick": markdown.at(plan.tick),
        "Frozen at": markdown.at(plan.frozen_at),
        "Pachyderm": plan.cluster.version if plan.cluster else "",
    }
    when = markdown.at(plan.tick or plan.frozen_at)
    if plan.status != "work":
        status = f"{plan.status}{markdown.failed(plan.exit_code)}"
        return markdown.report(
            f"Freeze{' of ' * bool(when)}{when}: {status}: {plan.summary}", facts, next_step=plan.next_step
        )
    repos = sorted(plan.repos, key=lambda repo: not repo.new)  # those with new commits first
    rows = [(str(repo.name), len(repo.branches), len(repo.new)) for repo in repos]
    new_count = sum(len(repo.new) for repo in plan.repos)
    sentence = (
        f"Freeze of {when}: {counted(len(plan.repos), 'repo')} with {counted(new_count, 'new commit')}, "
        f"about {markdown.size(plan.expected_bytes)} to export in {counted(plan.shares, 'share')}."
    )
    return markdown.report(
        sentence,
        facts,
        next_step="the result of the run will be in `seal@master:/report.md`",
        tables=[*problem_tables(plan.problems), Table("Repos", ("Repo", "Branches", "New commits"), rows)],
    )
