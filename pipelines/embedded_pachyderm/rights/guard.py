"""Every call of a server, checked: who calls, what they may do, and what a listing shows them.

Without authentication calls pass as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from embedded_pachyderm.auth.auth import TOKEN_KEY, Auth, Denied, Resource
from embedded_pachyderm.auth.roles import PERMISSIONS, PROJECT, REPO
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.rights import required

_MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class RightsGuard(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses what the caller may not do; leaves out of listings what the caller may not see."""

    def __init__(self, auth: Auth, has_pipeline: Callable[[Resource], bool]) -> None:
        self._auth, self._has_pipeline = auth, has_pipeline

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not self._auth.is_active or method.startswith("/auth_v2.API/"):
            return handler
        token = dict(handler_call_details.invocation_metadata or ()).get(TOKEN_KEY)
        shape = (handler.request_streaming, handler.response_streaming)
        inner = (
            (handler.stream_stream if shape[1] else handler.stream_unary)
            if shape[0]
            else (handler.unary_stream if shape[1] else handler.unary_unary)
        )

        def guarded(request: Any, context: Any) -> Any:
            try:
                first, request = _first(request) if shape[0] else (request, request)
                principal = self._admit(method, first, token)
            except Denied as denied:
                context.abort(denied.code, denied.message)
            answer = inner(request, context)
            if shape[1]:
                return self._shown(method, principal, answer)
            return self._after(method, principal, first, answer)

        return _MAKERS[shape](guarded, handler.request_deserializer, handler.response_serializer)

    def _admit(self, method: str, request: Any, token: str | None) -> str:
        """The caller, who may make this call."""
        needs = list(required.needs(method, request, has_pipeline=self._has_pipeline))
        if method in required.UNAUTHENTICATED and not needs:
            return ""
        principal, _ = self._auth.who(token)
        for resource, permissions in needs:
            self._auth.require(principal, resource, *permissions)
        return principal

    def _shown(self, method: str, principal: str, answers: Iterator[Any]) -> Iterator[Any]:
        """The answers of a listing that the caller may see, with what they may do."""
        for answer in answers:
            if method == "/pfs_v2.API/ListProject":
                self._inform(answer, principal, required.project(answer.project))
            elif method == "/pfs_v2.API/ListRepo":
                resource = required.repo(answer.repo)
                if not self._sees(principal, resource):
                    continue
                self._inform(answer, principal, resource)
            elif method in ("/pps_v2.API/ListPipeline", "/pps_v2.API/ListJob"):
                info = answer if method.endswith("ListPipeline") else answer.job
                if not self._sees(principal, required.pipeline(info.pipeline)):
                    continue
            yield answer

    def _sees(self, principal: str, repo: Resource) -> bool:
        project = Resource(PROJECT, repo.name.partition("/")[0])
        return self._auth.may(principal, project, "PROJECT_LIST_REPO") or self._auth.may(
            principal, repo, "REPO_READ"
        )

    def _inform(self, answer: Any, principal: str, resource: Resource) -> None:
        names, roles = self._auth.permissions(principal, resource)
        answer.auth_info.permissions.extend(sorted(PERMISSIONS[name] for name in names))
        answer.auth_info.roles.extend(roles)

    def _after(self, method: str, principal: str, request: Any, answer: Any) -> Any:
        """The answer of a call that was made; role bindings come and go with what they are about."""
        name = method.rpartition("/")[2]
        if name == "BatchTransaction":
            for item in request.requests:
                if item.HasField("create_repo"):
                    self._auth.created(required.repo(item.create_repo.repo), principal, "repoOwner")
                elif item.HasField("delete_repo"):
                    self._auth.deleted(required.repo(item.delete_repo.repo))
        elif name == "CreateProject":
            self._auth.created(required.project(request.project), principal, "projectOwner")
        elif name == "CreateRepo":
            self._auth.created(required.repo(request.repo), principal, "repoOwner")
        elif name == "DeleteProject":
            self._auth.deleted(required.project(request.project))
        elif name == "DeleteRepo":
            self._auth.deleted(required.repo(request.repo))
        elif name in ("CreatePipeline", "CreatePipelineV2") and not request.dry_run:
            self._bind_pipeline(principal, required.spec(name, request))
        elif name == "DeletePipeline" and not request.keep_repo:
            self._auth.deleted(required.pipeline(request.pipeline))
        elif name == "InspectRepo":
            self._inform(answer, principal, required.repo(answer.repo))
        elif name == "InspectProject":
            self._inform(answer, principal, required.project(answer.project))
        return answer

    def _bind_pipeline(self, creator: str, request: Any) -> None:
        """A pipeline's output belongs to whoever made the pipeline, which reads its inputs and writes it."""
        output = required.pipeline(request.pipeline)
        pipeline, project = f"pipeline:{output.name}", output.name.partition("/")[0]
        self._auth.created(output, creator, "repoOwner")
        self._auth.bind(output, creator, ["repoOwner"])
        self._auth.bind(output, pipeline, ["repoWriter"])
        for node in inputs.leaves(request.input):
            if node.HasField("pfs"):
                source = Resource(REPO, f"{node.pfs.project or project}/{node.pfs.repo}")
                self._auth.bind(source, pipeline, ["repoReader"])
            else:
                cron = Resource(REPO, f"{project}/{request.pipeline.name}_{node.cron.name}")
                self._auth.created(cron, creator, "repoOwner")
                self._auth.bind(cron, pipeline, ["repoWriter"])


def _first(requests: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The first message of a stream, which names what the others are about, and all of them again."""
    first = next(requests, None)
    return first, requests if first is None else itertools.chain((first,), requests)
