"""Samples of a live loop from several streams: what is seen, and rewards or labels that belong to it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import numpy as np

from threefactor.arrays import Array
from threefactor.live.sources import Sample, SourceError
from threefactor.live.timing import NANO

FLOOD = 64  # chunks that are drained at a time, at most: a flood must not keep the loop from its work
MOST_PENDING = 1000  # labels that wait for their samples
END = 1  # channel of a stream of rewards that tells of an episode's end
TERMINATED, TRUNCATED = 1.0, 2.0


class Stream(Protocol):
    """What is read of an `Inlet`."""

    channels: int
    rate: float

    def pull(self, timeout: float = 0.0) -> tuple[Array, list[float]]:
        """Rows that wait, and their time stamps."""

    def age(self, stamp: float) -> float:
        """Seconds since a time stamp."""


class Held:
    """The newest row of a stream, again and again, until it is too old: for what goes on whether a sample came or not.

    Parameters
    ----------
    stream : Stream
    patience : float
        Seconds without a row after which there is nothing to hold.

    Attributes
    ----------
    silences : int
        How often that happened.
    refused : int
        Rows that held NaN or infinity, and were passed over.
    """

    def __init__(self, stream: Stream, patience: float) -> None:
        self._stream, self._patience = stream, int(patience * NANO)
        self._row: Array | None = None
        self._came = 0
        self.silences = self.refused = 0

    def read(self, timeout: float = 0.0) -> Sample:
        """The row as observation, or None in its place; never waits."""
        for _ in range(FLOOD):
            rows, stamps = self._stream.pull(0.0)
            if not stamps:
                break
            good = np.isfinite(rows).all(axis=1)
            self.refused += len(rows) - int(good.sum())
            if good.any():
                self._row, self._came = rows[good][-1].astype(np.float64), time.perf_counter_ns()
        if self._row is not None and time.perf_counter_ns() - self._came > self._patience:
            self._row = None
            self.silences += 1
        return Sample(self._row)


class StreamSource:
    """The newest sample of a stream, with the rewards or labels of another one.

    Older samples that were not read are dropped and counted. Rewards that came since the last sample add up. A label
    belongs to the sample taken at most half a period away from it, however late it comes.

    Parameters
    ----------
    observations : Stream
    rewards : Stream, optional
        Reward in the first channel; a second one, if there is, says 1 where the episode terminated, 2 where it was
        truncated.
    labels : Stream, optional
        What should have been decoded.
    most_late : int
        Samples that a label may come late.

    Attributes
    ----------
    example : array, (channels,)
        Zeros, in the form of an observation.
    dropped, unpaired : int
        Samples that were not handed over, and labels without a sample.

    Raises
    ------
    SourceError
        Labels to samples of an irregular rate; rewards of more than two channels.
    """

    def __init__(
        self, observations: Stream, *, rewards: Stream | None = None, labels: Stream | None = None, most_late: int = 0
    ) -> None:  # fmt: skip
        if labels is not None and not observations.rate > 0.0:
            raise SourceError("labels need samples of a nominal rate, to be paired with; this stream has none.")
        if rewards is not None and rewards.channels > 2:
            raise SourceError(f"the stream of rewards has {rewards.channels} channels; it may have 1 or 2.")
        self._observations, self._rewards, self._labels = observations, rewards, labels
        self.example = np.zeros(observations.channels)
        self.dropped = self.unpaired = 0
        self._tolerance = 0.5 / observations.rate if observations.rate > 0.0 else 0.0
        self._stamps: deque[float] = deque(maxlen=most_late + 1)  # of what was handed over, the newest last
        self._pending: deque[tuple[float, Array]] = deque()
        self._reward, self._end = 0.0, 0.0

    def read(self, timeout: float) -> Sample | None:
        """The newest sample, see `Source`."""
        rows, stamps = self._observations.pull(timeout)
        self._gather_rewards()
        if not stamps:
            return None
        chunks, drained = 1, len(stamps)
        newest, stamp = rows[-1].astype(np.float64), stamps[-1]
        while chunks < FLOOD and len(stamps) > 1:
            rows, stamps = self._observations.pull(0.0)
            chunks, drained = chunks + 1, drained + len(stamps)
            if stamps:
                newest, stamp = rows[-1].astype(np.float64), stamps[-1]
        self.dropped += drained - 1
        self._stamps.append(stamp)
        reward, end, self._reward, self._end = self._reward, self._end, 0.0, 0.0
        moment = time.perf_counter_ns() - int(self._observations.age(stamp) * NANO)
        return Sample(newest, reward, end == TERMINATED, end == TRUNCATED, tuple(self._paired_labels()), moment)

    def _gather_rewards(self) -> None:
        """Take all rewards that wait: the sum since the last sample, and the last end."""
        if self._rewards is None:
            return
        rows, _ = self._rewards.pull(0.0)
        if len(rows):
            self._reward += float(rows[:, 0].sum(dtype=np.float64))
            ends = rows[:, END][rows[:, END] != 0.0] if rows.shape[1] > END else rows[:0, 0]
            self._end = float(ends[-1]) if ends.size else self._end

    def _paired_labels(self) -> list[tuple[Any, int]]:
        """Labels whose samples were handed over, the oldest first; those of samples to come wait."""
        if self._labels is None:
            return []
        rows, stamps = self._labels.pull(0.0)
        self._pending.extend(zip(stamps, rows.astype(np.float64), strict=True))
        while len(self._pending) > MOST_PENDING:
            self._pending.popleft()
            self.unpaired += 1
        paired = []
        while self._pending and self._pending[0][0] <= self._stamps[-1] + self._tolerance:
            stamp, wanted = self._pending.popleft()
            off = [abs(stamp - taken) for taken in self._stamps]
            place = int(np.argmin(off))
            if off[place] <= self._tolerance:
                paired.append((wanted, len(off) - 1 - place))
            else:
                self.unpaired += 1
        return paired
