"""Options change any spec, can be taken away again, and are refused in one line where they are wrong."""

from __future__ import annotations

import json

import pytest

from pachvault.bundled_files import ALL_STAGES
from pachvault.deploy.operator_options import (
    Options,
    Volume,
    check_pod,
    image_option,
    mounted_folders,
    tag_of,
    without_tag,
)
from pachvault.deploy.wanted import bundled
from pachvault.errors import UsageError

PATCH = json.dumps([{"op": "add", "path": "/hostNetwork", "value": True}])
EVERYTHING = Options(
    image="registry.example:5000/team/pachvault",
    volume=Volume.parse("pvc:vault", "/vault"),
    pull_secret="registry",  # noqa: S106  (the name of one)
    service_account="backup",
    secrets=("s3", "key"),
)


@pytest.mark.parametrize("stage", ALL_STAGES)
def test_options_are_applied_once_and_taken_away_exactly(stage: str) -> None:
    for spec in (bundled(stage), bundled(stage) | {"pod_patch": PATCH, "pod_spec": '{"hostIPC": true}'}):
        changed = EVERYTHING.applied_to(spec)
        assert EVERYTHING.applied_to(changed) == changed
        image = spec["transform"]["image"]
        assert changed["transform"]["image"] == f"registry.example:5000/team/pachvault{tag_of(image)}"
        back = EVERYTHING.removed_from(changed)
        assert back | {"transform": back["transform"] | {"image": image}} == spec
        assert Options().applied_to(spec) == spec


def test_a_volume_comes_beside_what_is_patched_already() -> None:
    spec = EVERYTHING.applied_to(bundled("freeze") | {"pod_patch": PATCH})
    operations = json.loads(spec["pod_patch"])
    assert operations[0] == json.loads(PATCH)[0]
    assert operations[1:] == [
        {
            "op": "add",
            "path": "/volumes/-",
            "value": {"name": "pachvault-vault", "persistentVolumeClaim": {"claimName": "vault"}},
        },
        {
            "op": "add",
            "path": "/containers/0/volumeMounts/-",
            "value": {"name": "pachvault-vault", "mountPath": "/vault"},
        },
        {
            "op": "add",
            "path": "/containers/0/envFrom",
            "value": [{"secretRef": {"name": "s3"}}, {"secretRef": {"name": "key"}}],
        },
    ]
    assert {"name": "s3", "mount_path": "/var/run/secrets/pachvault/s3"} in spec["transform"]["secrets"]
    assert "/vault" in mounted_folders(spec)
    other = EVERYTHING.updated(Options(volume=Volume.parse("host:/data", "/vault"))).applied_to(spec)
    assert "persistentVolumeClaim" not in other["pod_patch"]
    assert "hostPath" in other["pod_patch"]


@pytest.mark.parametrize(
    ("text", "source", "mount"),
    [
        ("pvc:vault", {"persistentVolumeClaim": {"claimName": "vault"}}, "/target"),
        ("nfs:nas.example:/exports/b", {"nfs": {"server": "nas.example", "path": "/exports/b"}}, "/target"),
        ("nfs:fd00::1:/b", {"nfs": {"server": "fd00::1", "path": "/b"}}, "/target"),
        ("host:/srv/b@/mnt", {"hostPath": {"path": "/srv/b", "type": "Directory"}}, "/mnt"),
    ],
)
def test_volumes(text: str, source: dict[str, object], mount: str) -> None:
    volume = Volume.parse(text, "/target")
    assert (volume.source, volume.mount_path) == (source, mount)


@pytest.mark.parametrize(
    "text", ["vault", "pvc:", "pvc:A b", "nfs:/path", "nfs:s:path", "host:p", "s3:b", ""]
)
def test_other_volumes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"pvc:CLAIM, nfs:SERVER:/PATH or host:/PATH"):
        Volume.parse(text, "/target")


def test_a_volume_needs_a_place() -> None:
    with pytest.raises(UsageError, match="KIND:PLACE@/MOUNT"):
        Volume.parse("pvc:vault", None)


def test_the_tag_of_an_image_is_the_versions() -> None:
    assert image_option("registry.example/p", ":1.0") == "registry.example/p"
    assert image_option("registry.example:5000/p:1.0", ":1.0") == "registry.example:5000/p"
    for bad in ("registry.example/p:2.0", "r/p@sha256:" + "a" * 64, "", "a b", "-x"):
        with pytest.raises(UsageError):
            image_option(bad, ":1.0")
    assert without_tag("r:5000/p") == "r:5000/p"
    assert tag_of("r/p:1@sha256:ab") == ":1@sha256:ab"


@pytest.mark.parametrize(("field", "value"), [("pod_patch", "{}"), ("pod_patch", "[1]"), ("pod_spec", "[")])
def test_a_pod_that_cannot_be_patched_is_refused(field: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"freeze.json: {field} is not"):
        check_pod({field: value}, "freeze.json")
