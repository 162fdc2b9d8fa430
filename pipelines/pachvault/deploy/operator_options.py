"""What an operator sets for all pipelines alike: image, volume, secrets, pull secret, service account. Pure.

They are kept apart from other additions, because they go into lists and patches that the bundled specs
may have, too: `applied_to` adds them to any spec, and `removed_from` takes exactly them away again.
"""

from __future__ import annotations

import json
import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from pachvault.errors import UsageError
from pachvault.pach.pipeline_spec import Spec

VOLUME_NAME = "pachvault-vault"
_ENVIRONMENT = "/containers/0/envFrom"
SECRETS_FOLDER = "/var/run/secrets/pachvault"
_VOLUME = re.compile(r"(?P<kind>pvc|nfs|host):(?P<where>[^@]+)(@(?P<mount>/[^@]*))?")
_VOLUME_FORMS = "pvc:CLAIM, nfs:SERVER:/PATH or host:/PATH, and @/MOUNT where it is not the target's own path"
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_TAG = re.compile(r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[0-9a-f]+)?$")
_POD_FIELDS: dict[str, type[dict[str, Any]] | type[list[Any]]] = {"pod_spec": dict, "pod_patch": list}
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*")


class Volume(BaseModel):
    """A volume that holds the vault, and where the workers see it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: dict[str, Any]
    """The volume's source, as in a Kubernetes pod."""
    mount_path: str

    @classmethod
    def parse(cls, text: str, target_folder: str | None) -> Self:
        """UsageError for another form, or where there is no path to mount it at."""
        match = _VOLUME.fullmatch(text)
        source = _volume_source(match["kind"], match["where"]) if match else None
        if match is None or source is None:
            raise UsageError(f"not a volume: {text!r}", where="--volume", hint=_VOLUME_FORMS)
        mount = match["mount"] or target_folder
        if mount is None:
            hint = "name the mount path: --volume KIND:PLACE@/MOUNT"
            raise UsageError(
                "the policy's target is no file:///folder to mount it at", where="--volume", hint=hint
            )
        return cls(source=source, mount_path=mount)

    @property
    def patch(self) -> list[dict[str, Any]]:
        """The operations that add it to a pod and mount it in the container of the user's code."""
        mount = {"name": VOLUME_NAME, "mountPath": self.mount_path}
        return [
            {"op": "add", "path": "/volumes/-", "value": {"name": VOLUME_NAME, **self.source}},
            {"op": "add", "path": "/containers/0/volumeMounts/-", "value": mount},
        ]


def _volume_source(kind: str, where: str) -> dict[str, Any] | None:
    if kind == "pvc":
        return {"persistentVolumeClaim": {"claimName": where}} if _KUBERNETES_NAME.fullmatch(where) else None
    server, separator, path = where.rpartition(":")
    if not path.startswith("/"):
        return None
    if kind == "nfs":
        return {"nfs": {"server": server, "path": path}} if server else None
    return None if separator else {"hostPath": {"path": path, "type": "Directory"}}


