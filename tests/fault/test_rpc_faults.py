"""Every call that the product makes to Pachyderm fails in every way: see `rpc_stories` for what must follow.

A sample here; all of it with `make soak`, which prints how many ended how.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tenacity import wait_none

from e2e.cluster import Cluster
from fault.proxy import Fault, Proxy
from fault.rpc_stories import BackupStory, MaintenanceStory, RestoreStory, Story, faults_of
from pachvault.pach import connection
from pachvault.restore.plan import fetch_shares
from pachvault.restore.request import retry_policy

STORIES = ("backup", "restore", "maintenance")
SAMPLE = 12
"""So many faults of each story."""


@pytest.fixture
def proxy(cluster: Cluster, other: Cluster, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """In front of the cluster that the story is about."""
    story = request.node.callspec.params["name"]
    with Proxy(urlsplit((other if story == "restore" else cluster).address).netloc) as running_proxy:
        yield running_proxy


@pytest.fixture
def story(
    name: str,
    cluster: Cluster,
    other: Cluster,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Story:
    """With retries that do not wait: their number is what counts here."""
    for module in (connection, retry_policy):
        monkeypatch.setattr(module, "wait_random_exponential", lambda **_: wait_none())
    monkeypatch.setattr(fetch_shares, "PART_BYTES", 60_000)
    if name == "backup":
        return BackupStory(cluster, proxy, tmp_path)
    if name == "restore":
        return RestoreStory(cluster, other, proxy, tmp_path)
    return MaintenanceStory(cluster, proxy, tmp_path)


def checked(story: Story, faults: list[Fault]) -> Counter[str]:
    """How many ended how; AssertionError with all that did not end honestly."""
    ends: Counter[str] = Counter()
    wrong = []
    for fault in faults:
        try:
            ends[story.check(fault)] += 1
        except AssertionError as error:
            wrong.append(f"{fault}: {str(error).splitlines()[0]}")
    assert not wrong, f"{len(wrong)} of {len(faults)}:\n" + "\n".join(wrong)
    return ends


@pytest.mark.e2e
@pytest.mark.parametrize("name", STORIES)
def test_a_sample_of_failing_calls_ends_honestly(story: Story) -> None:
    faults = list(faults_of(story.calls()))
    checked(story, random.Random(7).sample(faults, SAMPLE))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("name", STORIES)
def test_every_failing_call_ends_honestly(story: Story, part: int, name: str) -> None:
    calls = story.calls()
    faults = list(faults_of(calls))[part::8]
    ends = checked(story, faults)
    print(f"{name}: {sum(calls.values())} calls of {len(calls)} methods, {len(faults)} faults: {dict(ends)}")
