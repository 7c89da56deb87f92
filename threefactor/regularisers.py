"""Firing-rate homeostasis and the costs of spikes: gradients that need no error from outside.

Source: Bellec et al. 2020, Nat. Commun. 11:3625, Methods, "Firing rate regularization".
"""

from __future__ import annotations

from threefactor._jit import kernel
from threefactor.arrays import Array


@kernel
def rate_signal(
    signal: Array, rate: Array, z: Array, decay: float, gain: float, strength: float, target: float, cost: float
) -> None:
    """rate <- decay rate + gain z [1/ms]; signal = strength (rate - target) + cost.

    Writes `rate` and `signal` (post); reads `z`. `target` is in spikes a ms; `cost` is the L1 cost of a spike.
    """
    for j in range(signal.size):
        rate[j] = decay * rate[j] + gain * z[j]
        signal[j] = strength * (rate[j] - target) + cost


@kernel
def add_rate_row(g: Array, signal: Array, trace: Array) -> None:
    """g += signal x eligibility of one presynaptic neuron."""
    for j in range(g.size):
        g[j] += signal[j] * trace[j]


@kernel
def add_voltage_row(g: Array, v: Array, zbar: float, strength: float) -> None:
    """g += strength v zbar: descent on strength v^2 / 2, reset not differentiated."""
    for j in range(g.size):
        g[j] += strength * v[j] * zbar