class Options(BaseModel):
    """The options of a deployment; what is not given is left to the bundled spec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str | None = None
    """Registry and name; the tag is this version's."""
    volume: Volume | None = None
    pull_secret: str | None = None
    service_account: str | None = None
    secrets: tuple[str, ...] = ()
    """Kubernetes secrets. The keys of each are environment variables, and files in SECRETS_FOLDER/NAME."""

    def updated(self, given: Options) -> Options:
        """With the options that are given; the others stay. Secrets are added."""
        secrets = tuple(dict.fromkeys((*self.secrets, *given.secrets)))
        changed = {name: getattr(given, name) for name in given.model_fields_set if name != "secrets"}
        return self.model_copy(update={**changed, "secrets": secrets})

    def applied_to(self, spec: Spec) -> Spec:
        """The spec with the options. Applying them twice is applying them once."""
        spec = self.removed_from(spec)
        transform = dict(spec["transform"])
        if self.image:
            transform["image"] = self.image + tag_of(transform["image"])
        if self.pull_secret:
            transform["image_pull_secrets"] = [*transform.get("image_pull_secrets", []), self.pull_secret]
        if self.secrets:
            transform["secrets"] = [*transform.get("secrets", []), *map(_mounted, self.secrets)]
        spec["transform"] = transform
        if self.service_account:
            pod = _parsed(spec, "pod_spec") | {"serviceAccountName": self.service_account}
            spec["pod_spec"] = json.dumps(pod)
        operations = self._operations()
        if operations:
            spec["pod_patch"] = json.dumps([*_parsed(spec, "pod_patch"), *operations])
        return spec

    def _operations(self) -> list[dict[str, Any]]:
        """What is added to `pod_patch`. Unlike a secret of the spec, envFrom needs no names of keys."""
        operations = self.volume.patch if self.volume else []
        if self.secrets:
            references = [{"secretRef": {"name": name}} for name in self.secrets]
            operations = [*operations, {"op": "add", "path": _ENVIRONMENT, "value": references}]
        return operations

    def removed_from(self, spec: Spec) -> Spec:
        """The spec without what these options add to it; the image stays."""
        spec, transform = dict(spec), dict(spec.get("transform", {}))
        added: dict[str, list[Any]] = {
            "image_pull_secrets": [self.pull_secret],
            "secrets": [_mounted(name) for name in self.secrets],
        }
        for name, items in added.items():
            if name in transform:
                transform[name] = [item for item in transform[name] if item not in items]
                if not transform[name]:
                    del transform[name]
        spec["transform"] = transform
        if self.service_account:
            pod = _parsed(spec, "pod_spec")
            if pod.get("serviceAccountName") == self.service_account:
                del pod["serviceAccountName"]
                _put(spec, "pod_spec", pod)
        ours = self._operations()
        operations = _parsed(spec, "pod_patch") if ours else []
        left = [
            operation
            for operation in operations
            if operation not in ours and not (self.volume and _is_vault_volume(operation))
        ]
        if left != operations:
            _put(spec, "pod_patch", left)
        return spec


def image_option(text: str, tag: str) -> str:
    """Registry and name of an image. UsageError for a tag that is not this version's, or a digest."""
    name, given = without_tag(text), tag_of(text)
    if not _IMAGE.fullmatch(name):
        raise UsageError(f"not an image: {text!r}", where="--image", hint="REGISTRY/NAME")
    if given not in ("", tag):
        raise UsageError(
            f"the tag belongs to the version, which is {tag[1:]}", where=f"--image {text}", hint=name
        )
    return name


def kubernetes_name(text: str, where: str) -> str:
    """The name of a secret, claim or account. UsageError for one that Kubernetes does not take."""
    if not _KUBERNETES_NAME.fullmatch(text):
        raise UsageError(f"not a name that Kubernetes takes: {text!r}", where=where)
    return text


def tag_of(image: str) -> str:
    """An image's tag and digest with their separators; empty where it has none."""
    match = _TAG.search(image)
    return match[0] if match else ""


def without_tag(image: str) -> str:
    """An image's registry and name."""
    return image.removesuffix(tag_of(image))


def mounted_folders(spec: Spec) -> list[str]:
    """The paths at which a pod gets volumes, by the spec's patches of it."""
    pod = _parsed(spec, "pod_spec")
    containers = pod.get("containers", [])
    mounts = [mount for container in containers for mount in container.get("volumeMounts", [])]
    for operation in _parsed(spec, "pod_patch"):
        value = operation.get("value")
        if "volumeMounts" in str(operation.get("path")):
            mounts += value if isinstance(value, list) else [value]
    return [mount["mountPath"] for mount in mounts if isinstance(mount, dict) and "mountPath" in mount]


def check_pod(spec: Spec, where: str) -> None:
    """UsageError where `pod_spec` is no JSON object, or `pod_patch` no JSON list of operations."""
    for field in _POD_FIELDS:
        _parsed(spec, field, where)


def _parsed(spec: Spec, field: str, where: str = "") -> Any:
    kind = _POD_FIELDS[field]
    try:
        value = json.loads(spec[field]) if spec.get(field) else kind()
    except (ValueError, TypeError) as error:
        raise UsageError(f"{field} is not JSON in a string: {error}", where=where) from error
    if not isinstance(value, kind) or (kind is list and not all(isinstance(item, dict) for item in value)):
        form = "object" if kind is dict else "list of operations"
        raise UsageError(f"{field} is not a JSON {form} in a string", where=where)
    return value


def _put(spec: Spec, field: str, value: Any) -> None:
    if value:
        spec[field] = json.dumps(value)
    else:
        spec.pop(field, None)


def _mounted(secret: str) -> dict[str, str]:
    return {"name": secret, "mount_path": f"{SECRETS_FOLDER}/{secret}"}


def _is_vault_volume(operation: dict[str, Any]) -> bool:
    value = operation.get("value")
    return isinstance(value, dict) and value.get("name") == VOLUME_NAME
