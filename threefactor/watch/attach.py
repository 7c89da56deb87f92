"""What a page shows and steers of a live loop, and of an agent in a loop of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from threefactor.live import Driven, LiveLoop
from threefactor.watch.watch import Control, Watch

COUNTS = {
    "missed deadlines": "missed", "skipped ticks": "skipped", "idle ticks": "idle", "refused samples": "refused",
}  # fmt: skip


def watch_loop(loop: LiveLoop, title: str, save: Callable[[], str] | None = None) -> Watch:
    """Watch a live loop: its target, counts and times; the page may pause it and do what `request` can.

    Parameters
    ----------
    loop : LiveLoop
        Its `watcher` is set.
    title : str
    save : callable, optional
        Saves, and says where.
    """

    def count_of(name: str) -> Callable[[], float]:
        return lambda: float(getattr(loop.counts, name))

    def request(name: str, kind: type) -> Callable[[float], None]:
        return lambda value: loop.request(**{name: kind(value)})

    controls = {"pause": Control(request("paused", bool), lambda: float(loop.paused))}
    controls |= _controls(loop.driven, request("learning", bool), request("slope", float), save)
    loop.watcher = watch = Watch(
        loop.driven.target, title, signals={shown: count_of(name) for shown, name in COUNTS.items()},
        durations={"compute": loop.compute, "wall": loop.wall, "jitter": loop.jitter}, controls=controls,
    )  # fmt: skip
    return watch


def watch_agent(driven: Driven, title: str, save: Callable[[], str] | None = None, **given: Any) -> Watch:
    """Watch an agent in a loop that steps the `Driven` in its place, and calls `tick` and `wait` after each step.

    Parameters
    ----------
    driven : Driven
        The agent; its learning and slope are set as the page asks.
    title, save
        As in `watch_loop`.
    **given
        As in `Watch`.
    """

    def switch(on: float) -> None:
        driven.apply(bool(on), None)

    def set_slope(slope: float) -> None:
        driven.apply(None, slope)

    return Watch(driven.target, title, controls=_controls(driven, switch, set_slope, save), **given)


def _controls(
    driven: Driven, switch: Callable[[float], None], set_slope: Callable[[float], None], save: Callable[[], str] | None
) -> dict[str, Control]:
    """What can be asked of this one."""
    found = {}
    if driven.switchable:
        found["learning"] = Control(switch, lambda: float(driven.learning))
    if hasattr(driven.target, "slope"):
        found["slope"] = Control(set_slope, lambda: float(driven.target.slope))
    if save is not None:
        saved = 0

        def save_once(_: float) -> str:
            nonlocal saved
            answer = save()
            saved += 1
            return answer

        found["save"] = Control(save_once, lambda: float(saved))
    return found
