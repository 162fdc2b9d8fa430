"""`python -m bench.stages`: time and memory of each pipeline's stage, in an embedded Pachyderm's workers.

The figures are those of the stage's own process. In a cluster Pachyderm's worker runs beside it in the same
container.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import report
from bench.bed import PACHVAULT, Bed, bed
from bench.data import MIB, DataSet
from pachvault import bundled_files
from pachvault.cluster_project import MASTER, POLICY, POLICY_FILE, REQUESTS
from pachvault.pach.connection import Connection, connect
from pachvault.pach.pipelines import Pipelines
from pachvault.pach.source import CommitRef, Source
from pachvault.pach.target import Target
from pachvault.policy import HOME_PROJECT

_DATA = (
    DataSet("bytes", "1 GiB in files of 64 MiB", 16, 64 * MIB),
    DataSet("files", "100,000 files of 35 B", 100_000, 35),
)
_WRAPPED = 'exec "$1" -IS "$2" "$3/$4-$PACH_DATUM_ID" "$5" stage "$4"'
_TIMED = Path(__file__).with_name("timed.py")
_POLICY = """\
version: 1
target: {vault}
sources: ["bench/*"]
maintenance: {{verify_within: 1d, drill_within: 1d}}
"""
_REQUEST = """\
version: 1
what: ["bench/{repo}@master"]
to: {{repo: {repo}-restored}}
from: vault
"""


def main() -> int:
    rows = [[data.title, *row] for data in _DATA for row in _stages(data)]
    table = report.table(["data", "stage", "datums", "seconds, longest", "peak, MiB"], rows)
    sys.stdout.write(f"{table}\n")
    return 0


def _stages(data: DataSet) -> Iterator[list[str]]:
    with bed(data, None) as made:
        made.put()
        made.new_vault()
        figures = made.folder / "figures"
        figures.mkdir()
        with connect(made.address) as connection:
            _run(made, figures, connection)
        for stage in bundled_files.ALL_STAGES:
            runs = [json.loads(path.read_text()) for path in figures.glob(f"{stage}-*")]
            seconds = max(run["seconds"] for run in runs)
            peak_bytes = max(run["peak_bytes"] for run in runs)
            yield [stage, f"{len(runs)}", f"{seconds:.1f}", f"{peak_bytes / MIB:.0f}"]


def _run(made: Bed, figures: Path, connection: Connection) -> None:
    """A backup, a maintenance run and a restore through the pipelines."""
    target, pipelines = Target(connection), Pipelines(connection)
    target.ensure_project(HOME_PROJECT)
    policy = _POLICY.format(vault=made.vault.as_uri())
    for repo, name, text in ((POLICY, POLICY_FILE, policy), (REQUESTS, "", "")):
        target.ensure_repo(repo.project, repo.repo, "")
        if name:
            target.put_file(repo.project, repo.repo, MASTER, name, text.encode())
    for stage in bundled_files.ALL_STAGES:
        spec = json.loads(bundled_files.spec(stage))
        words = [sys.executable, str(_TIMED), str(figures), stage, str(PACHVAULT)]
        spec["transform"]["cmd"] = ["sh", "-c", _WRAPPED, "sh", *words]
        pipelines.create(json.dumps(spec), f"{stage}.json")
    job = pipelines.tick(HOME_PROJECT, "freeze", "tick")
    pipelines.wait(HOME_PROJECT, "seal", job)
    job = pipelines.tick(HOME_PROJECT, "maintenance", "tick")
    pipelines.wait(HOME_PROJECT, "maintenance", job)
    request = _REQUEST.format(repo=made.data_set.name).encode()
    target.put_file(REQUESTS.project, REQUESTS.repo, MASTER, "/bench.yaml", request)
    job = Source(connection).commit(CommitRef(REQUESTS.project, REQUESTS.repo, MASTER)).id
    pipelines.wait(HOME_PROJECT, "restore_replay", job)


if __name__ == "__main__":
    sys.exit(main())
