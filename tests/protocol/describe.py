"""The messages of a Pachyderm, from its public .proto files: names and numbers of their fields.

`git --git-dir=PACHYDERM show TAG:src/pfs/pfs.proto > pfs.proto`, likewise for pps, auth, metadata and admin;
then `python tests/protocol/describe.py TAG *.proto > tests/protocol/fields.json`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

Messages = dict[str, dict[str, int]]
"""Full name of a message to its fields' names and numbers."""

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
_TOKEN = re.compile(
    r"\b(?P<kind>message|enum|oneof|service)\s+(?P<name>\w+)\s*\{"
    r"|(?:(?:repeated|optional)\s+)?(?:map\s*<[^>]+>|[\w.]+)\s+(?P<field>\w+)\s*=\s*(?P<number>\d+)\s*(?:\[[^\]]*\])?;"
    r"|(?P<brace>[{}])"
)


def messages(text: str) -> Messages:
    """The messages that a .proto file defines."""
    text = _COMMENT.sub("", text)
    package = re.search(r"^\s*package (\w+);", text, re.M)
    if package is None:
        raise ValueError("the file names no package")
    fields_of: Messages = {}
    open_blocks: list[tuple[str, str]] = []
    for token in _TOKEN.finditer(text):
        name = ".".join([package[1], *(name for kind, name in open_blocks if kind == "message")])
        if token["kind"]:
            open_blocks.append((token["kind"], token["name"]))
            if token["kind"] == "message":
                fields_of[f"{name}.{token['name']}"] = {}
        elif token["field"] and open_blocks and open_blocks[-1][0] in ("message", "oneof"):
            fields_of[name][token["field"]] = int(token["number"])
        elif token["brace"] == "{":
            open_blocks.append(("", ""))
        elif token["brace"] == "}":
            open_blocks.pop()
    return fields_of


def main(version: str, *files: str) -> None:
    """Write the messages of these files as JSON to standard output."""
    all_messages: Messages = {}
    for file in files:
        all_messages |= messages(Path(file).read_text(encoding="utf-8"))
    lines = (f"  {json.dumps(name)}: {json.dumps(fields)}" for name, fields in sorted(all_messages.items()))
    sys.stdout.write(f'{{"version": {json.dumps(version)},\n "messages": {{\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
