"""Kernels that copy numbers out of a network's state for others to look at."""

from __future__ import annotations

from threefactor._jit import kernel
from threefactor.arrays import Array, Ints


@kernel
def record(ring: Array, counts: Ints, state: Array, places: Ints) -> int:
    """Row k of the ring = state[places], k = counts[0] modulo the rows, which are as long as `places`; counts[0] += 1.

    Parameters
    ----------
    ring : array, (rows * len(places),)
        Written.
    counts : array, int64
        Its first entry is read and written.
    state : array
        Read.
    places : array, int64
        At least one.
    """
    n = places.size
    first = counts[0] % (ring.size // n) * n
    for i in range(n):
        ring[first + i] = state[places[i]]
    counts[0] += 1
    return n


@kernel
def gather(out: Array, state: Array, places: Ints, first: int, stop: int) -> int:
    """out[i] = state[places[i]] for i in [first, stop); 0 where the place is negative."""
    for i in range(first, stop):
        out[i] = state[places[i]] if places[i] >= 0 else 0.0
    return stop
