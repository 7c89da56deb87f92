"""One run of a demo on a page in the browser, in the world's own time, in place of the many that it compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import gymnasium as gym
import typer

from controllers import Watched
from threefactor.live import LiveLoop
from threefactor.terminal import console, print_address
from threefactor.watch import watch_loop

J = TypeVar("J")
shows: list[str] = []  # title of the run that is to be watched, if one is
worlds: list[Watched] = []  # whose page is open


def shown(env: gym.Env[Any, Any], agent: Any) -> gym.Env[Any, Any]:
    """The environment; where this run is watched, one whose steps are shown, and wait for the world's time."""
    if not shows:
        return env
    world = Watched(env, agent, shows[0], rate=env.metadata.get("render_fps"))
    worlds.append(world)
    print_address(world.watch.url)
    console.print("it goes on once somebody looks; Ctrl-C ends it", highlight=False)
    world.watch.wait_for_viewer()
    return world


@contextmanager
def _watching(title: str) -> Iterator[None]:
    shows.append(title)
    try:
        yield
    finally:
        shows.clear()
        while worlds:
            worlds.pop().watch.close()


def watch_live(loop: LiveLoop, title: str) -> NoReturn:
    """Run a live loop, watched, until Ctrl-C; write nothing, and end the demo."""
    with watch_loop(loop, title) as watch, suppress(KeyboardInterrupt):
        print_address(watch.url)
        loop.run()
    raise typer.Exit


def watch_one(work: Callable[[J], Any], job: J, title: str) -> NoReturn:
    """Do one job, watched; write nothing, and end the demo."""
    with _watching(title), suppress(KeyboardInterrupt):
        work(job)
    raise typer.Exit
