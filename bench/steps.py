"""Where the time of a backup goes: a table of seconds a step, by a sampler that watches from outside.

py-spy looks at every thread of the command so many times a second. A sample counts to the step whose
function is innermost on the thread's stack; threads that wait for others are left out. Seconds are
those of threads: where two work at once, two pass in a second.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.bed import PACHVAULT, Bed
from bench.measure import CommandError

_A_SECOND = 200
START_UP, FREEZE, SEAL = "start-up", "freeze", "seal"
_WHOLE = {
    START_UP: r"importlib\._bootstrap",
    FREEZE: r"backup/freeze/",
    SEAL: r"backup/seal/",
}
STEPS = {
    "read": r"pach/source\.py|pach/tar\.py|pach/codec\.py|grpc/",
    "cut": r"Chunker\._split_segment|Chunker\._add_|Chunker\._add |Chunker\._submit",
    "digest": r"Chunker\._digest|Chunker\._collect|FrameWriter\.add|^digest |vault/index/blob_index\.py",
    "compress": r"FrameWriter\._make_frame|make_frame|_compressed|_sample",
    "write": r"store/folder_store\.py|PackBuilder|put_pack|vault/pack_writer\.py",
    "rows": r"export/(row_builder|table_writer)\.py|format/table\.py",
    "index": r"format/index\.py|put_index",
    START_UP: r"cli/|click/|<module>",
}
"""Each step and what the frames of its functions look like, `function (file:line)`."""
NAMES = (*STEPS, FREEZE, SEAL, "other")
Spent = dict[str, dict[str, float]]
"""By case, the seconds of each step."""
_WAITING = re.compile(
    r"\(concurrent/futures/thread\.py|channel_spin|\(threading\.py:\d+\)$|selectors\.py|^wait \(", re.I
)


def command() -> str:
    """The sampler; CommandError where it is not installed."""
    found = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise CommandError("py-spy is not installed: pip install -e '.[bench]'")
    return found


def of_backup(bed: Bed) -> dict[str, float]:
    """Seconds a step of one backup, and the rest as `other`."""
    out = bed.folder / "stacks"
    environment = {**os.environ, "PACHD_ADDRESS": bed.address, "PACHVAULT_VAULT": bed.vault.as_uri()}
    sampler = [command(), "record", "--nonblocking", "--idle", "--threads", "--format", "raw"]
    sampler += ["--rate", str(_A_SECOND), "--output", str(out), "--", sys.executable, str(PACHVAULT)]
    words = ["backup", "--source", str(bed.repo), "--quiet"]
    done = subprocess.run([*sampler, *words], env=environment, capture_output=True, text=True, check=False)
    if not out.exists():
        raise CommandError(f"py-spy gave nothing: {done.stderr.strip()[-300:]}")
    return shares(out.read_text().splitlines())


def shares(stacks: Iterable[str]) -> dict[str, float]:
    """Seconds a step, from folded stacks: frames between semicolons, outermost first, then a count."""
    seconds = dict.fromkeys(NAMES, 0.0)
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")[1:]
        if frames and count.isdigit() and not _is_waiting(frames):  # now and then the sampler misreads a name
            seconds[_step(frames)] += int(count) / _A_SECOND
    return seconds


def _is_waiting(frames: list[str]) -> bool:
    """Whether a thread waits for another one of ours; for the server it may wait, that is reading."""
    if not _WAITING.search(frames[-1]):
        return False
    return not any("grpc/_channel.py" in frame and "_next" in frame for frame in frames)


def _step(frames: list[str]) -> str:
    stack = ";".join(frames)
    for whole in (START_UP, FREEZE, SEAL):  # all that is called from there is part of it
        if re.search(_WHOLE[whole], stack):
            return whole
    for frame in reversed(frames):
        for step, looks in STEPS.items():
            if re.search(looks, frame):
                return step
    return "other"
