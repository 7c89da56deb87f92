"""A board with believable numbers on it, the page's server beside it, and one who looks: no loop, no browser."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec
import numpy as np

from threefactor.watch.board import ASKS, RETURNED, RETURNS, RING, SAMPLED, SAMPLES, SWEPT, TICKS, Board, Plan

TOKEN = "a-token-of-sixteen-letters"
PLAN = Plan(
    title="cursor, 60 neurons", neurons=60, of_neurons=200, v_th=0.6,
    matrices={"input": (60, 12), "recurrent": (60, 60), "readout": (4, 60)},
    signals=["slope", "TD error", "reward", "firing rate [Hz]", "mean size of the TD error", "missed deadlines"],
    durations=["compute", "wall", "jitter"], controls=["pause", "learning", "slope", "save"],
)  # fmt: skip


class Served:
    """The page's server as a loop's process starts it.

    Parameters
    ----------
    board : Board
    given : mapping
        In place of what a loop would send.
    """

    def __init__(self, board: Board, **given: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "threefactor.watch.server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        task = {"path": str(board.path), "plan": msgspec.to_builtins(board.plan), "token": TOKEN, "port": 0} | given
        self.process.stdin.write(msgspec.json.encode(task).decode() + "\n")
        self.process.stdin.flush()
        self.answer = msgspec.json.decode(self.process.stdout.readline())
        self.port: int = self.answer.get("port", 0)
        self.address = f"127.0.0.1:{self.port}"

    def end(self) -> str:
        """Let its input end; what it wrote as errors."""
        return self.process.communicate(timeout=10.0)[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Viewer:
    """One who looks, as the page does."""

    def __init__(self, address: str, **given: Any) -> None:
        from websockets.sync.client import connect

        self._manager = connect(f"ws://{address}/live", proxy=None, compression=None, **given)
        self.connection = self._manager.__enter__()
        self.plan = self.receive()

    def say(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def receive(self, timeout: float = 5.0) -> Any:
        """The next message: an answer, or header and arrays of a frame."""
        message = self.connection.recv(timeout)
        return json.loads(message) if isinstance(message, str) else unpacked(message)

    def frame(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        self.say(type="ready")
        found: tuple[dict[str, Any], dict[str, np.ndarray]] = self.receive()
        return found

    def ask(self, control: str, value: Any, token: str = TOKEN) -> dict[str, Any]:
        self.say(type="ask", control=control, value=value, token=token)
        answer: dict[str, Any] = self.receive()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.__exit__(None, None, None)


def unpacked(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a frame, as its docstring says."""
    length = int.from_bytes(message[:4], "little")
    assert (4 + length) % 8 == 0
    header = json.loads(message[4 : 4 + length])
    return header, {
        name: np.frombuffer(message, kind, size, 4 + length + start)
        for name, (kind, start, size) in header["arrays"].items()
    }


def wait_for(what: Callable[[], bool], seconds: float = 5.0) -> float:
    """Seconds until something is so."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, "this was never so"
        time.sleep(0.01)
    return time.monotonic() - start


class Pretence:
    """Numbers like those of a loop at 1 kHz; does what is asked for at once.

    Parameters
    ----------
    plan : Plan
    seed : int
    """

    def __init__(self, plan: Plan = PLAN, seed: int = 0) -> None:
        self.board, self.rng = Board.new(plan), np.random.default_rng(seed)
        n = plan.neurons
        self.voltage, self.drive = np.zeros(n), np.repeat(self.rng.gamma(2.0, 0.5, n // 6 + 1), 6)[:n]
        self.trace = self.rng.normal(0.0, 1e-3, plan.cells)
        self.weights = self.rng.normal(0.0, 0.3, plan.cells)
        self.said: dict[str, float] = {"pause": 0.0, "learning": 1.0, "slope": 5.0, "save": 0.0}
        self.heard, self.tick, self.missed = 0, 0, 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._write_values()

    def hear(self) -> list[tuple[str, float]]:
        """What was asked for since the last time, which then is so."""
        board, asked = self.board, int(self.board.bell[0]) >> 1
        found = []
        for k in range(max(self.heard, asked - ASKS), asked):
            number, value = board.asked[k % ASKS]
            name = board.plan.controls[int(number)]
            self.said[name] = self.said[name] + 1.0 if name == "save" else float(value)
            found.append((name, float(value)))
            if name == "save":
                board.say("saved to runs/live/checkpoint.safetensors")
        self.heard = asked
        self._write_values()
        return found

    def run(self, ticks: int) -> None:
        """Some ticks, at once; a sample at every 50th, an episode of some 400."""
        for _ in range(ticks):
            self._step()
            self.tick += 1
            if self.tick % 50 == 0:
                self._sample()
            if self.rng.random() < 1 / 400:
                self._end_episode()

    def start(self) -> None:
        """Run on at 1 kHz in a thread, as long as it is not paused."""
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.board.remove()

    def _go(self) -> None:
        due = time.perf_counter()
        while not self._over.is_set():
            self.hear()
            if not self.said["pause"]:
                self.run(20)
            due = max(due + 0.02, time.perf_counter() - 0.1)
            time.sleep(max(due - time.perf_counter(), 0.0))

    def _step(self) -> None:
        board, n, v_th = self.board, self.board.plan.neurons, self.board.plan.v_th
        wave = 1.0 + 0.8 * np.sin(self.tick / 90.0 + np.arange(n) / n * 6.0)
        self.voltage = 0.96 * self.voltage + 0.05 * v_th * (self.drive * wave + self.rng.normal(0.0, 1.2, n) - 0.3)
        spikes = self.voltage > v_th
        self.voltage -= v_th * spikes
        row = board.ring[self.tick % RING]
        row[:n], row[n:] = spikes, self.voltage
        board.counts[TICKS] = self.tick + 1

    def _sample(self) -> None:
        board, rng, k, phase = self.board, self.rng, int(self.board.counts[SAMPLED]), self.tick / 9000.0
        learning = self.said["learning"]
        self.missed += rng.random() < 0.002
        error = 0.4 * np.exp(-phase) * rng.normal()
        board.samples[k % SAMPLES] = [
            self.tick, self.said["slope"], error, np.tanh(phase) + 0.2 * rng.normal(), 14.0 + rng.normal(), abs(error),
            self.missed,
        ][: board.samples.shape[1]]  # fmt: skip
        board.counts[SAMPLED] = k + 1
        for which, (typical, wide) in enumerate(((21e3, 0.15), (29e3, 0.3), (60e3, 0.5))[: len(board.durations)]):
            some = rng.lognormal(np.log(typical), wide, 50) * np.where(rng.random(50) < 0.004, 12.0, 1.0)
            np.add.at(board.durations[which], (16 * np.log2(some)).astype(int), 1)
            board.largest[which] = max(board.largest[which], int(some.max()))
        self.trace = 0.9 * self.trace + 1e-3 * rng.standard_t(3, self.trace.size) * (rng.random(self.trace.size) < 0.3)
        self.weights += learning * 0.2 * self.trace * error
        board.maps[0], board.maps[1] = self.trace, self.weights
        board.counts[SWEPT] += 1

    def _end_episode(self) -> None:
        board, k = self.board, int(self.board.counts[RETURNED])
        board.returns[k % RETURNS] = self.tick, 80.0 * np.tanh(self.tick / 9000.0) + 25.0 * self.rng.normal() - 20.0
        board.counts[RETURNED] = k + 1

    def _write_values(self) -> None:
        self.board.values[:] = [self.said[name] for name in self.board.plan.controls]
