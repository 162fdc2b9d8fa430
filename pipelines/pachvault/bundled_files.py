"""The files that come with the package: the pipelines' specs, and examples of what users write."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

STAGES = ("freeze", "export", "seal", "backup_verdict")
"""The pipelines of a backup, each after those that it reads."""
MAINTENANCE_STAGES = ("maintenance", "maintenance_verdict")
"""The pipeline that verifies, forgets and prunes, and the one whose jobs fail where it found something."""
RESTORE_STAGES = ("restore_plan", "restore_fetch", "restore_replay", "restore_verdict")
"""The pipelines that carry out restore requests."""
ALL_STAGES = (*STAGES, *MAINTENANCE_STAGES, *RESTORE_STAGES)
EXAMPLES = ("policy.yaml", "request.yaml")


def spec(stage: str) -> str:
    """A pipeline's spec."""
    return text(f"{stage}.json")


def text(name: str) -> str:
    """The text of a bundled file."""
    return _folder().joinpath(name).read_text(encoding="utf-8")


def names() -> list[str]:
    """The names of all bundled files."""
    return [*(f"{stage}.json" for stage in ALL_STAGES), *EXAMPLES]


def _folder() -> Traversable:
    packaged = files("pachvault").joinpath("specs")
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "specs"  # a checkout
