"""Verify on vaults damaged by hand: each damage is found at its level, with the affected files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from made import Repo, back_up, flip, new_vault
from pachvault.backup import run_records
from pachvault.errors import PachvaultError, UsageError
from pachvault.format import documents, layout, pack, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.maintenance_documents import PendingDelete
from pachvault.format.records import Segment
from pachvault.maintenance import pins
from pachvault.maintenance.forget import forget
from pachvault.maintenance.repair import repair
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.findings import NAMED, Finding, Severity, exit_code
from pachvault.maintenance.verify.verify import Level, PackShare, examine, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.vault import Vault, open_vault

NAME = RepoName("p", "r")
CONTENT = {f"/{number}": np.random.default_rng(number).bytes(3000) for number in range(12)}


class Damaged:
    """A vault of two snapshots and four packs of equal size, to be damaged."""

    def __init__(self, folder: Path) -> None:
        self.vault: Vault = new_vault(folder)
        self.root = folder / "vault"
        self.repo = Repo(NAME)
        paths = list(CONTENT)
        self.commits = []
        for end in (3, 6, 9, 12):
            self.commits.append(self.repo.commit({path: CONTENT[path] for path in paths[:end]}))
            if end in (6, 12):
                back_up(self.vault, self.repo, pack_bytes=9000)

    def files(self, folder: str) -> list[Path]:
        return [self.root / info.name for info in self.vault.store.list(folder)]

    def name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def at(self, level: Level) -> list[Finding]:
        return verify(self.vault, level, Quiet())

    def kinds(self, level: Level) -> list[tuple[str, str]]:
        return [(finding.kind, finding.object) for finding in self.at(level)]

    def holding(self, path: str) -> Path:
        """The pack with the content of a file."""
        for file in self.files(layout.PACKS):
            if CONTENT[path] in file.read_bytes():
                return file
        raise AssertionError(path)

    def hit_by(self, file: Path) -> set[str]:
        """The files whose content lies in a pack, by the pack's own bytes."""
        data = file.read_bytes()
        return {path for path, content in CONTENT.items() if content in data}


@pytest.fixture
def made(tmp_path: Path) -> Damaged:
    return Damaged(tmp_path)


def paths_of(finding: Finding) -> set[str]:
    return {file.partition(":")[2] for file in finding.files}


@pytest.mark.parametrize("level", Level)
def test_a_whole_vault_gives_no_finding(made: Damaged, level: Level) -> None:
    assert len(made.files(layout.PACKS)) == 4
    assert made.at(level) == []


def test_an_empty_vault_gives_no_finding(tmp_path: Path) -> None:
    assert verify(new_vault(tmp_path), Level.DATA, Quiet()) == []


def test_a_flip_in_a_frame_names_pack_blobs_and_files_from_level_packs_on(made: Damaged) -> None:
    file = made.holding("/0")
    hit = made.hit_by(file)
    flip(file, len(pack.HEADER) + 10)
    assert made.at(Level.STRUCTURE) == []
    for level in (Level.PACKS, Level.DATA):
        (finding,) = made.at(level)
        assert (finding.kind, finding.object) == ("frame-damaged", made.name(file))
        assert set(finding.blobs) == {digest(CONTENT[path]).hex() for path in hit}
        assert paths_of(finding) == hit
        assert finding.files_count == len(finding.files) == len(hit)
        assert all(path.startswith(f"p/r@{made.commits[0]}:/") for path in finding.files)


def test_every_flipped_byte_of_a_pack_is_found_by_its_checksums(made: Damaged) -> None:
    file = made.files(layout.PACKS)[0]
    data = file.read_bytes()
    for at in [*range(12), *range(20, len(data), 900), *range(len(data) - 400, len(data), 23), len(data) - 9]:
        flip(file, at, bit=at % 8)
        findings = made.at(Level.PACKS)
        assert [finding.object for finding in findings] == [made.name(file)], at
        assert findings[0].files, at
        file.write_bytes(data)


