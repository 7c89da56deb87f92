"""Running statistics of observations and rewards, one sample at a time.

Source: Welford 1962, Technometrics 4:419; their use in streaming reinforcement learning: Elsayed, Vasan, Mahmood 2024,
arXiv:2410.14606, algorithms 4 to 6.
"""

from __future__ import annotations

import math

from controllers.encoding import LARGE
from threefactor._jit import kernel
from threefactor.arrays import Array


@kernel
def observe(mean: Array, squares: Array, count: float, x: Array) -> None:
    """Take one more sample into the mean and the summed squared deviations; `count` includes it."""
    for i in range(x.size):
        value = min(max(x[i], -LARGE), LARGE)  # its square must be finite, too
        off = value - mean[i]
        mean[i] += off / count
        squares[i] += off * (value - mean[i])


@kernel
def standardise(out: Array, x: Array, mean: Array, squares: Array, count: float, limit: float) -> None:
    """Out = (x - mean) / deviation, bounded to [-limit, limit]; deviation 1 before the second sample."""
    for i in range(x.size):
        variance = squares[i] / (count - 1.0) if count > 1.0 else 1.0
        out[i] = min(max((x[i] - mean[i]) / math.sqrt(variance + 1e-8), -limit), limit)
