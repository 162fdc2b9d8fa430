"""docs/fidelity.yaml read, and docs/fidelity.md made of it: `python tests/protocol/fidelity.py` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

DOCS = Path(__file__).parents[2] / "docs"
TABLE = DOCS / "fidelity.md"
OUTCOMES = {
    "restored": "saved in every snapshot, and brought back",
    "when asked": "saved; brought back only when the request says so (`settings`, `roles`)",
    "saved": "saved and shown; cannot be, or is not, brought back",
    "derived": "Pachyderm works it out from what is restored",
    "call": "says how one call is carried out; nothing keeps it",
    "left out": "not saved",
}
_INTRODUCTION = """\
# Fidelity: what becomes of every field

Made from [fidelity.yaml](fidelity.yaml) by `make fidelity`; a test holds it against python-pachyderm 7.6
and the protocol of Pachyderm {version}. Where a server does not have a field, there is nothing to save.

A field that a newer server sends and this version does not know is noted in the snapshot by message and
number (problem `unknown-fields`). Fields of a pipeline's spec come back whatever they are: the spec is kept
as its user wrote it.

| outcome | means |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes of some fields of a message."""

    group: str
    message: str
    outcome: str
    fields: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The list: rows for messages that hold what users set, reasons for the others."""

    rows: tuple[Row, ...]
    calls: dict[str, str]

    @classmethod
    def read(cls) -> Fidelity:
        document = yaml.safe_load((DOCS / "fidelity.yaml").read_text(encoding="utf-8"))
        rows = tuple(
            Row(group, message, outcome, tuple(fields.split()), why)
            for group, messages in document["objects"].items()
            for message, lines in messages.items()
            for outcome, fields, why in lines
        )
        calls = [(name, why) for why, names in document["calls"].items() for name in names]
        return cls(rows, dict(calls))

    def fields(self) -> Iterator[tuple[str, str]]:
        """Every message and field that has a row."""
        for row in self.rows:
            for field in row.fields:
                yield row.message, field

    def table(self, version: str) -> str:
        """docs/fidelity.md."""
        lines = [_INTRODUCTION.format(version=version).rstrip("\n")]
        lines += [f"| {outcome} | {meaning} |" for outcome, meaning in OUTCOMES.items()]
        group = ""
        for row in self.rows:
            if row.group != group:
                group = row.group
                lines += ["", f"## {group}", "", "| message | fields | outcome | why |", "|---|---|---|---|"]
            fields = ", ".join(f"`{field}`" for field in row.fields)
            lines.append(f"| {row.message} | {fields} | {row.outcome} | {row.why} |")
        lines += ["", "## Messages that hold nothing of their own", ""]
        for why in dict.fromkeys(self.calls.values()):
            names = ", ".join(name for name, reason in self.calls.items() if reason == why)
            lines += [f"{why}: {names}.", ""]
        return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    import json

    newest = json.loads((Path(__file__).parent / "fields.json").read_text(encoding="utf-8"))
    TABLE.write_text(Fidelity.read().table(newest["version"]), encoding="utf-8")
