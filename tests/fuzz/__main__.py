"""The coverage-guided fuzzer: `python -m fuzz [--seconds N] [TARGET…]`, from tests/, with the extra `fuzz`.

Each target runs in a process of its own. What it finds is written to `corpus/TARGET/`, where the property
tests take it up as a seed; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
_MOST_MEGABYTES = 2048
_SLOW_SECONDS = 20
"""An input that takes longer is a finding."""


def main() -> int:
    """Run the targets that are named, or all, one after the other."""
    options = argparse.ArgumentParser(prog="fuzz")
    options.add_argument("targets", nargs="*")
    options.add_argument("--seconds", type=int, default=60, help="For each target.")
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.inside:
        _fuzz(chosen.targets[0], chosen.seconds)
        return 0
    from fuzz.targets import TARGETS  # noqa: PLC0415  (the inner process imports it instrumented)

    failed = [target for target in chosen.targets or TARGETS if not _is_clean(target, chosen.seconds)]
    print(f"fuzz: {len(failed)} targets with findings: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _is_clean(target: str, seconds: int) -> bool:
    command = [sys.executable, "-m", "fuzz", "--inside", "--seconds", str(seconds), target]
    done = subprocess.run(command, cwd=_HERE.parent, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    figures = [line for line in lines if line.startswith("stat::number_of_executed_units")]
    print(f"{target}: {'ok' if done.returncode == 0 else 'FAILED'} {' '.join(figures)}", flush=True)
    if done.returncode != 0:
        print(done.stdout, "\n".join(lines[-60:]), sep="\n", flush=True)
    return done.returncode == 0


def _fuzz(target: str, seconds: int) -> None:
    import atheris  # noqa: PLC0415  (of the extra `fuzz`)

    with atheris.instrument_imports(include=["pachvault", "yaml"]):
        from fuzz.corpus import seeds  # noqa: PLC0415
        from fuzz.targets import TARGETS  # noqa: PLC0415
    findings = _HERE / "corpus" / target
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds(target)):
            (Path(folder) / f"seed-{number:04d}").write_bytes(seed)
        flags = {
            "max_total_time": seconds,
            "rss_limit_mb": _MOST_MEGABYTES,
            "timeout": _SLOW_SECONDS,
            "max_len": 64 * 1024,
            "artifact_prefix": f"{findings}{os.sep}",
            "print_final_stats": 1,
            "verbosity": 0,
        }
        arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in flags.items()), folder]
        atheris.Setup(arguments, TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
