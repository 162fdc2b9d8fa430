"""The pods that Pachyderm makes of the specs: what `pod_patch` does to them, and Pod Security's rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from pachvault.bundled_files import ALL_STAGES, spec

ROOT = Path(__file__).parents[2]
RESTRICTED = json.loads((ROOT / "docs" / "clusters" / "restricted-pods.json").read_text())
HOME = "/home/pachvault"
Pod = dict[str, Any]

# What Pachyderm 2.11 gives its own containers where `global.securityContexts.enabled` is on. Kubernetes knows
# the capability as ALL, in capitals: "all" does not satisfy Pod Security.
_PACHYDERMS_CONTEXT = {
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["all"]},
}
_MOUNTS = [
    {"name": "pach-bin", "mountPath": "/pach-bin"},
    {"name": "pachyderm-worker", "mountPath": "/pfs"},
]
_ALLOWED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}


def worker_pod(*, is_local: bool = False, has_contexts: bool = True) -> Pod:
    """The pod spec that Pachyderm 2.11 makes; `is_local` where its storage is a folder of the node."""
    own = {"securityContext": _PACHYDERMS_CONTEXT} if has_contexts else {}
    if is_local:
        own = {"securityContext": {"runAsUser": 0}}
    storage = (
        [{"name": "pach-disk", "hostPath": {"path": "/var/pachyderm"}}]
        if is_local
        else [{"name": "pach-dir-volume", "emptyDir": {}}, {"name": "user-tmp", "emptyDir": {}}]
    )
    tmp = [] if is_local else [{"name": "user-tmp", "mountPath": "/tmp"}]  # noqa: S108 (a path in a pod)
    pod: Pod = {
        "initContainers": [{"name": "init", "volumeMounts": _MOUNTS, **own}],
        "containers": [
            {"name": "user", "volumeMounts": [*_MOUNTS, *tmp]},
            {"name": "storage", "volumeMounts": [], **own},
        ],
        "volumes": [
            {"name": "pach-bin", "emptyDir": {}},
            {"name": "pachyderm-worker", "emptyDir": {}},
            *storage,
            {"name": "tmp", "emptyDir": {}},
            {"name": "pachyderm-storage-secret", "secret": {"secretName": "pachyderm-storage-secret"}},
        ],
    }
    return deepcopy(pod)


def patched(pod: Pod, stage: str, more: list[Any] | None = None) -> Pod:
    patch = json.loads(json.loads(spec(stage))["pod_patch"])
    return dict(jsonpatch.apply_patch(pod, [*patch, *(more or [])]))


def violations(pod: Pod, only: str = "") -> Iterator[str]:
    """The rules of Pod Security's level *restricted* that a pod breaks; `only` one container is looked at."""
    for volume in pod["volumes"]:
        if not only and not _ALLOWED_VOLUMES & volume.keys():
            yield f"volume {volume['name']}"
    of_pod = pod.get("securityContext", {})
    for container in (*pod["initContainers"], *pod["containers"]):
        if only and container["name"] != only:
            continue
        name, own = container["name"], container.get("securityContext", {})
        context = {**of_pod, **own}
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            yield f"{name}: runAsNonRoot"
        if context.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            yield f"{name}: seccompProfile"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        if "ALL" not in own.get("capabilities", {}).get("drop", []):
            yield f"{name}: capabilities"


@pytest.mark.parametrize("stage", ALL_STAGES)
@pytest.mark.parametrize("is_local", [False, True])
def test_the_stages_own_container_is_restricted_on_every_cluster(stage: str, is_local: bool) -> None:
    pod = patched(worker_pod(is_local=is_local), stage)
    assert list(violations(pod, only="user")) == []
    context = pod["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert not {"runAsUser", "runAsGroup"} & context.keys(), "OpenShift chooses the user"


@pytest.mark.parametrize("stage", ALL_STAGES)
@pytest.mark.parametrize("is_local", [False, True])
def test_home_and_temporary_files_have_a_writable_place(stage: str, is_local: bool) -> None:
    """Pachyderm's worker makes temporary folders in the same container, and not every cluster mounts /tmp."""
    pod = patched(worker_pod(is_local=is_local), stage)
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == HOME)
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    assert "emptyDir" in volume
    assert json.loads(spec(stage))["transform"]["env"] == {"HOME": HOME, "TMPDIR": HOME}


def test_pachyderms_own_containers_are_left_as_they_are() -> None:
    before = worker_pod()
    after = patched(worker_pod(), "export")
    assert after["initContainers"] == before["initContainers"]
    assert after["containers"][1] == before["containers"][1]
    assert any(violations(after)), "which is why restricted-pods.json exists"


@pytest.mark.parametrize("stage", ALL_STAGES)
@pytest.mark.parametrize("has_contexts", [True, False])
def test_with_the_documented_patch_the_whole_pod_is_restricted(stage: str, has_contexts: bool) -> None:
    assert list(violations(patched(worker_pod(has_contexts=has_contexts), stage, RESTRICTED))) == []


def test_a_cluster_that_stores_on_its_node_cannot_be_restricted() -> None:
    pod = patched(worker_pod(is_local=True), "export", RESTRICTED)
    assert list(violations(pod)) == ["volume pach-disk"]
