"""What the page costs the loops that it shows, while nobody looks, somebody does, or is stuck.

Two loops run on end: that of `demos.live_latency` at 1 kHz, and an actor-critic that learns CartPole as fast as it can.
A viewer in another process looks, looks away and gets stuck (silent, as if its machine had frozen), all for parts of a
second: the machine is not equally quick for long. The figure of a look is the ratio of its median tick to the mean of
those of the closed pages before and after it, or to the one after it if it took seconds to count as stuck. A loop that
keeps pace works for the page in the pause after a tick, which is told beside it; in the other one the tick, from step
to step, holds all. With --browser the viewer is headless Chromium, which draws the page on the same cores.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from controllers import ActorCritic, Loop, Watched
from demos.live_latency import N_IN, RATE, Follower
from demos.results import RESULTS, interquartile_mean, interval, write_table
from threefactor.live import Histogram, LiveLoop
from threefactor.live.timing import no_garbage_collection
from threefactor.pictures import BLUE, new_figure, save_figure
from threefactor.terminal import fail
from threefactor.watch import Watch, watch_loop

STATES = ("closed", "open", "stuck")
TURN = ("closed", "open", "closed", "open", "closed", "open", "closed", "stuck")
SETTLES = {"client": {"closed": 0.1, "open": 0.1, "stuck": 2.2}, "browser": {"closed": 1.0, "open": 3.0, "stuck": 2.2}}
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


class Timed:
    """A page's side of the loop, and how long each of its ticks took."""

    def __init__(self, watch: Watch, times: Times) -> None:
        self._watch, self._times = watch, times
        self.listen = watch.listen

    def tick(self, reward: float, over: bool) -> None:
        """One tick."""
        begun = time.thread_time_ns()
        self._watch.tick(reward, over)
        self._times.add(time.thread_time_ns() - begun)


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


def keep_pace(looked_at: Callable[[str], Any], going: Callable[[], bool]) -> tuple[Times, Times]:
    """The loop of 1 kHz; times of its ticks, and of what it did for the page."""
    spikes = (np.random.default_rng(0).random((1000, N_IN)) < 0.05).astype(np.float32)
    numbers, ticks, page = iter(range(10**9)), Times(), Times()

    def read() -> Any:
        k = next(numbers) % 1000
        if k == 999 and not going():
            loop.stop()
        return spikes[k]

    loop = LiveLoop(Follower(), read, rate=RATE, example=spikes[0])
    loop.compute = ticks
    with watch_loop(loop, "a loop of 1 kHz") as watch:
        loop.watcher = Timed(watch, page)
        loop.run(ticks=10)  # all is compiled before somebody looks
        looked_at(watch.url)
        loop.run()
    return ticks, page


def train(looked_at: Callable[[str], Any], going: Callable[[], bool]) -> tuple[Times, Times]:
    """Training without a pause; times from step to step, and none of the page's own."""
    env = gym.make("CartPole-v1")
    agent, ticks = ActorCritic.for_env(env, seed=0), Times()
    world = Watched(env, agent)
    episodes = Loop(agent, Stamped(world, ticks), seed=0).run(10**9)
    next(episodes)
    looked_at(world.watch.url)
    with no_garbage_collection():
        while going():
            next(episodes)
    world.close()
    return ticks, Times()


class Stamped(gym.Wrapper[Any, Any, Any, Any]):
    """Times from step to step."""

    def __init__(self, env: gym.Env[Any, Any], times: Times) -> None:
        super().__init__(env)
        self._times, self._last = times, time.thread_time_ns()

    def step(self, action: Any) -> Any:
        """As the environment's own."""
        now = time.thread_time_ns()
        self._times.add(now - self._last)
        self._last = now
        return self.env.step(action)


LOOPS = {"1 kHz": keep_pace, "training": train}


