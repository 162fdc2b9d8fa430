"""Secrets as `pachctl create secret` makes them: a Kubernetes document in a message."""

from __future__ import annotations

import base64
import json

from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Pach


def make_secret(pach: Pach, name: str, values: dict[str, str]) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
    pach.pps.CreateSecret(pps_pb2.CreateSecretRequest(file=json.dumps(document).encode()))


def delete_secret(pach: Pach, name: str) -> None:
    pach.pps.DeleteSecret(pps_pb2.DeleteSecretRequest(secret=pps_pb2.Secret(name=name)))


def secret_names(pach: Pach) -> list[str]:
    return [info.secret.name for info in pach.pps.ListSecret(empty_pb2.Empty()).secret_info]
