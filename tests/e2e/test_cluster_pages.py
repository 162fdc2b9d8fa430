"""The pages of docs/clusters: marked commands are run, manifests read, figures compared with the specs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import Cluster
from pachvault.bundled_files import ALL_STAGES, spec

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "clusters").glob("*.md"))
_BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_UNITS = {"Mi": 1, "Gi": 1024}


def blocks(page: Path, kind: str) -> Iterator[str]:
    for indent, name, text in _BLOCK.findall(page.read_text()):
        if name == kind:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def shown_commands(page: Path) -> list[tuple[str, str]]:
    """Commands of a page with the output that it shows."""
    text = "".join(blocks(page, "console tested"))
    commands = [part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    return [(command, output) for command, _, output in commands]


@pytest.mark.e2e
@pytest.mark.parametrize("page", [page for page in PAGES if shown_commands(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(page: Path, other: Cluster, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PACHD_ADDRESS": other.address,
    }
    for command, output in shown_commands(page):
        ran = subprocess.run(
            ["bash", "-ec", command.replace("file:///vault", f"file://{tmp_path}/vault")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        if output:
            assert ran.stdout == output, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_manifest_is_yaml_with_a_kind_or_a_part_of_values(page: Path) -> None:
    for text in blocks(page, "yaml"):
        for document in yaml.safe_load_all(text):
            assert isinstance(document, dict)
            assert "kind" not in document or {"apiVersion"} <= document.keys()


def _jobs() -> Iterator[Any]:
    for page in PAGES:
        for text in blocks(page, "yaml"):
            yield from (document for document in yaml.safe_load_all(text) if document.get("kind") == "Job")


def test_every_job_is_restricted() -> None:
    pods = [job["spec"]["template"]["spec"] for job in _jobs()]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_table_of_pods_is_what_the_specs_ask_for() -> None:
    page = (ROOT / "docs" / "clusters" / "sizing-and-costs.md").read_text()
    for stage in ALL_STAGES:
        wanted = json.loads(spec(stage))
        requests, sidecar = wanted["resource_requests"], wanted["sidecar_resource_requests"]
        row = [
            stage,
            wanted["parallelism_spec"]["constant"],
            f"{requests['cpu'] + sidecar['cpu']:g}",
            f"{_mebibytes(requests['memory']) + _mebibytes(sidecar['memory'])}Mi",
            f"{_mebibytes(wanted['resource_limits']['memory'])}Mi",
        ]
        assert f"| {' | '.join(map(str, row))} |\n" in page


def _mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]
