"""What the page costs the loop that it shows: a learning loop at 1 kHz without it, with it closed, open, and stuck.

The loop is that of `demos.live_latency`. Blocks of all conditions take turns; the figure of a condition is the median
over blocks of the ratio to the block without a page in the same turn, with a 95 % interval. "closed": nobody looks.
"open": a viewer that asks for the next frame as soon as it has drawn one, in a browser with --browser, which draws on
the same machine. "stuck": a viewer that took one frame and was never heard of again.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from demos.live_latency import N_IN, RATE, Follower
from demos.results import RESULTS, interval, write_table
from threefactor.arrays import Array
from threefactor.live import Histogram, LiveLoop
from threefactor.pictures import BLUE, new_figure, save_figure
from threefactor.watch import Watch, watch_loop

CONDITIONS = ("no page", "closed", "open", "stuck")
SETTLES = 3.0  # seconds until a viewer that is not heard of no longer counts as one, and half as much again


def view(url: str, frames: int) -> None:
    """Look at a page without drawing it, for so many frames, then be silent."""
    from websockets.sync.client import connect

    with connect(url.split("#")[0].replace("http", "ws") + "live", max_size=None) as connection:
        connection.send(json.dumps({"type": "ready"}))
        for message in connection:
            if isinstance(message, bytes) and frames > 0:
                frames -= 1
                connection.send(json.dumps({"type": "ready"}))


@contextmanager
def _viewer(url: str, frames: int) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=view, args=(url, frames), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


@contextmanager
def _browser(url: str) -> Iterator[None]:
    """Headless Chromium that draws the page."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory() as profile:
        for option in ("--headless=new", "--no-sandbox", "--window-size=1400,900", f"--user-data-dir={profile}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options)
        try:
            driver.get(url)
            yield
        finally:
            driver.quit()


def wait_until(holds: Callable[[], bool], watch: Watch) -> None:
    """Let the loop's side listen until something holds; 20 s at most."""
    end = time.monotonic() + 20.0
    while not holds():
        if time.monotonic() > end:
            raise typer.Exit(1)
        time.sleep(0.02)
        watch.listen()


class Times(Histogram):
    """Keeps each time, as bins are wider than what is looked for here."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[int] = []

    def add(self, duration: int) -> None:
        """Count a duration [ns]."""
        super().add(duration)
        self.each.append(duration)


def run_block(loop: LiveLoop, seconds: float) -> Array:
    """Median, 99th and 99.9th percentile of computing [us] in some seconds of the loop."""
    loop.compute = times = Times()
    loop.run(seconds=seconds)
    quantiles: Array = np.percentile(times.each, (50.0, 99.0, 99.9)) / 1000.0
    return quantiles


def run_turn(loop: LiveLoop, watch: Watch, order: list[str], seconds: float, browser: bool) -> dict[str, Array]:
    """A block of each condition."""
    found = {}
    for condition in order:
        loop.watcher = None if condition == "no page" else watch
        if condition in ("no page", "closed"):
            wait_until(lambda: not watch.looked_at, watch)
            found[condition] = run_block(loop, seconds)
        elif condition == "open":
            with _browser(watch.url) if browser else _viewer(watch.url, 10**9):
                wait_until(lambda: watch.looked_at, watch)
                found[condition] = run_block(loop, seconds)
                if not watch.looked_at:
                    raise RuntimeError("the viewer went away.")
        else:
            with _viewer(watch.url, 1):
                wait_until(lambda: watch.looked_at, watch)
                time.sleep(SETTLES)
                found[condition] = run_block(loop, seconds)
    return found


def draw(rows: list[dict[str, Any]]) -> None:
    """Ratios of all turns."""
    figure = new_figure(6, 3.4)
    axes = figure.add_subplot()
    for place, condition in enumerate(CONDITIONS[1:]):
        ratios = np.array([row["ratio"] for row in rows if row["page"] == condition])
        axes.plot(place + np.linspace(-0.2, 0.2, ratios.size), 100.0 * (ratios - 1.0), "o", color=BLUE, markersize=4)
        axes.plot([place - 0.3, place + 0.3], [100.0 * (np.median(ratios) - 1.0)] * 2, color=BLUE)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.axhline(2.0, color="black", linestyle=":", linewidth=1, label="2 %")
    axes.set(xticks=range(3), xticklabels=CONDITIONS[1:], ylabel="median tick, against no page [%]")
    axes.set_title("dots: turns; line: their median", fontsize=9)
    axes.legend(frameon=False)
    save_figure(figure, RESULTS / "watch_cost.png")


def main(
    turns: Annotated[int, typer.Option(min=1, help="Blocks of each condition.")] = 12,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of a block.")] = 5.0,
    browser: Annotated[bool, typer.Option("--browser", help="Look with headless Chromium (needs selenium).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One turn of short blocks, to see that it works.")] = False,
) -> None:
    """Run the loop in turns; writes results/watch_cost.csv and results/watch_cost.png."""
    turns, seconds = (1, 0.3) if quick else (turns, seconds)
    spikes = (np.random.default_rng(0).random((1000, N_IN)) < 0.05).astype(np.float32)
    numbers = iter(range(10**9))
    loop = LiveLoop(Follower(), lambda: spikes[next(numbers) % 1000], rate=RATE, example=spikes[0])
    rows, rng = [], np.random.default_rng(0)
    with watch_loop(loop, "what the page costs") as watch:
        for turn in range(turns):
            blocks = run_turn(loop, watch, [str(c) for c in rng.permutation(CONDITIONS)], seconds, browser)
            for condition in CONDITIONS:
                p50, p99, p999 = blocks[condition]
                rows.append({
                    "turn": turn, "page": condition, "viewer": "browser" if browser else "client", "p50": p50,
                    "p99": p99, "p99.9": p999, "ratio": p50 / blocks["no page"][0],
                })  # fmt: skip
    write_table("watch_cost", rows)
    draw(rows)
    table = Table("page", "p50 [us]", "p99", "p99.9", "p50 against no page [95 % of IQM]", caption="medians of blocks")
    for condition in CONDITIONS:
        mine = [row for row in rows if row["page"] == condition]
        middle = [f"{np.median([row[name] for row in mine]):.1f}" for name in ("p50", "p99", "p99.9")]
        low, high = (100.0 * (end - 1.0) for end in interval([row["ratio"] for row in mine]))
        change = 100.0 * (float(np.median([row["ratio"] for row in mine])) - 1.0)
        table.add_row(condition, *middle, f"{change:+.1f} % [{low:+.1f}, {high:+.1f}]")
    Console(width=110, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
