"""The third factor: how an error reaches the neurons that caused it.

Sources: Bellec et al. 2020, Nat. Commun. 11:3625, equation 4 (symmetric, random and adaptive broadcast); Samadi,
Lillicrap, Tweed 2017, Neural Comput. 29:578, and Nokland 2016, arXiv:1609.01596 (direct feedback to every layer).
"""

from __future__ import annotations

from threefactor._choices import alone, anywhere
from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array, Ints


@disjoint
def broadcast(signal: Array, feedback: Array, error: Array) -> None:
    """L_j = sum_o B_oj error_o. Writes `signal` (post); reads `feedback` (out, at least post) and `error` (out)."""
    for j in range(signal.size):
        signal[j] = 0
    for o in range(error.size):
        if anywhere(error[o] != 0):
            amount = error[o]
            for j in range(signal.size):
                signal[j] += amount * feedback[o, j]


@kernel
def from_above(signal: Array, w: Array, psi_bar: Array, signal_above: Array, scale: float) -> None:
    """L_i = scale sum_j w_ij psi_bar_j L_j: the error of the layer above through its surrogate and weights.

    Writes `signal` (neurons of this layer); reads `w` (at least these, post) and the post-long `psi_bar` and
    `signal_above` of the layer above. `psi_bar` is the surrogate under the filter of the eligibility traces, because
    the traces that the signal meets are filtered too.
    """
    for i in range(signal.size):
        total = scale - scale
        for j in range(psi_bar.size):
            total += w[i, j] * psi_bar[j] * signal_above[j]
        signal[i] = scale * total


@alone
@kernel
def from_above_sparse(
    signal: Array, w: Array, targets: Array, starts: Ints, psi_bar: Array, signal_above: Array, scale: float
) -> None:
    """As `from_above`, for a sparse matrix, whose entry k leads to neuron `targets[k]`."""
    for i in range(signal.size):
        total = scale - scale
        for k in range(starts[i], starts[i + 1]):
            j = int(targets[k])
            total += w[k] * psi_bar[j] * signal_above[j]
        signal[i] = scale * total
