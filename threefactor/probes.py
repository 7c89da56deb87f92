"""Kernels that copy numbers out of a network's state for others to look at."""

from __future__ import annotations

from threefactor import layout as at
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.deferral import C, D, P, horizon
from threefactor.layout import matrix, number, vector


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
def gather(out: Array, state: Array, table: Ints, places: Ints, first: int, stop: int) -> int:
    """out[i] = state[places[i]] for i in [first, stop); 0 where the place is negative.

    Where rows wait at a base that lies in the past of no run (`setback`), it is what they are by now.
    """
    for i in range(first, stop):
        out[i] = state[places[i]] if places[i] >= 0 else 0.0
    if table[at.STRIDE] > 1:
        for rec in range(1 + table[at.RECURRENT]):
            begin = at.N_SWITCHES + 2 * (at.W + rec), at.N_SWITCHES + 2 * (at.EBAR + rec)
            for i in range(first, stop):
                for trace in range(2):
                    if table[begin[trace]] <= places[i] < table[begin[trace] + 1]:
                        out[i] = by_now(state, table, rec, places[i] - table[begin[trace]], trace == 1)
    return stop


@kernel
def by_now(state: Array, table: Ints, rec: int, k: int, trace: bool) -> float:
    """Entry k of a matrix of the only layer, its weight or its `trace`, as `deferral.bring_up` would leave it."""
    n, slot, stride = number(table, 0, at.N_POST), table[at.SLOT], table[at.STRIDE]
    i, j, ring = k // n, k % n, horizon(stride)
    w, e, zbar = (
        vector(state, table, 0, at.W + rec)[k],
        vector(state, table, 0, at.EBAR + rec)[k],
        vector(state, table, 0, at.BASE_ZBAR + rec)[i],
    )
    waiting = int(vector(state, table, 0, at.AGE + rec)[i])
    composites, base = matrix(state, table, 0, at.COMPOSITES, n), 3 * ((slot - waiting) % ring // stride)
    if waiting == 0:
        return e if trace else w  # type: ignore[no-any-return]
    if trace:
        return vector(state, table, 0, at.KAPPA_POWERS)[waiting] * e + zbar * composites[base + P, j]  # type: ignore[no-any-return]
    # no neuron sends to itself
    return w if rec == 1 and i == j else w + composites[base + C, j] * e + zbar * composites[base + D, j]  # type: ignore[no-any-return]
