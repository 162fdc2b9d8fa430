"""What the caller may not see or read of a cluster with authentication: never a silent gap.

pachd leaves repos and pipelines out of its listings without a word where the caller lacks a right. It lists
every project, with the caller's permissions, so what is left out is known by project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pachvault.errors import NotAllowedError, TransientError
from pachvault.format.documents import Roles
from pachvault.format.ids import RepoName
from pachvault.format.manifest import Problem
from pachvault.format.problem_kinds import HIDDEN, PIPELINES_HIDDEN, UNREADABLE
from pachvault.pach.access import rights
from pachvault.pach.access.rights import Place
from pachvault.pach.records import RepoInfo
from pachvault.pach.settings import Settings
from pachvault.policy import DRILL_PROJECT, Policy

_NAMED = 10
"""Hidden projects that a note names."""


@dataclass(slots=True)
class Gaps:
    """Projects that hide their repos and pipelines, and repos that are listed and may not be read."""

    hidden: frozenset[str] = frozenset()
    unreadable: dict[RepoName, str] = field(default_factory=dict)
    """With what was refused, where a call was."""

    def hides(self, repo: RepoName) -> bool:
        """Whether nothing is known about a repo that is not listed."""
        return repo.project in self.hidden

    def may_read(self, repo: RepoInfo) -> bool:
        """Whether a listed repo may be read; if not, that is noted."""
        if repo.lacking:
            self.unreadable[repo.name] = ""
        return not repo.lacking

    def refused(self, repo: RepoName, error: NotAllowedError) -> None:
        """Note a call about a repo that was refused, though its listing permits it."""
        self.unreadable[repo] = str(error)


def problems(gaps: Gaps, policy: Policy, listed: Iterable[RepoName], settings: Settings) -> list[Problem]:
    """A problem for each gap in what the policy chooses, with the command that closes it."""
    unreadable = {repo: reason for repo, reason in gaps.unreadable.items() if policy.reaches_all_of(repo)}
    names = frozenset(listed)
    reached = sorted(name for name in gaps.hidden if policy.reaches_unlisted(name, names))
    others = sorted(gaps.hidden - {*reached, DRILL_PROJECT}) if policy.pipelines == "include" else []
    if not unreadable and not reached and not others:
        return []
    caller = _Caller(settings)
    return [
        *(_hidden(project, caller) for project in reached),
        *(_unreadable(repo, reason, caller) for repo, reason in sorted(unreadable.items())),
        *([_pipelines_hidden(others, caller)] if others else []),
    ]


class _Caller:
    """Who reads the cluster, and the commands that give it roles."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def name(self) -> str:
        return self._settings.caller()

    def grant(self, place: Place, *roles: str) -> str:
        try:
            bound: Mapping[str, list[str]] = self._bound(place) or {}
        except TransientError:
            raise
        except NotAllowedError:
            bound = {}
        return rights.grant(self.name, place, roles, bound.get(self.name, []))

    def _bound(self, place: Place) -> Roles | None:
        if place.repo:
            return self._settings.repo_roles(RepoName(place.project, place.repo))
        return (
            self._settings.project_roles(place.project) if place.project else self._settings.cluster_roles()
        )


def _hidden(project: str, caller: _Caller) -> Problem:
    command = caller.grant(Place(project), "projectViewer", "repoReader")
    message = (
        f"{caller.name} lacks {rights.LIST_REPOS} on project {project}, which hides its repos and pipelines; "
        f"they are not saved: `{command}` grants it, or `exclude: [{project}/*]` in the policy leaves it out"
    )
    return Problem(repo=f"{project}/*", kind=HIDDEN, message=message)


def _unreadable(repo: RepoName, reason: str, caller: _Caller) -> Problem:
    if reason:  # a call was refused, and the error names the right
        return Problem(repo=str(repo), kind=UNREADABLE, message=reason)
    command = caller.grant(Place(repo.project, repo.repo), "repoReader")
    message = f"{caller.name} lacks REPO_READ on repo {repo}: `{command}` grants it"
    return Problem(repo=str(repo), kind=UNREADABLE, message=message)


def _pipelines_hidden(projects: list[str], caller: _Caller) -> Problem:
    command = caller.grant(Place(), "projectViewer")
    more = f" and {len(projects) - _NAMED} more" if len(projects) > _NAMED else ""
    message = (
        f"{caller.name} lacks {rights.LIST_REPOS} on projects that are no sources; the definitions of their "
        f"pipelines are not saved: {', '.join(projects[:_NAMED])}{more}: `{command}` grants it for all"
    )
    return Problem(repo="*", kind=PIPELINES_HIDDEN, message=message)
