"""The live loop's histogram, and its real clock."""

from __future__ import annotations

import math
import time

import numpy as np

from threefactor.live import Clock, Histogram, LiveLoop

MS = 1_000_000


def test_histogram_against_numpy() -> None:
    """Quantiles are right to a bin, above, never below; what is out of range is counted."""
    histogram = Histogram()
    durations = np.random.default_rng(0).lognormal(10.0, 2.0, 5000).astype(int) + 1
    assert math.isnan(histogram.quantile(0.5))
    for duration in durations.tolist():
        histogram.add(duration)
    for share in (0.0, 0.1, 0.5, 0.99, 0.999, 1.0):
        exact = np.quantile(durations, share, method="inverted_cdf")
        assert exact <= histogram.quantile(share) <= exact * 1.045
    assert histogram.total == 5000 and histogram.largest == durations.max()
    for odd in (0, -5, 1, 1 << 62):
        histogram.add(odd)
    assert histogram.counts[0] == 3 and histogram.counts[-1] == 1 and sum(histogram.counts) == 5004


def test_real_clock_waits_and_counts_work() -> None:
    """Nobody comes back early, and sleep is no work."""
    clock = Clock()
    start, worked = clock.now(), clock.worked()
    clock.wait_until(start + 30 * MS)
    assert clock.now() >= start + 30 * MS and clock.worked() - worked < 25 * MS
    clock.wait_until(start)
    sent: list[float] = []
    loop = LiveLoop(float, time.perf_counter, sent.append, rate=200.0)
    loop.run(ticks=20)
    assert len(sent) == 20 and sent[-1] - sent[0] > 0.09
    assert loop.report()["compute_us"]["p50"] < loop.report()["wall_us"]["max"] + 1.0
