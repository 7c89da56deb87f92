"""From tags to weight changes.

A new optimiser is a code in `layout`, a branch in `descend`, and a naive twin in the tests.
"""

from __future__ import annotations

import numpy as np

from threefactor._arithmetic import fused, take_near_roots, take_wide_vectors, twice_inverse_root
from threefactor._choices import anywhere, like
from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array
from threefactor.sums import added

SGD, ADAM, OBGD, INTENTIONAL = 0, 1, 2, 3


@disjoint
def descend(
    w: Array, m: Array, s: Array, tags: Array, reg: Array, g: Array, optimiser: int, third: float, scale: float,
    step: float, beta_1: float, beta_2: float, epsilon: float, shrink: float, clip: float,
    low: float, high: float,
) -> None:  # fmt: skip
    """Descend along g = scale (third x tag + reg), bounded to [-clip, clip], and empty `reg`.

    SGD and the bounded step: w <- w - step g. Adam (Kingma & Ba 2015, arXiv:1412.6980, in the form that has epsilon
    outside the bias correction): m <- beta_1 m + (1 - beta_1) g; s <- beta_2 s + (1 - beta_2) g^2;
    w <- w - step m / (sqrt(s) + epsilon), `step` holding the bias correction.

    Parameters
    ----------
    w : (rows, columns), written
        Weights; then bounded to [low, high]. `shrink` is the share lost to decay.
    m, s : as `w` for Adam, else without rows; read and written
        Moments.
    tags, reg : (rows, columns), read; `reg` may have no rows
        What was gathered.
    g : (columns,), written
        Room for the gradient of one row.
    """
    rest_1, rest_2 = like(g, 1) - beta_1, like(g, 1) - beta_2
    factor = scale * third
    for i in range(w.shape[0]):
        for j in range(g.size):
            g[j] = factor * tags[i, j]
        if reg.shape[0] > 0:
            for j in range(g.size):
                g[j] += scale * reg[i, j]
                reg[i, j] = 0
        if anywhere(clip < np.inf):
            for j in range(g.size):
                g[j] = min(max(g[j], -clip), clip)
        if optimiser == ADAM:
            for j in range(g.size):
                m[i, j] = beta_1 * m[i, j] + rest_1 * g[j]
                s[i, j] = beta_2 * s[i, j] + rest_2 * g[j] * g[j]
                g[j] = m[i, j] / (np.sqrt(s[i, j]) + epsilon)
        for j in range(g.size):
            w[i, j] -= step * g[j] + shrink * w[i, j]
        if anywhere(low > -np.inf) or anywhere(high < np.inf):
            for j in range(g.size):
                w[i, j] = min(max(w[i, j], low), high)


@kernel
def half_unit(lift: float) -> float:
    """Half of 1 / sqrt(lift): m = 1 / sqrt(lift s + floor) is that times 2 / sqrt(s + least), see `least_mean`.

    So lift, floor and Newton's half are worked into one number, where they took three products a synapse.
    """
    one = lift / lift
    return one / (np.sqrt(lift) + np.sqrt(lift))  # type: ignore[no-any-return]


@kernel
def least_mean(floor: float, lift: float) -> float:
    """Floor / lift, but no less than single precision holds."""
    return max(floor / lift, 1e-37)


