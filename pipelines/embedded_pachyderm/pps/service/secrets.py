"""Secrets: made from Kubernetes' JSON, kept in the state, never shown again."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.pps.pps_errors import invalid
from embedded_pachyderm.pps.state import SecretRow, State


class Secrets:
    """The four calls about secrets."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(self, file: bytes) -> None:
        row = parse(file)
        if not self._state.put_secret(row):
            raise invalid(f'failed to create secret: secrets "{row.name}" already exists')

    def delete(self, name: str) -> None:
        if not self._state.delete_secret(name):
            raise invalid(f'failed to delete secret: secrets "{name}" not found')

    def inspect(self, name: str) -> Any:
        row = self._state.secret(name)
        if row is None:
            raise invalid(f'failed to get secret: secrets "{name}" not found')
        return _info(row)

    def list(self) -> Any:
        return pps_pb2.SecretInfos(secret_info=[_info(row) for row in self._state.secrets()])


def parse(file: bytes) -> SecretRow:
    """A Kubernetes secret document; `data` is base64, `stringData` is plain."""
    try:
        document = json.loads(file)
        name = document["metadata"]["name"]
        data = {
            key: base64.b64decode(value, validate=True).decode()
            for key, value in (document.get("data") or {}).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise invalid(f"failed to unmarshal secret: {error!r}") from None
    data |= document.get("stringData") or {}
    return SecretRow(name=name, type=document.get("type") or "Opaque", created_at=time.time(), data=data)


def _info(row: SecretRow) -> Any:
    info = pps_pb2.SecretInfo(secret=pps_pb2.Secret(name=row.name), type=row.type)
    info.creation_timestamp.FromSeconds(int(row.created_at))
    return info
