"""From an observation to the currents that a network takes: the numbers, receptive fields of each and of each two.

A population code by Gaussian receptive fields: Bohte, La Poutre, Kok 2002, Neurocomputing 48:17. Novelty by counts,
here of fields: Bellemare et al. 2016, arXiv:1606.01868.
"""

from __future__ import annotations

import math

from controllers.normalisation import LARGE, standard
from threefactor._jit import kernel
from threefactor.arrays import Array

PER_FIELD = math.exp(-1.0)


def n_inputs(n: int, fields: int, joint: bool = False) -> int:
    """How many numbers `encode`, and with `joint` also `join`, write for an observation of n entries."""
    return n * (1 + fields) + int(joint) * fields**2 * n * (n - 1) // 2


@kernel
def encode(out: Array, x: Array, mean: Array, squares: Array, count: float, limit: float, fields: int) -> None:
    """Write the standardised observation, each entry followed by its receptive fields; what is behind is left alone.

    s = (x - mean) / deviation, within [-limit, limit] (deviation 1 before the second sample);
    field k: exp(-(fields / 2 (tanh(s / 2) - c_k))^2 / 2), its centre c_k = (2 k + 1) / fields - 1.

    Parameters
    ----------
    out : (observation x (1 + fields) or more,), written
    x, mean, squares : (observation,), read
        The observation, its running mean and summed squared deviations.
    count : float
        Samples that these are of; 0: s = x.
    """
    for i in range(x.size):
        if count > 0.0:
            s = standard(x[i], mean[i], squares[i], count, limit)
        else:
            s = min(max(x[i], -LARGE), LARGE)  # what is finite in double precision must be so in single, too
        first = i * (1 + fields) + 1
        out[first - 1] = s
        if fields > 0:
            place = 0.5 * fields * (math.tanh(0.5 * s) + 1.0) - 0.5  # in fields from the first one's centre on
            nearest = min(int(place + 0.5), fields - 1)
            off = place - nearest
            nearby, up, down = math.exp(-0.5 * off * off), math.exp(off - 0.5), math.exp(-off - 0.5)
            bell = nearby
            out[first + nearest] = bell
            for k in range(nearest + 1, fields):  # each bell is the one before it times a factor that shrinks by e
                bell *= up
                up *= PER_FIELD
                out[first + k] = bell
            bell = nearby
            for k in range(nearest - 1, -1, -1):
                bell *= down
                down *= PER_FIELD
                out[first + k] = bell


@kernel
def join(encoded: Array, n: int, fields: int) -> None:
    """Write, behind n entries and their fields, the products of the fields of each two entries: fields in a plane.

    Parameters
    ----------
    encoded : (n x (1 + fields) + n (n - 1) / 2 x fields^2 or more,), read and written
        Up to there as `encode` writes it. For entries i < j, in this order, field k of i times fields 0, 1, ... of j.
    """
    place = n * (1 + fields)
    for i in range(n):
        for j in range(i + 1, n):
            for k in range(fields):
                bell = encoded[i * (1 + fields) + 1 + k]
                for other in range(j * (1 + fields) + 1, (j + 1) * (1 + fields)):
                    encoded[place] = bell * encoded[other]
                    place += 1


@kernel
def novelty(visits: Array, encoded: Array) -> float:
    """Mean over the entries of the observation of 1 / sqrt(1 + visits of its fields); counts this visit.

    Parameters
    ----------
    visits : (observation, fields), read and written
        Summed activity of each field.
    encoded : (observation x (1 + fields) or more,), read
        As `encode` writes it.
    """
    n, fields = visits.shape
    total = 0.0
    for i in range(n):
        weighted, active = 0.0, 1e-9
        for k in range(fields):
            field = encoded[i * (1 + fields) + 1 + k]
            weighted += field * visits[i, k]
            active += field
            visits[i, k] += field
        total += 1.0 / math.sqrt(1.0 + weighted / active)
    return total / n  # type: ignore[no-any-return]


@kernel
def rarity(visits: Array, encoded: Array) -> float:
    """Mean over the entries above 0 of 1 / (1 + visits of it), 0 if there are none; counts this visit.

    What novelty is without receptive fields, where entries say which of n states this is. All visits of a state
    together are worth no more than the logarithm of their number, so that what was found outlives the search.

    Parameters
    ----------
    visits : (observation,), read and written
        How often each entry was above 0.
    encoded : (observation or more,), read
        As `encode` writes it.
    """
    total, active = 0.0, 0
    for i in range(visits.size):
        if encoded[i] > 0.0:
            total += 1.0 / (1.0 + visits[i])
            visits[i] += 1.0
            active += 1
    return total / max(active, 1)