def test_a_blob_that_is_not_what_its_name_says_is_found_at_level_data(made: Damaged) -> None:
    """A pack whose frames and table of contents agree, but whose blob was never that digest."""
    builder = pack.PackBuilder()
    builder.add(pack.Frame(b"forged", 6, pack.CODEC_RAW, (digest(b"true"),), (6,)))
    forged = builder.finish()
    made.vault.store.put(layout.pack_path(forged.digest), forged.parts, forged.size)
    assert made.at(Level.PACKS) == []
    (finding,) = made.at(Level.DATA)
    assert (finding.kind, finding.object) == ("blob-damaged", layout.pack_path(forged.digest))
    assert digest(b"true").hex() in finding.message
    assert finding.severity is Severity.NOTE  # no snapshot needs it


def test_a_frame_that_does_not_decode_is_found_at_level_data(made: Damaged) -> None:
    builder = pack.PackBuilder()
    builder.add(pack.Frame(b"no zstd", 6, pack.CODEC_ZSTD, (digest(b"true"),), (6,)))
    forged = builder.finish()
    made.vault.store.put(layout.pack_path(forged.digest), forged.parts, forged.size)
    assert made.at(Level.PACKS) == []
    assert made.kinds(Level.DATA) == [("frame-damaged", layout.pack_path(forged.digest))]


def test_a_truncated_pack_is_found_by_its_structure_with_its_files(made: Damaged) -> None:
    file = made.holding("/0")
    hit = made.hit_by(file)
    file.write_bytes(file.read_bytes()[:5000])
    (finding,) = made.at(Level.STRUCTURE)
    assert (finding.kind, finding.object) == ("pack-short", made.name(file))
    assert paths_of(finding) == hit
    assert made.kinds(Level.PACKS) == [("pack-short", made.name(file))]


def test_a_pack_that_lost_only_its_trailer_is_found_at_level_packs(made: Damaged) -> None:
    file = made.holding("/0")
    file.write_bytes(file.read_bytes()[:-1])
    assert made.at(Level.STRUCTURE) == []
    (finding,) = made.at(Level.PACKS)
    assert (finding.kind, finding.object) == ("pack-damaged", made.name(file))
    assert paths_of(finding) == made.hit_by(file)


@pytest.mark.parametrize("size", [0, 1, 63])
def test_a_pack_shorter_than_a_trailer_is_found(made: Damaged, size: int) -> None:
    file = made.files(layout.PACKS)[0]
    file.write_bytes(bytes(size))
    assert made.kinds(Level.PACKS) == [("pack-short", made.name(file))]
    for index_file in made.files(layout.INDEX):
        index_file.unlink()
    assert ("pack-damaged", made.name(file)) in made.kinds(Level.PACKS)


def test_a_missing_pack_is_found_by_the_structure_with_its_files(made: Damaged) -> None:
    file = made.holding("/11")
    hit = made.hit_by(file)
    file.unlink()
    (finding,) = made.at(Level.STRUCTURE)
    assert (finding.kind, finding.object) == ("pack-missing", made.name(file))
    assert paths_of(finding) == hit


def test_swapped_packs_are_both_found(made: Damaged) -> None:
    one, other = made.holding("/0"), made.holding("/11")
    assert one.stat().st_size == other.stat().st_size
    hit = made.hit_by(one) | made.hit_by(other)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    findings = made.at(Level.PACKS)
    assert {(finding.kind, finding.object) for finding in findings} == {
        ("pack-damaged", made.name(one)),
        ("pack-damaged", made.name(other)),
    }
    assert set().union(*map(paths_of, findings)) == hit
    assert "the content is a pack with another name" in findings[0].message


def test_an_edited_manifest_is_found_and_the_others_are_checked_on(made: Damaged) -> None:
    name = snapshots.names(made.vault)[0]
    file = made.root / name.path
    file.write_bytes(file.read_bytes().replace(b'"policy": "default"', b'"policy": "forged!"'))
    made.holding("/0").unlink()
    kinds = [kind for kind, _ in made.kinds(Level.STRUCTURE)]
    assert kinds == ["manifest-damaged", "pack-missing"]


