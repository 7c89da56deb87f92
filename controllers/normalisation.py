"""Running statistics of observations and rewards, one sample at a time.

Source: Welford 1962, Technometrics 4:419; their use in streaming reinforcement learning: Elsayed, Vasan, Mahmood 2024,
arXiv:2410.14606, algorithms 4 to 6.
"""

from __future__ import annotations

import math

from threefactor._jit import kernel
from threefactor.arrays import Array

LARGE = 1e15


@kernel
def observe(mean: Array, squares: Array, count: float, weight: float, x: Array) -> None:
    """Take one more sample of this weight into the mean and the summed squared deviations.

    West 1979, Commun. ACM 22:532. `count` is the weight of all samples, this one included.
    """
    for i in range(x.size):
        value = min(max(x[i], -LARGE), LARGE)  # its square must be finite, too
        off = value - mean[i]
        mean[i] += weight * off / count
        squares[i] += weight * off * (value - mean[i])


@kernel
def standard(x: float, mean: float, squares: float, count: float, limit: float) -> float:
    """(x - mean) / deviation, within [-limit, limit]; the deviation is 1 before the second sample."""
    variance = squares / (count - 1.0) if count > 1.0 else 1.0
    return min(max((x - mean) / math.sqrt(variance + 1e-8), -limit), limit)


@kernel
def standardise(out: Array, x: Array, mean: Array, squares: Array, count: float, limit: float) -> None:
    """Write each entry as `standard` has it."""
    for i in range(x.size):
        out[i] = standard(x[i], mean[i], squares[i], count, limit)
