"""The stages of a restore one by one, with changes small enough to be cut into parts at once."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, stop_after_attempt

from e2e.backup import Backup
from e2e.cluster import Project
from pachvault.errors import PachvaultError, PachydermError
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT
from pachvault.restore.plan import fetch_shares
from pachvault.restore.request import retry_policy
from pachvault.restore.request.request_plan import plan_request
from pachvault.restore.stage import staging
from pachvault.restore.state.lock_holder import BRANCH, LockHolder
from pachvault.restore.state.request_lock import held
from pachvault.stages import restore_fetch, restore_plan, restore_replay
from pachvault.worker import Worker

pytestmark = pytest.mark.e2e


class Chain:
    """A request's way through the stages, each with the outputs of those before as its inputs."""

    def __init__(self, backup: Backup, folder: Path) -> None:
        self.backup, self.folder = backup, folder
        address = backup.project.cluster.address
        self.worker = Worker(folder, "job", sidecar=address, pachd=address, token=None)

    def request(self, **fields: Any) -> dict[str, Any]:
        """The project's repo as a copy, out of the vault."""
        return {
            "version": 1,
            "vault": self.backup.vault.url,
            "what": [f"{self.backup.project.name}/data@master"],
            "to": {"repo": "copy"},
            "from": "vault",
            **fields,
        }

    def plan(self, **fields: Any) -> None:
        path = self.folder / "plan" / "requests" / "mine.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(self.request(**fields)))
        self.run(restore_plan, "plan")

    def run(self, stage: Any, name: str) -> Path:
        """Run a stage in a folder of its own; its output."""
        folder = self.folder / name
        shutil.rmtree(folder / "out", ignore_errors=True)
        stage.run(replace(self.worker, pfs=folder))
        return folder / "out"

    def shares(self) -> list[Path]:
        return sorted((self.folder / "plan" / "out").glob("*/work/*.json"))

    def fetch(self, share: Path) -> dict[str, Any]:
        """One datum of fetch; its receipt."""
        request = share.parent.parent.name
        place = self.folder / f"fetch-{share.stem}" / "restore_plan" / request / "work"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(share, place)
        out = self.run(restore_fetch, f"fetch-{share.stem}")
        receipt = out / request / "receipts" / share.name
        kept = self.folder / "replay" / "restore_fetch" / request / "receipts"
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(receipt, kept)
        return dict(json.loads(receipt.read_text()))

    def replay(self) -> dict[str, Any]:
        """The report, and the id map under `ids`."""
        plan = self.folder / "replay" / "restore_plan"
        shutil.copytree(self.folder / "plan" / "out", plan, dirs_exist_ok=True)
        [answered] = self.run(restore_replay, "replay").iterdir()
        report = json.loads((answered / "report.json").read_text())
        return report | {"ids": json.loads((answered / "ids.json").read_text())}

    def staging(self) -> list[str]:
        return [
            repo for repo in Project(self.backup.project.cluster, HOME_PROJECT).repos() if "staging-" in repo
        ]


@pytest.fixture(autouse=True)
def _small_parts_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_shares, "PART_BYTES", 50_000)
    monkeypatch.setattr(retry_policy, "retrying", lambda: Retrying(stop=stop_after_attempt(1), reraise=True))


@pytest.fixture
def chain(project: Project, tmp_path: Path) -> Chain:
    rng = random.Random(7)
    project.repo("data")
    project.commit("data", {"/small": b"1", "/gone": b"2"})
    many = {f"/many/{number:02d}": rng.randbytes(20_000) for number in range(12)}
    project.commit("data", many, delete=["/gone"])
    backup = Backup.of(project, tmp_path / "vault")
    backup.run()
    return Chain(backup, tmp_path / "pfs")