def test_an_edited_or_missing_record_is_found_once_however_many_snapshots_have_it(made: Damaged) -> None:
    back_up(made.vault, made.repo)
    record = snapshots.resolve(made.vault, "latest").manifest.repos[0].record
    file = made.root / layout.record_path(record)
    manifest = json.loads(file.read_bytes())
    manifest["branches"][0]["head"] = made.commits[0]
    file.write_text(json.dumps(manifest))
    for _ in range(2):
        (finding,) = made.at(Level.STRUCTURE)
        assert finding.kind == "record-damaged"
        assert finding.object.endswith(made.name(file))
        file.unlink(missing_ok=True)


def test_a_missing_and_an_edited_table_are_found(made: Damaged) -> None:
    tables = made.files(layout.TABLES)
    assert len(tables) == 4
    kinds = set()
    for file in tables:
        data = file.read_bytes()
        for damage in (file.unlink, lambda at=file: flip(at, 50)):
            damage()
            findings = made.at(Level.STRUCTURE)
            assert findings, file
            assert all(finding.object.endswith(made.name(file)) for finding in findings)
            kinds |= {finding.kind for finding in findings}
            file.write_bytes(data)
    assert kinds == {"table-damaged", "commit-list-damaged"}


def test_a_missing_index_names_the_blobs_and_files_that_nobody_finds(made: Damaged) -> None:
    for file in made.files(layout.INDEX):
        file.unlink()
    findings = made.at(Level.STRUCTURE)
    assert {finding.kind for finding in findings} == {"blob-missing"}
    assert set().union(*map(paths_of, findings)) == set(CONTENT)
    assert set().union(*(finding.blobs for finding in findings)) == {
        digest(data).hex() for data in CONTENT.values()
    }


def test_a_damaged_index_is_found(made: Damaged) -> None:
    file = made.files(layout.INDEX)[0]
    flip(file, 40)
    kinds = {finding.kind for finding in made.at(Level.STRUCTURE)}
    assert kinds == {"index-damaged", "blob-missing"}


def test_a_manifest_under_a_wrong_name_is_damage_and_named_rightly(made: Damaged) -> None:
    file = made.files(layout.SNAPSHOTS)[0]
    file.rename(file.with_name("20260101T000000Z.json"))
    (finding,) = made.at(Level.STRUCTURE)
    assert (finding.kind, finding.severity) == ("manifest-misnamed", Severity.DAMAGE)
    assert finding.object == "snapshots/20260101T000000Z.json"
    assert f"{layout.SNAPSHOTS}/{file.name}" in finding.message
    assert "before prune" in finding.advice


@pytest.mark.parametrize("is_index_whole", [True, False])
def test_what_is_no_manifest_among_the_snapshots_is_a_note(made: Damaged, *, is_index_whole: bool) -> None:
    file = made.files(layout.SNAPSHOTS)[0]
    (file.parent / "notes.txt").write_text("mine")
    (file.parent / "copy.json").write_bytes(file.read_bytes())
    if not is_index_whole:
        flip(made.files(layout.INDEX)[0], 40)
    finding_of = {note.object: note for note in made.at(Level.STRUCTURE)}
    for name in ("notes.txt", "copy.json"):
        finding = finding_of[f"{layout.SNAPSHOTS}/{name}"]
        assert (finding.kind, finding.severity) == ("stray", Severity.NOTE)
        assert "delete it" in finding.advice
    assert (len(finding_of) == 2) == is_index_whole


def test_a_chain_that_lost_its_base_is_found(made: Damaged) -> None:
    """A record that names a commit list without the base of its deltas."""
    snapshot = snapshots.resolve(made.vault, "latest")
    history = snapshot.repo(NAME)
    last = made.vault.put_table(table.encode_commits(history.commits.slice(2))).digest
    record = history.record.model_copy(update={"segments": [Segment(table=last, commits=2)]})
    entry = snapshot.manifest.repos[0].model_copy(update={"record": made.vault.put_record(record)})
    manifest = snapshot.manifest.model_copy(update={"repos": [entry]})
    data = documents.encode(manifest)
    made.vault.store.put(
        layout.snapshot_path(manifest.frozen_at, manifest.sequence, digest(data)), [data], len(data)
    )
    assert {kind for kind, _ in made.kinds(Level.STRUCTURE)} == {"chain-damaged"}


