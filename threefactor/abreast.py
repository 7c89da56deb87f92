"""The tick of networks abreast: numbers of each network, to lanes and back, and around them `tick.run`."""

from __future__ import annotations

from threefactor import layout as at
from threefactor import tick
from threefactor._jit import kernel, window
from threefactor._lanes import LANES
from threefactor.arrays import Array, Ints
from threefactor.forward import all_finite


@kernel
def into_lanes(numbers: Array, place: int, size: int, rows: Array, first: int, count: int) -> None:
    """Write `count` rows, from the one of network `first` on, into the lanes of `size` places."""
    for lane in range(count):
        for i in range(size):
            numbers[(place + i) * LANES + lane] = rows[(first + lane) * size + i]


@kernel
def out_of_lanes(numbers: Array, place: int, size: int, rows: Array, first: int, count: int) -> None:
    """Read `count` rows, from the one of network `first` on, out of the lanes of `size` places."""
    for lane in range(count):
        for i in range(size):
            rows[(first + lane) * size + i] = numbers[(place + i) * LANES + lane]


@kernel
def run(
    numbers: Array, state: Array, tables: Ints, x: Array, error: Array, y: Array, factors: Array, count: int,
    command: int,
) -> int:  # fmt: skip
    """Carry out one command of `tick.run` on all networks.

    Parameters
    ----------
    numbers, state : one memory, as numbers and as lanes of them, (groups of LANES networks, a network's size) laid flat
    tables : of each group, laid flat
    x, error : (networks, n_in) and (networks, n_out) laid flat; `numbers` itself where there is none
    y : (networks, n_out) laid flat, written
    factors : lanes of third factors of UPDATE, one for each group
    count : networks
    command : of `tick.run`

    Returns
    -------
    int
        As there, and unless DONE nothing was changed.
    """
    groups = factors.size
    size, width = state.size // groups, tables.size // groups
    steps = command in (tick.FORWARD, tick.LEARN_FORWARD)
    if x.size != numbers.size and not all_finite(x):
        return tick.BAD_INPUT
    if error.size != numbers.size and not all_finite(error):
        return tick.BAD_ERROR
    status = tick.DONE
    for group in range(groups):
        table = window(tables, group * width, (group + 1) * width)
        own = window(numbers, group * size * LANES, (group + 1) * size * LANES)
        first, last = group * LANES, table[at.N_LAYERS]
        some = min(LANES, count - first)
        if x.size != numbers.size:
            into_lanes(own, at.place(table, 0, at.INPUT), x.size // count, x, first, some)
        if error.size != numbers.size:
            into_lanes(own, at.place(table, last, at.ERROR), error.size // count, error, first, some)
        lanes = window(state, group * size, (group + 1) * size)
        factor = lanes[at.TAG_DECAY] if command == tick.TAG else factors[group]
        status = tick.run(lanes, table, lanes, lanes, command, factor)
        if steps:
            out_of_lanes(own, at.place(table, last, at.Y), y.size // count, y, first, some)
    return status


def counted(table: Ints) -> list[int]:
    """Places of what a network has counted, but for the rows that wait."""
    return [place for place in at.counters(table) if place not in (at.SLOT, at.WAITING)]


def carry(given: Array, of_given: Ints, kept: Array, of_kept: Ints) -> None:
    """Copy the numbers of a network to where another layout has them, in each all that both have."""
    kept[: at.N_PARAMETERS] = given[: at.N_PARAMETERS]
    for block in range(int(of_given[at.N_LAYERS]) + 1):
        for field in range(at.N_FIELDS):
            source, target = at.view(given, of_given, block, field), at.view(kept, of_kept, block, field)
            if source.size == target.size:
                target[:] = source
