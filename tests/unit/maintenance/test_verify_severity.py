"""What a damage means: a blob with another good place is not lost, and what nobody needs is a note."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.format import digests, documents, index, layout, pack, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import PendingDelete
from pachvault.format.pack import split_digests
from pachvault.format.records import Segment
from pachvault.maintenance.repair import repair
from pachvault.maintenance.verify.findings import Finding, Severity, exit_code
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.maintenance.verify.verify_places import CheckedPlaces
from pachvault.runtime.progress import Quiet
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.blob_reader import BlobReader
from pachvault.vault.index import blob_index
from pachvault.vault.index.index_rows import IndexRows
from pachvault.vault.vault import Vault

NAME = RepoName("p", "r")


def pack_of(vault: Vault, content: bytes, *, padding: bytes) -> Path:
    """Store a blob once more, in a pack of its own with an index object; where the pack is."""
    builder = pack.PackBuilder()
    data = padding + content
    names = [digest(padding), digest(content)]
    builder.add(pack.Frame(data, len(data), pack.CODEC_RAW, tuple(names), (len(padding), len(content))))
    built = builder.finish()
    vault.store.put(layout.pack_path(built.digest), built.parts, built.size)
    rows = index.encode(index.of_packs([built]))
    vault.store.put(layout.index_path(digest(rows)), [rows], len(rows))
    return root(vault) / layout.pack_path(built.digest)


def root(vault: Vault) -> Path:
    return Path(vault.store.url.removeprefix("file://"))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    opened = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({"/file": b"content"})
    back_up(opened, repo)
    return opened


def only_pack(vault: Vault) -> Path:
    (info,) = vault.store.list(layout.PACKS)
    return root(vault) / info.name


def at(vault: Vault, level: Level = Level.DATA) -> list[Finding]:
    return verify(vault, level, Quiet())


def means(findings: list[Finding]) -> list[tuple[str, Severity]]:
    return [(finding.kind, finding.severity) for finding in findings]


@pytest.mark.parametrize("level", Level)
def test_a_missing_pack_whose_content_is_stored_again_is_a_note(vault: Vault, level: Level) -> None:
    lost = only_pack(vault)
    lost.unlink()
    assert means(at(vault, level)) == [("pack-missing", Severity.DAMAGE)]
    pack_of(vault, b"content", padding=b"1")
    (finding,) = at(vault, level)
    assert (finding.kind, finding.severity) == ("pack-missing", Severity.NOTE)
    assert (finding.files, finding.blobs_count) == ((), 0)
    assert exit_code([finding]) == 0
    assert "nothing" in finding.advice


def test_a_blob_is_lost_only_when_its_last_place_is(vault: Vault) -> None:
    places = [
        only_pack(vault),
        pack_of(vault, b"content", padding=b"1"),
        pack_of(vault, b"content", padding=b"2"),
    ]
    for number, path in enumerate(places):
        flip(path, len(pack.HEADER))
        findings = at(vault)
        expected = Severity.DAMAGE if number == 2 else Severity.NOTE
        assert means(findings) == [("frame-damaged", expected)] * (number + 1)
        if number == 2:
            assert {finding.files for finding in findings} == {(f"p/r@{commit_of(vault)}:/file",)}
            assert {finding.blobs for finding in findings} == {(digest(b"content").hex(),)}


def commit_of(vault: Vault) -> str:
    (branch,) = snapshots.resolve(vault, "latest").repo(NAME).record.branches
    assert branch.head
    return branch.head


def test_a_pack_that_only_stale_rows_name_is_a_note_when_it_is_gone_or_bad(vault: Vault) -> None:
    stale = pack_of(vault, b"nobody needs this", padding=b"nor this")
    flip(stale, 20)
    assert means(at(vault)) == [("frame-damaged", Severity.NOTE)]
    stale.write_bytes(b"")
    assert means(at(vault)) == [("pack-short", Severity.NOTE)]
    stale.unlink()
    assert means(at(vault)) == [("pack-missing", Severity.NOTE)]


def test_what_is_lost_is_damage_where_it_cannot_be_told_who_needs_it(vault: Vault) -> None:
    stale = pack_of(vault, b"perhaps needed", padding=b"?")
    stale.unlink()
    (snapshot,) = snapshots.names(vault)
    (root(vault) / snapshot.path).write_bytes(b"{}")
    assert means(at(vault)) == [
        ("manifest-damaged", Severity.DAMAGE),
        ("pack-missing", Severity.DAMAGE),
    ]


def test_an_index_that_is_wrong_of_a_pack_is_found_though_both_are_whole(vault: Vault) -> None:
    (info,) = vault.store.list(layout.INDEX)
    rows = index.decode(vault.read(info.name)).to_pylist()
    rows[0]["offset"] += 1
    data = index.encode(pa.Table.from_pylist(rows, index.SCHEMA))
    vault.store.delete(info.name)
    vault.store.put(layout.index_path(digest(data)), [data], len(data))
    assert at(vault, Level.STRUCTURE) == []
    (finding,) = at(vault, Level.PACKS)
    assert (finding.kind, finding.severity, finding.files_count) == ("index-wrong", Severity.DAMAGE, 1)


def resealed(vault: Vault, **changed: object) -> tuple[bytes, str]:
    """Another snapshot whose one commit is described otherwise: the commit list, and the snapshot's id."""
    snapshot = snapshots.resolve(vault, "latest")
    history = snapshot.repo(NAME)
    (row,) = history.commits.to_pylist()
    wrong = pa.Table.from_pylist([row | changed], table.COMMITS)
    listing = vault.put_table(table.encode_commits(wrong)).digest
    record = history.record.model_copy(update={"segments": [Segment(table=listing, commits=1)]})
    vault.put_record(record)
    entry = snapshot.manifest.repos[0].model_copy(update={"record": digest(documents.encode(record))})
    manifest = snapshot.manifest.model_copy(update={"repos": [entry]})
    data = documents.encode(manifest)
    vault.store.put(
        layout.snapshot_path(manifest.frozen_at, manifest.sequence, digest(data)), [data], len(data)
    )
    return listing, digest(data).hex()


