"""Sums of a row in eight strands: in a single one each addition would wait for the one before it."""

from __future__ import annotations

from threefactor._arithmetic import fused
from threefactor._choices import like
from threefactor._jit import kernel
from threefactor.arrays import Array


@kernel
def added(x: Array) -> float:
    """Sum of x."""
    a = b = c = d = e = f = g = h = like(x, 0)
    stop = x.size - x.size % 8
    for k in range(0, stop, 8):
        a, b, c, d = a + x[k], b + x[k + 1], c + x[k + 2], d + x[k + 3]
        e, f, g, h = e + x[k + 4], f + x[k + 5], g + x[k + 6], h + x[k + 7]
    for k in range(stop, x.size):
        a += x[k]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))  # type: ignore[no-any-return]


@kernel
def added_squares(x: Array) -> float:
    """Sum of the squares of x."""
    a = b = c = d = e = f = g = h = like(x, 0)
    stop = x.size - x.size % 8
    for k in range(0, stop, 8):
        a, b = fused(x[k], x[k], a), fused(x[k + 1], x[k + 1], b)
        c, d = fused(x[k + 2], x[k + 2], c), fused(x[k + 3], x[k + 3], d)
        e, f = fused(x[k + 4], x[k + 4], e), fused(x[k + 5], x[k + 5], f)
        g, h = fused(x[k + 6], x[k + 6], g), fused(x[k + 7], x[k + 7], h)
    for k in range(stop, x.size):
        a = fused(x[k], x[k], a)
    return ((a + b) + (c + d)) + ((e + f) + (g + h))  # type: ignore[no-any-return]
