"""How long an answer takes over Lab Streaming Layer: 96 channels at 1 kHz, two processes on one machine.

One process sends samples with running numbers, at fixed moments. In the other a `LiveLoop` with a network that learns
answers each with its number and the readouts. The first one notes when each answer is there, and in the end accounts
for every sample: it was answered, or the loop reported that it had dropped it for a newer one.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from demos.results import RESULTS, write_table
from threefactor import Network
from threefactor.arrays import Array
from threefactor.live import Clock, Histogram, LiveLoop
from threefactor.live.lsl import Inlet, Outlet
from threefactor.live.streams import StreamSource
from threefactor.live.timing import NANO, PER_OCTAVE, no_garbage_collection
from threefactor.pictures import BLUE, new_figure, save_figure

RATE, CHANNELS, N_HIDDEN, N_OUT = 1000, 96, 50, 2  # [Hz]
FIRST = 500  # samples that are not counted: connections open, caches are cold
WAKING = NANO // 5000  # before a moment it is no longer waited for answers [ns]
PATIENCE = 30.0  # seconds that one process waits for the other
CONFIGURATION = """
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = roundtrip-{session}
[multicast]
ResolveScope = machine
[log]
level = -3
"""


class Answering:
    """A network that learns from each sample, and answers with its number."""

    def __init__(self) -> None:
        self._network, self._answer = Network(CHANNELS - 1, N_HIDDEN, N_OUT, learning_rate=1e-3), np.zeros(1 + N_OUT)
        self._network.step(np.zeros(CHANNELS - 1))
        self(np.zeros(CHANNELS))  # compiled before anybody asks

    def __call__(self, row: Array) -> Array:
        """Answer to a sample: its number, and the readouts of the network."""
        y = self._network.learn_and_step(self._network.y - [0.5, -0.5], row[1:])
        self._answer[0], self._answer[1:] = row[0], y
        return self._answer


def answer(pipe: Connection) -> None:
    """Answer until there is word that this was all; then report."""
    answering, inlet = Answering(), Inlet("QUESTIONS", PATIENCE)
    source = StreamSource(inlet)
    loop = LiveLoop(answering, source, Outlet("ANSWERS", 1 + N_OUT, RATE))

    def stop_in_the_end() -> None:
        pipe.recv()
        time.sleep(1.0)  # what is under way is still answered
        loop.stop()

    threading.Thread(target=stop_in_the_end, daemon=True).start()
    loop.run()
    names = ("received", "losses", "overflows")
    pipe.send(loop.report() | {name: getattr(inlet, name) for name in names} | {"dropped": source.dropped})


class Asking:
    """Sends samples at fixed moments, and takes the answers in between."""

    def __init__(self, seconds: float) -> None:
        self._outlet, self._clock = Outlet("QUESTIONS", CHANNELS, RATE, "Spikes"), Clock()
        self._inlet, self.times = Inlet("ANSWERS", PATIENCE), Histogram()
        self._rows = (np.random.default_rng(0).random((1000, CHANNELS)) < 0.05).astype(np.float32)
        self.sent = np.zeros(FIRST + round(seconds * RATE), np.int64)  # when [ns]
        self.answers = np.zeros(len(self.sent), np.int64)  # of each sample

    def run(self) -> None:
        """Send all samples."""
        clock = self._clock
        start = clock.now() + NANO // 100
        for number in range(len(self.sent)):
            due = start + number * NANO // RATE
            while (left := due - clock.now()) > WAKING:
                self.take((left - WAKING / 2) / NANO)
            clock.wait_until(due)
            row = self._rows[number % len(self._rows)]
            row[0] = number
            self.sent[number] = clock.now()
            self._outlet(row)

    def take(self, timeout: float) -> None:
        """Note which answers are there, and how long they took."""
        answers, _ = self._inlet.pull(timeout)
        now = self._clock.now()
        for number in answers[:, 0].astype(int).tolist():
            self.answers[number] += 1
            if number >= FIRST:
                self.times.add(now - int(self.sent[number]))


def ask(pipe: Connection, seconds: float) -> None:
    """Send samples; then have the other process told so, and report what came back, and when."""
    asking = Asking(seconds)
    with no_garbage_collection():
        asking.run()
    pipe.send("that was all")
    while not pipe.poll():
        asking.take(0.1)
    pipe.send((len(asking.sent), int((asking.answers > 0).sum()), int((asking.answers > 1).sum()), asking.times))


@contextmanager
def child(work: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """A process that works, and the pipe to it; it is ended whatever happens."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()  # so that it is noticed if the process ends early
    try:
        yield ours
    finally:
        process.terminate()
        process.join(10.0)


@contextmanager
def on_this_machine() -> Iterator[None]:
    """Have the processes that are started now stay on this machine, which needs no multicast, and among themselves."""
    before = os.environ.get("LSLAPICFG")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lsl_api.cfg"
        path.write_text(CONFIGURATION.format(session=os.getpid()))
        os.environ["LSLAPICFG"] = str(path)
        try:
            yield
        finally:
            os.environ.pop("LSLAPICFG")
            if before is not None:
                os.environ["LSLAPICFG"] = before


def measure(seconds: float) -> tuple[dict[str, Any], Histogram]:
    """An account of all samples, and how long the answers took."""
    with on_this_machine(), child(answer) as answering, child(ask, seconds) as asking:
        answering.send(asking.recv())
        found = answering.recv()
        asking.send("the other one has ended")
        sent, came, twice, times = asking.recv()
    account = {name: found[name] for name in ("received", "answered", "dropped", "losses", "overflows")}
    unreported = sent - came - found["dropped"]
    quantiles = {f"{name}_us": value for name, value in times.microseconds().items()}
    return {"sent": sent, **account, "came": came, "twice": twice, "unreported": unreported, **quantiles}, times


def draw(account: dict[str, Any], times: Histogram) -> None:
    """How many answers took how long."""
    figure = new_figure(7, 3.6)
    axes = figure.add_subplot()
    counts = np.array(times.counts)
    used = np.flatnonzero(counts)
    places = np.arange(used[0], used[-1] + 2)
    edges = np.exp2(places / PER_OCTAVE) / 1000.0
    axes.stairs(counts[places[:-1]], edges, fill=True, color=BLUE, alpha=0.6)
    for name, style in (("p50", "-"), ("p99", "--"), ("p99.9", ":")):
        value = account[f"{name}_us"]
        axes.axvline(value, color="black", linestyle=style, linewidth=1, label=f"{name}: {value:.0f} us")
    axes.set(xlabel="round trip [us]", ylabel="answers", xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(
        f"{CHANNELS} channels at {RATE} Hz: {account['sent']} sent, {account['came']} answered, "
        f"{account['dropped']} dropped, {account['unreported']} unreported", fontsize=10,
    )  # fmt: skip
    save_figure(figure, RESULTS / "stream_roundtrip.png")


def main(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long samples are sent.")] = 60.0,
    quick: Annotated[bool, typer.Option("--quick", help="A second, to see that it works.")] = False,
) -> None:
    """Ask and answer; writes results/stream_roundtrip.csv and results/stream_roundtrip.png."""
    account, times = measure(1.0 if quick else seconds)
    write_table("stream_roundtrip", [account])
    draw(account, times)
    print(", ".join(f"{name} {value:.0f}" for name, value in account.items()))


if __name__ == "__main__":
    typer.run(main)
