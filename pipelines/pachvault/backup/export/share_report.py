"""The report of a share for people, beside its receipt."""

from __future__ import annotations

from datetime import timedelta

from pachvault import markdown
from pachvault.backup.backup_messages import Receipt
from pachvault.markdown import Table
from pachvault.syntax.quantities import counted, rounded_in_words


def share_report(receipt: Receipt, target: str) -> bytes:
    """What a share exported, and what could not be read."""
    failed = [item for item in receipt.items if item.problem is not None]
    exported = len({(item.project, item.repo, item.commit) for item in receipt.items if item.problem is None})
    reused = ", taken over from an earlier run" if receipt.is_reused else ""
    missing = f"; {counted(len(failed), 'commit')} could not be read" if failed else ""
    sentence = f"Share {receipt.number}: {counted(exported, 'commit')} exported{reused}{missing}."
    facts = {
        "Run": receipt.run_id,
        "Target": target,
        "Read": f"{counted(receipt.files_read, 'file')}, {markdown.size(receipt.bytes_read)}",
        "Known already": counted(receipt.files_known, "file"),
        "New": f"{counted(receipt.blobs_new, 'blob')}, {markdown.size(receipt.bytes_new)}",
        "Took": rounded_in_words(timedelta(seconds=receipt.seconds)),
    }
    rows = [(f"{item.project}/{item.repo}@{item.commit}", item.problem_kind, item.problem) for item in failed]
    return markdown.report(
        sentence, facts, tables=[Table("Could not be read", ("Commit", "Kind", "Why"), rows)]
    )
