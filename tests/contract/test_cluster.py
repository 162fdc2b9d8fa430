"""What the cluster says of itself."""

from __future__ import annotations

import os

from google.protobuf import empty_pb2
from python_pachyderm.proto.v2.admin import admin_pb2
from python_pachyderm.proto.v2.auth import auth_pb2
from python_pachyderm.proto.v2.enterprise import enterprise_pb2, enterprise_pb2_grpc

from .pach import Pach
from .recording import Recording, refusal


def test_the_version(pach: Pach) -> None:
    answer = pach.version.GetVersion(empty_pb2.Empty())
    version = (answer.major, answer.minor, answer.micro)
    if "PACHD_ADDRESS" in os.environ:
        # A server built from source without the version flag says 0.0.0.
        assert version >= (2, 7, 0) or version == (0, 0, 0)
    else:
        assert version == (2, 11, 6)
        assert answer.additional, "the double says that it is one"


def test_the_clusters_id_is_stable(pach: Pach) -> None:
    first = pach.admin.InspectCluster(admin_pb2.InspectClusterRequest())
    again = pach.admin.InspectCluster(admin_pb2.InspectClusterRequest())
    assert first.id
    assert (first.id, first.deployment_id) == (again.id, again.deployment_id)


def test_auth_is_not_activated(pach: Pach, recorded: Recording) -> None:
    answer = refusal(pach.auth.WhoAmI, auth_pb2.WhoAmIRequest())
    assert answer.startswith("UNIMPLEMENTED")
    recorded(answer)


def test_whether_a_licence_is_active(pach: Pach, recorded: Recording) -> None:
    enterprise = enterprise_pb2_grpc.APIStub(pach.channel)
    answer = refusal(enterprise.GetState, enterprise_pb2.GetStateRequest())
    if answer == "OK":
        answer = enterprise_pb2.State.Name(enterprise.GetState(enterprise_pb2.GetStateRequest()).state)
    recorded(answer)
