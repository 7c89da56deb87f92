"""From time constants to what each filter keeps in a tick."""

from __future__ import annotations

import math

import numpy as np

from threefactor.arrays import Array
from threefactor.settings import NetworkSettings


def decay(dt: float, tau: float) -> float:
    """What a filter of time constant `tau` keeps in a tick of `dt`; one of 0 keeps nothing."""
    return math.exp(-dt / tau) if tau > 0.0 else 0.0


def adaptation_decays(s: NetworkSettings, block: int) -> Array:
    """Decay of the adaptation of each neuron of a layer, time constants spread geometrically; 0 for LIF neurons."""
    n, n_alif = s.n_hidden[block], s.n_adaptive[block] if s.n_adaptive else 0
    longest = s.tau_adaptation if s.tau_adaptation_longest is None else s.tau_adaptation_longest
    rho = np.zeros(n)
    rho[n - n_alif :] = np.exp(-s.dt / np.geomspace(s.tau_adaptation, longest, n_alif))
    return rho


def trace_filter(s: NetworkSettings, below: int) -> tuple[float, float, float]:
    """Decay and gain of the filtered traces of a layer `below` steps under the last, and gain of its mean surrogate.

    The spike of a lower layer reaches the readout through the membranes of the layers above as well as through the
    readout's own filter. One exponential with the summed time constant and the same area stands for that chain, at no
    cost: with it the gradient of the lower of two layers has a cosine to BPTT of .999 to .955 for slopes 1 to 100, and
    .97 to .82 of its norm (tests/test_gradients.py prints them); with the readout's filter alone the cosine was .988 to
    .917, and the norm a tenth.
    """
    tau = s.tau_out if s.tau_trace is None else s.tau_trace
    base, kept = decay(s.dt, tau), decay(s.dt, tau + below * s.tau_m)
    area = (1.0 if s.trace_gain == "one_minus_decay" else 1.0 / (1.0 - base)) / (1.0 - decay(s.dt, s.tau_m)) ** below
    return kept, (1.0 - kept) * area, 1.0 - kept
