"""Memory does not depend on how long a network has run: resident size over a million learning ticks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from demos.results import RESULTS, write_table
from threefactor import Network
from threefactor.pictures import BLUE, new_figure, save_figure

PAGES = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Resident size of this process."""
    if not PAGES.exists():
        raise SystemExit("this demo reads /proc/self/statm, which this system does not have.")
    return int(PAGES.read_text().split()[1]) * 4096


def main(
    ticks: Annotated[int, typer.Option(min=1000, help="Learning ticks.")] = 1_000_000,
    quick: Annotated[bool, typer.Option("--quick", help="Few ticks, to see that it works.")] = False,
) -> None:
    """Run; writes results/flat_memory.csv and results/flat_memory.png."""
    ticks = 20_000 if quick else ticks
    rng = np.random.default_rng(0)
    network = Network(n_in=100, n_hidden=100, n_out=2, learning_rate=1e-6, w_in_scale=2.5)
    inputs = (rng.random((1000, 100)) < 0.05).astype(np.float32)
    rows = []
    for k in range(ticks + 1):
        y = network.step(inputs[k % 1000])
        network.learn(y - 0.5)
        if k % (ticks // 100) == 0:
            rows.append({"ticks": k, "resident_bytes": resident_bytes()})
    first = rows[1]["resident_bytes"]  # the first sample warms the allocator up
    print(f"resident size changed by {(rows[-1]['resident_bytes'] - first) / 2**20:.3f} MiB over {ticks} ticks")
    write_table("flat_memory", rows)
    figure = new_figure(6, 3)
    axes = figure.add_subplot()
    axes.plot([row["ticks"] for row in rows], [(row["resident_bytes"] - first) / 2**20 for row in rows], color=BLUE)
    axes.set(xlabel="learning ticks", ylabel="change of resident size (MiB)", ylim=(-1, 1))
    save_figure(figure, RESULTS / "flat_memory.png")


if __name__ == "__main__":
    typer.run(main)
