"""The command that runs agents and decoders on streams."""

from __future__ import annotations

import math
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import msgspec
import numpy as np
import typer

from controllers import ActorCritic, Decoder
from threefactor.arrays import Array
from threefactor.checkpoints import CheckpointError
from threefactor.live import LiveLoop, SourceError
from threefactor.live.brainflow import BoardStream
from threefactor.live.ending import stopped_by_signals
from threefactor.live.lsl import Inlet, Outlet, library
from threefactor.live.streams import StreamSource
from threefactor.runs import read_toml
from threefactor.settings import build
from threefactor.terminal import JSON, WATCH, console, fail, print_address, print_values
from threefactor.watch import Watch, WatchError, watch_loop

app = typer.Typer()

BRAINFLOW = "brainflow:"
LATE_SECONDS, MOST_LATE = 2.0, 200  # that the labels of a fresh decoder may come late; bins


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration file of `stream` may hold: one of [decoder] and [agent], and above it some numbers."""

    decoder: dict[str, Any] | None = None  #: `PopulationSettings`, and most_late; by default 2 s, at most 200 bins
    agent: dict[str, Any] | None = None  #: `ActorCriticSettings`
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    n_out: Annotated[int, msgspec.Meta(ge=1)] | None = None  #: numbers to send; by default as many as a label has
    low: float = -1.0  #: of each entry of an agent's action
    high: float = 1.0


@app.command()
def stream(
    seen: Annotated[
        str, typer.Option("--in", help="Stream to act on: name, LSL predicate, or brainflow:BOARD_ID, as brainflow:-1.")
    ],
    sent: Annotated[str, typer.Option("--out", help="Name of the stream of actions or decoded numbers.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Of an actor-critic or a decoder.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Instead: TOML with a table, decoder or agent, to begin with a fresh one.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="Stream of rewards (second channel: 1 terminated, 2 truncated), or of labels.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Ticks a second. \\[default: driven by samples]", show_default=False)
    ] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="Learn nothing.")] = False,
    watchdog: Annotated[float, typer.Option(help="Seconds without a sample, then the safe action is sent.")] = 1.0,
    safe: Annotated[
        str | None, typer.Option(help="The safe action, numbers with commas. \\[default: zeros]", show_default=False)
    ] = None,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to look for the streams.")] = 10.0,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="How long. \\[default: until Ctrl-C]")] = None,
    save: Annotated[Path | None, typer.Option(help="Write what was learnt as a checkpoint in the end.")] = None,
    watch: WATCH = False,
    as_json: JSON = False,
) -> None:
    """Run an actor-critic or a decoder on Lab Streaming Layer streams; it learns on. Needs the extra lsl."""
    try:
        given = _given(checkpoint, config)
        with closing(_opened(seen, wait)) as inlet:
            told = None if reward is None else Inlet(reward, wait)
            target = _fresh(given, inlet, told) if isinstance(given, StreamSettings) else given
            channels = target.n_out if isinstance(target, Decoder) else int(np.prod(target.actions.space.shape or ()))
            safe_action, source = _numbers(safe, channels), _source(target, inlet, told)
            deadline = 1.0 / inlet.rate if rate is None and inlet.rate > 0.0 else None
            loop = LiveLoop(
                target, source, Outlet(sent, channels, rate or inlet.rate), rate=rate, deadline=deadline,
                watchdog=watchdog, safe_action=safe_action,
            )  # fmt: skip
            if frozen:
                loop.request(learning=False)
            until = "" if seconds is not None else ", until Ctrl-C"
            console.print(f"{seen} -> {sent}{until}", highlight=False)
            with stopped_by_signals(loop), _watched(loop, f"{seen} -> {sent}", save) if watch else nullcontext():
                try:
                    loop.run(seconds=seconds)
                finally:
                    if save is not None:
                        target.save(save)
    except (ValueError, OSError, SourceError, WatchError) as error:
        fail(error)
    counted = {name: getattr(inlet, name) for name in ("received", "overflows", "losses")}
    counted |= {"dropped": source.dropped, "unpaired": source.unpaired}
    print_values(loop.report() | counted, as_json)


def _watched(loop: LiveLoop, title: str, path: Path | None) -> Watch:
    """The page; it can save where there is a place for it."""

    def save() -> str:
        loop.driven.target.save(path)
        return f"saved to {path}"

    watch = watch_loop(loop, title, None if path is None else save)
    print_address(watch.url)
    return watch


def _given(checkpoint: Path | None, config: Path | None) -> ActorCritic | Decoder | StreamSettings:
    """What is to run, or what it is to be made of; whichever of the two a checkpoint is of."""
    if checkpoint is None and config is not None:
        settings = build(StreamSettings, **read_toml(config))
        if (settings.decoder is None) == (settings.agent is None):
            raise ValueError(f"{config} must hold one of the tables [decoder] and [agent].")
        return settings
    if checkpoint is None or config is not None:
        raise ValueError("give one of --checkpoint and --config.")
    try:
        return Decoder.load(checkpoint)
    except CheckpointError as error:
        if "is a checkpoint of" not in str(error):
            raise
    return ActorCritic.load(checkpoint)


def _fresh(settings: StreamSettings, inlet: Inlet | BoardStream, told: Inlet | None) -> ActorCritic | Decoder:
    """A controller that has learnt nothing, for the channels there are."""
    n_out, decodes = settings.n_out, settings.decoder is not None
    if n_out is None and decodes and told is not None:
        n_out = told.channels
    if n_out is None:
        raise ValueError("how many numbers to send is not known; give n_out above the table of the configuration.")
    if settings.decoder is not None:
        most_late = min(math.ceil(LATE_SECONDS * inlet.rate), MOST_LATE)
        return Decoder(inlet.channels, n_out, settings.seed, **{"most_late": most_late, **settings.decoder})
    if not -math.inf < settings.low < settings.high < math.inf:
        raise ValueError(f"low is {settings.low}, high {settings.high}; both must be finite, and low below high.")
    space = gym.spaces.Box(settings.low, settings.high, (n_out,))
    return ActorCritic(inlet.channels, space, settings.seed, **(settings.agent or {}))


def _opened(name: str, wait: float) -> Inlet | BoardStream:
    """A stream, or a board of BrainFlow whose time stamps are on the clock that those of labels are on."""
    if not name.startswith(BRAINFLOW):
        return Inlet(name, wait)
    number, *settings = name.removeprefix(BRAINFLOW).split(",")
    pairs = [setting.partition("=") for setting in settings]
    if not number.lstrip("-").isdigit() or not all(mark for _, mark, _ in pairs):
        raise ValueError(f"--in is {name!r}; it must be brainflow:BOARD_ID[,NAME=VALUE...], as brainflow:-1.")
    given: dict[str, Any] = {key: value for key, _, value in pairs}
    if not given.keys().isdisjoint({"clock", "channels"}):
        raise ValueError(f"--in is {name!r}; clock and channels cannot be set here.")
    return BoardStream(int(number), clock=library().local_clock, **given)


def _numbers(given: str | None, channels: int) -> Array:
    """The safe action."""
    if given is None:
        return np.zeros(channels)
    try:
        numbers = np.array([float(part) for part in given.split(",")])
    except ValueError:
        numbers = np.zeros(0)
    if numbers.size != channels or not np.isfinite(numbers).all():
        raise ValueError(f"--safe is {given!r}; it must be {channels} numbers with commas between them.")
    return numbers


def _source(target: ActorCritic | Decoder, inlet: Inlet | BoardStream, told: Inlet | None) -> StreamSource:
    """The streams as a source, which must have the channels that they are taken for."""
    wanted = target.n_units if isinstance(target, Decoder) else target.n_observation
    if inlet.channels != wanted:
        raise SourceError(f"{inlet.name!r} has {inlet.channels} channels; this checkpoint was made for {wanted}.")
    if not isinstance(target, Decoder):
        return StreamSource(inlet, rewards=told)
    if told is not None and told.channels != target.n_out:
        raise SourceError(f"{told.name!r} has {told.channels} channels; this decoder's labels have {target.n_out}.")
    return StreamSource(inlet, labels=told, most_late=target.most_late)
