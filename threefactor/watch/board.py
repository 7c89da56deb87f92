"""The board: arrays in memory that the loop writes on and the page's server, another process, reads.

Neither side ever waits for the other. What is read while it is written may be torn, which a picture survives; counters
are written after what they count.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from threefactor.live.timing import OCTAVES, PER_OCTAVE

RING, SAMPLES, RETURNS, ASKS, SAID = 1024, 1024, 512, 64, 512  # rows, and bytes of what is said
TICKS, SAMPLED, RETURNED, SWEPT, SAYINGS = range(5)  # what `counts` counts
BINS = PER_OCTAVE * OCTAVES
ALIGNED = 64
MEMORY = Path("/dev/shm")  # files there are memory, and never written to a disk


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a board is of.

    Attributes
    ----------
    title : str
    neurons, of_neurons : int
        That are shown, and that there are.
    v_th : float
        Their threshold.
    matrices : mapping
        Name to rows (post) and columns (pre) that are shown of each matrix of weights.
    signals : list of str
        Numbers that are sampled some times a second.
    durations : list of str
        Histograms, `threefactor.live.Histogram`.
    controls : list of str
        What may be asked for: some of "pause", "learning", "slope" and "save".
    """

    title: str
    neurons: int
    of_neurons: int
    v_th: float
    matrices: dict[str, tuple[int, int]]
    signals: list[str]
    durations: list[str]
    controls: list[str]

    @property
    def cells(self) -> int:
        """Entries of all matrices together."""
        return sum(rows * columns for rows, columns in self.matrices.values())


class Board:
    """Arrays that two processes share.

    Parameters
    ----------
    plan : Plan
    path : path
        File of the memory; `new` makes one.

    Attributes
    ----------
    bell : array, int64, (1,)
        Written by the server: twice the number of requests so far, and 1 more while somebody looks.
    asked : array, float64, (64, 2)
        Written by the server: the last requests, number of the control and value wanted; request k in row k % 64.
    counts : array, int64, (8,)
        Ticks, samples, returns, sweeps of the maps, and sayings so far.
    ring : array, float32, (1024, 2 neurons)
        Of the last ticks spikes (0 or 1), then membrane voltages; tick k in row k % 1024.
    samples : array, float64, (1024, 1 + signals)
        Tick and signals at some moments; sample k in row k % 1024.
    returns : array, float64, (512, 2)
        Tick at which an episode ended, and its return.
    durations : array, int64, (histograms, 640)
        Counts in bins: bin b is up to 2 ** ((b + 1) / 16) ns.
    largest : array, int64, (histograms,)
        The longest of each [ns].
    maps : array, float32, (2, cells)
        Eligibility traces, and weights: each matrix row by row, one after the other.
    values : array, float64, (controls,)
        What is so now: paused and learning as 0 or 1, slope, and for "save" how often it was saved.
    said : array, uint8, (512,)
        The last message for the one who looks, UTF-8, filled up with zeros.
    """

    bell: npt.NDArray[np.int64]
    asked: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    ring: npt.NDArray[np.float32]
    samples: npt.NDArray[np.float64]
    returns: npt.NDArray[np.float64]
    durations: npt.NDArray[np.int64]
    largest: npt.NDArray[np.int64]
    maps: npt.NDArray[np.float32]
    values: npt.NDArray[np.float64]
    said: npt.NDArray[np.uint8]

    def __init__(self, plan: Plan, path: str | os.PathLike[str]) -> None:
        self.plan, self.path = plan, Path(path)
        with self.path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _size(plan))
        start = 0
        for name, (kind, shape) in _fields(plan).items():
            n = int(np.prod(shape))
            setattr(self, name, np.frombuffer(self._memory, kind, n, start).reshape(shape))
            start += _aligned(n * np.dtype(kind).itemsize)

    @classmethod
    def new(cls, plan: Plan) -> Self:
        """A board of zeros in a file of its own, which `remove` deletes."""
        folder = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
        number, path = tempfile.mkstemp(prefix="threefactor-", suffix=".board", dir=folder)
        with os.fdopen(number, "wb") as file:
            file.truncate(_size(plan))
        return cls(plan, path)

    def remove(self) -> None:
        """Delete the file; the memory lives as long as a process has it."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def say(self, message: str) -> None:
        """Leave a message for the one who looks."""
        text = message.encode()[: SAID - 1].decode(errors="ignore").encode()  # no half letters
        self.said[:] = 0
        self.said[: len(text)] = np.frombuffer(text, np.uint8)
        self.counts[SAYINGS] += 1


def _fields(plan: Plan) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        "bell": ("<i8", (1,)), "asked": ("<f8", (ASKS, 2)), "counts": ("<i8", (8,)),
        "ring": ("<f4", (RING, 2 * plan.neurons)), "samples": ("<f8", (SAMPLES, 1 + len(plan.signals))),
        "returns": ("<f8", (RETURNS, 2)), "durations": ("<i8", (len(plan.durations), BINS)),
        "largest": ("<i8", (len(plan.durations),)), "maps": ("<f4", (2, plan.cells)),
        "values": ("<f8", (len(plan.controls),)), "said": ("|u1", (SAID,)),
    }  # fmt: skip


def _aligned(n: int) -> int:
    return -(-n // ALIGNED) * ALIGNED


def _size(plan: Plan) -> int:
    return sum(_aligned(int(np.prod(shape)) * np.dtype(kind).itemsize) for kind, shape in _fields(plan).values())