def test_several_damages_are_all_found_at_once(made: Damaged) -> None:
    flipped, missing, cut = made.holding("/0"), made.holding("/3"), made.holding("/6")
    flip(flipped, 100)
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    rows = made.files(layout.TABLES)[0]
    flip(rows, 50)
    objects = {finding.object.rpartition("/")[2] for finding in made.at(Level.DATA)}
    assert objects == {flipped.name, missing.name, cut.name, rows.name}


def test_many_files_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    repo = Repo(NAME)
    repo.commit({f"/{number:03}": b"the same" for number in range(50)})
    back_up(vault, repo)
    flip(tmp_path / "vault" / next(iter(vault.store.list(layout.PACKS))).name, len(pack.HEADER))
    (finding,) = verify(vault, Level.PACKS, Quiet())
    assert len(finding.blobs) == 1
    assert len(finding.files) == NAMED
    assert finding.files_count == 50


def test_verifying_changes_nothing(made: Damaged) -> None:
    made.holding("/0").unlink()
    before = {info.name: info for info in made.vault.store.list("")}
    made.at(Level.DATA)
    assert {info.name: info for info in made.vault.store.list("")} == before


def test_a_finding_says_which_snapshots_repos_and_commits_it_hits(made: Damaged) -> None:
    first, second = (name.id[:12] for name in snapshots.names(made.vault))
    made.holding("/0").unlink()
    (finding,) = made.at(Level.STRUCTURE)
    assert finding.snapshots == (first, second)  # the later one has the commit, too
    assert finding.repos == ("p/r",)
    assert finding.commits == (f"p/r@{made.commits[0]}",)
    assert "repair" in finding.advice


def test_a_damage_of_a_late_commit_does_not_hit_the_snapshots_before_it(made: Damaged) -> None:
    _, second = (name.id[:12] for name in snapshots.names(made.vault))
    made.holding("/11").unlink()
    (finding,) = made.at(Level.STRUCTURE)
    assert finding.snapshots == (second,)
    assert finding.commits == (f"p/r@{made.commits[3]}",)


def test_what_is_above_the_packs_says_whom_it_hits_too(made: Damaged) -> None:
    first, second = snapshots.names(made.vault)
    record = snapshots.load(made.vault, second).manifest.repos[0].record
    expected = {first.path: (first.id[:12],), layout.record_path(record): (second.id[:12],)}
    for info in made.vault.store.list(layout.TABLES):
        file = made.root / info.name
        data = file.read_bytes()
        file.unlink()
        (finding,) = made.at(Level.STRUCTURE)
        assert finding.snapshots
        assert finding.repos == ("p/r",)
        assert (finding.commits_count > 0) == (finding.kind == "table-damaged")
        file.write_bytes(data)
    for name, hit in expected.items():
        flip(made.root / name, 5)
        finding_of = {damage.object: damage for damage in made.at(Level.STRUCTURE)}
        assert (finding_of[name].snapshots, finding_of[name].commits_count) == (hit, 0)


def test_a_finding_is_plain_data_with_its_advice(made: Damaged) -> None:
    made.holding("/0").unlink()
    (finding,) = made.at(Level.STRUCTURE)
    fields = json.loads(json.dumps(finding.as_fields()))
    assert fields["kind"] == "pack-missing"
    assert fields["severity"] == "damage"
    assert fields["advice"] == finding.advice
    assert fields["files"] == list(finding.files)


