"""Sums of a row in four strands: in a single one each addition would wait for the one before it."""

from __future__ import annotations

from threefactor._arithmetic import fused
from threefactor._jit import kernel
from threefactor.arrays import Array


@kernel
def added(x: Array) -> float:
    """Sum of x."""
    a = b = c = d = x.dtype.type(0)
    stop = x.size - x.size % 4
    for k in range(0, stop, 4):
        a, b, c, d = a + x[k], b + x[k + 1], c + x[k + 2], d + x[k + 3]
    for k in range(stop, x.size):
        a += x[k]
    return (a + b) + (c + d)  # type: ignore[no-any-return]


@kernel
def added_squares(x: Array) -> float:
    """Sum of the squares of x."""
    a = b = c = d = x.dtype.type(0)
    stop = x.size - x.size % 4
    for k in range(0, stop, 4):
        a, b = fused(x[k], x[k], a), fused(x[k + 1], x[k + 1], b)
        c, d = fused(x[k + 2], x[k + 2], c), fused(x[k + 3], x[k + 3], d)
    for k in range(stop, x.size):
        a = fused(x[k], x[k], a)
    return (a + b) + (c + d)  # type: ignore[no-any-return]
