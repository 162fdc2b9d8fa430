"""What lies in a vault and is none of its objects: every command works as without it, none removes or follows
it, and verify notes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from made import Repo, back_up, new_vault
from pachvault.cli.main import run
from pachvault.errors import PachvaultError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.maintenance import pins
from pachvault.maintenance.prune import prune
from pachvault.maintenance.prune.prune_plan import PruneLimits, plan
from pachvault.maintenance.verify import audits
from pachvault.maintenance.verify.findings import Severity
from pachvault.maintenance.verify.verify import Level, verify
from pachvault.runtime.progress import Quiet
from pachvault.vault import clock, snapshots
from pachvault.vault.vault import Vault

DIGEST = "ab" * 32
STAMP = "20260102T030405Z"
FOREIGN = [
    "index/Thumbs.db",
    "index/@eaDir/x.json",
    f"index/{DIGEST}.json",
    f"index/sub/{DIGEST}.parquet",
    f"packs/00/{DIGEST}",
    f"packs/ab/{DIGEST}.tmp",
    "packs/readme",
    "tables/x.parquet",
    "tables/ab/x.parquet",
    "records/ab/notes.txt",
    "runs/frozen-.json",
    "runs/notes.json",
    "runs/share-1.json",
    "forgotten/x.json",
    f"forgotten/20261399T000000Z-{DIGEST}.json",
    f"snapshots/20260230T000000Z-{DIGEST}.json",
    "snapshots/x.json",
    "pins/mine.json",
    f"pins/{'AB' * 32}.json",
    f"marks/{STAMP}-{DIGEST}.json.bak",
    "audits/x.json",
    f"audits/{STAMP}-{DIGEST}",
    "photo.jpg",
    "folder/in/folder",
]
NO_UTF8 = b"snapshots/\xff\xfe.json"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Vault]:
    """A vault with a snapshot, a forgotten one, a pin and an audit, full of foreign things."""
    vault = new_vault(tmp_path)
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"1" * 500})
    first = back_up(vault, repo)
    other = Repo(RepoName("p", "other"))
    other.commit({"/b": b"2" * 500})
    gone = back_up(vault, other)
    pins.pin(vault, first.name.id)
    audits.record(vault, "packs", [])
    data = vault.store.get(gone.name.path)
    vault.store.put(layout.forgotten_path(gone.name.path), [data], len(data))
    vault.delete(gone.name.path)
    root = tmp_path / "vault"
    for name in FOREIGN:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"{}")
    Path(os.fsdecode(os.fsencode(root) + b"/" + NO_UTF8)).write_bytes(b"{}")
    outside = tmp_path / "outside"
    (outside / "ab").mkdir(parents=True)
    for name in (f"ab/{DIGEST}", "frozen-1.json", f"{STAMP}-{DIGEST}.json"):
        (outside / name).write_bytes(b"precious")
    (root / "packs" / "ef").symlink_to(outside / "ab")
    (root / "packs" / "ab" / DIGEST).symlink_to(outside / "ab" / DIGEST)
    (root / "runs" / "frozen-linked.json").symlink_to(outside / "frozen-1.json")
    (root / "runs" / "linked").symlink_to(outside)
    (root / "forgotten" / f"{STAMP}-{DIGEST}.json").symlink_to(outside / f"{STAMP}-{DIGEST}.json")
    (root / "marks").mkdir(exist_ok=True)
    (root / "marks" / f"{STAMP}-{DIGEST}.json").symlink_to(outside / f"{STAMP}-{DIGEST}.json")
    before = foreign(root)
    yield vault
    assert foreign(root) == before
    assert {path.read_bytes() for path in outside.rglob("*") if path.is_file()} == {b"precious"}


def foreign(root: Path) -> set[str]:
    """What is there of it."""
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}
    return {name for name in names if (root / name).is_symlink() or layout.parse(name) is None}


def test_prune_deletes_what_is_ours_and_nothing_else(made: Vault) -> None:
    for _ in range(3):
        age_all_objects(made)
        now = clock.store_now(made)
        prune.execute(made, plan(made, PruneLimits(), now, Quiet()), Quiet())
    assert [info.name for info in made.objects(layout.FORGOTTEN)] == []
    assert len(list(made.objects(layout.PACKS))) == 1


def age_all_objects(vault: Vault) -> None:
    root = Path(vault.store.url.removeprefix("file://"))
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            then = path.stat().st_mtime - timedelta(days=8).total_seconds()
            os.utime(path, (then, then))


def test_verify_notes_each_of_them_and_finds_nothing_else(made: Vault) -> None:
    findings = verify(made, Level.DATA, Quiet())
    assert {(finding.kind, finding.severity) for finding in findings} == {("stray", Severity.NOTE)}
    named = {finding.object for finding in findings}
    assert set(FOREIGN) <= named
    assert {
        "snapshots/\\xff\\xfe.json",
        "packs/ef",
        f"packs/ab/{DIGEST}",
        "runs/linked",
        "runs/frozen-linked.json",
    } <= named
    by_name = {finding.object: finding for finding in findings}
    assert "a link" in by_name["packs/ef"].message


@pytest.mark.parametrize(
    "command",
    [
        ["snapshots"],
        ["snapshots", "--forgotten"],
        ["show", "latest"],
        ["ls", "latest", "p/r@master"],
        ["cat", "latest", "p/r@master:/a"],
        ["extract", "latest", "OUT"],
        ["verify", "--level", "data"],
        ["status"],
        ["forget", "--dry-run"],
        ["prune"],
        ["repair", "--level", "data"],
    ],
)
def test_every_command_works_as_if_they_were_not_there(
    made: Vault, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "out") if argument == "OUT" else argument for argument in command]
    if command[0] == "forget":
        arguments += ["--keep-last", "1"]
    expected = 3 if command == ["status"] else 0  # for packs that were never read
    assert run(["--vault", made.store.url, "--quiet", *arguments]) == expected, capsys.readouterr()


def test_a_backup_goes_on(made: Vault) -> None:
    repo = Repo(RepoName("p", "r"))
    repo.commit({"/a": b"3" * 500})
    assert not back_up(made, repo).manifest.partial
    assert len(snapshots.names(made)) == 2


@pytest.mark.parametrize(
    "name", ["photo.jpg", "runs/notes.json", "../outside/frozen-1.json", "", f"packs/00/{DIGEST}"]
)
def test_a_vault_deletes_no_name_that_is_not_its_own(made: Vault, name: str) -> None:
    with pytest.raises(PachvaultError, match="not an object of the vault: not deleted"):
        made.delete(name)


def test_only_the_vault_itself_lists_and_deletes_in_its_store() -> None:
    """All others ask the vault, which knows its own names."""
    source = Path(__file__).parents[3] / "pipelines" / "pachvault"
    own = {"vault/vault.py", "maintenance/verify/checks/stray_objects.py", "maintenance/retrying_store.py"}
    callers = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if any(f"store.{call}(" in path.read_text() for call in ("list", "delete", "sweep"))
        and path.relative_to(source).parts[0] not in ("store", "local")
    }
    assert callers <= own


def test_objects_of_ours_in_a_folder_that_may_not_be_read_are_not_taken_for_absent(
    made: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(made.store.url.removeprefix("file://"))
    scandir = os.scandir
    own = next(iter(made.objects(layout.PACKS)))
    for name, is_ours in ((own.name.rpartition("/")[0], True), ("index/@eaDir", False)):
        there = (root / name).stat().st_ino

        def refuse(handle: int, there: int = there) -> Iterator[os.DirEntry[str]]:
            if os.fstat(handle).st_ino == there:
                raise PermissionError(13, "Permission denied")
            return scandir(handle)

        monkeypatch.setattr(os, "scandir", refuse)
        findings = verify(made, Level.STRUCTURE, Quiet())
        assert any(finding.severity is Severity.UNREADABLE for finding in findings) == is_ours
        assert all(finding.severity in (Severity.UNREADABLE, Severity.NOTE) for finding in findings)
