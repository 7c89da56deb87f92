"""Where everything lies that the compiled step of the actor-critic keeps beside its networks.

`memory` is what all copies share, `own` is what each copy has of its own; both are rows of double precision. `sizes`
holds what their places follow from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from threefactor._jit import grid, kernel, window
from threefactor.arrays import Array, Ints

# Places in `memory`, which all copies share: numbers, then vectors
(
    COUNT, RETURN_COUNT, RETURN_MEAN, RETURN_SQUARES, TD_ERROR, DISCOUNT, TRACE_DECAY, ENTROPY, SIGMA_FLOOR,
    OBSERVATION_LIMIT, SCALE_REWARDS, NORMALISE, KEEP_STATE, REWARD_SCALE, MEAN_TD_ERROR, MEAN_RATE, STEPS, BASELINE,
    BASELINE_RATE, NOISE_CORRELATION, NOVELTY, DEVIATION_BIAS, NORMALISE_ERROR, ERRORS, ERROR_SQUARE, ERROR_SIZE,
    LEAST_ERROR, WIDTH, WARM_UP, EPISODES, SAMPLE_WEIGHT, N_NUMBERS,
) = range(32)  # fmt: skip
MEAN, SQUARES, LOW, HIGH, N_STATISTICS = range(5)  # of observations: running mean, summed squared deviations, bounds
VALUE, RETURN, EPISODE_RETURN, N_OWN = range(4)  # places in `own`, of which each copy has one: numbers, then vectors
# Places in `sizes`, of observations the entries that are seen; behind them, for a categorical policy, where the choices
# of each action start, and where they end
N_OBSERVATION, N_ACTION, N_READOUT, N_NOISE, KIND, N_FIELDS, JOINS, WARM_TICKS, N_COPIES, N_SIZES = range(10)


@kernel
def statistics_of(memory: Array, sizes: Ints, which: int) -> Array:
    """View of a vector as long as an observation: MEAN, SQUARES, LOW or HIGH."""
    n = sizes[N_OBSERVATION]
    return window(memory, N_NUMBERS + which * n, N_NUMBERS + (which + 1) * n)


@kernel
def visits_of(memory: Array, sizes: Ints) -> Array:
    """View of how often each receptive field was visited, (observation, fields); each entry, if there are none."""
    start = N_NUMBERS + N_STATISTICS * sizes[N_OBSERVATION]
    each = max(sizes[N_FIELDS], 1)
    return grid(memory, start, start + sizes[N_OBSERVATION] * each, each)


@kernel
def observation_of(own: Array, sizes: Ints) -> Array:
    """View of the present observation, what changed since the last one behind it if that is seen, too."""
    return window(own, N_OWN, N_OWN + sizes[N_OBSERVATION])


@kernel
def action_of(own: Array, sizes: Ints) -> Array:
    """View of the action."""
    start = N_OWN + sizes[N_OBSERVATION]
    return window(own, start, start + sizes[N_ACTION])


@kernel
def probabilities_of(own: Array, sizes: Ints) -> Array:
    """View of the probabilities of a categorical policy, those of one action behind those of the other."""
    start = N_OWN + sizes[N_OBSERVATION] + sizes[N_ACTION]
    return window(own, start, start + sizes[N_READOUT])


@kernel
def noise_of(own: Array, sizes: Ints, which: int) -> Array:
    """View of the exploration noise (0), or of the random numbers that this step draws it from (1)."""
    start = N_OWN + sizes[N_OBSERVATION] + sizes[N_ACTION] + sizes[N_READOUT] + which * sizes[N_NOISE]
    return window(own, start, start + sizes[N_NOISE])


def view(place: Callable[..., Array], *given: Any) -> Array:
    """What one of the kernels above says, for callers that are not kernels: the view keeps its array alive."""
    return getattr(place, "py_func", place)(*given)


def memory_size(sizes: Ints) -> int:
    """Entries of `memory`."""
    return N_NUMBERS + (N_STATISTICS + max(int(sizes[N_FIELDS]), 1)) * int(sizes[N_OBSERVATION])


def own_size(sizes: Ints) -> int:
    """Entries of `own`."""
    return N_OWN + int(sizes[N_OBSERVATION] + sizes[N_ACTION] + sizes[N_READOUT] + 2 * sizes[N_NOISE])
