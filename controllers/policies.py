"""Policies: from readout to action, and the error that stands for the gradient of the log-probability.

Source: the policy gradient, Sutton & Barto 2018, Reinforcement Learning, chapter 13; in e-prop, Bellec et al. 2020,
Nat. Commun. 11:3625, equation 34 and following. Errors are those of a loss, so that descent on ``td_error x error``
raises the probability of an action that turned out better than expected.

The bonus keeps a policy undecided: entropy of the Gaussian, cross entropy from the uniform policy of the categorical.
"""

from __future__ import annotations

import math

from threefactor._jit import kernel
from threefactor.arrays import Array

CATEGORICAL, GAUSSIAN = 0, 1


@kernel
def colour(noise: Array, fresh: Array, correlation: float) -> None:
    """Standard normal noise that keeps a share of itself: noise <- c noise + sqrt(1 - c^2) fresh."""
    for k in range(noise.size):
        noise[k] = correlation * noise[k] + math.sqrt(1.0 - correlation * correlation) * fresh[k]


@kernel
def draw_categorical(p: Array, noise: float) -> int:
    """Index k with probability p_k, from standard normal `noise`: alike noise draws alike actions."""
    uniform, total = 0.5 * (1.0 + math.erf(noise / math.sqrt(2.0))), 0.0
    for k in range(p.size):
        total += p[k]
        if uniform < total:
            return k
    return p.size - 1


@kernel
def likeliest(p: Array) -> int:
    """Index of the largest probability, of the first of them if there are several."""
    best = 0
    for k in range(1, p.size):
        best = k if p[k] > p[best] else best
    return best


@kernel
def categorical_error(error: Array, p: Array, chosen: int, bonus: float) -> None:
    """error_k = p_k - 1[k = chosen] + bonus (p_k - 1 / n).

    The last term is the gradient of the cross entropy from the uniform policy to p. Unlike that of the entropy it does
    not vanish as p becomes certain, so that no policy is beyond return.
    """
    for k in range(p.size):
        error[k] = p[k] + bonus * (p[k] - 1.0 / p.size)
    error[chosen] -= 1.0


@kernel
def deviation(x: float, floor: float) -> float:
    """Standard deviation of the Gaussian policy: exp of its readout, which is bounded to [-10, 3], plus a floor.

    A share of itself is all that a step changes it by, so that a wide policy narrows as fast as a narrow one widens.
    """
    return floor + math.exp(min(max(x, -10.0), 3.0))


@kernel
def draw_gaussian(action: Array, y: Array, noise: Array, floor: float, bias: float, width: float) -> None:
    """Action = mu + width sigma noise; `y` holds the means and then what, plus `bias`, `deviation` turns into sigma."""
    n = action.size
    for k in range(n):
        action[k] = y[k] + width * deviation(bias + y[n + k], floor) * noise[k]


@kernel
def hazard(z: float) -> float:
    """phi(z) / (1 - Phi(z)) of the standard normal distribution."""
    tail = 0.5 * math.erfc(z / math.sqrt(2.0))
    if tail < 1e-300:
        return z
    return math.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * tail)


@kernel
def gaussian_error(
    error: Array, y: Array, noise: Array, floor: float, bias: float, width: float, entropy: float
) -> None:
    """Minus the gradient of the log-probability of the action with respect to `y`, and of an entropy bonus.

    The world sees the action clipped to [-1, 1]. Inside, with u = `noise` and the deviation s = width sigma: d/dmu = u
    / s, d/ds = (u^2 - 1) / s. All draws beyond a bound are one action, whose probability is that of the tail: with z
    its distance from mu over s, d/dmu = +-hazard(z) / s, d/ds = z hazard(z) / s (Fujita & Maeda 2018,
    arXiv:1802.07564). The entropy is log s plus a constant; its bonus is that of the unclipped action.
    """
    n = noise.size
    for k in range(n):
        sigma = deviation(bias + y[n + k], floor)
        mean, spread = noise[k], noise[k] * noise[k] - 1.0
        drawn = y[k] + width * sigma * noise[k]
        if abs(drawn) >= 1.0:
            side = math.copysign(1.0, drawn)
            z = (1.0 - side * y[k]) / (width * sigma)
            mean, spread = side * hazard(z), z * hazard(z)
        error[k] = -mean / (width * sigma)
        error[n + k] = -(spread + entropy) * (sigma - floor) / sigma
