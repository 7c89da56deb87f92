"""What a learning tick costs as the network grows: neurons, dense and sparse; inputs; activity; layers.

Sparse networks have 100 synapses a neuron, up to 100,000 neurons and 10,000,000 plastic synapses. Beside them stands
what a rule that visits each entry of such a network each tick takes, measured in the same run: it advances its trace
and its weight, with the surrogate derivative and the learning signal of the neuron that the entry leads to.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import scipy.sparse
import typer
from rich.progress import track

from demos.results import RESULTS, write_table
from threefactor import Network
from threefactor._jit import kernel
from threefactor.arrays import Array
from threefactor.pictures import BLUE, GREY, RED, new_figure, save_figure

FAN_OUT = 100
DENSE, SPARSE, VISITED = "dense", "sparse, 100 synapses a neuron", "each entry visited"
SCALES = {"dense": 1.9, "sparse": 1.1}  # of input weights: some per cent of the neurons spike
Row = dict[str, Any]


@kernel
def visit(w: Array, ebar: Array, targets: Array, psi: Array, signal: Array) -> None:
    """What a rule that defers nothing does to each entry of a sparse matrix each tick."""
    for k in range(w.size):
        j = int(targets[k])
        ebar[k] = 0.95 * ebar[k] + psi[j]
        w[k] -= 1e-6 * signal[j] * ebar[k]


def pattern(rng: np.random.Generator, post: int, pre: int) -> Any:
    """FAN_OUT random entries from each presynaptic neuron, none to itself."""
    row, column = rng.integers(0, post, (pre, FAN_OUT)).ravel(), np.repeat(np.arange(pre), FAN_OUT)
    kept = (row != column) | (post != pre)
    return scipy.sparse.coo_array((np.ones(kept.sum()), (row[kept], column[kept])), (post, pre))


def sparse(neurons: int) -> Network:
    """A recurrent network with FAN_OUT synapses a neuron, and as many from each of neurons / 10 inputs."""
    rng, n_in = np.random.default_rng(0), neurons // 10
    masks = {"w_in": pattern(rng, neurons, n_in), "w_rec": pattern(rng, neurons, neurons)}
    return Network(n_in, neurons, 2, masks=masks, w_in_scale=SCALES["sparse"], learning_rate=1e-6)


def dense(neurons: Any = 1000, inputs: int = 100, scale: float = SCALES["dense"], recurrent: bool = True) -> Network:
    """A network as in `threefactor bench`."""
    return Network(inputs, neurons, 2, recurrent=recurrent, w_in_scale=scale, learning_rate=1e-6)


def measure(network: Network, ticks: int) -> Row:
    """Cost of step and learn, by the last of the ticks."""
    rng, n_in, spent, active = np.random.default_rng(1), network.settings.n_in, [], []
    for _ in range(ticks):
        x = (rng.random(n_in) < 0.05).astype(np.float32)
        error = rng.standard_normal(2).astype(np.float32)
        start = time.perf_counter_ns()
        network.step(x)
        network.learn(error)
        spent.append(time.perf_counter_ns() - start)
        active.append(np.mean([network.spikes(k).mean() for k in range(len(network.settings.n_hidden))]))
    counted = slice(ticks // 3, None)
    return {
        "median_us": round(float(np.median(spent[counted])) / 1e3, 1),
        "p99_us": round(float(np.percentile(spent[counted], 99)) / 1e3, 1),
        "spiking": round(float(np.mean(active[counted])), 4), "state_bytes": network.state.nbytes,
    }  # fmt: skip


def of(make: Callable[..., Network], ticks: int, **size: Any) -> Row:
    """What a network of this size costs."""
    return measure(make(**size), ticks)


def floor(neurons: int, ticks: int) -> Row:
    """Cost of visiting each entry of `sparse(neurons)`."""
    entries = FAN_OUT * (neurons + neurons // 10)
    rng = np.random.default_rng(0)
    w, ebar = np.zeros(entries, np.float32), np.zeros(entries, np.float32)
    targets, psi = rng.integers(0, neurons, entries).astype(np.float32), rng.random(neurons).astype(np.float32)
    spent = []
    for _ in range(ticks):
        start = time.perf_counter_ns()
        visit(w, ebar, targets, psi, psi)
        spent.append(time.perf_counter_ns() - start)
    return {
        "median_us": round(float(np.median(spent[1:])) / 1e3, 1),
        "p99_us": round(float(np.percentile(spent[1:], 99)) / 1e3, 1), "spiking": "", "state_bytes": 12 * entries,
    }  # fmt: skip


def draw(rows: list[Row]) -> None:
    """A panel for each thing that grows."""
    figure = new_figure(12, 3.7)
    labels = {"neurons": "hidden neurons", "inputs": "inputs", "activity": "share of neurons that spike",
              "layers": "layers of 100 neurons"}  # fmt: skip
    looks = {DENSE: (BLUE, "o-"), SPARSE: (RED, "s-"), VISITED: (GREY, "--")}
    for axes, (panel, label) in zip(figure.subplots(1, 4), labels.items(), strict=True):
        for system, (colour, style) in looks.items():
            mine = [row for row in rows if (row["panel"], row["system"]) == (panel, system)]
            if mine:
                at = [row["spiking"] if panel == "activity" else row["size"] for row in mine]
                axes.plot(at, [row["median_us"] for row in mine], style, color=colour, label=system)
        if panel in ("neurons", "inputs"):
            axes.set(xscale="log", yscale="log")
        else:
            axes.set_ylim(bottom=0)
        axes.set(xlabel=label, ylabel="one learning tick, median [microseconds]")
        axes.grid(alpha=0.25)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, RESULTS / "scaling.png")


def main(quick: Annotated[bool, typer.Option("--quick", help="Small networks, to see that it works.")] = False) -> None:
    """Measure; writes results/scaling.csv and results/scaling.png."""
    most, ticks = (1000, 30) if quick else (100_000, 600)
    sizes = [n for n in (100, 300, 1000, 3000, 10_000, 30_000, 100_000) if n <= most]
    few = {n: ticks if n <= 3000 else ticks // 4 for n in sizes}
    jobs: list[tuple[str, str, float, Callable[[], Row]]] = [
        *(("neurons", DENSE, n, partial(of, dense, ticks=few[n], neurons=n)) for n in sizes if n <= 10_000),
        *(("neurons", SPARSE, n, partial(of, sparse, ticks=few[n], neurons=n)) for n in sizes if n >= 1000),
        *(("neurons", VISITED, n, partial(floor, n, 20)) for n in sizes if n >= 1000),
        *(("inputs", DENSE, n, partial(of, dense, ticks=ticks, neurons=100, inputs=n)) for n in sizes[:-1]),
        *(
            ("activity", DENSE, k, partial(of, dense, ticks=ticks, scale=k))
            for k in (0.3, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
        ),
        *(
            ("layers", DENSE, k, partial(of, dense, ticks=ticks, neurons=[100] * k, recurrent=False))
            for k in range(1, 9)
        ),
    ]
    rows = []
    for panel, system, size, job in track(jobs, "measuring"):
        gc.collect()
        gc.disable()
        rows.append({"panel": panel, "system": system, "size": size, **job()})
        gc.enable()
    write_table("scaling", rows)
    draw(rows)


if __name__ == "__main__":
    typer.run(main)
