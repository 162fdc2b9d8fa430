"""From a request to a plan: vaults made by hand, against the embedded Pachyderm."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import Project as There
from made import BEGAN, Repo, back_up, flip, new_vault
from pachvault.backup.freeze.survey import SurveyedRepo
from pachvault.errors import BusyError, DamageError, UsageError
from pachvault.format import layout
from pachvault.format.ids import RepoName
from pachvault.format.records import Pipeline
from pachvault.request import Request
from pachvault.restore.plan import fetch_shares
from pachvault.restore.plan.fetch_shares import PlanWithShares
from pachvault.restore.plan.resolve import resolve
from pachvault.restore.restore_messages import BranchPlan, RepoPlan, RestorePlan
from pachvault.syntax import strict_yaml
from pachvault.vault.snapshots import Snapshot
from pachvault.vault.vault import Vault


class Output(Repo):
    """A repo that a pipeline writes."""

    @property
    def surveyed(self) -> SurveyedRepo:
        return replace(super().surveyed, output_of=str(self.name))


@dataclass
class Case:
    """A vault of repos in a project, and the same project in a cluster, which is empty at first."""

    there: There
    folder: Path
    vault: Vault
    repos: dict[str, Repo] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)

    def repo(self, name: str, kind: type[Repo] = Repo) -> Repo:
        return self.repos.setdefault(name, kind(RepoName(self.there.name, name), description=f"about {name}"))

    def back_up(self, *pipelines: Pipeline) -> Snapshot:
        self.snapshots.append(back_up(self.vault, *self.repos.values(), pipelines=pipelines))
        return self.snapshots[-1]

    def resolve(self, *what: str, **fields: Any) -> PlanWithShares:
        """`what` is in the project; `project/` goes before it."""
        named = [f"{self.there.name}/{source}" for source in what]
        if "from_" in fields:
            fields["from"] = fields.pop("from_")
        request = strict_yaml.validate(Request, {"version": 1, "what": named, **fields}, "test")
        return resolve(request, self.vault, self.there.cluster.source)

    def plan(self, *what: str, **fields: Any) -> RestorePlan:
        return self.resolve(*what, **fields).plan

    def only(self, *what: str, **fields: Any) -> RepoPlan:
        (repo,) = self.plan(*what, **fields).repos
        return repo

    def branch(self, *what: str, **fields: Any) -> BranchPlan:
        (branch,) = self.only(*what, **fields).branches
        return branch


@pytest.fixture
def case(project: There, tmp_path: Path) -> Case:
    return Case(project, tmp_path, new_vault(tmp_path))


@pytest.fixture
def line(case: Case) -> list[str]:
    """Five commits on data@master, the third failed; data@side on the second."""
    data = case.repo("data")
    ids = [
        data.commit({"/a": b"1", "/log": b"1"}),
        data.commit({"/a": b"1", "/log": b"12"}),
        data.commit({"/a": b"1", "/log": b"12"}, error="it failed"),
        data.commit({"/a": b"1", "/log": b"1234"}),
        data.commit({"/log": b"1234"}),
    ]
    data.commit({"/side": b"s"}, branch="side", parent=ids[1])
    case.back_up()
    return ids


def steps(plan: RepoPlan) -> list[str]:
    return [step.old.id for step in plan.steps]


@pytest.mark.parametrize(
    ("what", "branches"),
    [
        (["data"], {"data": ["master", "side"]}),
        (["data@master"], {"data": ["master"]}),
        (["data@s*", "data@m*"], {"data": ["master", "side"]}),
        (["data@[!m]*"], {"data": ["side"]}),
        (["*@master"], {"data": ["master"], "logs": ["master"], "log-2": ["master"]}),
        (["log?@*"], {"logs": ["master"]}),
        (["log*"], {"logs": ["master"], "log-2": ["master"]}),
        (["logs", "data@side"], {"logs": ["master"], "data": ["side"]}),
    ],
)
def test_patterns_mean_repos_and_branches(
    case: Case, line: list[str], what: list[str], branches: dict[str, list[str]]
) -> None:
    for name in ("logs", "log-2"):
        case.repo(name).commit({"/l": name.encode()})
    case.back_up()
    plan = case.plan(*what)
    assert {repo.repo: [branch.name for branch in repo.branches] for repo in plan.repos} == branches
    assert all(repo.is_new and repo.description == f"about {repo.repo}" for repo in plan.repos)
    assert plan.commits == sum(len(repo.steps) for repo in plan.repos)


@pytest.mark.parametrize("what", ["none", "data@none", "data@no*", "da", "data@0123456789abcdef"])
def test_a_pattern_that_matches_nothing_is_named(case: Case, line: list[str], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        case.plan("data@master", what)
    assert f"matches '{case.there.name}/{what}'" in str(caught.value)


def test_a_commit_by_its_old_id_or_its_beginning(case: Case, line: list[str]) -> None:
    for reference in (line[1], line[1][:8]):
        branch = case.branch(f"data@{reference}")
        assert (branch.name, branch.head) == ("restored", line[1])
    assert case.branch(f"data@{line[1]}", to={"branch": "mine"}).name == "mine"
    assert steps(case.only(f"data@{line[1]}", history="all")) == line[:2]


def test_a_snapshot_by_time_id_prefix_or_latest(case: Case) -> None:
    data = case.repo("data")
    heads = []
    for number in range(3):
        heads.append(data.commit({"/a": b"%d" % number}))
        case.back_up()
    first, second, third = case.snapshots
    for when, head in (
        ("latest", heads[2]),
        (first.name.id, heads[0]),
        (second.short_id, heads[1]),
        (third.name.id[:6], heads[2]),
        ({"at": second.manifest.frozen_at}, heads[1]),
        ({"at": second.manifest.frozen_at + timedelta(minutes=59)}, heads[1]),
        ({"at": second.manifest.frozen_at - timedelta(microseconds=1)}, heads[0]),
        ({"at": f"{second.manifest.frozen_at:%Y-%m-%d %H:%M:%S}"}, heads[1]),
        ({"at": "2100-01-01 00:00"}, heads[2]),
    ):
        assert case.branch("data", snapshot=when).head == head, when
    with pytest.raises(UsageError, match="no snapshot was frozen at or before"):
        case.plan("data", snapshot={"at": BEGAN})
    with pytest.raises(UsageError, match="no snapshot 'ffff00'"):
        case.plan("data", snapshot="ffff00")


@pytest.mark.parametrize(
    ("extent", "kept"),
    [
        ("head", [4]),
        ("all", [0, 1, 2, 3, 4]),
        ({"last": 3}, [2, 3, 4]),
        ({"last": 9}, [0, 1, 2, 3, 4]),
        ({"from": 3}, [3, 4]),
        ({"to": 1}, [0, 1]),
        ({"from": 1, "to": 3}, [1, 2, 3]),
    ],
)
def test_history_is_cut_and_parents_come_first(
    case: Case, line: list[str], extent: Any, kept: list[int]
) -> None:
    if isinstance(extent, dict):
        extent = {key: line[value] if key in ("from", "to") else value for key, value in extent.items()}
    plan = case.only("data@master", history=extent)
    assert steps(plan) == [line[index] for index in kept]
    assert [step.old.parent for step in plan.steps] == [None, *(line[index] for index in kept[:-1])]
    assert plan.branches[0].head == line[kept[-1]]
    assert [step.old.error for step in plan.steps] == ["it failed" if index == 2 else "" for index in kept]


def test_a_change_is_one_of_the_nearest_ancestor_that_did_not_fail(case: Case, line: list[str]) -> None:
    by_commit = {step.old.id: step for step in case.only("data@master", history="all").steps}
    assert by_commit[line[3]].content_parent == line[1]
    cut = {step.old.id: step for step in case.only("data@master", history={"last": 3}).steps}
    assert cut[line[3]].content_parent is None


def test_diverging_branches_share_their_ancestors(case: Case, line: list[str]) -> None:
    plan = case.only("data", history="all")
    assert sorted(steps(plan)) == sorted(case.repos["data"].commits)
    assert len(plan.steps) == len(set(steps(plan))) == 6


def test_an_extent_that_the_head_does_not_lead_to_is_refused(case: Case, line: list[str]) -> None:
    for extent in ({"from": line[4]}, {"to": line[4]}):
        with pytest.raises(UsageError, match="is no ancestor of"):
            case.plan("data@side", history=extent)


def test_bytes_are_those_of_the_changes_and_chosen_paths_only(case: Case, line: list[str]) -> None:
    assert case.plan("data@master", history="all").bytes == 2 + 2 + 4
    assert case.plan("data@master", history="all", paths=["/a"]).bytes == 1
    assert case.plan("data@master").bytes == 4


def test_each_path_that_no_commit_to_restore_has_is_named(case: Case, line: list[str]) -> None:
    name = f"{case.there.name}/data@master"
    with pytest.raises(UsageError, match=rf"no file of {name} in snapshot \w+ matches '/none', '/x/\*\*' \("):
        case.plan("data@master", history="all", paths=["/none", "/log", "x/**"])
    with pytest.raises(UsageError, match="matches '/a'"):  # the head has it no more
        case.plan("data@master", paths=["/a"])
    assert case.plan("data@master", history="all", paths=["a"]).paths == ["/a"]
    assert case.plan("data@side", "data@master", paths=["side"]).commits == 2


def test_two_commits_are_not_restored_into_one_branch(case: Case, line: list[str]) -> None:
    with pytest.raises(UsageError, match=r"two commits of .*/data would be restored into branch restored"):
        case.plan(f"data@{line[0]}", f"data@{line[1]}")


def test_other_names(case: Case, line: list[str]) -> None:
    def named(*what: str, **to: str) -> tuple[str, list[str]]:
        plan = case.only(*what, to=to)
        return str(plan.target), [branch.name for branch in plan.branches]

    name = case.there.name
    assert named("data") == (f"{name}/data", ["master", "side"])
    assert named("data", repo="copy") == (f"{name}/copy", ["master", "side"])
    assert named("data", project="new") == ("new/data", ["master", "side"])
    assert named("data@side", branch="master") == (f"{name}/data", ["master"])
    assert named("data@side", project="new", repo="copy", branch="b") == ("new/copy", ["b"])


def test_what_would_become_one_is_refused(case: Case, line: list[str]) -> None:
    case.repo("logs").commit({"/l": b"1"})
    case.back_up()
    with pytest.raises(UsageError, match="several repos would be restored into one"):
        case.plan("*@master", to={"repo": "copy"})
    with pytest.raises(UsageError, match=r"2 branches of .*/data would be restored into one"):
        case.plan("data", to={"branch": "one"})
    assert len(case.plan("*@master", to={"project": "new"}).repos) == 2


@pytest.fixture
def present(case: Case, line: list[str]) -> str:
    """The head of data@master in the cluster, which has another history."""
    case.there.repo("data")
    return case.there.commit("data", {"/mine": b"m"})


def test_a_branch_that_exists_is_refused_unless_the_request_says_what_to_do(case: Case, present: str) -> None:
    with pytest.raises(UsageError, match=r"data@master exists .*append or replace"):
        case.plan("data")
    side = case.branch("data@side")
    assert (side.action, side.current) == ("create", None)
    assert not case.only("data@side").is_new


def test_append_is_one_commit_on_top(case: Case, line: list[str], present: str) -> None:
    plan = case.only("data@master", exists="append", history="all")
    (branch,) = plan.branches
    assert (branch.action, branch.current, branch.keep_as) == ("append", present, None)
    assert steps(plan) == [line[4]]
    both = case.only("data", exists="append", history="all")
    assert [branch.action for branch in both.branches] == ["append", "create"]
    assert set(steps(both)) == {line[4], line[0], line[1], both.branches[1].head}


def test_replace_keeps_the_old_head_under_a_name_that_is_free(case: Case, present: str) -> None:
    branch = case.branch("data@master", exists="replace")
    assert (branch.action, branch.current) == ("replace", present)
    assert branch.keep_as is not None
    assert branch.keep_as.startswith("master-before-20")
    late = case.there.commit("data", {"/later": b"l"})
    case.there.branch("data", "master-before-mine", late)
    assert case.branch("data@master", exists="replace").keep_as == "master-before-mine"


def test_chosen_paths_go_on_top_and_the_rest_stays(case: Case, line: list[str], present: str) -> None:
    for exists, keeps in (("append", False), ("replace", True)):
        plan = case.only("data@master", exists=exists, history="all", paths=["log"])
        (branch,) = plan.branches
        assert (branch.action, branch.current, bool(branch.keep_as)) == ("append", present, keeps)
        assert (steps(plan), plan.origin) == ([line[4]], "vault")
    with pytest.raises(UsageError, match=r"data@master exists .*append or replace"):
        case.plan("data@master", paths=["log"])


def test_an_open_commit_is_waited_for(case: Case, present: str) -> None:
    opened = case.there.start("data")
    for exists in ("append", "replace"):
        with pytest.raises(BusyError, match="has an open commit"):
            case.plan("data@master", exists=exists)
    case.there.finish("data", opened)
    assert case.branch("data@master", exists="append").current == opened


@pytest.mark.parametrize("refused", ["backup", None])
def test_the_vault_is_where_the_cluster_has_nothing(case: Case, line: list[str], refused: str | None) -> None:
    if refused:
        with pytest.raises(UsageError, match=r"the backup repo does not hold .* \(from: vault\)"):
            case.plan("data@master", from_=refused)
    else:
        assert case.only("data@master", from_="auto").origin == "vault"


def test_what_pipelines_wrote_is_left_to_them(case: Case, line: list[str]) -> None:
    case.repo("made", Output).commit({"/m": b"1"})
    case.back_up()
    assert [repo.repo for repo in case.plan("*").repos] == ["data"]
    with pytest.raises(UsageError, match="made is written by pipeline"):
        case.plan("made")
    with pytest.raises(UsageError, match="all that matches is written by pipelines"):
        case.plan("mad*")
    assert case.plan("mad*", pipelines=True).repos == []
    assert case.only("made", outputs="as-repos").target.repo == "made"
    assert case.only("made", to={"repo": "plain"}).target.repo == "plain"
    assert [repo.repo for repo in case.plan("*", outputs="as-repos").repos] == ["data", "made"]


def test_a_pipeline_comes_after_what_it_reads_and_needs_its_secrets(case: Case, line: list[str]) -> None:
    def pipeline(name: str, *inputs: str, needs: str = "", stopped: bool = False) -> Pipeline:
        cross = [{"pfs": {"repo": repo, "project": case.there.name}} for repo in inputs]
        secrets = [{"name": needs}] if needs else []
        details = {"input": {"cross": cross}, "transform": {"secrets": secrets}}
        spec = '{"transform": {"cmd": ["true"]}, "reprocess": true}'
        return Pipeline(
            project=case.there.name, name=name, version=1, stopped=stopped, spec_json=spec, details=details
        )

    case.back_up(pipeline("a-last", "data", "middle"), pipeline("middle", "first"), pipeline("first", "data"))
    plan = case.plan("*", pipelines=True)
    assert [planned.name for planned in plan.pipelines] == ["first", "middle", "a-last"]
    assert set(plan.pipelines[2].inputs) == {f"{case.there.name}/data", f"{case.there.name}/middle"}
    assert "reprocess" not in plan.pipelines[0].spec_json
    assert case.plan("*").pipelines == []
    assert [planned.name for planned in case.plan("first", "data", pipelines=True).pipelines] == ["first"]
    with pytest.raises(UsageError, match="pipelines keep their names"):
        case.plan("*", pipelines=True, to={"project": "new"})
    case.back_up(pipeline("first", "data", needs="not-there", stopped=True))
    with pytest.raises(UsageError, match="lacks 1 secrets that pipelines need: not-there"):
        case.plan("*", pipelines=True)


def test_specs_that_the_server_cannot_read_are_refused_by_the_plan(case: Case, line: list[str]) -> None:
    details = {"input": {"pfs": {"repo": "data", "project": case.there.name}}}

    def pipeline(name: str, **fields: object) -> Pipeline:
        spec = json.dumps({"transform": {"cmd": ["true"]}, **fields})
        return Pipeline(
            project=case.there.name, name=name, version=1, stopped=False, spec_json=spec, details=details
        )

    case.back_up(
        pipeline("good"), pipeline("odd", noSuchField=1), pipeline("odder", transform={"nor_this": 1})
    )
    with pytest.raises(
        UsageError, match=r"cannot create 2 of the pipelines: .*/odd: .*noSuchField.*; .*/odder: .*nor_this"
    ):
        case.plan("*", pipelines=True)
    assert [plan.name for plan in case.plan("data", "good", pipelines=True).pipelines] == ["good"]


def test_more_than_the_licence_allows_is_refused(case: Case, line: list[str]) -> None:
    def pipeline(name: str, workers: int) -> Pipeline:
        details = {"input": {"pfs": {"repo": "data", "project": case.there.name}}}
        spec = json.dumps({"transform": {"cmd": ["true"]}, "parallelism_spec": {"constant": str(workers)}})
        return Pipeline(
            project=case.there.name, name=name, version=1, stopped=False, spec_json=spec, details=details
        )

    case.back_up(*(pipeline(f"p{number}", 1) for number in range(17)))
    with pytest.raises(UsageError, match=r"would have \d\d pipelines, and without a licence .* allows 16"):
        case.plan("*", pipelines=True)
    case.back_up(pipeline("wide", 9))
    with pytest.raises(UsageError, match="wide wants 9 workers, and without a licence Pachyderm allows 8"):
        case.plan("*", pipelines=True)


def test_pipelines_of_the_backup_itself_come_back_only_where_they_are_named(
    case: Case, line: list[str]
) -> None:
    details = {"input": {"cron": {"name": "tick"}}}
    spec = '{"transform": {"cmd": ["true"]}}'
    case.back_up(
        *(
            Pipeline(project=name, name="freeze", version=1, stopped=False, spec_json=spec, details=details)
            for name in ("pachvault", "pachvault-drill", case.there.name)
        )
    )

    def planned(*what: str) -> tuple[set[str], list[str]]:
        request = strict_yaml.validate(Request, {"version": 1, "what": what, "pipelines": True}, "test")
        plan = resolve(request, case.vault, case.there.cluster.source).plan
        return {pipeline.project for pipeline in plan.pipelines}, plan.notes

    projects, notes = planned("*/*")
    assert projects == {case.there.name}
    own = [note.split()[1] for note in notes if note.split()[1].startswith("pachvault")]
    assert own == ["pachvault", "pachvault-drill"]
    with pytest.raises(UsageError, match=r"matches 'pachvault\*/freeze' .* left out where it is not named"):
        planned("pachvault*/freeze", f"{case.there.name}/*")
    projects, notes = planned("*/*", "pachvault/freeze")
    assert projects == {case.there.name, "pachvault"}
    assert [note.split()[1] for note in notes if note.split()[1].startswith("pachvault")] == [
        "pachvault-drill"
    ]


def test_damage_is_refused_or_named(case: Case, line: list[str]) -> None:
    for info in case.vault.store.list(layout.TABLES):
        flip(case.folder / "vault" / info.name, info.size // 2)
    with pytest.raises(DamageError):
        case.plan("data@master")
    plan = case.plan("data@master", keep_going=True)
    assert plan.repos == []
    assert [loss.startswith(f"{case.there.name}/data: ") for loss in plan.lost] == [True]


def test_large_changes_are_cut_into_shares(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    data = case.repo("data")
    large = data.commit({f"/{number}": bytes([number]) * 50_000 for number in range(4)})
    small = data.commit({**data.trees[large], "/small": b"s"})
    case.back_up()
    assert case.resolve("data", history="all").shares == []
    monkeypatch.setattr(fetch_shares, "PART_BYTES", 100_000)
    resolved = case.resolve("data", history="all")
    assert [step.parts for step in resolved.plan.repos[0].steps] == [2, 0]
    assert resolved.plan.shares == len(resolved.shares) == 2
    parts = [share.part for share in resolved.shares if share.part]
    assert [(part.step.old.id, part.number) for part in parts] == [(large, 0), (large, 1)]
    assert sum(part.span.size_bytes for part in parts) + 1 == resolved.plan.bytes == 200_001
    assert small in steps(resolved.plan.repos[0])


def test_a_plan_is_the_same_each_time(case: Case, line: list[str]) -> None:
    assert case.resolve("data", history="all") == case.resolve("data", history="all")
