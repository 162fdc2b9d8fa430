"""The round trip as a law: what was backed up, in however many runs, comes back in another cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.backup import Backup
from e2e.cluster import Cluster, Project
from e2e.restored import assert_restored, nothing_left, remember, restore
from pachvault.pach.target import NewCommit

EXAMPLES = max(10, settings.default.max_examples // 2) if settings.default else 10

REPOS = ("one", "two", "three")
BRANCHES = ("master", "side", "x-1")
PATHS = ("/a", "/dir/b", "/dir/c", "/dir/sub/d", "/e f", "/log", "/x", "/x/y")
DATA = st.sampled_from([b"", b"1", b"22", b"three", b"4" * 5000]) | st.binary(max_size=40)


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does: deletes, then puts, then appends; a rename is a put and a delete."""

    delete: tuple[str, ...]
    put: dict[str, bytes]
    append: dict[str, bytes]
    error: str
    text: str


@dataclass(frozen=True, slots=True)
class Commit:
    repos: tuple[str, ...]
    """More than one: a commit set, in one transaction."""
    branch: str
    change: Change
    onto: int | None
    """A commit made before to stand on, moving the head, instead of the head itself."""


@dataclass(frozen=True, slots=True)
class Point:
    repo: str
    branch: str
    commit: int


@dataclass(frozen=True, slots=True)
class DeleteBranch:
    repo: str
    branch: str


@dataclass(frozen=True, slots=True)
class BackUp:
    """A run."""


CHANGES = st.builds(
    Change,
    delete=st.lists(st.sampled_from([*PATHS, "/dir/", "/x/"]), max_size=2).map(tuple),
    put=st.dictionaries(st.sampled_from(PATHS), DATA, max_size=3),
    append=st.dictionaries(st.sampled_from(PATHS), DATA, max_size=2),
    error=st.sampled_from(["", "", "", "", "it failed"]),
    text=st.sampled_from(["", "", "a text", "two\nlines"]),
)
COMMITS = st.builds(
    Commit,
    repos=st.lists(st.sampled_from(REPOS), min_size=1, max_size=3, unique=True).map(tuple),
    branch=st.sampled_from(BRANCHES),
    change=CHANGES,
    onto=st.none() | st.none() | st.integers(0, 20),
)
POINTS = st.builds(Point, st.sampled_from(REPOS), st.sampled_from(BRANCHES), st.integers(0, 20))
DELETES = st.builds(DeleteBranch, st.sampled_from(REPOS), st.sampled_from(BRANCHES))
STORIES = st.lists(
    COMMITS | COMMITS | COMMITS | POINTS | DELETES | st.just(BackUp()), min_size=3, max_size=16
)


@dataclass(slots=True)
class Teller:
    """Makes a story happen in a project."""

    project: Project
    made: dict[str, list[str]] = field(default_factory=lambda: {repo: [] for repo in REPOS})

    def commit(self, step: Commit) -> None:
        project = self.project
        opened = project.cluster.target.start_together(
            [
                NewCommit(project.name, repo, step.branch, self._parent(repo, step.onto), step.change.text)
                for repo in step.repos
            ]
        )
        for repo, commit in zip(step.repos, opened, strict=True):
            change = step.change
            deletes = change.delete if project.cluster.source.commit(project.ref(repo, commit)).parent else ()
            files = _possible(self._tree_below(repo, commit), deletes, change)
            project.change(repo, commit, delete=deletes, put=files[0], append=files[1])
            project.finish(repo, commit, step.change.error)
            self.made[repo].append(commit)

    def point(self, step: Point) -> None:
        if self.made[step.repo]:
            commits = self.made[step.repo]
            self.project.branch(step.repo, step.branch, commits[step.commit % len(commits)])

    def delete_branch(self, step: DeleteBranch) -> None:
        if step.branch in self.project.heads(step.repo):
            self.project.delete_branch(step.repo, step.branch)

    def _parent(self, repo: str, onto: int | None) -> str | None:
        commits = self.made[repo]
        return None if onto is None or not commits else commits[onto % len(commits)]

    def _tree_below(self, repo: str, commit: str) -> set[str]:
        parent = self.project.cluster.source.commit(self.project.ref(repo, commit)).parent
        while parent is not None:
            info = self.project.cluster.source.commit(self.project.ref(repo, parent))
            if not info.error:
                return set(self.project.tree(repo, parent))
            parent = info.parent
        return set()


def _possible(
    tree: set[str], deletes: tuple[str, ...], change: Change
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The puts and appends that leave no path both a file and a directory, which Pachyderm refuses."""
    left = {path for path in tree if not any(path == gone or (path.startswith(gone) and gone.endswith("/"))
                                             for gone in deletes)}  # fmt: skip
    put, append = {}, {}
    for wanted, kept in ((change.put, put), (change.append, append)):
        for path, data in wanted.items():
            clash = {"/x": "/x/y", "/x/y": "/x"}.get(path)
            if clash not in left:
                kept[path] = data
                left.add(path)
    return put, append


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    """One to back up, one to restore into."""
    pair = Cluster(tmp_path_factory.mktemp("from")), Cluster(tmp_path_factory.mktemp("to"))
    yield pair
    for cluster in pair:
        cluster.close()


@settings(max_examples=EXAMPLES)
@given(story=STORIES)
def test_a_history_comes_back_whole(clusters: tuple[Cluster, Cluster], story: list[object]) -> None:
    """restore(all) into an empty cluster = the source: graph, trees, heads, texts, errors, commit sets."""
    source, target = clusters
    project = source.project()
    teller = Teller(project)
    with tempfile.TemporaryDirectory() as folder:
        backup = Backup.of(project, Path(folder))
        for repo in REPOS:
            project.repo(repo, f"about {repo}")
        for step in [*story, BackUp()]:
            if isinstance(step, Commit):
                teller.commit(step)
            elif isinstance(step, Point):
                teller.point(step)
            elif isinstance(step, DeleteBranch):
                teller.delete_branch(step)
            elif any(any(project.heads(repo).values()) for repo in REPOS):
                backup.run()
        old = {name: repo for name, repo in remember(project).items() if any(repo.heads.values())}
        if not old:
            return
        for _ in range(2):  # a second time nothing is there twice
            outcome = restore(backup, target, "--history", "all", "--from", "vault", "--quiet")
            assert outcome.code == 0, outcome.err
            again = Project(target, project.name)
            assert_restored(again, old)
            nothing_left(target, again)