def assert_copied(chain: Chain, report: dict[str, Any]) -> None:
    project = chain.backup.project
    for old, new in report["ids"][f"{project.name}/copy"].items():
        assert project.tree("copy", new) == project.tree("data", old)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.yaml", b"{", "a.yaml:1: not YAML"),
        ("a.yaml", b"[" * 5000, "a.yaml:1: nested too deeply"),
        ("a.yaml", b"\xff\xfe\x00", "a.yaml: not a text file"),
        ("a.yaml", b"", "a.yaml:1: a request is a mapping"),
        ("a.yaml", b"version: 1\nwhat: [a/b]\nwhut: 1\n", "a.yaml:3: unknown field 'whut'"),
        ("a.yml", b"version: 1\nwhat: [a/b]\n", "a.yml: the name of a request ends in .yaml"),
        ("folder", None, "folder: a request is a file, this is a folder"),
        ("a.yaml", {"snapshot": "ffffffff"}, "ffffffff"),
        ("a.yaml", {"what": ["none/none"]}, "nothing in snapshot"),
        ("a.yaml", {"to": {}}, "data@master exists"),
        ("a.yaml", {"vault": "file:///does/not/exist"}, "no such place"),
        ("a.yaml", {"vault": "gopher://host/x"}, "'gopher' is not supported"),
    ],
)
def test_what_cannot_be_done_is_a_plan_that_says_why(
    chain: Chain, name: str, data: bytes | dict[str, Any] | None, message: str
) -> None:
    if isinstance(data, dict):
        data = json.dumps(chain.request(**data)).encode()
    intake = plan_request(name, data, chain.backup.project.cluster.source)
    assert intake.plan.status == "refused"
    assert message in intake.plan.summary
    assert "\n" not in intake.plan.summary
    assert intake.folder == f"{name.removesuffix('.yaml')}-{intake.plan.request_id[:12]}"
    assert [(share.number, share.part) for share in intake.shares] == [(0, None)]


def test_files_of_one_content_never_share_a_folder(chain: Chain) -> None:
    source = chain.backup.project.cluster.source
    data = json.dumps(chain.request()).encode()
    folders = {plan_request(name, data, source).folder for name in ("a.yaml", "a.yml", "a", "b.yaml")}
    assert len(folders) == 4


def test_parts_are_staged_each_by_its_datum_and_composed(chain: Chain) -> None:
    chain.plan(history="all")
    shares = chain.shares()
    assert len(shares) > 2
    for share in reversed(shares):
        receipt = chain.fetch(share)
        assert (receipt["number"], receipt["staged"], receipt["problem"]) == (int(share.stem), 1, "")
    assert chain.fetch(shares[0])["staged"] == 0, "what is staged is not fetched again"
    assert len(chain.staging()) == 1
    report = chain.replay()
    assert (report["status"], report["differences"]) == ("restored", [])
    assert len(report["ids"][f"{chain.backup.project.name}/copy"]) == 2
    assert_copied(chain, report)
    assert chain.staging() == []


def test_a_share_carries_only_its_own_steps_of_the_plan(chain: Chain) -> None:
    chain.plan(history="all")
    shares = chain.shares()
    assert shares
    for share in shares:
        assert share.read_text().count('"content_parent"') == 1


def test_a_datum_that_failed_is_done_again_and_nothing_twice(chain: Chain) -> None:
    chain.plan()
    shares = chain.shares()
    refusal = {"method": "AddFileSet", "times": 1, "code": "UNAVAILABLE", "message": "try later"}
    with chain.backup.project.cluster.faults(refusal), pytest.raises(PachydermError, match="try later"):
        chain.fetch(shares[0])
    for share in shares:
        assert chain.fetch(share)["staged"] == 1
    with chain.backup.project.cluster.faults(refusal), pytest.raises(PachydermError, match="try later"):
        chain.replay()
    report = chain.replay()
    assert report["status"] == "restored"
    assert_copied(chain, report)


def test_a_datum_done_twice_reports_what_the_first_one_did(chain: Chain) -> None:
    chain.plan()
    for share in chain.shares():
        chain.fetch(share)
    first, second = chain.replay(), chain.replay()
    assert (first["status"], second["status"]) == ("restored", "done")
    assert first["ids"] == second["ids"] != {}
    assert first["finished_at"] == second["finished_at"]
    # parts that another datum of the same request staged meanwhile go too
    chain.fetch(chain.shares()[0])
    assert len(chain.staging()) == 1
    assert chain.replay()["status"] == "done"
    assert chain.staging() == []


