"""Gathers what pip needs on this machine to build the image: a pip.conf, a CA bundle, wheels.

Usage: pip_secrets.py FOLDER. Writes there `pip.conf` and `ca.pem`, to be passed as build secrets, `wheels/`,
to be mounted, and `marks`, strings that must not be found in the image. It prints no value: the address of
an index may hold a password.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

CA_IN_THE_BUILD = "/run/secrets/ca-bundle"
WHEELS_IN_THE_BUILD = "/mnt"  # a mount on a folder that the base lacks would leave it in the image
SECTIONS = ("global", "install", ":env:")  # the later over the earlier, as pip has it
OPTIONS = (
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)


def configured() -> dict[str, str]:
    """What pip's files and environment say here, all levels merged."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    levels: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        levels.get(section, {})[option] = ast.literal_eval(value)
    return {option: value for section in SECTIONS for option, value in levels[section].items()}


def ca_bundle(cert: str | None) -> Path:
    """The certificates pip trusts here: the ones it is told of, else the system's."""
    system = ssl.get_default_verify_paths().cafile
    for candidate in (cert, os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("SSL_CERT_FILE"), system):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    sys.exit("pip_secrets: no CA bundle on this machine (apt: ca-certificates)")


def main(folder: Path) -> None:
    settings = configured()
    wheels = folder / "wheels"
    wheels.mkdir(mode=0o700, parents=True)
    links = settings.pop("find-links", "").split()
    for wheel in (wheel for place in links for wheel in Path(place).glob("*.whl")):
        shutil.copy(wheel, wheels)
    settings["find-links"] = " ".join([WHEELS_IN_THE_BUILD, *(link for link in links if "://" in link)])

    (folder / "ca.pem").write_bytes(ca_bundle(settings.get("cert")).read_bytes())
    kept = {option: " ".join(settings[option].split()) for option in OPTIONS if option in settings}
    lines = ["[global]", f"cert = {CA_IN_THE_BUILD}", *(f"{option} = {kept[option]}" for option in kept)]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    # Hosts, with the user and password before them where there are any.
    marks = {mark for value in kept.values() for mark in re.findall(r"//([^/\s]+)", value)}
    marks |= {CA_IN_THE_BUILD, *kept.get("trusted-host", "").split()}
    (folder / "marks").write_text("".join(f"{mark}\n" for mark in sorted(marks)))
    print(f"pip options: {', '.join(kept)}; wheels: {len(list(wheels.iterdir()))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
