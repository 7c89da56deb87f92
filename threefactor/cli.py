"""The command line: `threefactor`. Nothing imports it."""

from __future__ import annotations

import sys

import typer

from threefactor.commands import bench, decode, stream, subject, train, verify

app = typer.Typer(
    help="Online three-factor learning for spiking networks in closed loops.",
    no_args_is_help=True,
    add_completion=False,
)
for part in (train, verify, bench, decode, stream, subject):
    app.add_typer(part.app)


def main() -> None:
    """Entry point of the command `threefactor`."""
    sys.exit(app())
