"""Rights in a cluster with authentication: which role gives which, and the command that grants it. Pure.

Pachyderm has fixed roles. A right on a repo comes from bindings of the cluster, the project or the repo.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

TO_READ = frozenset(
    {
        "REPO_READ",
        "REPO_INSPECT_COMMIT",
        "REPO_LIST_COMMIT",
        "REPO_LIST_BRANCH",
        "REPO_LIST_FILE",
        "REPO_INSPECT_FILE",
    }
)
"""What a backup does with a repo. Role repoReader has all of it."""
LIST_REPOS = "PROJECT_LIST_REPO"
FILE_SETS = "default/__filesets__"
"""The repo, which does not exist, that pachd checks where the files of a file set are listed."""
_ROLES = (
    (
        "repoReader",
        TO_READ | {"REPO_ADD_PIPELINE_READER", "REPO_REMOVE_PIPELINE_READER", "PIPELINE_LIST_JOB"},
    ),
    (
        "repoWriter",
        {
            "REPO_WRITE",
            "REPO_DELETE_COMMIT",
            "REPO_CREATE_BRANCH",
            "REPO_DELETE_BRANCH",
            "REPO_ADD_PIPELINE_WRITER",
        },
    ),
    ("repoOwner", {"REPO_MODIFY_BINDINGS", "REPO_DELETE"}),
    ("projectViewer", {LIST_REPOS}),
    ("projectWriter", {"PROJECT_CREATE_REPO"}),
    ("projectOwner", {"PROJECT_DELETE", "PROJECT_MODIFY_BINDINGS", "PROJECT_SET_DEFAULTS"}),
    ("projectCreator", {"PROJECT_CREATE"}),
    ("robotUser", {"CLUSTER_AUTH_GET_ROBOT_TOKEN"}),
    ("secretAdmin", {"CLUSTER_CREATE_SECRET", "CLUSTER_LIST_SECRETS", "SECRET_INSPECT", "SECRET_DELETE"}),
)
"""The least role that has each permission. Roles of one kind include those before them."""
_DENIED = re.compile(
    r"(?P<who>\S+) is not authorized to perform this operation - needs permissions "
    r"\[(?P<permissions>[A-Z_ ]+)\] on (?P<type>CLUSTER|PROJECT|REPO|SPEC_REPO) ?(?P<name>[\w./-]*?)\.? "
)
_UNBOUND = re.compile(r"no role binding exists for REPO " + re.escape(FILE_SETS))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What a role is bound to: the cluster, a project, or a repo of a project."""

    project: str = ""
    repo: str = ""

    def __str__(self) -> str:
        if self.repo:
            return f"repo {self.project}/{self.repo}"
        return f"project {self.project}" if self.project else "the cluster"


def role_for(permissions: Iterable[str]) -> str:
    """The least role that has all of these permissions; clusterAdmin where none of the others has."""
    wanted = set(permissions)
    for kind in ("repo", "project", "robot", "secret"):
        held: frozenset[str] = frozenset()
        for name, names in _ROLES:
            if name.startswith(kind):
                held = frozenset(names) if name == "projectCreator" else held | names
                if wanted <= held:
                    return name
    return "clusterAdmin"


def grant(principal: str, place: Place, roles: Iterable[str], held: Iterable[str] = ()) -> str:
    """The pachctl command that gives roles to a principal.

    It replaces what the principal has at that place, so roles that are `held` there are named with it.
    """
    text = ",".join(dict.fromkeys([*held, *roles]))
    if place.repo:
        return f"pachctl auth set repo {place.repo} {text} {principal} --project {place.project}"
    if place.project:
        return f"pachctl auth set project {place.project} {text} {principal}"
    return f"pachctl auth set cluster {text} {principal}"


def denial(reason: str) -> tuple[str, str] | None:
    """What pachd refused, and what to do: from the text of its refusal. None for another text."""
    if _UNBOUND.search(reason):
        return (
            "lacks REPO_LIST_FILE on file sets, which pachd looks up in project default",
            f"`{grant('CALLER', Place('default'), ['repoReader'])}`, CALLER as in `pachctl auth whoami`",
        )
    match = _DENIED.search(f"{reason} ")
    if match is None:
        return None
    permissions = match["permissions"].split()
    project, _, repo = match["name"].partition("/")
    place = Place() if match["type"] == "CLUSTER" else Place(project, repo)
    if match["name"] == FILE_SETS:
        place = Place("default")
    what = f"{match['who']} lacks {' and '.join(permissions)} on {place}"
    command = grant(match["who"], place, [role_for(permissions)])
    return what, f"`{command}` grants it; add the roles that `pachctl auth get` shows: it replaces them"
