"""Leaky integrate-and-fire neurons, with fixed (LIF) and adaptive (ALIF) threshold.

Source of the equations: Bellec et al. 2020, Nat. Commun. 11:3625, equations 6 to 8 and Methods.
"""

from __future__ import annotations

import numpy as np

from threefactor._arithmetic import take_wide_vectors
from threefactor._choices import anywhere, like, where
from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array
from threefactor.sums import added, added_squares
from threefactor.surrogates import shape


@kernel
def four_active(pre: Array, i: int, rows: int) -> bool:
    """Whether entry i and the three behind it are there and not zero."""
    if i + 3 >= rows or not (anywhere(pre[i] != 0) and anywhere(pre[i + 1] != 0)):
        return False
    return anywhere(pre[i + 2] != 0) and anywhere(pre[i + 3] != 0)


@disjoint
def gather(current: Array, w: Array, pre: Array) -> None:
    """current_j += sum_i w_ij pre_i, skipping what is silent.

    Reads `w` (pre, post) and `pre` (at least as many as the rows of `w`); adds to `current` (post).
    """
    take_wide_vectors()
    i, rows = 0, w.shape[0]
    while i < rows:
        if four_active(pre, i, rows):  # the sums are written a quarter as often
            p, q, r, s = pre[i], pre[i + 1], pre[i + 2], pre[i + 3]
            for j in range(current.size):
                current[j] = current[j] + p * w[i, j] + q * w[i + 1, j] + r * w[i + 2, j] + s * w[i + 3, j]
            i += 4
            continue
        if anywhere(pre[i] != 0):
            amount = pre[i]
            for j in range(current.size):
                current[j] += amount * w[i, j]
        i += 1


@kernel
def normalise(current: Array, tiny: float) -> float:
    """Shift and scale `current` to mean 0 and variance 1 over the layer; returns the factor used.

    The plain layer normalisation without learnt parts (Ba et al. 2016, arXiv:1607.06450), on the input current.
    """
    one, size = like(current, 1), like(current, current.size)
    mean = added(current) / size
    for j in range(current.size):
        current[j] -= mean
    factor = one / np.sqrt(added_squares(current) / size + like(current, tiny))
    for j in range(current.size):
        current[j] *= factor
    return factor  # type: ignore[no-any-return]


@disjoint
def low_pass(filtered: Array, value: Array, decay: float, gain: float) -> None:
    """Filtered <- decay filtered + gain value, over the entries of `filtered`."""
    for i in range(filtered.size):
        filtered[i] = decay * filtered[i] + gain * value[i]


@disjoint
def integrate(v: Array, current: Array, z_prev: Array, alpha: float, zeta: float, v_reset: float) -> None:
    """V <- alpha v + zeta I - v_reset z_prev: the membrane, with reset by subtraction.

    `v_reset` is v_th where the reset comes undecayed a tick after the spike, alpha v_th where it comes at once.
    """
    for j in range(v.size):
        v[j] = alpha * v[j] + zeta * current[j] - v_reset * z_prev[j]


@disjoint
def adapt(a: Array, z_prev: Array, rho: Array, first: int) -> None:
    """A <- rho a + z_prev for the adaptive neurons, those from `first` on."""
    for j in range(first, a.size):
        a[j] = rho[j] * a[j] + z_prev[j]


@disjoint
def fire(
    z: Array, psi: Array, wait: Array, v: Array, a: Array,
    v_th: float, beta: float, refractory: float, slope: float, height: float, surrogate: int,
) -> None:  # fmt: skip
    """Spike where v >= A = v_th + beta a and not refractory; write psi, zero while refractory.

    Parameters
    ----------
    z, psi : written, (post,)
        Spikes, 0 or 1, and the surrogate derivative at v - A; `z` may have a bias unit behind its end.
    wait : read and written, (post,)
        Ticks until the neuron may fire again, plus one.
    v, a : read, (post,)
        Membrane voltage and adaptation (0 for LIF neurons).
    """
    one = like(v, 1)
    zero = one - one
    for j in range(v.size):
        psi[j] = slope * (v[j] - (v_th + beta * a[j]))
        wait[j] = max(zero, wait[j] - one)
        z[j] = where(psi[j] >= zero, where(wait[j] == zero, one, zero), zero)
    shape(psi, surrogate)
    for j in range(v.size):
        psi[j] = where(wait[j] == zero, height * psi[j], zero)
        wait[j] = where(z[j] != zero, refractory, wait[j])
