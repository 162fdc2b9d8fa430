"""What the real server checks of a pipeline before it makes anything: names, inputs, limits. Pure.

Existence of repos, secrets and pipelines is checked where they are kept.
"""

from __future__ import annotations

import json
import re
from typing import Any

from embedded_pachyderm.pps.jobs import inputs
from embedded_pachyderm.pps.pps_errors import bad_spec, invalid, unimplemented
from pachvault.errors import InvalidInputError
from pachvault.syntax.schedule import parse as parse_schedule

#: Community Edition's limits, without an enterprise key.
MAX_PIPELINES = 16
MAX_PARALLELISM = 8

_MAX_NAME = 51
_MAX_KUBERNETES_NAME = 63
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_RESERVED_NAMES = ("out", ".env")
_REPROCESS = ("", "until_success", "every_job")


def check_spec(request: Any) -> None:
    """What is found when the spec is read, before anything else is looked at."""
    if not request.HasField("pipeline"):
        raise invalid("request.Pipeline cannot be nil")
    if request.reprocess_spec not in _REPROCESS:
        raise bad_spec(f"reprocess_spec must be until_success or every_job, not {request.reprocess_spec}")


def check_request(request: Any) -> None:
    """The request as the user sent it."""
    name, project = request.pipeline.name, request.pipeline.project.name
    if not name:
        raise invalid("invalid pipeline spec: request.Pipeline.Name cannot be empty")
    if not _NAME.fullmatch(name):
        raise invalid(
            f"invalid pipeline name: name ({name}) invalid: only alphanumeric characters, underscores, "
            "and dashes are allowed"
        )
    if len(name) > _MAX_NAME:
        raise invalid(
            f'pipeline name "{name}" is {len(name) - _MAX_NAME} characters longer than the {_MAX_NAME} max'
        )
    controller = f"{project}-{name}-v99"
    if len(controller) > _MAX_KUBERNETES_NAME:
        over = len(controller) - _MAX_KUBERNETES_NAME
        raise invalid(
            f'Kubernetes name "{controller}" is {over} characters longer than the {_MAX_KUBERNETES_NAME} max'
        )
    _check_served(request)


def _check_served(request: Any) -> None:
    """What the double does not do is refused by name, rather than ignored."""
    for field in ("service", "spout", "egress", "tf_job", "determined"):
        if request.HasField(field):
            raise unimplemented(f"a pipeline with {field}")
    if request.s3_out:
        raise unimplemented("a pipeline with s3_out")
    for node in inputs.walk(request.input):
        for kind in ("union", "group"):
            if getattr(node, kind):
                raise unimplemented(f"an input of kind {kind}")
        for field in ("s3", "lazy", "empty_files", "outer_join"):
            if node.HasField("pfs") and getattr(node.pfs, field):
                raise unimplemented(f"a pfs input with {field}")
        if node.HasField("pfs") and node.pfs.HasField("trigger"):
            raise unimplemented("a pfs input with trigger")


def check_limits(request: Any, *, pipelines: int) -> None:
    """What Community Edition refuses; `pipelines` is how many names there are, in all projects together."""
    remedy = "Use the command `pachctl license activate` to enter your key"
    if pipelines >= MAX_PIPELINES:
        raise invalid(
            f"Pachyderm Community Edition requires an activation key to create more than {MAX_PIPELINES} "
            f"total pipelines (you have {pipelines}). {remedy}"
        )
    if request.parallelism_spec.constant > MAX_PARALLELISM:
        raise invalid(
            "Pachyderm Community Edition requires an activation key to create pipelines with parallelism "
            f"more than {MAX_PARALLELISM}. {remedy}"
        )


def check_pipeline(name: str, details: Any) -> None:
    """The pipeline with its defaults filled in."""
    if not name[0].isalnum():
        raise invalid("pipeline names must start with an alphanumeric character")
    _check_run(details)
    _check_names(set(), details.input)
    for node in inputs.walk(details.input):
        _check_input(node)
    _check_json("PodSpec", details.pod_spec)
    _check_json("PodPatch", details.pod_patch)


def _check_json(what: str, text: str) -> None:
    """All that the real server checks of these before it makes a pod."""
    try:
        json.loads(text or "null")
    except ValueError:
        raise invalid(f"malformed {what}") from None


def _check_run(details: Any) -> None:
    """Ways to run user code that the double does not have; defaults may ask for them, too."""
    for field in ("accept_return_code", "err_cmd", "err_stdin", "working_dir", "user"):
        if getattr(details.transform, field):
            raise unimplemented(f"a transform with {field}")
    if details.reprocess_spec == "every_job":
        raise unimplemented("a pipeline with reprocess_spec every_job")
    for field in ("size_bytes", "per_worker"):
        if getattr(details.datum_set_spec, field):
            raise unimplemented(f"a datum_set_spec with {field}")


def _check_names(taken: set[str], node: Any) -> None:
    if node.HasField("pfs") or node.HasField("cron"):
        name = node.pfs.name if node.HasField("pfs") else node.cron.name
        if not name:
            raise invalid("input must specify a name")
        if name in _RESERVED_NAMES:
            raise invalid(f"input cannot be named {name}")
        if name in taken:
            raise invalid(f'name "{name}" was used more than once')
        taken.add(name)
    for child in (*node.cross, *node.join):
        _check_names(taken, child)


def _check_input(node: Any) -> None:
    kinds = [node.HasField("pfs"), node.HasField("cron"), bool(node.cross), bool(node.join)]
    if sum(kinds) > 1:
        raise invalid("multiple input types set")
    if not any(kinds):
        raise invalid("no input set")
    if node.HasField("pfs"):
        if not node.pfs.repo:
            raise invalid("input must specify a repo")
        if not node.pfs.glob:
            raise invalid("input must specify a glob")
        if node.pfs.commit:
            raise invalid("input cannot come from a commit; use a branch with head pointing to the commit")
    if node.HasField("cron"):
        try:
            parse_schedule(node.cron.spec)
        except InvalidInputError as error:
            raise invalid(f"error parsing cron-spec: {error}") from None
