"""`python -m embedded_pachyderm --state DIR --port N`: the embedded Pachyderm's server process."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import sys
from pathlib import Path

from embedded_pachyderm import server
from pachvault.errors import PachvaultError, UsageError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded_pachyderm", description=__doc__)
    parser.add_argument("--state", required=True, type=Path, help="folder of everything it keeps")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address; any other is refused")
    parser.add_argument("--costs", action="store_true", help="answer as slowly as a real Pachyderm")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        if not _is_loopback(options.host):
            raise UsageError(f"the embedded Pachyderm listens on loopback only, not on {options.host}")
        server.run(options.state.absolute(), host=options.host, port=options.port, has_costs=options.costs)
    except PachvaultError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