def measure(name: str, turns: int, seconds: float, browser: bool) -> list[dict[str, Any]]:
    """Run a loop beside the viewer; the medians of each look."""
    spawn = multiprocessing.get_context("spawn")
    told, viewers = spawn.Queue(), []

    def begin(url: str) -> None:
        viewers.append(spawn.Process(target=view, args=(url, turns, seconds, browser, told), daemon=True))
        viewers[0].start()

    times = LOOPS[name](begin, lambda: viewers[0].is_alive() and told.empty())
    phases = told.get()
    viewers[0].join()
    if isinstance(phases, str):
        fail(phases)
    ticks, page = ([of_phase(each, *phase[1:]) for phase in phases] for each in times)
    rows: list[dict[str, Any]] = []
    for k in range(1, len(phases), 2):
        beside = ticks[k + 1 :: -2][: 1 if phases[k][0] == "stuck" else 2]
        p50, p99 = np.mean(beside, axis=0)
        row = {"loop": name, "viewer": "browser" if browser else "client", "page": phases[k][0], "p50": ticks[k][0]}
        rows.append(row | {"p50_closed": p50, "p99": ticks[k][1], "p99_closed": p99, "pause_p50": page[k][0]})
    return rows


def of_phase(times: Times, begin: float, end: float) -> tuple[float, float]:
    """Median and 99th percentile [us] of the times in a phase; NaN if there are none."""
    found = [duration for moment, duration in times.each if begin <= moment < end]
    return tuple(1e-3 * np.percentile(found, (50.0, 99.0))) if found else (np.nan, np.nan)


def draw(rows: list[dict[str, Any]]) -> None:
    """Ratios of all looks."""
    figure = new_figure(7, 3.4)
    for axes, name in zip(figure.subplots(1, len(LOOPS), sharey=True), LOOPS, strict=True):
        for place, state in enumerate(STATES[1:]):
            mine = [row for row in rows if (row["loop"], row["page"]) == (name, state)]
            ratios = 100.0 * np.array([row["p50"] / row["p50_closed"] - 1.0 for row in mine])
            axes.plot(place + np.linspace(-0.2, 0.2, ratios.size), ratios, "o", color=BLUE, markersize=4)
            axes.plot([place - 0.3, place + 0.3], [interquartile_mean(ratios)] * 2, color=BLUE)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.axhline(2.0, color="black", linestyle=":", linewidth=1, label="2 %")
        axes.set(xticks=range(2), xticklabels=STATES[1:], title=name)
    figure.axes[0].set(ylabel="median tick, against a closed page [%]")
    figure.axes[0].legend(frameon=False)
    figure.suptitle("dots: looks; line: interquartile mean", fontsize=9)
    save_figure(figure, RESULTS / "watch_cost.png")


def main(
    turns: Annotated[int, typer.Option(min=1, help="Of three looks and a stuck one, for each loop.")] = 25,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each state, that count.")] = 0.4,
    browser: Annotated[bool, typer.Option("--browser", help="Look with headless Chromium (needs selenium).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One turn of short states, to see that it works.")] = False,
) -> None:
    """Run the loops beside a viewer; writes results/watch_cost.csv and results/watch_cost.png."""
    rows = [row for name in LOOPS for row in measure(name, 1 if quick else turns, seconds, browser)]
    write_table("watch_cost", rows)
    draw(rows)
    columns = ("loop", "page", "p50 [us]", "closed", "change [95 % of IQM]", "p99 [us]", "closed", "in the pause")
    table = Table(*columns, caption="medians of looks")
    for name, state in ((name, state) for name in LOOPS for state in STATES[1:]):
        mine = [row for row in rows if (row["loop"], row["page"]) == (name, state)]
        ratios = np.array([row["p50"] / row["p50_closed"] for row in mine])
        low, high = (100.0 * (end - 1.0) for end in interval(ratios.tolist()))
        change = f"{100.0 * (interquartile_mean(ratios) - 1.0):+.1f} % [{low:+.1f}, {high:+.1f}]"
        names = ("p50", "p50_closed", "p99", "p99_closed", "pause_p50")
        shown = [f"{np.median([row[name] for row in mine]):.1f}" for name in names]
        table.add_row(name, state, *shown[:2], change, *shown[2:])
    Console(width=110, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