def test_a_list_that_miscounts_its_rows_is_found(vault: Vault) -> None:
    commit = commit_of(vault)
    listing, snapshot = resealed(vault, rows=2)
    (finding,) = at(vault, Level.STRUCTURE)
    assert (finding.kind, finding.object) == ("rows-wrong", layout.table_path(listing))
    assert finding.snapshots == (snapshot[:12],)
    assert f"{commit} has 1 where the list has 2" in finding.message


def test_a_file_that_is_not_as_long_as_its_blobs_is_found(vault: Vault) -> None:
    commit = commit_of(vault)
    (row,) = snapshots.resolve(vault, "latest").repo(NAME).tree(commit).to_pylist()
    wrong = pa.Table.from_pylist([row | {"blobs": [row["digest"], row["digest"]]}], table.FILES)
    name = vault.put_table(table.encode_files(wrong)).digest
    _, snapshot = resealed(vault, tables=[name])
    (finding,) = at(vault, Level.STRUCTURE)
    assert (finding.kind, finding.object) == ("sizes-wrong", layout.table_path(name))
    assert finding.snapshots == (snapshot[:12],)
    assert f"p/r@{commit}:/file" in finding.message


def test_digests_that_end_in_zeros_are_told_apart() -> None:
    """A place is that of all 32 bytes of a digest."""
    names = [b"\1" + bytes(31), b"\1\0\2" + bytes(29), b"\1" * 31 + b"\0", bytes(32)]
    names += [bytes(31) + b"\1", bytes(8) + b"\2" * 24]  # as the others do in their first 8 bytes
    rows = [
        {"blob": name, "pack": bytes([number]) * 32, "frame_offset": 8, "frame_stored": 1, "frame_raw": 1}
        | {"codec": 0, "offset": 0, "size": 1}
        for number, name in enumerate(names)
    ]
    places = CheckedPlaces(IndexRows.of([pa.Table.from_pylist(rows, index.SCHEMA)]))
    row_numbers = places.find(digests.of(names))
    assert split_digests(places.rows.digests[row_numbers]) == names
    assert (places.find(digests.of([b"\1\0\3" + bytes(29), b"\1" * 32])) == -1).all()
    for number, name in enumerate(names):
        (row,) = places.in_pack(bytes([number]) * 32).tolist()
        assert split_digests(places.rows.digests[[row]]) == [name]


def test_a_last_good_copy_that_waits_for_deletion_is_degraded_and_repair_copies_it(vault: Vault) -> None:
    first = only_pack(vault)
    second = pack_of(vault, b"content", padding=b"padding")
    pending_deletes.write(
        vault, [PendingDelete(name=str(second.relative_to(root(vault))), reason="no snapshot needs it")]
    )
    assert at(vault) == []
    flip(first, 10)
    findings = [finding for finding in at(vault) if finding.severity is not Severity.NOTE]
    assert [(finding.kind, finding.severity) for finding in findings] == [
        ("frame-damaged", Severity.DEGRADED)
    ]
    assert "pachvault repair" in findings[0].advice
    assert exit_code(findings) == 3
    repair.execute(repair.plan(vault.store, Level.DATA, Quiet()), None, Quiet())
    assert [finding for finding in at(vault) if finding.severity is not Severity.NOTE] == []
    second.unlink()
    reader = BlobReader(vault, blob_index.load_places(pending_deletes.for_writing(vault)))
    assert reader.read(digest(b"content")) == b"content"
