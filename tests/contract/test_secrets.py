"""Secrets, which are made and listed but never read back; `test_jobs` holds what user code sees of them."""

from __future__ import annotations

from python_pachyderm.proto.v2.pps import pps_pb2

from .pach import Message, Pach
from .pipelines import create, pfs, shell
from .projects import Project
from .recording import Recording, refusal
from .secret import delete_secret, make_secret, secret_names


def test_a_secret_is_made_listed_and_deleted(pach: Pach, project: Project, recorded: Recording) -> None:
    make_secret(pach, project.name, {"word": "swordfish"})
    assert project.name in secret_names(pach)
    info = pach.pps.InspectSecret(pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name=project.name)))
    assert b"swordfish" not in info.SerializeToString()
    again = refusal(make_secret, pach, project.name, {"word": "other"})
    delete_secret(pach, project.name)
    assert project.name not in secret_names(pach)
    unknown = pps_pb2.InspectSecretRequest(secret=pps_pb2.Secret(name=project.name))
    recorded({"type": info.type, "again": again, "unknown": refusal(pach.pps.InspectSecret, unknown)})


def test_a_pipeline_that_names_an_unknown_secret(
    pach: Pach, project: Project, repo: Message, recorded: Recording
) -> None:
    secrets = [{"name": project.name, "env_var": "WORD", "key": "word"}]
    spec = shell(project, "line", pfs(project, "data", "/*"), "true", transform={"secrets": secrets})
    answer = refusal(create, pach, spec)
    recorded(answer)
    assert answer != "OK"
