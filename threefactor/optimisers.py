"""From gradient to weight change, one row at a time, and the step sizes that need the whole gradient.

A new optimiser is a code in `layout`, a branch in `descend`, and a naive twin in the tests.
"""

from __future__ import annotations

import numpy as np

from threefactor._jit import kernel
from threefactor.arrays import Array
from threefactor.layout import ADAM


@kernel
def descend(
    w: Array, m: Array, s: Array, i: int, g: Array, optimiser: int,
    step: float, beta_1: float, beta_2: float, epsilon: float, shrink: float, limit: float,
) -> None:  # fmt: skip
    """One descent step of row i of the weights `w` along the gradient `g`.

    SGD and the bounded step: w <- w - step g. Adam (Kingma & Ba 2015, arXiv:1412.6980, in the form that has epsilon
    outside the bias correction): m <- beta_1 m + (1 - beta_1) g; s <- beta_2 s + (1 - beta_2) g^2;
    w <- w - step m / (sqrt(s) + epsilon), `step` holding the bias correction.
    `shrink` is the share of the weight lost to decay; `limit` bounds the weight's size. `m`, `s` are read and
    written by Adam alone.
    """
    if optimiser == ADAM:
        rest_1, rest_2 = g.dtype.type(1) - beta_1, g.dtype.type(1) - beta_2
        for j in range(g.size):
            m[i, j] = beta_1 * m[i, j] + rest_1 * g[j]
            s[i, j] = beta_2 * s[i, j] + rest_2 * g[j] * g[j]
        for j in range(g.size):
            w[i, j] -= step * m[i, j] / (np.sqrt(s[i, j]) + epsilon) + shrink * w[i, j]
    else:
        for j in range(g.size):
            w[i, j] -= step * g[j] + shrink * w[i, j]
    if limit < np.inf:
        for j in range(g.size):
            w[i, j] = min(max(w[i, j], -limit), limit)


@kernel
def adam_step(learning_rate: float, beta_1: float, beta_2: float, n: int) -> float:
    """Adam's step size with the bias correction of its n-th update, n = 1, 2, ..."""
    return learning_rate * np.sqrt(1.0 - beta_2**n) / (1.0 - beta_1**n)  # type: ignore[no-any-return]


@kernel
def overshooting_bound(third: float, l1: float, learning_rate: float, overshoot: float) -> float:
    """Step size that changes the prediction by no more than its error.

    M = learning_rate overshoot max(|third|, 1) |tag|_1; step = learning_rate / max(1, M).
    Elsayed, Vasan, Mahmood 2024, arXiv:2410.14606, algorithm 3 (ObGD); `l1` is the L1 norm of the whole tag.
    """
    return learning_rate / max(1.0, learning_rate * overshoot * max(abs(third), 1.0) * l1)


@kernel
def clip_row(g: Array, bound: float) -> None:
    """Bound each entry of `g` to [-bound, bound]."""
    for j in range(g.size):
        g[j] = min(max(g[j], -bound), bound)
