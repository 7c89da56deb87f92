"""Leaky readouts, linear or softmax.

Source: Bellec et al. 2020, Nat. Commun. 11:3625, equations 9 to 11.
"""

from __future__ import annotations

import numpy as np

from threefactor._choices import anywhere, like, whole
from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array


@disjoint
def integrate_readout(v: Array, w: Array, z: Array, active: Array, kappa: float, zeta: float) -> None:
    """V <- kappa v + zeta W z. Writes `v` (out); reads `w` (out, pre), `z` (pre); `active` (pre) is room."""
    count = 0
    for i in range(z.size):
        active[count] = i
        count += 1 if anywhere(z[i] != 0) else 0
    for o in range(v.size):
        total = kappa - kappa
        for k in range(count):
            i = whole(active[k])
            total += w[o, i] * z[i]
        v[o] = kappa * v[o] + zeta * total


@kernel
def softmax(y: Array, v: Array) -> None:
    """Y = exp(v) / sum exp(v), shifted by the largest entry so that nothing overflows."""
    top = v[0]
    for o in range(1, v.size):
        top = max(top, v[o])
    total = like(y, 0)
    for o in range(v.size):
        y[o] = np.exp(v[o] - top)
        total += y[o]
    for o in range(v.size):
        y[o] /= total
