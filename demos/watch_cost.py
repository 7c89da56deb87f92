"""What the page costs the loop that it shows: a learning loop at 1 kHz while nobody looks, somebody does, or is stuck.

The loop is that of `demos.live_latency` and runs on end, while a viewer in another process looks, looks away and gets
stuck (silent, as if its machine had frozen), all for parts of a second: the machine is not equally quick for long. The
figure of a state is the ratio of its median tick to the mean of those of the closed pages before and after it. With
--browser the viewer is headless Chromium, which draws the page on the same cores.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from demos.live_latency import N_IN, RATE, Follower
from demos.results import RESULTS, interquartile_mean, interval, write_table
from threefactor.arrays import Array
from threefactor.live import Histogram, LiveLoop
from threefactor.pictures import BLUE, new_figure, save_figure
from threefactor.terminal import fail
from threefactor.watch import watch_loop

STATES = ("closed", "open", "stuck")
TURN = ("closed", "open", "closed", "open", "closed", "open", "closed", "stuck")
SETTLES = {"client": {"closed": 0.1, "open": 0.1, "stuck": 2.2}, "browser": {"closed": 0.5, "open": 1.0, "stuck": 2.2}}
Phase = tuple[str, float, float]  # state, begin and end in `time.perf_counter`, which processes of a machine share


class Times(Histogram):
    """Keeps each time and when it was, as bins are wider than what is looked for here."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[tuple[float, int]] = []

    def add(self, duration: int) -> None:
        """Count a duration [ns]."""
        super().add(duration)
        self.each.append((time.perf_counter(), duration))


@contextmanager
def _client(url: str) -> Iterator[Callable[[str, float], None]]:
    """A viewer that takes frames and does not draw them."""
    from websockets.sync.client import connect

    with connect(url.split("#")[0].replace("http", "ws") + "live", max_size=None) as connection:

        def look(state: str, seconds: float) -> None:
            connection.send(json.dumps({"type": "away" if state == "closed" else "ready"}))
            end = time.perf_counter() + seconds
            while (left := end - time.perf_counter()) > 0.0:
                try:
                    message = connection.recv(left)
                except TimeoutError:
                    return
                if state == "open" and isinstance(message, bytes):
                    connection.send(json.dumps({"type": "ready"}))

        yield look


@contextmanager
def _browser(url: str) -> Iterator[Callable[[str, float], None]]:
    """Headless Chromium, on the page or on none."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory() as profile:
        for option in ("--headless=new", "--no-sandbox", "--window-size=1400,900", f"--user-data-dir={profile}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options)

        def look(state: str, seconds: float) -> None:
            end = time.perf_counter() + seconds
            driver.get(url if state == "open" else "about:blank")
            time.sleep(max(end - time.perf_counter(), 0.0))

        try:
            yield look
        finally:
            driver.quit()


def view(url: str, turns: int, seconds: float, browser: bool, told: Any) -> None:
    """Look, look away and get stuck in turns; tells the phases as (state, begin, end), and what went wrong."""
    phases: list[Phase] = []
    try:
        with ExitStack() as stack:
            client = stack.enter_context(_client(url))
            look = stack.enter_context(_browser(url)) if browser else client
            for state in (*TURN * turns, "closed"):
                spare = SETTLES["browser" if browser else "client"][state]
                if browser and state != "open":
                    look("closed", 0.0)
                begin = time.perf_counter()
                (look if state == "open" else client)(state, spare + seconds)
                phases.append((state, begin + spare, time.perf_counter()))
    except Exception as error:  # whatever it is, the loop has to be told to end
        told.put(repr(error))
    told.put(phases)


def measure(turns: int, seconds: float, browser: bool) -> tuple[Array, list[Phase]]:
    """Run the loop beside the viewer; moments [s] and times [us] of its ticks, (ticks, 2), and the phases."""
    spikes = (np.random.default_rng(0).random((1000, N_IN)) < 0.05).astype(np.float32)
    numbers = iter(range(10**9))
    loop = LiveLoop(Follower(), lambda: spikes[next(numbers) % 1000], rate=RATE, example=spikes[0])
    loop.compute = times = Times()
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    with watch_loop(loop, "what the page costs") as watch:
        viewer = spawn.Process(target=view, args=(watch.url, turns, seconds, browser, told), daemon=True)
        viewer.start()
        while viewer.is_alive() and told.empty():
            loop.run(seconds=2.0)
        found = told.get()
        viewer.join()
    if isinstance(found, str):
        fail(found)
    return np.array(times.each) * (1.0, 1e-3), found


def draw(rows: list[dict[str, Any]]) -> None:
    """Ratios of all turns."""
    figure = new_figure(5, 3.4)
    axes = figure.add_subplot()
    for place, state in enumerate(STATES[1:]):
        ratios = 100.0 * np.array([row["p50"] / row["p50_closed"] - 1.0 for row in rows if row["page"] == state])
        axes.plot(place + np.linspace(-0.2, 0.2, ratios.size), ratios, "o", color=BLUE, markersize=4)
        axes.plot([place - 0.3, place + 0.3], [interquartile_mean(ratios)] * 2, color=BLUE)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.axhline(2.0, color="black", linestyle=":", linewidth=1, label="2 %")
    axes.set(xticks=range(2), xticklabels=STATES[1:], ylabel="median tick, against a closed page [%]")
    axes.set_title("dots: looks; line: interquartile mean", fontsize=9)
    axes.legend(frameon=False)
    save_figure(figure, RESULTS / "watch_cost.png")


def main(
    turns: Annotated[int, typer.Option(min=1, help="Of three looks and a stuck one.")] = 25,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each state, that count.")] = 0.4,
    browser: Annotated[bool, typer.Option("--browser", help="Look with headless Chromium (needs selenium).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One turn of short states, to see that it works.")] = False,
) -> None:
    """Run the loop beside a viewer; writes results/watch_cost.csv and results/watch_cost.png."""
    ticks, phases = measure(1 if quick else turns, seconds, browser)
    moments, times = ticks.T
    middle = [np.percentile(times[(begin <= moments) & (moments < end)], (50.0, 99.0)) for _, begin, end in phases]
    rows: list[dict[str, Any]] = []
    for k in range(1, len(phases), 2):
        closed = 0.5 * (middle[k - 1] + middle[k + 1])
        row = {"viewer": "browser" if browser else "client", "page": phases[k][0]}
        rows.append(row | {"p50": middle[k][0], "p50_closed": closed[0], "p99": middle[k][1], "p99_closed": closed[1]})
    write_table("watch_cost", rows)
    draw(rows)
    columns = ("page", "p50 [us]", "closed", "change [95 % of IQM]", "p99 [us]", "closed")
    table = Table(*columns, caption=f"medians of {len(rows) // 4 * 3} looks and {len(rows) // 4} stuck ones")
    for state in STATES[1:]:
        mine = {name: np.array([row[name] for row in rows if row["page"] == state]) for name in list(rows[0])[2:]}
        ratios = mine["p50"] / mine["p50_closed"]
        low, high = (100.0 * (end - 1.0) for end in interval(ratios.tolist()))
        shown = {name: f"{np.median(values):.1f}" for name, values in mine.items()}
        change = f"{100.0 * (interquartile_mean(ratios) - 1.0):+.1f} % [{low:+.1f}, {high:+.1f}]"
        table.add_row(state, shown["p50"], shown["p50_closed"], change, shown["p99"], shown["p99_closed"])
    Console(width=110, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
