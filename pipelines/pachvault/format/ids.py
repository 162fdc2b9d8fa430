"""Names and digests (docs/format.md, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

DIGEST_BYTES = 32


def digest(data: bytes | bytearray | memoryview, *more: bytes) -> bytes:
    """The BLAKE3 digest of `data` and `more`, one after the other: 32 bytes."""
    hasher = blake3(data)
    for part in more:
        hasher.update(part)
    return hasher.digest()


@dataclass(frozen=True, slots=True, order=True)
class RepoName:
    """A Pachyderm repo of type user, with its project."""

    project: str
    repo: str

    def __str__(self) -> str:
        return f"{self.project}/{self.repo}"

    @classmethod
    def parse(cls, text: str) -> RepoName:
        """`project/repo`, or `repo` in project `default`."""
        project, _, repo = text.rpartition("/")
        return cls(project or "default", repo)
