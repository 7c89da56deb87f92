"""A loop at 1 kHz: 100 inputs, 100 neurons, learning at every tick; how long a tick computes, and how late it comes.

A loop that computes nothing, run in turns with it, shows what the machine itself adds.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from demos.results import RESULTS, write_table
from demos.watching import watch_live
from threefactor import Network
from threefactor.arrays import Array
from threefactor.live import Histogram, LiveLoop
from threefactor.pictures import BLUE, GREY, RED, new_figure, save_figure
from threefactor.terminal import WATCH

RATE, N_IN, N_HIDDEN = 1000, 100, 100  # [Hz]
KINDS = {"compute": BLUE, "wall": GREY, "jitter": RED}


class Follower:
    """A network that follows a slow wave, from spikes that say nothing of it."""

    def __init__(self) -> None:
        self.network = Network(N_IN, N_HIDDEN, 2, recurrent=True, learning_rate=1e-3, w_in_scale=3.0, seed=1)
        self._y, self._t = self.network.step(np.zeros(N_IN)), 0
        self._error = np.zeros(2, self.network.state.dtype)

    def __call__(self, spikes: Array) -> Array:
        """Learn from the last tick, and take the next."""
        self._t += 1
        self._error[:] = self._y
        self._error[0] -= np.sin(self._t / 100.0)
        self._y = self.network.learn_and_step(self._error, spikes)
        return self._y


def draw(loops: dict[str, LiveLoop]) -> None:
    """Share of the ticks that took longer, over how long."""
    figure = new_figure(7, 3.6)
    axes = figure.add_subplot()
    for kind, colour in KINDS.items():
        for name, style in (("network", "-"), ("nothing", ":")):
            histogram: Histogram = getattr(loops[name], kind)
            shares = 1.0 - np.logspace(-0.001, np.log10(max(1.0 / histogram.total, 1e-6)), 400)
            times = [histogram.quantile(float(share)) / 1000.0 for share in shares]
            axes.plot(times, 1.0 - shares, style, color=colour, label=f"{kind}, {name}")
    axes.axvline(1e6 / RATE, color="black", linestyle="--", linewidth=1, label="deadline")
    axes.set(xlabel="time [us]", ylabel="share of ticks that take longer", xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize=8)
    ticks = loops["network"].counts.ticks
    axes.set_title(f"{ticks} ticks at {RATE} Hz, {N_IN} inputs, {N_HIDDEN} neurons, learning", fontsize=10)
    save_figure(figure, RESULTS / "live_latency.png")


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long the loop runs.")] = 60.0,
    quick: Annotated[bool, typer.Option("--quick", help="Half a second, to see that it works.")] = False,
    watch: WATCH = False,
) -> None:
    """Run the loop; writes results/live_latency.csv and results/live_latency.png."""
    spikes = (np.random.default_rng(0).random((1000, N_IN)) < 0.05).astype(np.float32)
    numbers = iter(range(10**9))

    def read() -> Array:
        row: Array = spikes[next(numbers) % len(spikes)]
        return row

    loops = {
        name: LiveLoop(target, read, rate=RATE, example=spikes[0])
        for name, target in {"network": Follower(), "nothing": lambda row: row}.items()
    }
    if watch:
        watch_live(loops["network"], "100 neurons at 1 kHz")
    for _ in range(1 if quick else 6):  # in turns, since the machine may be quicker at one time than at another
        for loop in loops.values():
            loop.run(seconds=0.5 if quick else seconds / 6)
    reports = {name: loop.report() for name, loop in loops.items()}
    rows = [
        {"target": name, "time": kind, **report[f"{kind}_us"]} for name, report in reports.items() for kind in KINDS
    ]  # fmt: skip
    write_table("live_latency", rows)
    draw(loops)
    for row in rows:
        print(" ".join(value if isinstance(value, str) else f"{name} {value:.1f} us" for name, value in row.items()))
    for name, report in reports.items():
        print(name, {key: report[key] for key in ("ticks", "answered", "missed", "missed_by_compute", "skipped")})


if __name__ == "__main__":
    typer.run(main)
