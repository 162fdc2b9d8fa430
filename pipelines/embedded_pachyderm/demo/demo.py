"""The demo's course: start, fill, deploy, tick, change, tick again, read back, compare, recover."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from embedded_pachyderm import daemon
from embedded_pachyderm.demo.demo_damage import damage, lost
from embedded_pachyderm.demo.demo_data import Story
from embedded_pachyderm.demo.demo_recovery import recover
from pachvault.bundled_files import STAGES
from pachvault.deploy.deploy import deploy
from pachvault.errors import PachvaultError
from pachvault.extract import extract
from pachvault.extract.folder import opened
from pachvault.format.ids import RepoName
from pachvault.pach.connection import Connection, connect
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.runtime.progress import Quiet
from pachvault.store.open_store import open_store
from pachvault.vault import snapshots, vault
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault

_USER_PIPELINE = {
    "pipeline": {"name": "lines", "project": {"name": "research"}},
    "description": "Counts the lines of every module of library/core.",
    "transform": {
        "image": "debian:bookworm-slim",
        "cmd": ["sh"],
        "stdin": ["cd /pfs/core && find . -name '*.py' | sort | xargs wc -l > /pfs/out/lines.txt"],
    },
    "input": {"pfs": {"project": "library", "repo": "core", "branch": "master", "glob": "/"}},
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the demo took: for T = n × t and R = D / B."""

    backup_seconds: tuple[float, ...]
    restore_seconds: float
    restored_bytes: int


def demo(folder: Path, say: Say) -> Measured:
    """Run the demo in `folder`; PachvaultError where anything is not as it should be.

    The embedded Pachyderm is stopped at the end, its data and the vault stay.
    """
    state = folder / "pachyderm"
    running = daemon.start(state)
    say(f"embedded Pachyderm at {running.address}, its data in {state}")
    try:
        with connect(running.address) as connection:
            return _course(connection, folder, say)
    finally:
        daemon.stop(state)


def _course(connection: Connection, folder: Path, say: Say) -> Measured:
    pipelines = Pipelines(connection)
    story = Story(Target(connection))
    count = story.first_act()
    pipelines.create(json.dumps(_USER_PIPELINE), "demo")
    say(f"data: 2 projects, 4 repos, {count:,} files, and the pipeline research/lines")
    new_vault = vault.create(open_store((folder / "vault").as_uri()))
    _deploy(connection, new_vault, say)
    seconds = [_tick(pipelines, new_vault, say)]
    story.second_act()
    say("then: a change, a deletion, a rename, an append")
    seconds.append(_tick(pipelines, new_vault, say))
    snapshot = snapshots.resolve(new_vault, "latest")
    measured = _read_back(connection, snapshot, folder / "extracted", say)
    findings = lost(new_vault)
    if findings:
        raise PachvaultError(f"the vault is damaged: {findings[0].message}", where=findings[0].object)
    say("verified: every byte in the vault has its digest")
    damage(str(connection.address), new_vault, say)
    extracted = folder / "extracted"

    def compare(source: Source, repo: RepoName, branch: str, head: str) -> int:
        root = extracted / repo.project / repo.repo / branch
        return _compare_branch(source, CommitRef(repo.project, repo.repo, head), root)

    recover(str(connection.address), new_vault, folder, compare, say)
    return Measured(tuple(seconds), *measured)


def _deploy(connection: Connection, new_vault: Vault, say: Say) -> None:
    text = f"version: 1\nname: demo\ntarget: {new_vault.store.url}\nsources:\n  - '*/*'\n"
    deployment = deploy(connection, policy_text=("policy.yaml", text))
    if deployment.missing:
        raise PachvaultError(deployment.missing[0])
    say(f"policy committed to {HOME_PROJECT}/policy; pipelines {', '.join(STAGES)} made from their specs")


def _tick(pipelines: Pipelines, new_vault: Vault, say: Say) -> float:
    began = time.monotonic()
    before = {name.id for name in snapshots.names(new_vault)}
    job = pipelines.tick(HOME_PROJECT, "freeze", "tick")
    for stage in STAGES:
        pipelines.require(pipelines.wait(HOME_PROJECT, stage, job))
    seconds = time.monotonic() - began
    new = [name for name in snapshots.names(new_vault) if name.id not in before]
    if len(new) != 1:
        raise PachvaultError(f"the tick sealed {len(new)} snapshots, one was due", where=f"job {job}")
    _say_snapshot(snapshots.load(new_vault, new[0]), seconds, say)
    return seconds


def _say_snapshot(snapshot: Snapshot, seconds: float, say: Say) -> None:
    manifest, totals = snapshot.manifest, snapshot.manifest.totals
    size = sum(entry.size_bytes for entry in manifest.repos)
    if manifest.partial:
        raise PachvaultError(f"the snapshot is partial: {manifest.problems[0].message}")
    say(
        f"snapshot {snapshot.short_id}: {len(manifest.repos)} repos, {size / 1e6:.1f} MB at the heads, "
        f"{totals.commits_new} new commits, {seconds:.1f} s from tick to verdict"
    )
    if totals.bytes_read:
        dedup = totals.bytes_read / totals.bytes_new if totals.bytes_new else float("inf")
        ratio = totals.bytes_new / totals.bytes_stored if totals.bytes_stored else float("inf")
        say(
            f"  read {totals.bytes_read / 1e6:.2f} MB in {totals.files_read:,} files, "
            f"new {totals.bytes_new / 1e6:.2f} MB, stored {totals.bytes_stored / 1e6:.2f} MB "
            f"(dedup {dedup:.2f}, compression {ratio:.2f}); {totals.files_known} changed files known unread"
        )


def _read_back(connection: Connection, snapshot: Snapshot, destination: Path, say: Say) -> tuple[float, int]:
    began = time.monotonic()
    reader = BlobReader(snapshot.vault, blob_index.load_places(snapshot.vault))
    extracted = extract.Extracted()
    with opened(destination, snapshot.name.id, overwrite=False) as out:
        for chosen in extract.choose(snapshot, [], [], []):
            extracted.add(extract.extract(reader, chosen, out, Quiet(), workers=2))
    seconds = time.monotonic() - began
    if extracted.failed:
        raise PachvaultError(extracted.failed[0])
    say(
        f"extracted {extracted.files:,} files, {extracted.bytes / 1e6:.1f} MB in {seconds:.1f} s "
        f"to {destination}"
    )
    compared = sum(_compare(Source(connection), snapshot, destination))
    if compared != extracted.files:
        raise PachvaultError(f"{extracted.files} files were extracted, the source has {compared}")
    say(f"compared with the source: all {compared:,} files are equal")
    return seconds, extracted.bytes


def _compare(source: Source, snapshot: Snapshot, destination: Path) -> list[int]:
    """How many files each branch has at the source; PachvaultError where one differs."""
    counts = []
    for _, history in snapshot.repos():
        name = history.name
        for branch in history.record.branches:
            if branch.head is None:
                continue
            root = destination / name.project / name.repo / branch.name
            counts.append(_compare_branch(source, CommitRef(name.project, name.repo, branch.head), root))
    return counts


def _compare_branch(source: Source, ref: CommitRef, root: Path) -> int:
    count = 0
    hasher = blake3()
    for piece in source.read(ref):
        hasher = blake3() if piece.offset == 0 else hasher
        hasher.update(piece.data)
        if piece.is_last:
            count += 1
            path = root / piece.path.lstrip("/")
            if not path.is_file() or blake3(path.read_bytes()).digest() != hasher.digest():
                raise PachvaultError("differs from the source", where=f"{ref}:{piece.path}")
    return count