def test_one_snapshot_is_checked_with_what_it_needs_and_nothing_else(made: Damaged) -> None:
    first, second = snapshots.names(made.vault)
    made.holding("/11").unlink()
    flip(made.root / second.path, 9)
    assert examine(made.vault, Level.DATA, Quiet(), snapshot=second).findings[0].kind == "manifest-damaged"
    done = examine(made.vault, Level.DATA, Quiet(), snapshot=first)
    assert [finding.severity for finding in done.findings] == [Severity.NOTE]
    assert (done.snapshots, done.packs_read, done.packs_total) == (1, 2, 3)
    assert done.audited[0].name == first.path


def test_shares_read_every_pack_once_and_the_structure_each_time(made: Damaged) -> None:
    flip(made.holding("/0"), 100)
    missing = made.holding("/11")
    missing.unlink()
    names = {made.name(file) for file in made.files(layout.PACKS)}
    read: list[str] = []
    kinds: list[str] = []
    for number in (1, 2, 3):
        done = examine(made.vault, Level.PACKS, Quiet(), share=PackShare(number, 3))
        audited = {entry.name for entry in done.audited}
        assert {"structure", made.name(missing)} <= audited
        read += sorted(audited - {"structure", made.name(missing)})
        kinds += [finding.kind for finding in done.findings]
    assert sorted(read) == sorted(names)
    assert sorted(kinds) == ["frame-damaged", "pack-missing", "pack-missing", "pack-missing"]


def test_named_packs_only_are_read(made: Damaged) -> None:
    one, *_ = [made.name(file) for file in made.files(layout.PACKS)]
    done = examine(made.vault, Level.DATA, Quiet(), packs=[one, "packs/00/none"])
    assert [entry.name for entry in done.audited] == ["structure", one]
    assert done.bytes_read == (made.root / one).stat().st_size


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/4", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a share"):
        PackShare.parse(text)


@pytest.mark.parametrize("folder", [layout.MARKS, layout.AUDITS, layout.FORGOTTEN, layout.PINS, layout.RUNS])
def test_documents_beside_the_snapshots_that_do_not_read_are_found(made: Damaged, folder: str) -> None:
    first, second = snapshots.names(made.vault)
    pins.pin(made.vault, second.id)
    pending_deletes.write(
        made.vault, [PendingDelete(name=f"{layout.INDEX}/{'0' * 64}.parquet", reason="a test")]
    )
    audits.record(made.vault, "packs", [])
    run_records.announce(made.vault, "another", "default", "cluster", made.vault.config.created_at)
    forget.execute(made.vault, forget.plan_named(made.vault, [first.id]))
    assert verify(made.vault, Level.STRUCTURE, Quiet()) == []
    for file in made.files(folder):
        file.write_bytes(file.read_bytes()[:40])
    findings = verify(made.vault, Level.STRUCTURE, Quiet())
    is_given_up = folder == layout.FORGOTTEN
    assert {finding.severity for finding in findings} == {Severity.NOTE if is_given_up else Severity.DEGRADED}
    assert [finding.object for finding in findings] == [
        str(file.relative_to(made.root)) for file in made.files(folder)
    ]
    assert exit_code(findings) == (0 if is_given_up else 3)
    if not is_given_up:
        repair.execute(repair.plan(made.vault.store, Level.STRUCTURE, Quiet()), None, Quiet())
        assert verify(made.vault, Level.STRUCTURE, Quiet()) == []
        assert pins.is_pinned(made.vault, second.id)


def test_a_pinned_snapshot_that_is_gone_is_damage(made: Damaged) -> None:
    name = snapshots.names(made.vault)[0]
    pins.pin(made.vault, name.id)
    made.vault.delete(name.path)
    (finding,) = verify(made.vault, Level.STRUCTURE, Quiet())
    assert (finding.kind, finding.severity) == ("manifest-missing", Severity.DAMAGE)
    assert name.id[:12] in finding.snapshots or name.id in finding.object


def test_every_flipped_bit_of_the_configuration_is_found(made: Damaged) -> None:
    file = made.root / layout.CONFIG
    for at in range(len(file.read_bytes())):
        for bit in range(8):
            flip(file, at, bit)
            try:
                opened = open_vault(made.vault.store).config
            except PachvaultError:
                pass
            else:
                assert opened == made.vault.config  # white space
            flip(file, at, bit)
