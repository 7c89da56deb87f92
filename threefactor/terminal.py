"""What the commands share: where they write to, the option of JSON, how they end and how they report."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

console = Console(stderr=True)
JSON = Annotated[bool, typer.Option("--json", help="Print one last line of JSON.")]


def fail(error: Exception | str) -> NoReturn:
    """Say what is wrong and end with exit code 2."""
    console.print(f"[red]error:[/red] {error}", highlight=False)
    raise typer.Exit(2)


def print_values(values: dict[str, Any], as_json: bool) -> None:
    """Print values as a table, or as a line of JSON."""
    if as_json:
        print(json.dumps(values))
        return
    table = Table(show_header=False, show_edge=False)
    for name, value in values.items():
        shown = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name, shown)
    Console().print(table)
