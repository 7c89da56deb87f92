"""What a learning tick costs: `step` and `learn` of a `Network`, batch 1, one thread, against its size.

The time is that of the two public calls; the subtraction of the target between them is the caller's. Cost goes with
spikes x neurons: rows of weights and traces wait until their neuron spikes. Beside it stands what NumPy needs, in the
same run, to read and write two arrays of as many float32 numbers as there are synapses, as a dense rule would have to.
"""

from __future__ import annotations

import gc
import time
from typing import Annotated, Any

import numpy as np
import typer

from demos.results import RESULTS, write_table
from threefactor import Network
from threefactor.pictures import BLUE, GREY, LIGHT, new_figure, save_figure


def measure(neurons: int, ticks: int, rng: np.random.Generator) -> dict[str, Any]:
    """Time ticks of one network on 100 inputs of which 5 % spike."""
    network = Network(n_in=100, n_hidden=neurons, n_out=2, learning_rate=1e-5, w_in_scale=2.5, seed=0)
    inputs = (rng.random((ticks, 100)) < 0.05).astype(np.float32)
    error = np.zeros(2, np.float32)
    weights, traces = np.zeros((2, (100 + neurons) * neurons), np.float32)
    spent, floor, spikes = np.zeros(ticks), np.zeros(ticks // 10), 0.0
    gc.collect()
    gc.disable()
    for k in range(ticks):
        x = inputs[k]
        start = time.perf_counter_ns()
        y = network.step(x)
        middle = time.perf_counter_ns()
        np.subtract(y, 0.5, out=error)
        again = time.perf_counter_ns()
        network.learn(error)
        spent[k] = time.perf_counter_ns() - again + middle - start
        spikes += float(network.spikes().mean())
    for k in range(len(floor)):
        start = time.perf_counter_ns()
        weights += 1.0
        traces += 1.0
        floor[k] = time.perf_counter_ns() - start
    gc.enable()
    spent, floor = spent[ticks // 10 :] / 1e3, floor[len(floor) // 10 :] / 1e3
    return {
        "neurons": neurons, "synapses": weights.size, "median_us": round(float(np.median(spent)), 2),
        "p99_us": round(float(np.percentile(spent, 99)), 2), "best_us": round(float(spent.min()), 2),
        "touch_two_arrays_us": round(float(np.median(floor)), 2), "spiking": round(spikes / ticks, 4),
        "state_bytes": network.state.nbytes,
    }  # fmt: skip


def main(
    ticks: Annotated[int, typer.Option(min=100, help="Ticks for each size.")] = 20_000,
    quick: Annotated[bool, typer.Option("--quick", help="Few ticks, to see that it works.")] = False,
) -> None:
    """Measure; writes results/tick_cost.csv and results/tick_cost.png."""
    rng = np.random.default_rng(0)
    sizes = (50, 100) if quick else (50, 100, 200, 500, 1000)
    rows = [measure(n, 500 if quick else max(ticks * 100 // max(n, 100), 1000), rng) for n in sizes]
    for row in rows:
        print(row)
    write_table("tick_cost", rows)
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    synapses = [row["synapses"] for row in rows]
    low, high = ([row[key] for row in rows] for key in ("best_us", "p99_us"))
    axes.fill_between(synapses, low, high, color=LIGHT, alpha=0.5, label="fastest to p99")
    axes.loglog(synapses, [row["median_us"] for row in rows], "o-", color=BLUE, label="step + learn, median")
    touched = [row["touch_two_arrays_us"] for row in rows]
    axes.loglog(synapses, touched, "s--", color=GREY, label="read and write two arrays (NumPy)")
    for row in rows:
        axes.annotate(f"{row['neurons']}", (row["synapses"], row["median_us"]), (0, 6), textcoords="offset points")
    axes.set(xlabel="plastic hidden synapses (labels: neurons)", ylabel="microseconds a tick")
    axes.legend(frameon=False)
    save_figure(figure, RESULTS / "tick_cost.png")


if __name__ == "__main__":
    typer.run(main)
