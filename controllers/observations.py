"""What becomes of an observation that comes: whether it may be, what changed, statistics, and what the networks see."""

from __future__ import annotations

from controllers import places
from controllers.encoding import encode, join
from controllers.normalisation import LARGE, observe
from threefactor import layout as at
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.forward import copy
from threefactor.layout import vector

BEYOND = 1e-5  # share of an entry by which it may lie over a bound that was rounded


@kernel
def present(state: Array, table: Ints, memory: Array, own: Array, sizes: Ints) -> None:
    """Write the present observation, standardised if so wished, where a network takes its input from."""
    count = memory[places.COUNT] if memory[places.NORMALISE] > 0.0 else 0.0
    x, fields = vector(state, table, 0, at.INPUT), sizes[places.N_FIELDS]
    encode(
        x, places.observation_of(own, sizes), places.statistics_of(memory, sizes, places.MEAN),
        places.statistics_of(memory, sizes, places.SQUARES), count, memory[places.OBSERVATION_LIMIT], fields,
    )  # fmt: skip
    if sizes[places.JOINS] > 0:
        join(x, sizes[places.N_OBSERVATION], fields)


@kernel
def look(own: Array, sizes: Ints, given: Array, first: bool) -> None:
    """Write the observation that came, and behind it, where there is room, by how much it differs from the last one."""
    seen, n = places.observation_of(own, sizes), given.size
    for i in range(seen.size - n):
        seen[n + i] = 0.0 if first else min(max(given[i] - seen[i], -LARGE), LARGE)
    copy(seen[:n], given)


@kernel
def take(memory: Array, own: Array, sizes: Ints) -> None:
    """Take the present observation into the running statistics, by a weight that shrinks as the policy does well."""
    weight = memory[places.SAMPLE_WEIGHT]
    memory[places.COUNT] += weight
    mean, seen = places.statistics_of(memory, sizes, places.MEAN), places.observation_of(own, sizes)
    observe(mean, places.statistics_of(memory, sizes, places.SQUARES), memory[places.COUNT], weight, seen)


@kernel
def inside(memory: Array, sizes: Ints, given: Array) -> bool:
    """Whether the observation lies in its space, but for what rounding does."""
    low, high = places.statistics_of(memory, sizes, places.LOW), places.statistics_of(memory, sizes, places.HIGH)
    for i in range(given.size):
        if given[i] < low[i] - BEYOND * abs(low[i]) or given[i] > high[i] + BEYOND * abs(high[i]):
            return False
    return True