@disjoint
def descend_as_intended(
    w: Array, s: Array, tags: Array, factor: float, step: float, lift: float, floor: float, shrink: float, clip: float,
    low: float, high: float,
) -> None:  # fmt: skip
    """As `descend`, for the intentional step: w <- w - step m g, g = factor x tag, m = 1 / sqrt(lift s + floor).

    All matrices are laid flat. Reads the mean squares `s` as the last tag left them (`measure_outputs`).
    """
    take_wide_vectors()
    take_near_roots()
    unit, least = half_unit(lift), like(w, least_mean(floor, lift))
    if anywhere(shrink != 0):
        for k in range(w.size):
            w[k] -= shrink * w[k]
    if anywhere(clip < np.inf):
        amount = -step * unit
        for k in range(w.size):
            g = min(max(factor * tags[k], -clip), clip)
            w[k] = fused(amount * g, twice_inverse_root(s[k] + least), w[k])
    else:
        amount = -step * factor * unit
        for k in range(w.size):
            w[k] = fused(amount * tags[k], twice_inverse_root(s[k] + least), w[k])
    if anywhere(low > -np.inf) or anywhere(high < np.inf):
        for k in range(w.size):
            w[k] = min(max(w[k], low), high)


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
def intentional_step(learning_rate: float, mean_norm: float, tag_norm: float) -> float:
    """Step size that changes the prediction by `learning_rate` times its error.

    step = learning_rate / max(sqrt(mean_G Z), mean_G, Z / 10, 1e-8): G and Z are the norms of gradient and tag, see
    `measure_outputs`, and mean_G is the running mean of G. Sharifnassab, Elsayed, De Asis, Mahmood, Sutton 2026,
    arXiv:2604.19033, have the first of the four. The second keeps a tag that has vanished, as those of a policy do that
    has become certain, from being blown up; the third a rare one after many of these from changing the prediction by
    more than ten times what is intended.
    """
    norm = max(max(np.sqrt(mean_norm * tag_norm), mean_norm), max(0.1 * tag_norm, 1e-8))
    return learning_rate / norm  # type: ignore[no-any-return]


@kernel
def floor_of(epsilon: float) -> float:
    """What is added to the mean squares of an intentional step: epsilon^2, but no less than single precision holds."""
    return max(epsilon * epsilon, 1e-36)


@disjoint
def measure_outputs(
    norms: Array, s: Array, room: Array, tags: Array, rows: Array, columns: Array, mask: Array,
    beta_2: float, lift: float, floor: float,
) -> None:  # fmt: skip
    """Advance the mean squares of what the error reaches without a trace, and add to the norms of gradient and tags.

    The gradient is g_ij = rows_i columns_j where there is a synapse, else 0. Then::

        s <- beta_2 s + (1 - beta_2) g^2 ;  m = 1 / sqrt(lift s + floor) ;  norms += (sum m g^2, sum m tag^2)

    Parameters
    ----------
    norms : (2,), written
    s, tags : (rows, columns); `s` is written
        Mean squares, of which `lift` takes off the bias, and tags.
    room : (3, columns), written
        Room for g and the sums of each column: the compiler may not reorder a single sum, and so not vectorise.
    rows, columns : (rows,), (columns,), read
        Errors and presynaptic activities.
    mask : as `s` or without rows, read
        Connectivity.
    """
    take_wide_vectors()
    take_near_roots()
    rest, n = like(norms, 1) - beta_2, room.shape[1]
    unit, least = half_unit(lift), like(s, least_mean(floor, lift))
    for j in range(n):
        room[1, j] = 0
        room[2, j] = 0
    for i in range(s.shape[0]):
        for j in range(n):
            room[0, j] = rows[i] * columns[j]
        if mask.shape[0] > 0:
            for j in range(n):
                room[0, j] *= mask[i, j]
        for j in range(n):
            square, tag = room[0, j] * room[0, j], tags[i, j]
            mean = fused(rest, square - s[i, j], s[i, j])
            share = twice_inverse_root(mean + least)
            s[i, j] = mean
            room[1, j] = fused(square, share, room[1, j])
            room[2, j] = fused(tag * tag, share, room[2, j])
    norms[0] += unit * added(room[1])
    norms[1] += unit * added(room[2])


@kernel
def add_norms(total: Array, tags: Array, reg: Array, third: float) -> None:
    """Total += (L1 norm of the tags, squared L2 norm of third x tag + reg), of one matrix laid flat."""
    l1, squares = third - third, third - third
    for i in range(tags.size):
        l1 += abs(tags[i])
    if reg.size > 0:
        for i in range(tags.size):
            squares += (third * tags[i] + reg[i]) ** 2
    else:
        for i in range(tags.size):
            squares += (third * tags[i]) ** 2
    total[0] += l1
    total[1] += squares
