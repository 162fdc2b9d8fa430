"""Pipelines made, changed, stopped and deleted: their repos, their branches, their threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2
from python_pachyderm.proto.v2.transaction import transaction_pb2

from embedded_pachyderm.pps.engine import Engine, now
from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.jobs.job_state import finish
from embedded_pachyderm.pps.jobs.runner import Runner, catch_up, output_repo
from embedded_pachyderm.pps.jobs.ticks import tick
from embedded_pachyderm.pps.pps_errors import bad_spec, exists, invalid, not_found
from embedded_pachyderm.pps.service import effective, validate
from embedded_pachyderm.pps.state import Key, key_of


class Pipelines:
    """All pipelines of the server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runners: dict[Key, Runner] = {}
        self._creating = threading.Lock()

    def start(self) -> None:
        """Take up all pipelines where the last server left them."""
        for key in self._engine.state.pipeline_keys():
            self._run(key)

    def close(self) -> None:
        for key in list(self._runners):
            self._halt(key)

    def _run(self, key: Key) -> None:
        def edit(info: Any) -> None:
            info.state = pps_pb2.PIPELINE_PAUSED if info.stopped else pps_pb2.PIPELINE_RUNNING

        self._engine.state.edit_pipeline(key, edit)
        runner = self._runners[key] = Runner(self._engine, key)
        runner.start()

    def _halt(self, key: Key) -> None:
        runner = self._runners.pop(key, None)
        if runner is not None:
            runner.end()

    def create(
        self,
        request: Any,
        *,
        spec: str,
        update: bool,
        reprocess: bool,
        dry_run: bool = False,
        newer: Mapping[str, Any] | None = None,
    ) -> str:
        """Create or update; gives the effective spec. `newer` are fields that the message lacks."""
        request.pipeline.project.name = request.pipeline.project.name or "default"
        self._check_project(request.pipeline.project)
        effective_spec = effective.effective_json(
            request, self.defaults_of(request.pipeline.project.name), newer or {}
        )
        if dry_run:  # as in pachd, it reads the spec and no more
            return effective_spec
        validate.check_spec(request)
        key = key_of(request.pipeline)
        with self._creating, self._engine.lock(key):
            previous = self._engine.state.pipeline(key)
            if previous is None:
                names = {existing.name for existing in self._engine.state.pipeline_keys()}
                validate.check_limits(request, pipelines=len(names))
            self._check_secrets(request)
            if previous is not None and not update:
                raise exists(f'pipeline "{key}" already exists')
            validate.check_request(request)
            info = effective.pipeline_info(effective_spec, now=now(), previous=previous, reprocess=reprocess)
            validate.check_pipeline(key.name, info.details)
            info.details_json = spec
            self._check_inputs(info)
            self._make(key, info, previous, effective_spec)
        if previous is not None:
            # Outside the lock, which the runner's threads want too before they end.
            self._halt(key)
        self._run(key)
        return effective_spec

    def defaults_of(self, project: str) -> list[str]:
        """The cluster's defaults, then the project's."""
        state = self._engine.state
        return [state.defaults() or effective.CLUSTER_DEFAULTS, state.defaults(project) or "{}"]

    def _make(self, key: Key, info: Any, previous: Any | None, effective_spec: str) -> None:
        if previous is not None:
            self._kill_jobs(key, "all jobs killed because pipeline was updated")
        started = self._engine.pfs.transact(_creation(self._engine, key, info, new=previous is None))
        info.spec_commit.CopyFrom(started[0])
        info.spec_commit.branch.CopyFrom(pfs_pb2.Branch(repo=output_repo(key, "spec"), name="master"))
        self._engine.state.put_pipeline(info, effective_spec)

    def _check_project(self, project: Any) -> None:
        try:
            self._engine.pfs.stub.InspectProject(pfs_pb2.InspectProjectRequest(project=project))
        except grpc.RpcError as error:
            raise bad_spec(error.details()) from None

    def _check_secrets(self, request: Any) -> None:
        for wanted in request.transform.secrets:
            if wanted.env_var and not wanted.key:
                raise invalid(f"secret {wanted.name} has env_var set but is missing key")
            row = self._engine.state.secret(wanted.name)
            if row is None:
                raise invalid(f"missing Kubernetes secret {wanted.name}")
            if wanted.env_var and wanted.key not in row.data:
                raise invalid(f"Kubernetes secret {wanted.name} missing key {wanted.key}")

    def _check_inputs(self, info: Any) -> None:
        for node in inputs.leaves(info.details.input):
            if node.HasField("pfs"):
                self._engine.pfs.stub.InspectRepo(pfs_pb2.InspectRepoRequest(repo=inputs.repo_of(node)))

    def set_stopped(self, pipeline: Any, *, stopped: bool) -> None:
        """Stop: no new commits downstream, running jobs killed. Start: follow the inputs again."""
        key = key_of(pipeline)
        if stopped and self._engine.state.pipeline(key) is None:
            return
        with self._engine.lock(key):
            info = self.inspect(key)
            provenance = [] if stopped else provenance_of(key, info)
            self._engine.pfs.transact(
                transaction_pb2.TransactionRequest(
                    create_branch=pfs_pb2.CreateBranchRequest(branch=branch, provenance=provenance)
                )
                for branch in output_branches(key, info)
            )

            def edit(latest: Any) -> None:
                latest.stopped = stopped
                latest.state = pps_pb2.PIPELINE_PAUSED if stopped else pps_pb2.PIPELINE_RUNNING

            self._engine.state.edit_pipeline(key, edit)
            if stopped:
                self._kill_jobs(key, "all jobs killed because pipeline was stopped")

    def delete(self, pipeline: Any, *, keep_repo: bool, force: bool) -> None:
        """Stop, then delete its repos and all that is known of it. No such pipeline is no error."""
        key = key_of(pipeline)
        info = self._engine.state.pipeline(key)
        if info is None:
            return
        self.set_stopped(pipeline, stopped=True)
        with self._engine.lock(key):
            self._engine.pfs.transact(
                transaction_pb2.TransactionRequest(
                    delete_repo=pfs_pb2.DeleteRepoRequest(repo=repo, force=force)
                )
                for repo in self._repos_of(key, info, keep_output=keep_repo)
                if self._engine.pfs.repo_exists(repo)
            )
            self._engine.state.delete_pipeline(key)
        self._halt(key)
        self._engine.logs.forget(key)

    @staticmethod
    def _repos_of(key: Key, info: Any, *, keep_output: bool) -> list[Any]:
        """What to delete: an output repo takes its spec and meta repos along."""
        kinds = ("spec", "meta") if keep_output else ("user",)
        crons = [inputs.repo_of(node) for node in inputs.leaves(info.details.input) if node.HasField("cron")]
        return [*(output_repo(key, kind) for kind in kinds), *crons]

    def run_cron(self, pipeline: Any) -> None:
        info = self.inspect(key_of(pipeline))
        crons = [node.cron for node in inputs.leaves(info.details.input) if node.HasField("cron")]
        if not crons:
            raise invalid("pipeline doesn't have a cron input")
        for cron_input in crons:
            tick(self._engine, cron_input, datetime.now(UTC))

    def inspect(self, key: Key) -> Any:
        info = self._engine.state.pipeline(key)
        if info is None:
            raise not_found(f'pipeline "{key}" not found')
        return info

    def _kill_jobs(self, key: Key, reason: str) -> None:
        catch_up(self._engine, key)
        for job in self._engine.state.unfinished_jobs(key):
            self._engine.stop_of(key, job.job.id).set()
            finish(self._engine, job, pps_pb2.JOB_KILLED, reason)


