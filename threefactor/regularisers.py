"""Firing-rate homeostasis and the cost of spikes: a learning signal that needs no error from outside.

Source: Bellec et al. 2020, Nat. Commun. 11:3625, Methods, "Firing rate regularization".
"""

from __future__ import annotations

from threefactor._jit import kernel
from threefactor.arrays import Array


@kernel
def rate_signal(
    signal: Array, rate: Array, z: Array, decay: float, gain: float, strength: float, target: float, cost: float
) -> None:
    """Rate <- decay rate + gain z; signal = strength (rate - target) + cost.

    Writes `rate` and `signal` (post); reads `z`. `target` is in the unit of `rate`; `cost` is the cost of one spike.
    """
    for j in range(signal.size):
        rate[j] = decay * rate[j] + gain * z[j]
        signal[j] = strength * (rate[j] - target) + cost


@kernel
def sequence_signal(signal: Array, rate: Array, ticks: float, strength: float, target: float, cost: float) -> None:
    """Signal = strength (n / ticks - target) / ticks + cost, `rate` holding the spike counts n of a whole sequence."""
    for j in range(signal.size):
        signal[j] = strength * (rate[j] / ticks - target) / ticks + cost


@kernel
def gather_sequence(reg: Array, signal: Array, averaged: Array) -> None:
    """Reg += signal_j x summed eligibility of the sequence; both matrices (pre, post)."""
    for i in range(averaged.shape[0]):
        for j in range(signal.size):
            reg[i, j] += signal[j] * averaged[i, j]
