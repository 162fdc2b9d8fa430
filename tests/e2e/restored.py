"""What a restore must bring back: a project as it was, and whether another cluster has it, byte for byte.

Old commits are known again by the line that pachvault adds to their descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from e2e.backup import Backup
from e2e.cli import Outcome, pachvault
from e2e.cluster import Cluster, Project, Tree
from e2e.oracle import assert_equal
from pachvault.format.ids import RepoName

_LINE = re.compile(
    r"(?:(?P<text>.*)\n)?restored by pachvault, .* from (?P<repo>\S+)@(?P<id>[0-9a-f]+), .*", re.S
)


@dataclass(frozen=True, slots=True)
class OldCommit:
    """A commit as it was."""

    parent: str | None
    text: str
    error: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class OldRepo:
    """Branch to head, and every commit that a head leads to."""

    description: str
    heads: Mapping[str, str]
    commits: Mapping[str, OldCommit]


def remember(project: Project) -> dict[str, OldRepo]:
    """A project as it is now."""
    repos = {}
    descriptions = {repo.name: repo.description for repo in project.cluster.source.repos()}
    for name in project.repos():
        heads = project.heads(name)
        commits: dict[str, OldCommit] = {}
        for head in heads.values():
            current: str | None = head or None
            while current is not None and current not in commits:
                info = project.cluster.source.commit(project.ref(name, current))
                tree = {} if info.error else project.tree(name, current)
                commits[current] = OldCommit(info.parent, info.description, info.error, tree)
                current = info.parent
        description = next(text for repo, text in descriptions.items() if repo.repo == name and
                           repo.project == project.name)  # fmt: skip
        repos[name] = OldRepo(description, heads, commits)
    return repos


def restore(backup: Backup, cluster: Cluster, *arguments: str, what: str | None = None) -> Outcome:
    """Restore the backup's project into a cluster, however that ends."""
    where = ["--vault", backup.vault.url, "--pachd", cluster.address]
    return pachvault(*where, "restore", *([what or backup.project.everything()]), *arguments)


def line_of(project: Project, repo: str, branch: str = "master") -> list[str]:
    """The commits of a branch, newest first."""
    commits = []
    current: str | None = project.heads(repo)[branch]
    while current is not None:
        commits.append(current)
        current = project.cluster.source.commit(project.ref(repo, current)).parent
    return commits


def new_ids(project: Project, repo: str) -> dict[str, str]:
    """Old commit to the restored one; AssertionError where one was restored twice."""
    new_of_old: dict[str, str] = {}
    for commit in project.cluster.source.commits(RepoName(project.name, repo)):
        match = _LINE.fullmatch(commit.description)
        if match and commit.finished_at is not None:
            assert match["id"] not in new_of_old, f"{match['id']} was restored twice"
            new_of_old[match["id"]] = commit.id
    return new_of_old


def assert_restored(project: Project, old: Mapping[str, OldRepo]) -> None:
    """The project is what was remembered: same graph, heads, texts, errors, trees, and commit sets."""
    assert project.repos() == sorted(old)
    maps = {}
    for name, repo in old.items():
        ids = maps[name] = new_ids(project, name)
        assert ids.keys() == repo.commits.keys()
        assert project.heads(name) == {branch: ids[head] for branch, head in repo.heads.items() if head}
        for commit, was in repo.commits.items():
            now = project.cluster.source.commit(project.ref(name, ids[commit]))
            assert now.parent == (ids[was.parent] if was.parent else None)
            match = _LINE.fullmatch(now.description)
            assert match is not None
            assert (match["text"] or "", now.error) == (was.text, was.error)
            if not was.error:
                assert_equal(project.tree(name, ids[commit]), was.tree, f"{name}@{commit}")
    assert_sets_kept(maps)


def assert_sets_kept(maps: Mapping[str, Mapping[str, str]]) -> None:
    """Commits of several repos share an id exactly where they did."""
    sets: dict[str, set[str]] = {}
    for ids in maps.values():
        for was, now in ids.items():
            sets.setdefault(was, set()).add(now)
    assert all(len(now) == 1 for now in sets.values()), "a commit set was torn apart"
    assert len({next(iter(now)) for now in sets.values()}) == len(sets), "two commit sets were joined"


def nothing_left(cluster: Cluster, *projects: Project) -> None:
    """No staging repo, no hidden branch and no open commit remains."""
    repos = [str(info.name) for info in cluster.source.repos()]
    assert not [name for name in repos if "/staging-" in name]
    for project in projects:
        for repo in project.repos():
            assert not [name for name in project.heads(repo) if name.startswith("pachvault-")]
            commits = cluster.source.commits(RepoName(project.name, repo))
            assert not [commit.id for commit in commits if commit.finished_at is None]
