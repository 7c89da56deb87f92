"""Time of a live loop: waiting for an absolute moment, histograms that cost little to fill, no garbage collection."""

from __future__ import annotations

import gc
import math
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

NANO = 1_000_000_000  # ns in a second
PER_OCTAVE = 16  # bins of a histogram from one power of two to the next: an edge is 4.4 % above the last
OCTAVES = 40  # 18 minutes


class Clock:
    """The time of the machine, and of this thread's work alone.

    Parameters
    ----------
    spin : float
        Before a moment that is waited for, the last seconds are not slept but spun through, 0 or more: a sleeper is
        woken some 50 to 100 us late. It never spins longer than this at a time.
    """

    def __init__(self, spin: float = 2e-4) -> None:
        if not 0.0 <= spin < math.inf:
            raise ValueError(f"spin is {spin}; it must be finite and 0 or more seconds.")
        self._spin = int(spin * NANO)

    def now(self) -> int:
        """Time since some moment [ns]; never goes back."""
        return time.perf_counter_ns()

    def worked(self) -> int:
        """Processor time that this thread has used [ns]: it stands still while others have the processor."""
        return time.thread_time_ns()

    def wait_until(self, moment: int) -> None:
        """Come back at a moment of `now`; at once where it has passed."""
        while (left := moment - time.perf_counter_ns()) > self._spin:
            time.sleep((left - self._spin) / NANO)
        while time.perf_counter_ns() < moment:
            pass


class Histogram:
    """Counts of durations in bins that grow by the 16th root of two, from 1 ns to 18 minutes.

    Attributes
    ----------
    counts : array of int
        Of each bin; the first holds all up to 1 ns, the last all that is longer.
    total : int
        How many durations there were.
    largest : int
        The longest [ns].

    Examples
    --------
    >>> histogram = Histogram()
    >>> for microseconds in range(1, 1001):
    ...     histogram.add(1000 * microseconds)
    >>> 500 <= histogram.quantile(0.5) / 1000 < 523
    True
    """

    def __init__(self) -> None:
        self.counts = array("q", bytes(8 * PER_OCTAVE * OCTAVES))
        self.total = self.largest = 0

    def add(self, duration: int) -> None:
        """Count a duration [ns]; a negative one as none."""
        place = int(PER_OCTAVE * math.log2(duration)) if duration > 1 else 0
        self.counts[min(place, PER_OCTAVE * OCTAVES - 1)] += 1
        self.total += 1
        if duration > self.largest:
            self.largest = duration

    def quantile(self, share: float) -> float:
        """Duration [ns] that this share of all does not exceed, up to 4.4 % too long; NaN if there was none.

        Parameters
        ----------
        share : float
            In [0, 1]; 0.999 for the 99.9th percentile.
        """
        if not self.total:
            return math.nan
        wanted, seen = max(math.ceil(share * self.total), 1), 0
        for place, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return min(math.exp2((place + 1) / PER_OCTAVE), float(self.largest))
        return float(self.largest)

    def microseconds(self) -> dict[str, float]:
        """Median, 99th and 99.9th percentile, and the longest [us]."""
        quantiles = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
        return {name: self.quantile(share) / 1000.0 for name, share in quantiles.items()}


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Switch the collector off, and afterwards on again if it was; what lives now is looked at no more meanwhile."""
    enabled, freezes = gc.isenabled(), gc.get_freeze_count() == 0
    gc.collect()
    gc.disable()
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        if freezes:
            gc.unfreeze()
        if enabled:
            gc.enable()
