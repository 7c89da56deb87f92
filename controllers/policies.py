"""Policies: from readout to action, and the error that stands for the gradient of the log-probability.

Source: the policy gradient, Sutton & Barto 2018, Reinforcement Learning, chapter 13; in e-prop, Bellec et al. 2020,
Nat. Commun. 11:3625, equation 34 and following. Errors are those of a loss, so that descent on ``td_error x error``
raises the probability of an action that turned out better than expected.

The bonus keeps a policy undecided: cross entropy from the uniform policy of the categorical; of the Gaussian the
logistic density of the logarithm of its deviation, which is highest where that is 1, half the range of the action.
"""

from __future__ import annotations

import math

from threefactor._jit import kernel
from threefactor.arrays import Array

CATEGORICAL, GAUSSIAN = 0, 1
LEAST_LOG, MOST_LOG = -10.0, 3.0  # bounds of the logarithm of a deviation


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
    return floor + math.exp(min(max(x, LEAST_LOG), MOST_LOG))


@kernel
def draw_gaussian(action: Array, y: Array, noise: Array, floor: float, bias: float, width: float) -> None:
    """Action = sigma (y + width noise): means in units of the deviation; behind them what `deviation` makes sigma of.

    A wide policy so learns to which side of the range to go, from a step as large as a narrow one's, and its mean comes
    in with the deviation: a mean far beyond the bounds, where all draws are one action, could not learn any more.
    """
    n = action.size
    for k in range(n):
        action[k] = deviation(bias + y[n + k], floor) * (y[k] + width * noise[k])


@kernel
def hazard(z: float) -> float:
    """phi(z) / (1 - Phi(z)) of the standard normal distribution."""
    tail = 0.5 * math.erfc(z / math.sqrt(2.0))
    if tail < 1e-300:
        return z
    return math.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * tail)


@kernel
def gaussian_error(
    error: Array, y: Array, noise: Array, floor: float, bias: float, width: float, weight: float
) -> None:
    """Minus the gradient of the log-probability of the action with respect to `y`, and of the weighted bonus.

    The world sees the action clipped to [-1, 1]. Inside, with u = `noise` and the deviation s = width sigma: d/dmu = u
    / s, d/ds = (u^2 - 1) / s. All draws beyond a bound are one action, whose probability is that of the tail: with z
    its distance from mu over s, d/dmu = +-hazard(z) / s, d/ds = z hazard(z) / s (Fujita & Maeda 2018,
    arXiv:1802.07564). As mu = sigma y, sigma moves the mean as well. The bonus, log(sigma / (1 + sigma)^2), pushes
    sigma towards 1; where sigma is at its upper bound it is all that is left.
    """
    n = noise.size
    for k in range(n):
        log_sigma = bias + y[n + k]
        sigma = deviation(log_sigma, floor)
        mean, spread = noise[k], noise[k] * noise[k] - 1.0
        drawn = sigma * (y[k] + width * noise[k])
        if abs(drawn) >= 1.0:
            side = math.copysign(1.0, drawn)
            z = (1.0 - side * sigma * y[k]) / (width * sigma)
            mean, spread = side * hazard(z), z * hazard(z)
        error[k] = -mean / width
        bonus = weight * (1.0 - sigma) / (1.0 + sigma)
        error[n + k] = -(spread + mean * y[k] / width + bonus) * (sigma - floor) / sigma
        if log_sigma > MOST_LOG:
            error[n + k] = weight * (log_sigma - MOST_LOG)
