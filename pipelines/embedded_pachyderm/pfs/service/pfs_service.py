"""The file system's gRPC surface. Register it with `PfsService.register(server)`.

The generated `add_APIServicer_to_server` is not used, for four reasons: large answers are serialized by hand,
fields that python-pachyderm's messages lack are read, faults can be injected into every call, and a method
that is not served is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from embedded_pachyderm import faults as fault_seam
from embedded_pachyderm import streams
from embedded_pachyderm.auth.auth import Resource
from embedded_pachyderm.auth.roles import PROJECT, REPO
from embedded_pachyderm.faults import Faults
from embedded_pachyderm.pfs.content.filesets import FileSets
from embedded_pachyderm.pfs.content.finisher import Finisher
from embedded_pachyderm.pfs.content.reading import Reader
from embedded_pachyderm.pfs.content.segments import Segments
from embedded_pachyderm.pfs.metadata import garbage_collection, propagate, records, repos
from embedded_pachyderm.pfs.metadata.database import Database
from embedded_pachyderm.pfs.pfs_errors import PfsError
from embedded_pachyderm.pfs.service import pfs_codec
from embedded_pachyderm.pfs.service.api_commits import CommitsApi
from embedded_pachyderm.pfs.service.api_files import FilesApi
from embedded_pachyderm.pfs.service.api_repos import ReposApi

SERVICE = pfs_pb2.DESCRIPTOR.services_by_name["API"]

#: Many small messages, all available at once: sent in batches. A call that waits for events must not be.
_LISTINGS = {"WalkFile", "ListFile", "GlobFile", "DiffFile", "ListCommit"}

_UPPER = re.compile(r"(?<=[a-z])(?=[A-Z])")

Behaviour: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]


class PfsService(pfs_pb2_grpc.APIServicer):  # type: ignore[misc]  # generated without annotations
    """The service over one state folder."""

    def __init__(self, state: Path, faults: Faults) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._faults = faults
        self._segments = Segments(state / "segments")
        self.database = Database(state / "pfs.sqlite")
        self.database.before_commit.append(propagate.moved_branches)
        with self.database.write() as transaction:
            repos.ensure_default_project(transaction.sql)
        garbage_collection.drop_garbage(self.database)
        garbage_collection.drop_segments(self.database, self._segments)
        file_sets = FileSets(self.database, self._segments)
        reader = Reader(self.database, file_sets)
        self._apis: tuple[Any, ...] = (
            ReposApi(self.database),
            CommitsApi(self.database, reader),
            FilesApi(self.database, file_sets, reader),
        )
        self._finisher = Finisher(self.database, file_sets)
        self._sweeper = garbage_collection.Sweeper(self.database)

    def register(self, server: grpc.Server) -> None:
        """Serve `pfs_v2.API` there."""
        handlers = {method.name: self._handler(method) for method in SERVICE.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))

    def cluster_metadata(self) -> dict[str, str]:
        """The metadata of the cluster, which is stored with that of projects and repos."""
        with self.database.read() as sql:
            return records.metadata(sql, "cluster", "")

    def resources(self) -> list[Resource]:
        """All projects and repos, as role bindings name them."""
        with self.database.read() as sql:
            projects = [Resource(PROJECT, info.project.name) for info in repos.list_projects(sql)]
            return projects + [Resource(REPO, f"{repo.project}/{repo.name}") for repo in repos.select(sql)]

    def close(self) -> None:
        """Stop the background work and close the files; call it after the server has stopped."""
        self._finisher.close()
        self._sweeper.close()
        self.database.close()
        self._segments.close()

    def _handler(self, method: Any) -> grpc.RpcMethodHandler:
        name = _UPPER.sub("_", method.name).lower()
        behaviour = next((getattr(api, name) for api in self._apis if hasattr(api, name)), None)
        shape = _shape(method)
        call = _Call(method.name, self._faults, behaviour or _unserved(method.name))
        return shape.make(
            call.served(shape),
            request_deserializer=pfs_codec.modification
            if shape.streams_request
            else method.input_type._concrete_class.FromString,
            response_serializer=_serialized,
        )


@dataclass(frozen=True, slots=True)
class _Shape:
    make: Callable[..., grpc.RpcMethodHandler]
    streams_request: bool
    streams_answer: bool


def _shape(method: Any) -> _Shape:
    """Which side streams, from the generated stub: the descriptor of these old messages lacks it."""
    name = _StubProbe.shape_of(method.name)
    make = getattr(grpc, f"{name}_rpc_method_handler")
    return _Shape(make, name.startswith("stream_"), name.endswith("_stream"))


class _StubProbe:
    """A channel that records how the generated stub calls each method."""

    _shapes: dict[str, str] = {}

    def __getattr__(self, shape: str) -> Callable[..., None]:
        def note(path: str, **_: Any) -> None:
            self._shapes[path.rsplit("/", 1)[1]] = shape

        return note

    @classmethod
    def shape_of(cls, method: str) -> str:
        if not cls._shapes:
            pfs_pb2_grpc.APIStub(cls())
        return cls._shapes[method]


@dataclass(frozen=True, slots=True)
class _Call:
    """One method: faults before and during, refusals as gRPC statuses."""

    name: str
    faults: Faults
    behaviour: Behaviour

    def served(self, shape: _Shape) -> Behaviour:
        """What grpc is to call."""
        if self.name in _LISTINGS:
            return self.listed
        return self.streamed if shape.streams_answer else self.single

    def listed(self, request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        streams.send(context, map(_serialized, self.streamed(request, context)))
        return iter(())

    def single(self, request: Any, context: grpc.ServicerContext) -> Any:
        fault_seam.before(self._rule(request), context)
        try:
            return self.behaviour(request, context)
        except PfsError as error:
            context.abort(error.code, str(error))

    def streamed(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        rule = self._rule(request)
        fault_seam.before(rule, context)
        try:
            yield from fault_seam.during(rule, iter(self.behaviour(request, context)), context)
        except PfsError as error:
            context.abort(error.code, str(error))

    def _rule(self, request: Any) -> fault_seam.Rule | None:
        return self.faults.strike(self.name, lambda: str(request))


def _unserved(name: str) -> Behaviour:
    def refuse(_request: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the embedded Pachyderm does not serve {name}")

    return refuse


def _serialized(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())
