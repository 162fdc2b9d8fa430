"""`verify` on the command line: what it says, the note it leaves, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import json_output
from made import Repo, back_up, flip, new_vault
from pachvault.cli.main import run
from pachvault.errors import DeniedError, StoreError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.maintenance_documents import Audit
from pachvault.maintenance import retrying_store
from pachvault.maintenance.verify import audits
from pachvault.store.folder_store import FolderStore
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def kind(self, kind: str) -> list[dict[str, Any]]:
        return [result for result in json_output.checked(self.out) if result["type"] == kind]


class Bench:
    """A vault of two snapshots with a pack each, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.vault: Vault = new_vault(folder)
        self.root = folder / "vault"
        self._capsys = capsys
        repo = Repo(RepoName("p", "r"))
        self.snapshots: list[Snapshot] = []
        for number in range(2):
            repo.commit({f"/{number}": bytes([number]) * 5000})
            self.snapshots.append(back_up(self.vault, repo))

    def verify(self, *arguments: str) -> Ran:
        code = run(["--vault", str(self.root), "--quiet", "verify", *arguments])
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    def audits(self) -> list[Audit]:
        return [dated.audit for dated in audits.load(self.vault)]

    def pack(self) -> Path:
        return self.root / next(iter(self.vault.store.list(layout.PACKS))).name


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in ("PACHVAULT_VAULT", "PACHD_ADDRESS", "PACH_TOKEN", "PACHVAULT_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retrying_store, "_WAIT_SECONDS", 0)
    return Bench(tmp_path, capsys)


def test_a_whole_vault_is_said_in_a_line_and_noted(bench: Bench) -> None:
    ran = bench.verify("--level", "data")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("no damage found at level data: 2 snapshots, 2 of 2 packs, ")
    assert "/s" in ran.err
    (audit,) = bench.audits()
    assert (audit.level, [entry.result for entry in audit.objects]) == ("data", ["ok"] * 3)


def test_damage_is_a_table_then_each_with_what_it_hits_and_what_to_do_and_is_noted(bench: Bench) -> None:
    pack = bench.pack()
    flip(pack, 20)
    ran = bench.verify("--level", "packs")
    assert ran.code == 13
    heading, row, *rest = ran.out.splitlines()
    assert heading.split() == ["FINDING", "MEANS", "FILES", "COMMITS", "SNAPSHOTS", "OBJECT"]
    assert row.split()[:2] == ["frame-damaged", "damage"]
    assert any(line.startswith("  file p/r@") for line in rest)
    assert any(line.startswith("  in snapshots ") for line in rest)
    assert any(line.startswith("  to do: `pachvault repair") for line in rest)
    assert "1 findings (1 damage)" in ran.err
    (audit,) = bench.audits()
    results = {entry.name: entry for entry in audit.objects}
    bad = results[str(pack.relative_to(bench.root))]
    assert (bad.result, bad.message) == ("damaged", "frame at byte 8: wrong checksum")


def test_a_share_reads_its_part_and_all_shares_read_all(bench: Bench) -> None:
    counts = [
        bench.verify("--json", "--level", "packs", "--share", f"{n}/3").kind("verify_summary")
        for n in (1, 2, 3)
    ]
    assert sum(summary["packs"] for (summary,) in counts) == 2
    named = [entry.name for audit in bench.audits() for entry in audit.objects if entry.name != "structure"]
    assert sorted(named) == sorted(info.name for info in bench.vault.store.list(layout.PACKS))


def test_one_snapshot_is_verified_by_its_name(bench: Bench) -> None:
    first, second = bench.snapshots
    (summary,) = bench.verify("--json", "--level", "data", first.short_id).kind("verify_summary")
    assert (summary["snapshots"], summary["packs"], summary["packs_total"]) == (1, 1, 2)
    (summary,) = bench.verify("--json", "--level", "data", "latest").kind("verify_summary")
    assert (summary["snapshots"], summary["packs"]) == (1, 2)
    assert {audit.objects[0].name for audit in bench.audits()} == {first.name.path, second.name.path}


def test_what_cannot_be_read_ends_with_3_and_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = str(bench.pack().relative_to(bench.root))
    real = FolderStore.get_range

    def failing(self: FolderStore, name: str, offset: int, length: int) -> bytes:
        if name == pack:
            raise StoreError("input or output failed: Stale file handle", where=name)
        return real(self, name, offset, length)

    monkeypatch.setattr(FolderStore, "get_range", failing)
    ran = bench.verify("--json", "--level", "packs")
    assert ran.code == 3
    (finding,) = ran.kind("finding")
    assert (finding["kind"], finding["severity"], finding["object"]) == (
        "pack-unreadable",
        "unreadable",
        pack,
    )
    assert "verify again" in finding["advice"]
    flip(bench.root / next(info.name for info in bench.vault.store.list(layout.RECORDS)), 5)
    assert bench.verify("--level", "packs").code == 13  # damage counts for more


def test_a_note_alone_ends_with_0(bench: Bench) -> None:
    for snapshot in bench.snapshots:
        bench.vault.store.delete(snapshot.name.path)
    bench.pack().unlink()
    ran = bench.verify("--json")
    assert ran.code == 0
    assert ran.kind("finding")[0]["severity"] == "note"


def test_a_vault_that_takes_no_notes_is_verified_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FolderStore, *_: object) -> bool:
        raise DeniedError("permission to read or write is missing", where=self.url)

    monkeypatch.setattr(FolderStore, "put", refuse)
    ran = bench.verify("--level", "data")
    assert ran.code == 0
    assert "could not be written to the vault: " in ran.err
    assert "no damage found" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "3/2", "--level", "packs"], "not a share: '3/2'"),
        (["--share", "1/2"], "--share goes with --level packs and data"),
        (["--quick"], "--quick goes with --level source"),
        (["abcdef", "--level", "drill"], "a drill is of the newest snapshot"),
        (["nosuch"], "not a snapshot: 'nosuch'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(
    bench: Bench, arguments: list[str], message: str
) -> None:
    ran = bench.verify(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
    assert bench.audits() == []
