"""`make mutants`: mutates a part of the product, sees whether tests notice, and reports by module.

Bounded in time; the next run goes on where this one stopped. What survives must be listed with its reason
in mutants.toml. One process at a time; the parts, their modules and their tests are in mutants.toml, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SETTINGS = Path(__file__).with_name("mutants.toml")
LINKED = {"src": "pipelines", "tests": "tests", "specs": "specs", "docs": "docs"}
"""The tool knows a source folder called src."""
RESULTS = {
    0: "survived",
    1: "killed",
    3: "killed",
    5: "untested",
    33: "untested",
    36: "timeout",
    None: "left",
}
TIMEOUTS = (-24, 24, 152, 255)
_HINT = re.compile(r",\s*(hint=[^)]*)?(?=\))")
COLUMNS = ("killed", "survived", "accepted", "words", "untested", "timeout", "other", "left")


@dataclass(frozen=True)
class Mutant:
    """A mutant with what became of it."""

    name: str
    module: str
    result: str
    workspace: Path

    @property
    def function(self) -> str:
        """Where it is, as `module.function` or `module.Class.method`."""
        place, _, mangled = self.name.partition("__mutmut_")[0].rpartition(".")
        return f"{place}.{mangled.removeprefix('x').strip('_ǁ').replace('ǁ', '.')}"

    def changes(self) -> tuple[list[str], list[str]]:
        """The lines before and after."""
        shown = subprocess.run(
            [sys.executable, "-m", "mutmut", "show", self.name],
            cwd=self.workspace,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        lines = [line for line in shown if not line.startswith(("---", "+++"))]
        before, after = ([line[1:].strip() for line in lines if line[:1] == sign] for sign in "-+")
        return before, after


def is_of_words(before: list[str], after: list[str]) -> bool:
    """Whether only a text with blanks in it was changed: words for people."""
    before, after = ([_HINT.sub("", line) for line in lines] for lines in (before, after))
    if before == after:
        return True
    changed = [(old, new) for old, new in zip(before, after, strict=False) if old != new]
    return len(before) == len(after) and bool(changed) and all(_is_text(old, new) for old, new in changed)


def _is_text(old: str, new: str) -> bool:
    start = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(old))
    quote = max(old.rfind('"', 0, start + 1), 0)
    text = old[quote + 1 :].partition('"')[0]
    is_changed_text = "XX" in new[start : start + 3] or old.lower() == new.lower()
    return is_changed_text and " " in text


def prepare(name: str, modules: list[str], tests: list[str], text_lines: list[str]) -> Path:
    """The folder that the tool works in: links to the project, and its configuration."""
    workspace = ROOT / "build" / "mutants" / name
    workspace.mkdir(parents=True, exist_ok=True)
    for link, target in LINKED.items():
        if not (workspace / link).is_symlink():
            (workspace / link).symlink_to(ROOT / target)
    settings = {
        "source_paths": ["src"],
        "also_copy": ["docs", "specs"],
        "only_mutate": [f"src/pachvault/{module}" for module in modules],
        "do_not_mutate_patterns": text_lines,
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not slow and not soak"],
        "pytest_add_cli_args_test_selection": tests,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text()
    (workspace / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines, ""]))
    return workspace


def mutate(workspace: Path, minutes: float, *names: str) -> bool:
    """Run the tool for so long, on all mutants that are left or on these; whether it came to its end."""
    command = ["nice", "-n", "10", sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
    environment = os.environ | {"HYPOTHESIS_PROFILE": "quick"}
    with (workspace / "run.log").open("w") as log:
        running = subprocess.Popen(command, cwd=workspace, env=environment, stdout=log, stderr=log)
        try:
            running.wait(minutes * 60)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            running.send_signal(signal.SIGINT)
            running.wait(300)
            return False
    if running.returncode:
        sys.exit(
            f"the tool failed ({running.returncode}), see {workspace / 'run.log'}; the same command goes on"
        )
    return True


def results(workspace: Path) -> dict[str, Mutant]:
    """Every mutant there is, by name."""
    mutants = {}
    for file in sorted((workspace / "mutants" / "src" / "pachvault").rglob("*.py.meta")):
        module = str(file.relative_to(workspace / "mutants" / "src" / "pachvault")).removesuffix(".py.meta")
        for name, code in json.loads(file.read_text())["exit_code_by_key"].items():
            result = "timeout" if code in TIMEOUTS else RESULTS.get(code, "other")
            mutants[name] = Mutant(name, module, result, workspace)
    return mutants


def run_part(
    name: str, part: dict[str, Any], text_lines: list[str], minutes: float
) -> tuple[bool, list[Mutant]]:
    """Mutate a part with its tests, then what survived with the slower ones; whether all is done."""
    workspace = prepare(name, part["modules"], part["tests"], text_lines)
    is_over = not minutes or mutate(workspace, minutes)
    mutants = results(workspace)
    if "slower_tests" in part:
        slower = prepare(f"{name}-slower", part["modules"], part["slower_tests"], text_lines)
        known = results(slower)
        names = [mutant.name for mutant in mutants.values() if mutant.result in ("survived", "untested")]
        left = [
            mutant_name
            for mutant_name in names
            if mutant_name not in known or known[mutant_name].result == "left"
        ]
        if left and minutes and is_over:
            is_over = mutate(slower, minutes, *left)
            known = results(slower)
        mutants |= {
            mutant_name: known[mutant_name]
            for mutant_name in names
            if mutant_name in known and known[mutant_name].result != "left"
        }
    return is_over, list(mutants.values())


def report(mutants: list[Mutant], accepted: list[dict[str, str]]) -> int:
    """Print the figures by module, then what survived and is not accepted; how many those are."""
    figures: dict[str, Counter[str]] = {}
    unexplained = []
    for mutant in mutants:
        result = mutant.result
        if result == "survived":
            before, after = mutant.changes()
            if is_of_words(before, after):
                result = "words"
            elif any(_is_accepted(mutant, before + after, entry) for entry in accepted):
                result = "accepted"
            else:
                unexplained.append((mutant, before, after))
        figures.setdefault(mutant.module, Counter())[result] += 1
    print(f"{'module':24}{'mutants':>9}" + "".join(f"{column:>10}" for column in COLUMNS))
    for module, counts in figures.items():
        row = "".join(f"{counts[column]:>10}" for column in COLUMNS)
        print(f"{module:24}{counts.total():>9}{row}")
    for mutant, before, after in unexplained:
        print(
            f"\n{mutant.name}",
            *(f"  - {line}" for line in before),
            *(f"  + {line}" for line in after),
            sep="\n",
        )
    return len(unexplained)


def _is_accepted(mutant: Mutant, lines: list[str], entry: dict[str, str]) -> bool:
    return mutant.function == entry["function"] and any(entry["line"] in line for line in lines)


def main() -> None:
    settings = tomllib.loads(SETTINGS.read_text())
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", default="safety", choices=[*settings["parts"], "all"])
    parser.add_argument("--minutes", type=float, default=60, help="for each part; 0 reports only")
    chosen = parser.parse_args()
    names = list(settings["parts"]) if chosen.part == "all" else [chosen.part]
    is_over, unexplained = True, 0
    for name in names:
        is_done, mutants = run_part(name, settings["parts"][name], settings["text_lines"], chosen.minutes)
        is_over &= is_done
        unexplained += report(mutants, settings.get("accepted", []))
    if not is_over:
        print("\nTime is up: the same command goes on.")
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