def provenance_of(key: Key, info: Any) -> list[Any]:
    """What the output follows from: the inputs and the spec."""
    input_branches = [inputs.branch_of(node) for node in inputs.leaves(info.details.input)]
    return [*input_branches, pfs_pb2.Branch(repo=output_repo(key, "spec"), name="master")]


def output_branches(key: Key, info: Any) -> list[Any]:
    return [
        pfs_pb2.Branch(repo=output_repo(key, kind), name=info.details.output_branch)
        for kind in ("user", "meta")
    ]


def _creation(engine: Engine, key: Key, info: Any, *, new: bool) -> Iterable[Any]:
    """The calls that make a pipeline's repos, spec commit and branches, as one transaction."""
    crons = [inputs.repo_of(node) for node in inputs.leaves(info.details.input) if node.HasField("cron")]
    wanted = [
        (repo, f"Cron tick repo for pipeline {key}.") for repo in crons if not engine.pfs.repo_exists(repo)
    ]
    if new:
        if engine.pfs.repo_exists(output_repo(key)):
            raise invalid(
                f'pipeline "{key.name}" cannot be created because a repo with the same name already exists'
            )
        wanted += [
            (output_repo(key), f"Output repo for pipeline {key}."),
            (output_repo(key, "spec"), f"Spec repo for pipeline {key}."),
            (output_repo(key, "meta"), f"Meta repo for pipeline {key.name}"),
        ]
    for repo, description in wanted:
        yield transaction_pb2.TransactionRequest(
            create_repo=pfs_pb2.CreateRepoRequest(repo=repo, description=description)
        )
    spec = pfs_pb2.Branch(repo=output_repo(key, "spec"), name="master")
    yield transaction_pb2.TransactionRequest(start_commit=pfs_pb2.StartCommitRequest(branch=spec))
    yield transaction_pb2.TransactionRequest(
        finish_commit=pfs_pb2.FinishCommitRequest(commit=pfs_pb2.Commit(repo=spec.repo, branch=spec))
    )
    provenance = [] if info.stopped else provenance_of(key, info)
    for branch in output_branches(key, info):
        yield transaction_pb2.TransactionRequest(
            create_branch=pfs_pb2.CreateBranchRequest(branch=branch, provenance=provenance)
        )
