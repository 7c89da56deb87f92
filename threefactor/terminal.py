"""What the commands share: where they write to, the option of JSON, how they end and how they report."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(stderr=True)
JSON = Annotated[bool, typer.Option("--json", help="Print one last line of JSON.")]
WATCH = Annotated[
    bool, typer.Option("--watch", help="Show it live on a page in the browser, whose address is printed.")
]


def fail(error: Exception | str) -> NoReturn:
    """Say what is wrong and end with exit code 2."""
    console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
    raise typer.Exit(2)


def print_address(url: str) -> None:
    """Say where a page is to be seen; on one line, however narrow the terminal."""
    console.print(f"watch it at {url}", highlight=False, soft_wrap=True)


def print_values(values: dict[str, Any], as_json: bool) -> None:
    """Print values as a table, or as a line of JSON, which has no NaN: null stands for it."""
    if as_json:
        print(json.dumps(_finite(values)))
        return
    table = Table(show_header=False, show_edge=False)
    for name, value in values.items():
        shown = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name, shown)
    Console().print(table)


def _finite(value: Any) -> Any:
    """The same with None for what is no finite number."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
