"""Eligibility traces: presynaptic activity x surrogate derivative of the postsynaptic neuron, filtered.

Source: Bellec et al. 2020, Nat. Commun. 11:3625, equations 13, 22 to 25. All functions work on row i of a matrix
(pre, post): on all the synapses of one presynaptic neuron.
"""

from __future__ import annotations

from threefactor._jit import kernel
from threefactor.arrays import Array


@kernel
def eligibility(e: Array, psi: Array, zbar: float, eps_a: Array, i: int, first: int, beta: float, rho: float) -> None:
    """e = psi (zbar - beta eps_a); eps_a <- rho eps_a + e.

    Writes `e` (post); reads `psi` (post). `eps_a` (pre, adaptive) belongs to the neurons from `first` on; those before
    do not adapt.
    """
    for j in range(first):
        e[j] = psi[j] * zbar
    for k in range(eps_a.shape[1]):
        trace = psi[first + k] * (zbar - beta * eps_a[i, k])
        eps_a[i, k] = rho * eps_a[i, k] + trace
        e[first + k] = trace


@kernel
def exact_eligibility(
    e: Array, psi: Array, pre: float, eps_v: Array, eps_a: Array, i: int, first: int,
    alpha: float, reset: float, beta: float, rho: float,
) -> None:  # fmt: skip
    """The same with the gradient through the reset: eps_v <- alpha (eps_v - reset e_prev) + pre, one entry a synapse.

    `eps_v` (pre, post) holds eps_v - reset e between the ticks; `reset` is what a spike takes from the voltage over
    alpha. For v_th = 1 and a LIF neuron this is eps <- (alpha - psi) eps + pre.
    """
    for j in range(e.size):
        eps_v[i, j] = alpha * eps_v[i, j] + pre
        e[j] = psi[j] * eps_v[i, j]
    for k in range(eps_a.shape[1]):
        j = first + k
        e[j] -= psi[j] * beta * eps_a[i, k]
        eps_a[i, k] = rho * eps_a[i, k] + e[j]
    for j in range(e.size):
        eps_v[i, j] -= reset * e[j]


@kernel
def filter_row(trace: Array, i: int, e: Array, decay: float, gain: float) -> None:
    """trace_i <- decay trace_i + gain e: the filtered eligibility trace, and the one that homeostasis averages."""
    for j in range(e.size):
        trace[i, j] = decay * trace[i, j] + gain * e[j]


@kernel
def learn_row(w: Array, ebar: Array, i: int, psi: Array, step: Array, zbar: float, kappa: float) -> None:
    """All three factors of LIF neurons under plain descent in one pass, the common case, at half the memory traffic.

    ebar <- kappa ebar + zbar psi; w <- w - step ebar, where `zbar` carries the gain of the filter and `step` (post)
    is the learning rate times the learning signal.
    """
    for j in range(psi.size):
        trace = kappa * ebar[i, j] + zbar * psi[j]
        ebar[i, j] = trace
        w[i, j] -= step[j] * trace
