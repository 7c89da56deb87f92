"""The command that replays recordings of other implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from threefactor.terminal import JSON, fail
from threefactor.verify import tolerance_for, verify_file

app = typer.Typer()


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
