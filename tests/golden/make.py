"""Makes a golden vault: `python tests/golden/make.py tests/golden/v1` writes `vault`, `expected.json` there.

The cluster is the embedded server, the backup is the product's own. What the vault must hold is written
down from the files as they were put, never from the vault. A golden vault is made once for a version of
the format and is never made again: that it stays readable is what it is for.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from blake3 import blake3

from embedded_pachyderm import daemon
from pachvault import policy
from pachvault.backup.backup import back_up
from pachvault.pach.connection import connect
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault import vault
from pachvault.vault.snapshots import Snapshot

Tree = dict[str, bytes]
ODD_NAMES = [
    "/odd name",
    "/a,b|c",
    "/back\\slash",
    "/.hidden",
    "/per%20cent",
    "/quo'te\"s",
    "/d.1/d-2/d_3/~",
    "/$x;y&z",
]
PIPELINE = {
    "pipeline": {"name": "count", "project": {"name": "golden"}},
    "transform": {
        "image": "debian:bookworm-slim",
        "cmd": ["sh"],
        "stdin": ["ls /pfs/notes > /pfs/out/count"],
    },
    "input": {"pfs": {"project": "golden", "repo": "notes", "branch": "master", "glob": "/"}},
}


def sparse(mebibytes: int, mark: bytes) -> bytes:
    """A file that is cut into several blobs and still takes next to no room."""
    block = mark.ljust(64 * 1024, b"\0")
    return b"".join(b"%08d" % number + block[8:] for number in range(mebibytes * 16))


class Course:
    """Puts files into repos, and keeps what they hold."""

    def __init__(self, target: Target, source: Source) -> None:
        self._target, self._source = target, source
        self.heads: dict[str, str] = {}
        self.trees: dict[str, Tree] = {}
        self.failed: dict[str, str] = {}

    def commit(
        self,
        place: str,
        put: Tree,
        *,
        delete: tuple[str, ...] = (),
        append: Tree | None = None,
        parent: str | None = None,
        error: str = "",
    ) -> str:
        """A commit on `project/repo@branch`; its id."""
        name, _, branch = place.partition("@")
        project, _, repo = name.partition("/")
        on = parent or self.heads.get(place)
        commit = self._target.start(project, repo, branch, parent=on, description=f"commit on {branch}")
        ref = CommitRef(project, repo, commit)
        self._target.change(ref, delete=delete, put=put.items(), append=(append or {}).items())
        self._target.finish(ref, error=error)
        self._source.commit(ref, wait=True)
        key = f"{name}@{commit}"
        if error:
            self.failed[key] = error
            return commit
        self.heads[place] = commit
        tree = dict(self.trees.get(f"{name}@{on}", {}))
        tree = {path: data for path, data in tree.items() if path not in delete} | put
        for path, data in (append or {}).items():
            tree[path] = tree.get(path, b"") + data
        self.trees[key] = tree
        return commit

    def move_head(self, place: str, commit: str) -> None:
        """Where the next commit on a branch goes."""
        self.heads[place] = commit


def first_act(course: Course) -> None:
    """An import with odd names and a large file, a second repo, a branch."""
    course.commit(
        "golden/data@master",
        {name: name.encode() for name in ODD_NAMES}
        | {"/empty": b"", "/large": sparse(6, b"large"), "/doomed": b"deleted later\n", "/copy": b"/.hidden"},
    )
    fork = course.commit("golden/data@master", {"/second": b"2\n"}, delete=("/doomed",))
    course.commit("golden/data@trial", {"/trial": b"on a branch\n"}, parent=fork)
    course.commit("golden/notes@master", {"/journal": b"day 1\n"})
    course.commit("golden/notes@master", {})


def second_act(course: Course) -> None:
    """An append, an insertion in the large file, a rename, a failed commit; the branch stays as it was."""
    large = sparse(6, b"large")
    middle = len(large) // 2
    course.commit("golden/data@master", {"/large": large[:middle] + b"inserted" + large[middle:]})
    course.commit("golden/notes@master", {}, append={"/journal": b"day 2\n"})
    course.commit("golden/data@master", {"/moved/second": b"2\n"}, delete=("/second",))
    course.commit(
        "golden/data@failed", {"/half": b"half"}, parent=course.heads["golden/data@master"], error="it broke"
    )


def expectation(course: Course, snapshot: Snapshot) -> dict[str, object]:
    """What must be read back from a snapshot just sealed."""
    return {
        "snapshot": snapshot.name.id,
        "branches": dict(sorted(course.heads.items())),
        "failed": dict(course.failed),
        "trees": {
            commit: {path: [len(data), blake3(data).hexdigest()] for path, data in sorted(tree.items())}
            for commit, tree in sorted(course.trees.items())
        },
    }


def make(folder: Path) -> None:
    """Fill `folder`, which must be new."""
    folder.mkdir(parents=True)
    place = folder.absolute() / "vault"
    vault.create(open_store(place.as_uri()))
    fields = {
        "version": 1,
        "name": "golden",
        "target": place.as_uri(),
        "sources": ["golden/*"],
        "outputs": "skip",
    }
    chosen = policy.validate(fields, "golden")
    expected = []
    with tempfile.TemporaryDirectory() as state:
        running = daemon.start(Path(state))
        try:
            with connect(running.address) as connection:
                target = Target(connection)
                target.ensure_project("golden", "a golden vault")
                target.ensure_repo("golden", "data", "odd names, a large file")
                target.ensure_repo("golden", "notes")
                course = Course(target, Source(connection))
                Pipelines(connection).create(json.dumps(PIPELINE), "golden")
                for act in (first_act, second_act):
                    act(course)
                    expected.append(expectation(course, back_up(running.address, None, chosen, Quiet(), 1)))
        finally:
            daemon.stop(Path(state))
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
