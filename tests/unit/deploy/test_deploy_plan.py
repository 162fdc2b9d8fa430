"""The three-way merge: additions survive upgrades, what is ours does not change, nothing goes unsaid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pachvault import policy
from pachvault.deploy import merge_patch
from pachvault.deploy.deploy_plan import InCluster, StagePlan, plan_pipeline, schedule_of, scheduled
from pachvault.deploy.deployed_records import Records
from pachvault.deploy.operator_options import Options, Volume
from pachvault.deploy.preconditions import unmounted
from pachvault.deploy.wanted import Wanted, bundled, rendered, target_folder
from pachvault.errors import UsageError
from pachvault.pach.pipeline_spec import Spec, canonical

OURS = bundled("export")
PATCH = json.dumps([{"op": "add", "path": "/hostNetwork", "value": True}])
TOLERATION = [{"key": "backup", "operator": "EXISTS"}]
POLICY = policy.parse("version: 1\ntarget: file:///mnt/vault\nsources: ['*/*']\nschedule: 0 3 * * *\n", "p")


def plan(there: Spec | None, records: Records | None = None, ours: Spec = OURS, **more: Any) -> StagePlan:
    options = more.pop("options", (records or Records()).options)
    in_cluster = InCluster(there) if there else None
    return plan_pipeline(
        "export", ours, options, records or Records(), in_cluster, more.pop("own", None), **more
    )


def after(done: StagePlan, options: Options | None = None) -> Records:
    return Records(options or Options(), {"export": done.record})


def changed(spec: Spec, **fields: Any) -> Spec:
    return merge_patch.applied(spec, fields)


def next_version() -> Spec:
    image = OURS["transform"]["image"].replace(":", ":9.")
    return changed(OURS, transform={"image": image}, description="another", resource_requests={"cpu": 2})


def test_what_was_changed_in_the_cluster_is_kept_and_named() -> None:
    first = plan(None)
    assert (first.action, first.spec, first.additions) == ("created", OURS, {})
    by_hand = changed(OURS, pod_patch=PATCH, parallelism_spec={"constant": 5}, tolerations=TOLERATION)
    again = plan(by_hand, after(first))
    assert (again.action, again.spec, list(again.changes)) == ("unchanged", by_hand, [])
    assert again.additions == {
        "pod_patch": PATCH,
        "parallelism_spec": {"constant": 5},
        "tolerations": TOLERATION,
    }


def test_additions_survive_an_upgrade_which_brings_the_rest() -> None:
    records = after(plan(changed(OURS, pod_patch=PATCH), after(plan(None))))
    upgraded = plan(changed(OURS, pod_patch=PATCH), records, next_version())
    assert upgraded.spec == changed(next_version(), pod_patch=PATCH)
    assert {change.path for change in upgraded.changes} == {
        "description",
        "resource_requests.cpu",
        "transform.image",
    }


def test_an_upgrade_that_failed_half_way_adds_nothing_of_its_own() -> None:
    """The pipeline was updated, and the record was not written."""
    records = after(plan(changed(OURS, pod_patch=PATCH), after(plan(None))))
    upgraded = plan(changed(OURS, pod_patch=PATCH), records, next_version())
    again = plan(upgraded.spec, records, next_version(), options=Options(service_account="backup"))
    assert again.additions == {"pod_patch": PATCH}
    assert again.spec["pod_spec"] == '{"serviceAccountName": "backup"}'


def test_without_a_record_everything_beyond_the_bundled_spec_was_added() -> None:
    done = plan(changed(OURS, pod_patch=PATCH, description=None))
    assert done.action == "unchanged"
    assert done.additions == {"pod_patch": PATCH, "description": None}


def test_a_reset_drops_additions_and_shows_it() -> None:
    there = changed(OURS, pod_patch=PATCH)
    done = plan(there, after(plan(there)), is_reset=True)
    assert (done.action, done.spec, done.additions) == ("updated", OURS, {})
    assert [(change.path, change.new) for change in done.changes] == [("pod_patch", OURS["pod_patch"])]


def test_name_command_inputs_and_tag_are_ours() -> None:
    there = changed(
        OURS,
        transform={"cmd": ["sh"], "image": "registry.example/p:latest", "env": {"A": "1"}},
        input={"pfs": {"glob": "/"}},
    )
    done = plan(there, after(plan(None)))
    tag = OURS["transform"]["image"].partition(":")[2]
    assert done.additions == {"transform": {"image": "registry.example/p", "env": {"A": "1"}}}
    assert done.spec["transform"]["image"] == f"registry.example/p:{tag}"
    assert (done.spec["input"], done.spec["transform"]["cmd"]) == (OURS["input"], OURS["transform"]["cmd"])
    assert {change.path for change in done.changes} == {"input.pfs.glob", "transform.cmd", "transform.image"}


def test_options_stay_and_are_no_additions() -> None:
    options = Options(image="r/p", volume=Volume.parse("pvc:a", "/v"), secrets=("s",))
    first = plan(None, options=options)
    assert first.additions == {}
    records = after(first, options)
    again = plan(first.spec, records)
    assert (again.action, again.additions) == ("unchanged", {})
    by_hand = changed(
        first.spec, pod_patch=json.dumps([*json.loads(PATCH), *json.loads(first.spec["pod_patch"])])
    )
    kept = plan(by_hand, records)
    bundled_and_by_hand = json.dumps([*json.loads(PATCH), *json.loads(OURS["pod_patch"])])
    assert (kept.action, kept.additions) == ("unchanged", {"pod_patch": bundled_and_by_hand})
    upgraded = plan(by_hand, after(kept, options), next_version())
    assert upgraded.spec["pod_patch"] == by_hand["pod_patch"]


def test_own_specs_join_the_additions() -> None:
    records = after(plan(changed(OURS, pod_patch=PATCH)))
    done = plan(changed(OURS, pod_patch=PATCH), records, own=changed(OURS, datum_tries=7))
    assert done.additions == {"pod_patch": PATCH, "datum_tries": 7}


def test_own_specs_of_another_version_are_refused() -> None:
    with pytest.raises(UsageError, match=r"export.json: its image is .* `pachvault specs`"):
        plan(None, own=next_version())


def test_a_pachyderm_that_keeps_no_specs_is_not_updated_for_nothing() -> None:
    first = plan(None)
    unknown = InCluster(None)
    again = plan_pipeline("export", OURS, Options(), after(first), unknown, None)
    assert again.action == "unchanged"
    upgraded = plan_pipeline("export", next_version(), Options(), after(first), unknown, None)
    assert (upgraded.action, upgraded.additions) == ("updated", {})


def test_a_schedule_is_the_policys_and_without_one_stays_as_it_is() -> None:
    ours = bundled("freeze")
    ticking = scheduled(ours, schedule_of("freeze", POLICY, None))
    assert ticking["input"]["cross"][0]["cron"]["spec"] == "0 3 * * *"
    assert ticking["input"]["cross"][1] == ours["input"]["cross"][1]
    assert schedule_of("freeze", None, InCluster(ticking)) == "0 3 * * *"
    assert schedule_of("freeze", None, None) is None
    assert scheduled(bundled("export"), "0 3 * * *") == bundled("export")


def test_a_target_that_no_volume_holds_is_missed() -> None:
    plans = [StagePlan("freeze", "created", spec) for spec in [rendered(Wanted(), POLICY)["freeze"]]]
    (line,) = unmounted(POLICY, plans)
    assert "/mnt/vault is not mounted in the workers of freeze" in line
    assert "--volume pvc:CLAIM" in line
    for volume in ("pvc:vault", "nfs:nas:/b@/mnt", "host:/b@/"):
        spec = rendered(Wanted(volume=volume), POLICY)["freeze"]
        assert unmounted(POLICY, [StagePlan("freeze", "created", spec)]) == []
    beside = rendered(Wanted(volume="pvc:vault@/mnt/va"), POLICY)["freeze"]
    assert unmounted(POLICY, [StagePlan("freeze", "created", beside)])


@pytest.mark.parametrize("target", ["ftp://b/k", "vault", "file://host/v"])
def test_a_target_that_cannot_be_opened_is_refused(target: str) -> None:
    with pytest.raises(UsageError):
        target_folder(POLICY.model_copy(update={"target": target}))


def test_specs_are_compared_in_one_form() -> None:
    text = (
        '{"datumTries": "3", "parallelismSpec": {"constant": 1.0}, "transform": {"env": {"aB": "1"}}, '
        '"update": true, "podPatch": "[ ]", "maximumExpectedUptime": "60s", "salt": null}'
    )
    assert canonical(text, "x") == {
        "datum_tries": 3,
        "parallelism_spec": {"constant": 1},
        "transform": {"env": {"aB": "1"}},
        "pod_patch": "[]",
        "maximum_expected_uptime": "60s",
    }
    for bad in (
        "",
        "[]",
        "{",
        '{"transform": 1}',
        '{"transform": {"secrets": 1}}',
        '{"input": {"cross": 1}}',
    ):
        with pytest.raises(UsageError, match="x: not a pipeline spec"):
            canonical(bad, "x")
