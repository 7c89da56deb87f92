"""What an online learning tick costs, here and elsewhere: the command `threefactor bench`.

The work is that of `threefactor.peers.work`. All systems live in one process with one thread and take turns, block by
block, so that whatever else the machine does hits all alike. There is a process for each size, a child started with the
environment that tells each library to use one thread, and kept on one processor. Its standard output is rows of JSON;
`rows` reads them.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from threefactor._jit import kernel
from threefactor.arrays import Array
from threefactor.network import Network
from threefactor.peers import HINT, PEERS, System, Work, installed

TICKS = {100: 20_000, 500: 5_000, 1000: 2_000, 10_000: 300}  # by neurons
QUICK = {100: 300, 500: 200}
BLOCK = 500  # ticks before the next system has its turn
WARM = 100  # ticks at the start of a block that do not count: rows that have not spiked since are out of the caches
LARGEST_PEERS = 1000  # neurons; some of the peers would not fit above
ROOM = 10  # times the synapses' weights and traces that must be free for recurrence: networks, floor, drawing weights
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1") | {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "NPROC": "1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}


class BenchError(ValueError):
    """The benchmark cannot run as it was asked to."""


@kernel
def touch(weights: Array, traces: Array, length: int) -> None:
    """Read and write two arrays once, in pieces, as a rule that visits every synapse every tick cannot avoid."""
    one = weights.dtype.type(1)
    for start in range(0, weights.size, length):
        for array in (weights, traces):
            piece = array[start : start + length]
            for i in range(piece.size):
                piece[i] += one


class Own(System):
    """`Network.step` and `Network.learn`; the subtraction between them is the caller's and not timed."""

    name, package = "threefactor", "threefactor"

    def __init__(self, work: Work) -> None:
        self.network: Network = work.network()
        self.error = np.zeros(2, np.float32)

    def tick(self, x: Array, target: Array) -> int:
        """Nanoseconds that the two calls took."""
        start = time.perf_counter_ns()
        y = self.network.step(x)
        middle = time.perf_counter_ns()
        np.subtract(y, target, out=self.error)
        again = time.perf_counter_ns()
        self.network.learn(self.error)
        return time.perf_counter_ns() - again + middle - start

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        return self.network.spikes()

    def weights(self) -> Mapping[str, Array]:
        """Present weights."""
        return self.network.weights

    def arrays(self) -> tuple[Any, ...]:
        """The whole network."""
        return self.network.state, self.network.tables


class Fused(Own):
    """`Network.learn_and_step`, which learns from the last tick and takes the next."""

    name = "threefactor_fused"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.network.step(np.zeros(work.inputs, np.float32))  # to learn from

    def tick(self, x: Array, target: Array) -> int:
        """Nanoseconds that the call took."""
        start = time.perf_counter_ns()
        y = self.network.learn_and_step(self.error, x)
        spent = time.perf_counter_ns() - start
        np.subtract(y, target, out=self.error)
        return spent


class Floor(System):
    """Memory traffic of weights and traces alone, 16 bytes a synapse: no dense rule is faster."""

    name, package = "dense_floor", "numba"

    def __init__(self, work: Work) -> None:
        self.w, self.ebar = (np.zeros(work.synapses, np.float32) for _ in range(2))

    def advance(self, x: Array, target: Array) -> None:
        """Read and write both arrays."""
        touch(self.w, self.ebar, 2048)

    def spikes(self) -> Array:
        """It has no neurons."""
        return np.full(1, np.nan)

    def arrays(self) -> tuple[Array, Array]:
        """Both arrays."""
        return self.w, self.ebar


