"""Defaults of the cluster and of projects: values for what a pipeline's spec leaves out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import json_format
from python_pachyderm.proto.v2.pfs import pfs_pb2

from embedded_pachyderm import newer_messages
from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.pps_errors import Refusal, unimplemented
from embedded_pachyderm.pps.service.effective import CLUSTER_DEFAULTS, parse_defaults

_MESSAGES = newer_messages.DEFAULTS


class Defaults:
    """The four calls about defaults."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def calls(self) -> dict[str, tuple[Any, Callable[[Any, Any], Any]]]:
        """By method: the request's message, and what answers it."""
        behaviours = {
            "GetClusterDefaults": self._get_of_cluster,
            "SetClusterDefaults": self._set_of_cluster,
            "GetProjectDefaults": self._get_of_project,
            "SetProjectDefaults": self._set_of_project,
        }
        return {name: (_MESSAGES[f"{name}Request"], behaviour) for name, behaviour in behaviours.items()}

    def _get_of_cluster(self, _request: Any, _active: Any) -> Any:
        text = self._engine.state.defaults() or CLUSTER_DEFAULTS
        return _MESSAGES["GetClusterDefaultsResponse"](cluster_defaults_json=text)

    def _set_of_cluster(self, request: Any, _active: Any) -> Any:
        self._set(request, request.cluster_defaults_json, "", "invalid cluster defaults JSON")
        return _MESSAGES["SetClusterDefaultsResponse"]()

    def _get_of_project(self, request: Any, _active: Any) -> Any:
        project = pfs_pb2.Project(name=request.project.name or "default")
        self._engine.pfs.stub.InspectProject(pfs_pb2.InspectProjectRequest(project=project))
        text = self._engine.state.defaults(project.name) or "{}"
        return _MESSAGES["GetProjectDefaultsResponse"](project_defaults_json=text)

    def _set_of_project(self, request: Any, _active: Any) -> Any:
        project = request.project.name or "default"  # which need not be there, as on the real one
        self._set(request, request.project_defaults_json, project, "could not merge project defaults")
        return _MESSAGES["SetProjectDefaultsResponse"]()

    def _set(self, request: Any, text: str, project: str, complaint: str) -> None:
        if request.regenerate:
            raise unimplemented("defaults with regenerate")
        try:
            parse_defaults(text)
        except (ValueError, json_format.ParseError) as error:
            message = f"{complaint} {text}: {' '.join(str(error).split())}"
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, message) from None
        if not request.dry_run:
            self._engine.state.put_defaults(text, project)
