"""A simulated subject and a cursor on streams: what `threefactor stream` decodes, and moves, without any hardware.

Three processes make a closed loop: the cursor, which others move and whose place it sends; the subject, who sees it and
whose neurons fire; and whatever decodes them.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from envs import Cursor
from threefactor.arrays import Array
from threefactor.live import LiveLoop, Sample, SourceError
from threefactor.live.ending import stopped_by_signals
from threefactor.live.lsl import Inlet, Outlet, library
from threefactor.live.streams import TERMINATED, TRUNCATED, Held
from threefactor.terminal import JSON, console, fail, print_values

app = typer.Typer()

SCREEN = 4  # channels of what the subject sees: cursor x, y, target x, y

Units = Annotated[int, typer.Option(min=1, help="Neurons.")]
Interval = Annotated[float, typer.Option(min=0.001, max=0.1, help="Length of a bin in seconds.")]
Seed = Annotated[int, typer.Option(min=0, help="Of targets and spikes.")]
Rewards = Annotated[str | None, typer.Option(help="Stream of rewards to send (second channel: 1 hit, 2 missed).")]
Trials = Annotated[Path | None, typer.Option(help="CSV of the trials: seconds, hit, seconds that it took.")]
Patience = Annotated[float, typer.Option(min=0.0, help="Seconds without a sample, then the cursor stops.")]
Seconds = Annotated[float | None, typer.Option(min=0.0, help="How long. \\[default: until Ctrl-C]")]


class Bin(NamedTuple):
    """What happened in a bin; None where there is nothing to send."""

    counts: Any = None  #: spikes (units,)
    wanted: Any = None  #: the intended velocity, inferred, as a share of the top speed (2,)
    screen: Any = None  #: cursor and target (4,)
    reward: Any = None  #: reward and end (2,)


class World:
    """The cursor, trial after trial.

    Parameters
    ----------
    env : Cursor
    seed : int
    trials : Path, optional
        CSV to which a row is written as each trial ends.
    """

    def __init__(self, env: Cursor, seed: int, trials: Path | None = None) -> None:
        self.env, self.counted = env, {"bins": 0, "trials": 0, "hits": 0}
        self._interval, self._begun, self._file = float(env.parameter("interval")), 0, trials
        env.reset(seed=seed)
        self._note("seconds,hit,took\n", "w")

    def __call__(self, velocity: Array | None) -> Bin:
        """Move on by a bin with a velocity (2,), or without one."""
        return self.move(np.zeros(2) if velocity is None else velocity)

    def move(self, velocity: Array) -> Bin:
        """Move on by a bin; the next trial begins after the last bin of one."""
        counts, reward, hit, missed, info = self.env.step(velocity)
        told = Bin(
            counts, self.env.aim(), np.concatenate([info["cursor"], info["target"]]),
            [reward, TERMINATED if hit else TRUNCATED if missed else 0.0],
        )  # fmt: skip
        self.counted["bins"] += 1
        if hit or missed:
            now, begun, self._begun = self.counted["bins"], self._begun, self.counted["bins"]
            self.counted["trials"] += 1
            self.counted["hits"] += hit
            self._note(f"{now * self._interval:.6g},{int(hit)},{(now - begun) * self._interval:.6g}\n", "a")
            self.env.reset()
        return told

    def _note(self, row: str, mode: str) -> None:
        if self._file is not None:
            with self._file.open(mode) as file:
                file.write(row)


class Imagined(World):
    """A cursor that goes as its user intends, whatever comes in: the decoder is calibrated while the user watches."""

    def __call__(self, velocity: Array | None) -> Bin:
        """Move on by a bin."""
        return self.move(self.env.aim())


class Watcher:
    """A user who watches a cursor elsewhere, and rests while there is none."""

    def __init__(self, env: Cursor, seed: int) -> None:
        self.env, self.counted = env, {"bins": 0, "bins_at_rest": 0}
        env.reset(seed=seed)

    def __call__(self, screen: Array | None) -> Bin:
        """Take the next bin, with what is seen (4,); at rest nothing is intended, and nothing told of it."""
        self.counted["bins"] += 1
        if screen is None:
            self.counted["bins_at_rest"] += 1
            there = self.env.info()["cursor"]
            return Bin(self.env.watch(there, there))
        return Bin(self.env.watch(screen[:2], screen[2:]), self.env.aim())


class Changing:
    """Neurons that change after some bins in which something was intended: some fall silent, the rest turns."""

    def __init__(self, target: Any, bins: float, lost: float, turned: float, seed: int) -> None:
        self._target, self._left, self._lost, self._turned, self._seed = target, bins, lost, turned, seed

    def __call__(self, row: Array | None) -> Bin:
        """Take the next bin."""
        env: Cursor = self._target.env
        if self._left <= 0.0:
            silent = np.random.default_rng(self._seed).choice(env.n_units, round(self._lost * env.n_units), False)
            env.lose(silent)
            env.change("preferred", env.parameter("preferred") + math.radians(self._turned))
            self._left = math.inf
        told: Bin = self._target(row)
        self._left -= told.wanted is not None
        return told


class Sender:
    """Sends what there is an outlet for, all of a bin with one time stamp.

    Parameters
    ----------
    outlets : Bin
        Of each of its entries, or None.
    late : int
        Bins after which labels are sent, with the time stamps of their own.
    told : float
        Labels that are sent, at most.
    """

    def __init__(self, outlets: Bin, late: int = 0, told: float = math.inf) -> None:
        self._outlets, self._late, self._left = outlets, late, told
        self._labels: deque[tuple[float, Any]] = deque()
        self._clock = library().local_clock

    def __call__(self, told: Bin) -> None:
        """Send a bin, and the label that is due; it goes first, to be there when its own bin is read."""
        now = self._clock()
        self._labels.append((now, told.wanted))
        if len(self._labels) > self._late:
            stamp, wanted = self._labels.popleft()
            if wanted is not None and self._outlets.wanted is not None and self._left > 0.0:
                self._outlets.wanted(wanted, stamp)
                self._left -= 1.0
        for outlet, row in zip(self._outlets, told._replace(wanted=None), strict=True):
            if outlet is not None and row is not None:
                outlet(row, now)


def _run(
    target: Any, world: Any, stream: Inlet | None, sender: Sender, patience: float, seconds: float | None, as_json: bool
) -> None:
    """Drive a world or a watcher in real time, and report."""
    held = None if stream is None else Held(stream, patience)
    interval = float(world.env.parameter("interval"))
    loop = LiveLoop(target, held or (lambda: Sample(None)), sender, rate=1.0 / interval)
    with stopped_by_signals(loop):
        loop.run(seconds=seconds)
    found = loop.report() | world.counted
    if held is not None:
        found |= {"silences": held.silences, "refused_rows": held.refused, "losses": stream.losses if stream else 0}
    print_values(found, as_json)


def _look_for(name: str | None, wait: float, channels: int, holds: str) -> Inlet | None:
    """The stream of that name, of so many channels."""
    if name is None:
        return None
    console.print(f"looking for {name}", highlight=False)
    stream = Inlet(name, wait)
    if stream.channels != channels:
        raise SourceError(f"{name!r} has {stream.channels} channels; it must have {channels}: {holds}.")
    return stream


def _outlet(name: str | None, channels: int, interval: float, kind: str) -> Outlet | None:
    """An outlet, if there is a name for it."""
    return None if name is None else Outlet(name, channels, 1.0 / interval, kind)


@app.command()
def cursor(
    commands: Annotated[str, typer.Option("--in", help="Stream of velocities, as shares of the top speed.")],
    sent: Annotated[str, typer.Option("--out", help="Name of the stream of cursor x, y and target x, y.")],
    rewards: Rewards = None,
    trials: Trials = None,
    interval: Interval = 0.02,
    seed: Seed = 0,
    watchdog: Patience = 0.2,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to look for the velocities.")] = 60.0,
    seconds: Seconds = None,
    as_json: JSON = False,
) -> None:
    """Simulate a cursor and its targets, moved by a stream of velocities. Needs the extra lsl."""
    try:
        world = World(Cursor(interval=interval), seed, trials)
        outlets = Bin(
            screen=_outlet(sent, SCREEN, interval, "Screen"), reward=_outlet(rewards, 2, interval, "Reward")
        )  # before it looks for what will come of them
        stream = _look_for(commands, wait, 2, "the velocity along x and y")
        _run(world, world, stream, Sender(outlets), watchdog, seconds, as_json)
    except (ValueError, OSError, SourceError) as error:
        fail(error)


@app.command()
def subject(
    sent: Annotated[str, typer.Option("--out", help="Name of the stream of spike counts.")],
    commands: Annotated[
        str | None, typer.Option("--in", help="Stream of velocities that move a cursor of its own.")
    ] = None,
    see: Annotated[str | None, typer.Option(help="Stream of cursor x, y and target x, y to watch.")] = None,
    labels: Annotated[str | None, typer.Option(help="Stream to send the intended velocity as.")] = None,
    rewards: Rewards = None,
    trials: Trials = None,
    units: Units = 96,
    interval: Interval = 0.02,
    depth: Annotated[float, typer.Option(min=0.0, help="How far rates follow what is intended, in 1/s.")] = 10.0,
    late: Annotated[float, typer.Option(min=0.0, max=60.0, help="Seconds that labels come late.")] = 1.0,
    label_seconds: Annotated[float, typer.Option(min=0.0, help="Seconds of labels to send, then no more.")] = math.inf,
    drift: Annotated[float, typer.Option(min=0.0, help="Of preferred directions, in rad per root of a minute.")] = 0.0,
    after: Annotated[float, typer.Option(min=0.0, help="Seconds of intentions until neurons change.")] = math.inf,
    lost: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of them that then falls silent.")] = 0.0,
    turned: Annotated[float, typer.Option(help="Degrees that preferred directions then turn by.")] = 0.0,
    seed: Seed = 0,
    watchdog: Patience = 0.2,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to look for a stream.")] = 60.0,
    seconds: Seconds = None,
    as_json: JSON = False,
) -> None:
    """Simulate neurons of a user who moves a cursor: one of its own (--in), or one elsewhere (--see). Needs lsl.

    Without either the cursor goes as intended. Labels are inferred: straight to the target, slower when near. They come
    late, since whoever learns at once what is intended now can move the cursor without any neurons.
    """
    try:
        if see is not None and (commands, rewards, trials) != (None, None, None):
            raise ValueError("--see goes with neither --in, --rewards nor --trials: those are the other cursor's.")
        env = Cursor(units, depth=depth, interval=interval, drift=drift)
        if see is not None:
            world: Any = Watcher(env, seed)
        else:
            world = (Imagined if commands is None else World)(env, seed, trials)
        outlets = Bin(
            _outlet(sent, units, interval, "Spikes"), _outlet(labels, 2, interval, "Label"),
            reward=_outlet(rewards, 2, interval, "Reward"),
        )  # fmt: skip
        holds = ("the velocity along x and y", 2) if see is None else ("cursor x, y and target x, y", SCREEN)
        stream = _look_for(see or commands, wait, holds[1], holds[0])
        changing = Changing(world, after / interval, lost, turned, seed)
        sender = Sender(outlets, round(late / interval), label_seconds / interval)
        _run(changing, world, stream, sender, watchdog, seconds, as_json)
    except (ValueError, OSError, SourceError) as error:
        fail(error)
