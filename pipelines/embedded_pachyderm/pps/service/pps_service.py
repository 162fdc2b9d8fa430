"""The gRPC methods of the embedded PPS (pps_v2.API); refusals become gRPC statuses."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from embedded_pachyderm.auth.auth import Auth
from embedded_pachyderm.pps.engine import Engine
from embedded_pachyderm.pps.jobs.pfs_client import Pfs
from embedded_pachyderm.pps.jobs.pipelines import Pipelines
from embedded_pachyderm.pps.jobs.runner import sweep
from embedded_pachyderm.pps.pps_errors import Refusal, bad_spec, invalid, unimplemented
from embedded_pachyderm.pps.service import pps_messages
from embedded_pachyderm.pps.service.defaults import Defaults
from embedded_pachyderm.pps.service.effective import spec_json, split_newer
from embedded_pachyderm.pps.service.jobs import Jobs
from embedded_pachyderm.pps.service.queries import Queries
from embedded_pachyderm.pps.service.secrets import Secrets
from embedded_pachyderm.pps.service.specs import SpecError, parse_spec
from embedded_pachyderm.pps.state import Key, State, pipeline_of
from embedded_pachyderm.pps.worker import process
from embedded_pachyderm.pps.worker.logs import Logs

_log = logging.getLogger("embedded_pachyderm.pps")
_SERVICE = "pps_v2.API"

Behaviour = Callable[[Any, Callable[[], bool]], Any]


class PpsService:
    """The service over one state folder; `port` is where this same server answers, `sidecar_port` workers."""

    def __init__(self, state: Path, auth: Auth, *, port: int, sidecar_port: int) -> None:
        orphans = process.kill_orphans(state)
        if orphans:
            _log.info("ended %d processes that an earlier server left", orphans)
        self._engine = Engine(
            state=State(state / "pps.sqlite"),
            pfs=Pfs(port, auth.internal_token),
            auth=auth,
            logs=Logs(state / "logs"),
            port=port,
            sidecar_port=sidecar_port,
            folder=state,
        )
        self._pipelines = Pipelines(self._engine)
        self._jobs = Jobs(self._engine)
        self._queries = Queries(self._engine)
        self._secrets = Secrets(self._engine.state)
        self._defaults = Defaults(self._engine)

    def register(self, server: Any) -> None:
        """Serve `pps_v2.API` there."""
        unary: dict[str, tuple[Any, Behaviour]] = {
            "CreatePipeline": (pps_pb2.CreatePipelineRequest, self._create_pipeline),
            **self._defaults.calls(),
            "CreatePipelineV2": (pps_messages.CreatePipelineV2Request, self._create_pipeline_v2),
            "DeletePipeline": (pps_pb2.DeletePipelineRequest, self._delete_pipeline),
            "DeletePipelines": (pps_pb2.DeletePipelinesRequest, self._delete_pipelines),
            "InspectPipeline": (
                pps_pb2.InspectPipelineRequest,
                lambda r, _: self._queries.inspect_pipeline(r),
            ),
            "StartPipeline": (pps_pb2.StartPipelineRequest, self._start_pipeline),
            "StopPipeline": (pps_pb2.StopPipelineRequest, self._stop_pipeline),
            "RunCron": (pps_pb2.RunCronRequest, lambda r, _: self._pipelines.run_cron(r.pipeline)),
            "InspectJob": (pps_pb2.InspectJobRequest, self._jobs.inspect),
            "CreateSecret": (pps_pb2.CreateSecretRequest, lambda r, _: self._secrets.create(r.file)),
            "DeleteSecret": (pps_pb2.DeleteSecretRequest, lambda r, _: self._secrets.delete(r.secret.name)),
            "InspectSecret": (
                pps_pb2.InspectSecretRequest,
                lambda r, _: self._secrets.inspect(r.secret.name),
            ),
            "ListSecret": (empty_pb2.Empty, lambda _r, _: self._secrets.list()),
        }
        streams: dict[str, tuple[Any, Behaviour]] = {
            "ListPipeline": (pps_pb2.ListPipelineRequest, lambda r, _: self._queries.list_pipelines(r)),
            "ListJob": (pps_pb2.ListJobRequest, lambda r, _: self._jobs.list(r)),
            "ListDatum": (pps_pb2.ListDatumRequest, lambda r, _: self._queries.list_datums(r)),
            "GetLogs": (pps_pb2.GetLogsRequest, lambda r, _: self._queries.logs(r)),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(_single(behaviour), request.FromString, _serialize)
            for name, (request, behaviour) in unary.items()
        }
        handlers |= {
            name: grpc.unary_stream_rpc_method_handler(_streamed(behaviour), request.FromString, _serialize)
            for name, (request, behaviour) in streams.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))

    @property
    def state(self) -> State:
        """The stored state."""
        return self._engine.state

    def has_pipeline(self, repo: Any) -> bool:
        """Whether the repo is a pipeline's: its output, its spec or its meta repo."""
        return self._engine.state.pipeline(Key(repo.project.name or "default", repo.name)) is not None

    def start(self) -> None:
        """Start the stored pipelines and continue unfinished jobs; the server must be answering."""
        sweep(self._engine)
        self._pipelines.start()

    def halt(self) -> None:
        """Stop all workers and threads; the next start continues unfinished jobs."""
        self._engine.closing.set()
        self._pipelines.close()

    def close(self) -> None:
        """Close the files; call it after the server has stopped."""
        self._engine.pfs.close()
        self._engine.state.close()

    def _create_pipeline(self, request: Any, _active: Any) -> None:
        self._pipelines.create(
            request,
            spec=spec_json(request),
            update=request.update,
            reprocess=request.reprocess,
            dry_run=request.dry_run,
        )

    def _create_pipeline_v2(self, request: Any, _active: Any) -> Any:
        try:
            document = json.loads(request.create_pipeline_request_json)
            spec = parse_spec(document)
        except (SpecError, ValueError) as error:
            raise bad_spec(
                f"could not parse {request.create_pipeline_request_json} as Create Pipeline Request message: "
                f"proto: {error}"
            ) from None
        effective = self._pipelines.create(
            spec,
            spec=request.create_pipeline_request_json,
            update=request.update,
            reprocess=request.reprocess,
            dry_run=request.dry_run,
            newer=split_newer(document)[1],
        )
        return pps_messages.CreatePipelineV2Response(effective_create_pipeline_request_json=effective)

    def _delete_pipeline(self, request: Any, _active: Any) -> None:
        if request.all:
            raise unimplemented("DeletePipeline with all")
        if not request.pipeline.name:
            raise invalid("request.Pipeline cannot be nil")
        self._pipelines.delete(request.pipeline, keep_repo=request.keep_repo, force=request.force)

    def _delete_pipelines(self, request: Any, _active: Any) -> Any:
        projects = {project.name for project in request.projects}
        keys = [key for key in self._engine.state.pipeline_keys() if request.all or key.project in projects]
        answer = pps_pb2.DeletePipelinesResponse(pipelines=[pipeline_of(key) for key in keys])
        # A stopped pipeline follows nothing: after this they may go in any order.
        for pipeline in answer.pipelines:
            self._pipelines.set_stopped(pipeline, stopped=True)
        for pipeline in answer.pipelines:
            self._pipelines.delete(pipeline, keep_repo=request.keep_repo, force=request.force)
        return answer

    def _start_pipeline(self, request: Any, _active: Any) -> None:
        self._pipelines.set_stopped(request.pipeline, stopped=False)

    def _stop_pipeline(self, request: Any, _active: Any) -> None:
        self._pipelines.set_stopped(request.pipeline, stopped=True)


def _single(behaviour: Behaviour) -> Callable[[Any, Any], Any]:
    def handle(request: Any, context: Any) -> Any:
        try:
            answer = behaviour(request, context.is_active)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.message)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        return empty_pb2.Empty() if answer is None else answer

    return handle


def _streamed(behaviour: Behaviour) -> Callable[[Any, Any], Iterator[Any]]:
    def handle(request: Any, context: Any) -> Iterator[Any]:
        try:
            yield from behaviour(request, context.is_active)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.message)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    return handle


def _serialize(answer: Any) -> bytes:
    return bytes(answer.SerializeToString())
