"""Damage in a vault is found and named, and affects only what needs the damaged object."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from e2e.backup import Backup


@pytest.fixture
def flipped(backup: Backup) -> Backup:
    """A vault with two snapshots, and one bit of the first one's pack flipped."""
    project = backup.project
    project.repo("data")
    noise = random.Random(6)
    project.commit("data", {"/hit/large": noise.randbytes(3_000_000), "/small": noise.randbytes(100)})
    backup.run()
    (pack,) = backup.vault.files("packs")
    project.commit("data", {"/later": noise.randbytes(100)})
    backup.run()
    path = backup.vault.folder / pack
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    return backup


def damaged_pack(backup: Backup) -> str:
    """The large pack."""
    packs = backup.vault.files("packs")
    return max(packs, key=lambda name: packs[name])


def test_verify_names_the_pack_the_blob_and_the_files(flipped: Backup) -> None:
    outcome = flipped.command("--json", "verify", "--level", "packs")
    assert outcome.code == 13
    finding = outcome.only("finding")
    assert (finding["kind"], finding["object"]) == ("frame-damaged", damaged_pack(flipped))
    assert len(finding["blobs"]) == 1
    commit = flipped.json("show", "latest", f"{flipped.project.name}/data")[0]["commit"]
    assert finding["files"] == [f"{flipped.project.name}/data@{commit}:/hit/large"]
    text = flipped.command("--quiet", "verify", "--level", "data")
    assert text.code == 13
    assert "/hit/large" in text.out
    assert damaged_pack(flipped) in text.out
    assert flipped.command("--quiet", "verify").code == 0  # the structure is whole


def test_extract_names_the_file_and_writes_the_others(flipped: Backup, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = flipped.command("extract", "latest", str(out))
    assert outcome.code == 13
    assert "/hit/large" in outcome.err
    root = out / flipped.project.name / "data/master"
    written = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert written == ["later", "small"]
    place = f"{flipped.project.name}/data@master"
    assert flipped.command("cat", "latest", f"{place}:/hit/large").code == 13
    assert len(flipped.command("cat", "latest", f"{place}:/small").raw) == 100


def test_a_pack_that_is_gone_is_found_by_every_level(flipped: Backup) -> None:
    (flipped.vault.folder / damaged_pack(flipped)).unlink()
    outcome = flipped.command("--json", "verify")
    assert outcome.code == 13
    finding = outcome.only("finding")
    assert (finding["kind"], finding["files_count"]) == ("pack-missing", 2)


@pytest.mark.parametrize("is_cut", [False, True])
def test_what_a_missing_or_cut_pack_held_is_stored_again(flipped: Backup, *, is_cut: bool) -> None:
    project = flipped.project
    content = project.tree("data", project.heads("data")["master"])
    pack = flipped.vault.folder / damaged_pack(flipped)
    if is_cut:
        os.truncate(pack, pack.stat().st_size // 2)
    else:
        pack.unlink()
    project.repo("copy")
    project.commit("copy", {"/same": content["/hit/large"]})
    done = flipped.attempt("--quiet")
    assert done.code == 3
    assert "packs of the vault are missing or too short" in done.err
    assert flipped.command("cat", "latest", f"{project.name}/copy@master:/same").raw == content["/hit/large"]


def test_a_damaged_manifest_does_not_hide_the_others(flipped: Backup) -> None:
    first, second = flipped.vault.snapshots()
    (path,) = [name for name in flipped.vault.files("snapshots") if first in name]
    file = flipped.vault.folder / path
    file.write_bytes(file.read_bytes().replace(b'"partial": false', b'"partial": true '))
    listed = flipped.json("snapshots", code=13)
    assert [entry["id"] for entry in listed] == [first, second]
    assert "damaged" in listed[0]
    assert flipped.json("show", "latest")[0]["id"] == second
    assert "does not have the digest in its name" in flipped.command("show", first).says(13)
