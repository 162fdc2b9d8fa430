"""The report: figures as Markdown, each part between marks of its own in one document."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import backups, peers, restores
from bench.backups import FIRST, RCLONE, READ, RESTIC, START_UP, STREAM, US
from bench.data import ONE, SETS
from bench.measure import Figures
from bench.steps import NAMES, Spent
from bench.targets import MIB, targets, to_floor
from pachvault import __version__
from pachvault.pach.connection import connect

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
NOTHING = "–"


def write_part(document: Path, part: str, text: str) -> None:
    """Replace a part of the document, or append it; all else in there stays as it is."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    old = document.read_text() if document.exists() else "# Benchmarks\n"
    body = f"{begin}\n{text.strip()}\n{end}"
    before, found, rest = old.partition(begin)
    new = before + body + rest.partition(end)[2] if found else f"{old.rstrip()}\n\n{body}\n"
    document.write_text(new)


def heading(
    title: str,
    command: str,
    began_at: datetime,
    runs: str,
    work: Path | None = None,
    pachd: str | None = None,
) -> str:
    """What makes figures worth something: the command, the machine, the day, the versions, the noise."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = f"{_processor()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB"
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    load = f"load average at the end {os.getloadavg()[1]:.1f}, this benchmark included"
    if sys.argv[1:]:
        command += f" BENCH='{shlex.join(sys.argv[1:])}'"
    lines = [
        f"## {title}",
        "",
        f"- Made by `{command}`, {began_at:%Y-%m-%d %H:%M} to {datetime.now(UTC):%H:%M} UTC; {runs}.",
        f"- {machine}; {system}; {load}.",
        f"- pachvault {__version__} against {_server(pachd)}, on the same machine and the same cores;",
        f"  data, vault and repositories on {_file_system(work)}.",
    ]
    return "\n".join(lines)


def benchmark(
    figures: Figures, spent: Spent, began_at: datetime, runs: str, work: Path | None, pachd: str | None
) -> str:
    """The whole part of `make bench`."""
    title = "Beside what a user would run instead" + (", on a real Pachyderm" if pachd else "")
    heading_text = heading(title, "make bench", began_at, runs, work, pachd)
    return "\n\n".join(
        [
            heading_text + f"\n- Peers: {', '.join(peers.version(name) for name in peers.NAMES)}.",
            _WHAT,
            "### Targets\n\n" + _targets(figures, is_embedded=pachd is None),
            "### Backups\n\n" + _backups(figures),
            "### Sizes\n\n" + _sizes(figures),
            "### Restores\n\n" + _restores(figures),
            "### Where the time of a backup goes\n\n" + _steps(spent),
        ]
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _targets(figures: Figures, *, is_embedded: bool) -> str:
    rows = [
        [
            each.what,
            f"{each.measured:.2f} {each.unit}" if each.measured is not None else NOTHING,
            f"{'≥' if each.is_floor else '≤'} {each.bound:.3g} {each.unit}",
            "met" if each.is_met else "**missed**",
        ]
        for each in targets(figures, is_embedded=is_embedded)
    ]
    return table(["what", "measured", "target", ""], rows)


def _backups(figures: Figures) -> str:
    rows = []
    for name, case in figures.cases():
        if not figures.of(name, case, US) or case not in backups.CASES:
            continue
        ours = figures.seconds(name, case, US)
        row = [
            f"{name}, {case}",
            _span(figures, name, case, US),
            _seconds(figures.cpu(name, case, US)),
            _seconds(figures.seconds(name, case, START_UP)),
        ]
        row.append(_seconds(figures.inner(name, case, STREAM)))
        row += [_seconds(figures.seconds(name, case, who)) for who in (READ, RESTIC, RCLONE)]
        row.append(_times(to_floor(figures, name)) if case == FIRST else NOTHING)
        theirs = figures.seconds(name, case, RESTIC)
        row.append(_times(ours / theirs) if ours and theirs else NOTHING)
        row.append(_mib(figures.peak(name, case, US)))
        rows.append(row)
    headings = ["case", "pachvault, s", "processor, s", "start-up", STREAM, READ, RESTIC, RCLONE]
    return table([*headings, "÷ stream", f"÷ {RESTIC}", "peak, MiB"], rows)


def _sizes(figures: Figures) -> str:
    rows = []
    for each in SETS:
        ours, theirs = (figures.printed(each.name, "size", who, "value") for who in (US, RESTIC))
        if ours and theirs:
            cells = [f"{size / MIB:,.1f}" for size in (each.bytes, ours, theirs)]
            rows.append([each.name, *cells, _times(ours / theirs)])
    frozen = [
        f"{name}: {seconds:.3f} s"
        for name in (*(each.name for each in SETS), ONE.name)
        if (seconds := figures.printed(name, FIRST, US, "freeze_seconds")) is not None
    ]
    sizes = table(["data", "itself, MiB", "vault, MiB", "restic, MiB", "÷ restic"], rows)
    return f"{sizes}\n\nFreeze of a first backup, mirror included: {'; '.join(frozen)}."


def _restores(figures: Figures) -> str:
    rows = []
    for name, case in figures.cases():
        if case not in restores.CASES:
            continue
        row = [f"{name}, {case}", _span(figures, name, case, US)]
        row.append(_seconds(figures.cpu(name, case, US)))
        row.append(_seconds(figures.seconds(name, case, restores.UNCHECKED)))
        row.append(_seconds(figures.inner(name, case, restores.WRITE)))
        row += [_seconds(figures.seconds(name, case, who)) for who in (restores.RESTIC, restores.COMPARED)]
        row.append(_mib(figures.peak(name, case, US)))
        rows.append(row)
    headings = ["case", "pachvault, s", "processor, s", "unchecked", "write"]
    return table([*headings, restores.RESTIC, restores.COMPARED, "peak, MiB"], rows)


def _steps(spent: Spent) -> str:
    rows = [[case, *(f"{seconds[name]:.2f}" for name in NAMES)] for case, seconds in spent.items()]
    return f"{_SAMPLED}\n\n{table(['seconds of threads', *NAMES], rows)}"


def _span(figures: Figures, name: str, case: str, who: str) -> str:
    seconds = sorted(each.seconds for each in figures.of(name, case, who))
    middle = _seconds(figures.seconds(name, case, who))
    return f"{middle} ({seconds[0]:.2f}–{seconds[-1]:.2f})" if len(seconds) > 1 else middle


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f} ×"


def _mib(value: int | None) -> str:
    return NOTHING if value is None else f"{value / MIB:.0f}"


def _file_system(work: Path | None) -> str:
    folder = (work or Path(tempfile.gettempdir())).resolve()
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    return max((len(at), kind) for at, kind in mounts if folder.is_relative_to(at))[1]


def _server(pachd: str | None) -> str:
    if pachd is None:
        return "its embedded server"
    with connect(pachd) as connection:
        return f"a Pachyderm {connection.version()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


_SAMPLED = """By a sampler that looks at all threads of the command from outside, 200 times a second, and
slows it down: the shares count. Threads that wait for each other are left out; *read* has the wait for the
server."""

_WHAT = f"""Each figure is the median over the runs of the wall time of a whole command, as a user starts
it; in brackets the least and the most. Where something is compared *without start-up*, the time of a
command that finds nothing to do is taken off: a `pachvault backup` whose pattern matches nothing.

- `{STREAM}`: the bare `GetFileTAR` stream, its messages dropped. `÷ stream`: both without their start-ups.
- `{READ}`: a recursive read to plain files. It counts to the peers, as their users would have to make it;
  the reader's own start-up is taken off.
- `write`: parallel `ModifyFile` streams of the same bytes, at hand in memory, until the commit is finished.
- `processor`: user and system time of the command's processes. `peak`: resident memory of the largest one.
- `unchecked`: with `--verify none`; otherwise all that was restored is read back and compared.
- `{restores.RESTIC}`: restic's restore to plain files, then these written by parallel `ModifyFile` streams;
  nothing is compared. `compare`: all of it read back, as `{READ}` does, and `diff -r`.

Data: {"; ".join(f"`{each.name}` {each.title}" for each in (*SETS, ONE))}."""
