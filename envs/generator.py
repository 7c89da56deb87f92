"""Random numbers inside of kernels: a small generator, whose two numbers of state fit into a row of float64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from threefactor._jit import kernel

# Of Marsaglia's multiply-with-carry generator; the multiplier is that of Thomas's MWC64X.
MULTIPLIER, LOW_HALF, HALF = np.uint64(4294883355), np.uint64(0xFFFFFFFF), np.uint64(32)
STEP_31, STEP_32 = 2.0**-31, 2.0**-32
LARGEST_MEAN, LARGEST_COUNT = 16.0, 200  # of a Poisson number that is drawn at once


@kernel
def advance(low: np.uint64, carry: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Next state of the generator, whose output is ``low ^ carry``, of 32 bits.

    Both are below 2^32, so that they are exact in float64, and no product leaves 64 bits.
    """
    product = MULTIPLIER * low + carry
    return product & LOW_HALF, product >> HALF


@kernel
def normal_pair(low: np.uint64, carry: np.uint64) -> tuple[float, float, np.uint64, np.uint64]:
    """Two independent normal numbers, by Marsaglia's polar method, and the state after them."""
    x, y, square = 0.0, 0.0, 2.0
    for _ in range(64):  # 1.3 rounds on average; a row that no reset wrote gives no number, but an end
        x = STEP_31 * np.float64(low ^ carry) - 1.0
        low, carry = advance(low, carry)
        y = STEP_31 * np.float64(low ^ carry) - 1.0
        low, carry = advance(low, carry)
        square = x * x + y * y
        if 0.0 < square < 1.0:
            break
    reach = math.sqrt(-2.0 * math.log(square) / square)
    return reach * x, reach * y, low, carry


@kernel
def poisson(mean: float, low: np.uint64, carry: np.uint64) -> tuple[float, np.uint64, np.uint64]:
    """A Poisson number of this mean, by inversion of its distribution, and the state after it.

    A large mean is cut into parts, as the sum of Poisson numbers is one, too: exp(-mean) would be nothing.
    """
    count = 0.0
    while mean > 0.0:
        part = min(mean, LARGEST_MEAN)
        left = STEP_32 * (np.float64(low ^ carry) + 0.5)
        low, carry = advance(low, carry)
        if left > 1.0 - part:  # else it is none, as exp(-part) is larger, and that takes a while
            share, k = math.exp(-part), 0
            while left > share and k < LARGEST_COUNT:
                left -= share
                k += 1
                share *= part / k
            count += k
        mean -= part
    return count, low, carry


def first_state(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A state (2,) to begin with, drawn."""
    return rng.integers(1, int(MULTIPLIER) - 1, 2)
