"""The `pachvault` command."""

from __future__ import annotations

import click

from pachvault import __version__


@click.group()
@click.version_option(__version__, prog_name="pachvault")
def main() -> None:
    """Back up, look at and read back Pachyderm data."""
