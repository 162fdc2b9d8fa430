"""The demo's data: the interpreter's own library, as a team would keep it in Pachyderm."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from pachvault.pach.source import CommitRef
from pachvault.pach.target import Target

FILES_BYTES_AT_MOST = 8 * 1024 * 1024


class Story:
    """Two projects, four repos, and what happens to them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._heads: dict[tuple[str, str, str], str] = {}

    def first_act(self) -> int:
        """Projects, repos, and their first commits, a second branch among them; files written."""
        for project, about in (("library", "the standard library"), ("research", "notes and figures")):
            self._target.ensure_project(project, about)
        parts = (
            ("library", "core"),
            ("library", "network"),
            ("research", "samples"),
            ("research", "journal"),
        )
        for project, repo in parts:
            self._target.ensure_repo(project, repo, f"demo data: {repo}")
        files = list(_library())
        core = [file for file in files if file[0].split("/")[1][0] < "h"]
        network = [file for file in files if "h" <= file[0].split("/")[1][0] < "p"]
        samples = [file for file in files if file[0].split("/")[1][0] >= "p"]
        self._commit("library", "core", "import", put=core)
        self._commit("library", "network", "import", put=network)
        self._commit("research", "samples", "import", put=samples)
        self._commit("research", "journal", "begin", append=[("/journal.txt", b"day 1: data imported\n")])
        self._commit("research", "journal", "empty on purpose")
        self._commit("library", "core", "tidy up", delete=[core[0][0]], put=[("/NOTES", b"tidied\n")])
        self._commit(
            "library", "core", "experiment", branch="trial", put=[("/trial.py", b"print('trial')\n")]
        )
        return len(files)

    def second_act(self) -> None:
        """A change, a deletion, a rename and an append."""
        name, data = next(file for file in _library() if file[0].startswith("/json/decoder"))
        self._commit("library", "network", "fix", put=[(name, data + b"\n# fixed\n")])
        moved, content = next(file for file in _library() if file[0].startswith("/argparse"))
        self._commit("library", "core", "rename", delete=[moved], put=[("/cli/argparse.py", content)])
        self._commit("library", "core", "drop", delete=["/NOTES"])
        self._commit("research", "journal", "day 2", append=[("/journal.txt", b"day 2: fixed, renamed\n")])

    def _commit(
        self,
        project: str,
        repo: str,
        description: str,
        *,
        branch: str = "master",
        delete: Iterable[str] = (),
        put: Iterable[tuple[str, bytes]] = (),
        append: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        parent = self._heads.get((project, repo, branch)) or self._heads.get((project, repo, "master"))
        commit = self._target.start(project, repo, branch, parent=parent, description=description)
        ref = CommitRef(project, repo, commit)
        self._target.change(ref, delete=delete, put=put, append=append)
        self._target.finish(ref)
        self._heads[project, repo, branch] = commit


def _library() -> Iterator[tuple[str, bytes]]:
    """The standard library's source files; those with names that Pachyderm refuses are left out."""
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"__pycache__", "site-packages", "dist-packages"}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if left_out & set(parts) or not path.is_file() or path.stat().st_size > FILES_BYTES_AT_MOST:
            continue
        name = "/" + "/".join(parts)
        if name.isascii() and not set(name) & set("*?[]{}!()@+^"):
            yield name, path.read_bytes()
