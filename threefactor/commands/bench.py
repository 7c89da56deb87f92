"""The command that times ticks."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from threefactor.bench import QUICK, TICKS, BenchError, rows
from threefactor.terminal import fail

app = typer.Typer()


@app.command()
def bench(
    peers: Annotated[bool, typer.Option("--peers", help="Measure other systems too; see the extra `peers`.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few ticks of small networks, to see that it works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each row.")] = False,
) -> None:
    """Microseconds of an online learning tick: forward, traces, error, weight update; batch 1, one thread."""
    columns = ("neurons", "synapses", "median us", "p99 us", "spiking", "MB", "ratio")
    right = [Column(name, justify="right", no_wrap=True) for name in columns]
    table = Table(Column("system", no_wrap=True), *right, box=None, padding=(0, 1, 0, 0))
    try:
        for row in rows(peers, QUICK if quick else TICKS):
            if as_json:
                print(json.dumps(row), flush=True)
            spiking = "-" if row["spiking"] is None else f"{row['spiking']:.1%}"
            table.add_row(
                row["system"], str(row["neurons"]), str(row["synapses"]), f"{row['median_us']:.1f}",
                f"{row['p99_us']:.1f}", spiking, f"{row['state_bytes'] / 1e6:.2f}", str(row.get("ratio", "-")),
            )  # fmt: skip
    except BenchError as error:
        fail(error)
    if not as_json:
        Console().print(table)
