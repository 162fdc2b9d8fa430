"""Names and paths: which are legal, and the one form each is stored in."""

from __future__ import annotations

import posixpath
import re

from embedded_pachyderm.pfs.pfs_errors import PfsError

PROJECT_NAME_LIMIT = 51
DEFAULT_PROJECT = "default"

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_PRINTABLE = re.compile(r"[ -~]+")
_GLOB_CHARACTER = re.compile(r"[*?\[\]{}!()@+^]")
_COMMIT_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")


def check_name(name: str) -> None:
    """A repo's or branch's name."""
    if not _NAME.fullmatch(name):
        raise PfsError(
            f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed"
        )


def check_project_name(name: str) -> None:
    """A project's name: shorter, and it starts with a letter or digit."""
    excess = len(name) - PROJECT_NAME_LIMIT
    if excess > 0:
        problem = f'project name "{name}" is {excess} characters longer than the {PROJECT_NAME_LIMIT} max'
    elif not _NAME.fullmatch(name):
        problem = f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed"
    elif name[0] in "_-":
        problem = "project names must start with an alphanumeric character"
    else:
        return
    raise PfsError(f"invalid project name: {problem}")


def check_path(path: str) -> None:
    """A file's path: printable ASCII, nothing that a glob would read as its own."""
    if not _PRINTABLE.fullmatch(path):
        raise PfsError(f"path ({path}) invalid: only printable ASCII characters allowed")
    character = _GLOB_CHARACTER.search(path)
    if character:
        raise PfsError(f"path ({path}) invalid: globbing character ({character.group()}) not allowed in path")
    if any(element in {".", ".."} for element in path.split("/")):
        raise PfsError(f"path ({path}) invalid: relative file paths are not allowed")


def is_commit_id(text: str) -> bool:
    """Whether the text is a commit's id, else it may be a branch's name."""
    return bool(_COMMIT_ID.fullmatch(text))


def clean_path(path: str) -> str:
    """Absolute, without trailing or doubled slashes: `a//b/` is `/a/b`, nothing is `/`."""
    cleaned = posixpath.normpath(path or ".")
    if cleaned == ".":
        return "/"
    return "/" + cleaned.strip("/")


def as_directory(path: str) -> str:
    """The path as directories are stored, with a slash behind."""
    cleaned = clean_path(path)
    return cleaned if cleaned.endswith("/") else cleaned + "/"


def parent_directory(path: str) -> str:
    """The directory a file or directory lies in; the root's is the root."""
    return path[: path.rstrip("/").rfind("/") + 1] or "/"


def literal_prefix(glob: str) -> str:
    """What every path that the glob matches begins with."""
    first = _GLOB_CHARACTER.search(glob)
    return glob[: first.start()] if first else glob


def is_glob(text: str) -> bool:
    """Whether the text holds any character with a meaning in globs."""
    return bool(_GLOB_CHARACTER.search(text))