def summarise(spent: Array, window: int = 1) -> tuple[float, float]:
    """Median and 99th percentile in microseconds from nanoseconds a tick; the median is one over means of windows."""
    means = spent[: len(spent) // window * window].reshape(-1, window).mean(axis=1)
    return float(np.median(means)) / 1e3, float(np.percentile(spent, 99)) / 1e3


class Course:
    """What has been measured of one system so far."""

    def __init__(self, system: System, ticks: int) -> None:
        self.system, self.spent = system, np.zeros(ticks)
        self.done, self.clock, self.wall, self.cpu, self.spiking = 0, 0, 0, 0, 0.0

    def go(self, work: Work) -> None:
        """Warm up, then time a block."""
        system, warm = self.system, WARM if self.system.window == 1 else 0
        ticks = min(BLOCK, len(self.spent) - self.done)
        inputs, targets = work.draw(warm + ticks, self.clock)
        if warm:
            system.block(inputs[:warm], targets[:warm], np.zeros(warm))
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        part = self.spent[self.done : self.done + ticks]
        self.spiking += ticks * system.block(inputs[warm:], targets[warm:], part)
        self.wall += time.perf_counter_ns() - wall
        self.cpu += time.process_time_ns() - cpu
        self.done += ticks
        self.clock += warm + ticks

    def row(self, work: Work) -> dict[str, Any]:
        """What is reported."""
        median, p99 = summarise(self.spent, self.system.window)
        spiking = self.spiking / self.done
        return {
            "system": self.system.name, "version": importlib.metadata.version(self.system.package),
            "neurons": work.neurons, "inputs": work.inputs, "recurrent": work.recurrent, "synapses": work.synapses,
            "ticks": self.done, "median_us": round(median, 3), "p99_us": round(p99, 3),
            "spiking": round(spiking, 4) if np.isfinite(spiking) else None, "state_bytes": self.system.state_bytes(),
            "cores": round(self.cpu / self.wall, 2),
        }  # fmt: skip


def build(work: Work, peers: bool) -> list[System]:
    """All systems that can do the work here, warmed up; says on stderr which cannot and why.

    What a system compiles at its first ticks is compiled before the next is loaded: NEST and PyTorch's compiler bring
    an OpenMP library each, and what is compiled after NEST has come crashes.
    """
    systems = list[System]()
    peers = peers and work.neurons <= LARGEST_PEERS
    kinds: tuple[type[System], ...] = (Own, Fused, Floor, *(PEERS if peers else ()))
    for kind in kinds:
        try:
            if not installed(kind):
                raise ImportError(f"not installed; {HINT}")
            system = kind(work)
            system.block(*work.draw(WARM), np.zeros(WARM))
            systems.append(system)
        except Exception as error:
            if kind not in PEERS:
                raise
            print(f"left out at {work.neurons} neurons: {kind.name}: {error}", file=sys.stderr)
    return systems


def recurrence_fits(neurons: int) -> bool:
    """Whether there is memory for recurrent weights; assumed up to 1000 neurons."""
    if neurons <= LARGEST_PEERS:
        return True
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return False
    return free > ROOM * 8 * neurons * (neurons + 100)


def measure(work: Work, ticks: int, peers: bool) -> Iterator[dict[str, Any]]:
    """Rows of all systems at one size."""
    courses = [Course(system, ticks) for system in build(work, peers)]
    gc.collect()
    gc.disable()
    while any(course.done < ticks for course in courses):
        for course in courses:
            course.go(work)
    gc.enable()
    rows = [course.row(work) for course in courses]
    for row in rows:
        if row["system"] == Floor.name:
            row["gb_per_s"] = round(16.0 * work.synapses / row["median_us"] / 1e3, 1)
        elif not row["system"].startswith(Own.name):
            row["ratio"] = round(row["median_us"] / rows[0]["median_us"], 2)
        yield row


def rows(peers: bool = False, sizes: Mapping[int, int] = TICKS) -> Iterator[dict[str, Any]]:
    """Measure each size in a process of its own; yields a row for each system and size.

    Parameters
    ----------
    peers : bool
        Whether to measure other systems, too; those that are missing are named on stderr.
    sizes : mapping of int to int
        Ticks by number of neurons.

    Raises
    ------
    BenchError
        Peers are asked for, and none but NumPy is installed; or the measurement broke off.
    """
    if peers and not any(installed(peer) for peer in PEERS if peer.name != "numpy"):
        raise BenchError(f"no peer is installed; {HINT}")
    for neurons, ticks in sizes.items():
        command = [sys.executable, "-m", "threefactor.bench", str(neurons), str(ticks), "peers" if peers else "own"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD) as child:
            yield from map(json.loads, child.stdout or ())
        if child.returncode:
            raise BenchError(f"the measurement at {neurons} neurons broke off with exit code {child.returncode}.")


def main() -> None:
    """Print the rows that `rows` asks for; what libraries print of their own goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):  # JAX would take all processors, whatever its options say
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    neurons, ticks = map(int, sys.argv[1:3])
    for row in measure(Work(neurons, recurrence_fits(neurons)), ticks, sys.argv[3] == "peers"):
        print(json.dumps(row), file=out, flush=True)


if __name__ == "__main__":
    main()