def test_a_share_that_is_damaged_is_a_receipt_and_ends_the_request(chain: Chain) -> None:
    chain.plan()
    for pack in chain.backup.vault.folder.glob("packs/*/*"):
        pack.write_bytes(b"\0" * pack.stat().st_size)
    receipts = [chain.fetch(share) for share in chain.shares()]
    assert all(receipt["is_damage"] for receipt in receipts)
    report = chain.replay()
    assert report["status"] == "damaged"
    assert report["summary"] == receipts[0]["problem"]
    assert "copy" not in chain.backup.project.repos()
    assert chain.staging() == []


def test_a_vault_that_went_away_is_a_receipt_too(chain: Chain) -> None:
    chain.plan()
    shutil.rmtree(chain.backup.vault.folder)
    receipts = [chain.fetch(share) for share in chain.shares()]
    assert "no such place" in receipts[0]["problem"]
    report = chain.replay()
    assert report["status"] == "failed"
    assert report["summary"] == receipts[0]["problem"]


def test_a_replay_without_all_receipts_is_tried_again(chain: Chain) -> None:
    chain.plan()
    shares = chain.shares()
    for share in shares[1:]:
        chain.fetch(share)
    with pytest.raises(PachvaultError, match="found receipts"):
        chain.replay()
    chain.fetch(shares[0])
    assert chain.replay()["status"] == "restored"


def request_of(chain: Chain) -> str:
    (plan,) = (chain.folder / "plan" / "out").glob("*/plan.json")
    return str(json.loads(plan.read_text())["request_id"])


def test_a_request_that_a_shell_carries_out_is_reported_as_busy(chain: Chain) -> None:
    chain.plan()
    for share in chain.shares():
        chain.fetch(share)
    cluster = chain.backup.project.cluster
    shell = LockHolder.this_process()
    with held(cluster.source, cluster.target, request_of(chain), shell):
        report = chain.replay()
        assert report["status"] == "busy"
        assert shell.name in report["summary"]
        assert "copy" not in chain.backup.project.repos()
        assert len(chain.staging()) == 1
    report = chain.replay()
    assert report["status"] == "restored"
    assert_copied(chain, report)
    assert chain.staging() == []


def test_a_datum_whose_worker_died_is_taken_up_by_its_next_attempt(chain: Chain) -> None:
    chain.plan()
    for share in chain.shares():
        chain.fetch(share)
    cluster, request = chain.backup.project.cluster, request_of(chain)
    repo = staging.staging_repo(request)
    died = LockHolder.of_job(chain.worker.job_id, f"mine-{request[:12]}").model_dump_json()
    cluster.target.start(repo.project, repo.repo, BRANCH, parent=None, description=died)
    assert chain.replay()["status"] == "restored"
    assert chain.staging() == []


def test_a_worker_that_died_over_a_part_is_not_in_the_way(chain: Chain) -> None:
    chain.plan()
    first, *rest = chain.shares()
    chain.fetch(first)
    cluster, repo = chain.backup.project.cluster, staging.staging_repo(request_of(chain))
    (branch,) = [info.name for info in cluster.source.branches(repo)]
    cluster.target.delete_branch(repo.project, repo.repo, branch)
    cluster.target.start(repo.project, repo.repo, f"{branch}-by-0000", parent=None, description="")
    assert [chain.fetch(share)["staged"] for share in (first, *rest)] == [1] * (1 + len(rest))
    report = chain.replay()
    assert_copied(chain, report)
    assert chain.staging() == []


def test_what_differs_is_in_the_report_and_no_head_moves(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.plan()
    make = Target.make_file_set

    def spoilt(target: Target, delete: Iterable[str], put: Iterable[tuple[str, bytes]] = ()) -> str:
        return make(target, delete, ((name, data[::-1]) for name, data in put))

    with monkeypatch.context() as patch:
        patch.setattr(Target, "make_file_set", spoilt)
        for share in chain.shares():
            chain.fetch(share)
        report = chain.replay()
    project = chain.backup.project
    (kept,) = report["kept"]
    assert report["status"] == "different"
    assert "/many/03" in {difference["path"] for difference in report["differences"]}
    assert [f"{project.name}/copy@{name}" for name in project.heads("copy")] == [kept]
    for share in chain.shares():
        chain.fetch(share)
    report = chain.replay()
    assert (report["status"], report["kept"]) == ("restored", [])
    assert project.heads("copy").keys() == {"master"}
    assert_copied(chain, report)
