"""The command line. It and the modules named after it alone of the engine's folder know controllers and worlds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Column, Table

from threefactor import cli_decode, cli_stream, cli_subject, cli_train
from threefactor.bench import QUICK, TICKS, BenchError, rows
from threefactor.terminal import JSON, fail
from threefactor.verify import tolerance_for, verify_file

app = typer.Typer(
    help="Online three-factor learning for spiking networks in closed loops.",
    no_args_is_help=True,
    add_completion=False,
)
for part in (cli_train, cli_decode, cli_stream, cli_subject):
    app.add_typer(part.app)


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Reference files, npz.")],
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Largest error allowed, relative to the largest value.")
    ] = 1e-9,
    as_json: JSON = False,
) -> None:
    """Replay recordings of other e-prop implementations; exit 1 if any quantity is off by more than the tolerance."""
    table = Table("file", "quantity", "largest relative error", "")
    report: dict[str, dict[str, float]] = {}
    failed = False
    for file in files:
        try:
            errors = verify_file(file)
        except (ValueError, OSError) as error:
            fail(error)
        report[file.name] = errors
        for quantity, off in errors.items():
            bad = not off <= tolerance_for(quantity, tolerance)
            failed |= bad
            table.add_row(file.name, quantity, f"{off:.1e}", "[red]too large[/red]" if bad else "ok")
    # JSON has no infinity: what could not be compared is null
    finite = {
        file: {name: off if np.isfinite(off) else None for name, off in errors.items()}
        for file, errors in report.items()
    }
    Console().print(table) if not as_json else print(
        json.dumps({"tolerance": tolerance, "passed": not failed, "files": finite})
    )
    if failed:
        raise typer.Exit(1)


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


def main() -> None:
    """Entry point of the command `threefactor`."""
    sys.exit(app())
