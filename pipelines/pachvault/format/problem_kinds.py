"""The kinds of problems that a manifest lists (docs/format.md, 8.4.2)."""

from __future__ import annotations

GONE = "gone"
HIDDEN = "hidden"
HEAD_MISSING = "head-missing"
INDEX_HEALED = "index-healed"
LEFT_OPEN = "left-open"
METADATA_LOST = "metadata-lost"
NOTHING_MATCHED = "nothing-matched"
UNSETTLED = "unsettled"
NOT_MIRRORED = "not-mirrored"
SETTINGS_UNREADABLE = "settings-unreadable"
SQUASHED = "squashed"
UNFINISHED = "unfinished"
UNKNOWN_FIELDS = "unknown-fields"
UNREADABLE = "unreadable"
CLOCKS_DIFFER = "clocks-differ"
REPO_DELETED = "repo-deleted"
REPO_MADE_ANEW = "repo-made-anew"
BRANCH_DELETED = "branch-deleted"
PIPELINE_DELETED = "pipeline-deleted"
PIPELINES_HIDDEN = "pipelines-hidden"
NOTES = frozenset(
    {
        INDEX_HEALED,
        METADATA_LOST,
        NOT_MIRRORED,
        UNSETTLED,
        UNFINISHED,
        SETTINGS_UNREADABLE,
        UNKNOWN_FIELDS,
        CLOCKS_DIFFER,
        REPO_DELETED,
        REPO_MADE_ANEW,
        BRANCH_DELETED,
        PIPELINE_DELETED,
        PIPELINES_HIDDEN,
    }
)
"""The kinds that are notes: they do not make a snapshot partial."""
