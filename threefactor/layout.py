"""Where everything lies: the whole network is one float buffer and one integer table.

A kernel is handed `state` (float32 or float64) and `table` (int64) and cuts views out of the buffer, which costs a
tenth of what passing twenty arrays would. The buffer also is the checkpoint: copy it, and you have copied the network.

The buffer holds, in this order: the parameters; the fast state (voltages, spikes, filters), the eligibility traces,
the tags, and what lasts (weights, feedback, moments of the optimiser, masks). A region can so be saved or cleared in
one stroke. `table` holds the switches and, for each block, the first and last place of each field. Block l is hidden
layer l; the last block is the readout. Where copies share the weights, each has a table of its own: behind what lasts
follow the fast state, traces and tags of the second copy, the third and so on.

A sparse matrix keeps the entries that exist, row by row, and in TARGETS the neuron that each leads to; where the rows
start stands behind the blocks in `table`.

Matrices of hidden layers are stored (pre, post), so that the weights and traces that a presynaptic spike touches are
neighbours in memory; matrices onto the readout (post, pre), because readouts are few. The public arrays of `Network`
are [post, pre] throughout.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from threefactor._jit import grid, kernel, window
from threefactor._lanes import LANES
from threefactor.arrays import Array, Ints
from threefactor.deferral import HORIZON, horizon
from threefactor.deferred_tags import KINDS, KINDS_A
from threefactor.filters import adaptation_decays, decay, trace_filter
from threefactor.settings import NetworkSettings
from threefactor.surrogates import SURROGATES

# --- parameters: places in `state` ---------------------------------------------------------------------------------
(
    ALPHA, ZETA, BETA, V_TH, V_RESET, REFRACTORY, KAPPA_OUT, ZETA_OUT, SLOPE, HEIGHT,
    RATE_STRENGTH, RATE_TARGET, RATE_DECAY, RATE_GAIN, RATE_TRACE_DECAY, RATE_TRACE_GAIN, SPIKE_L1, VOLTAGE_L2,
    LEARNING_RATE, BETA_1, BETA_2, EPSILON, OVERSHOOT, TAG_DECAY, CLIP_VALUE, CLIP_NORM, WEIGHT_MIN, WEIGHT_MAX,
    WEIGHT_DECAY, FEEDBACK_DECAY, PER_AREA, STEP_SIZE, NORMS, NORMS_END, NORM_DECAY, MEAN_NORM, TAG_NORM, LIFT,
    N_PARAMETERS,
) = range(39)  # fmt: skip

# --- switches: places in `table` -----------------------------------------------------------------------------------
(
    N_LAYERS, N_OUT, BIAS, RECURRENT, SURROGATE, AREA, EXACT_RESET, NORMALISE, SOFTMAX, FEEDBACK, DIRECT, FROZEN,
    OPTIMISER, REGULARISED, RATE_PER_SEQUENCE, MASKED, PENDING, TICKS, SLOT, WAITING, FAST, TRACES, TAGS,
    TAGS_END, DEFERS, SPARSE, STRIDE, N_SWITCHES,
) = range(28)  # fmt: skip
SYMMETRIC, RANDOM, ADAPTIVE = 0, 1, 2
# what may wait, see `deferral`: nothing, weights under LEARN, sums of gradients under TAG, weights and tags under TAG
# and UPDATE
NOTHING, WEIGHTS, SUMS, TD = 0, 1, 2, 3

# --- fields of a block: places in its part of `table`, two integers each -------------------------------------------
# NAME, NAME_REC and, where there is one, B_NAME follow each other: they belong to the connection from below, the
# recurrent connection and the feedback weights, so that NAME + 0, 1, 2 picks the matrix. No network has a B_REG.
(
    INPUT, PRE, V, A, Z, Z_PREV, WAIT, PSI, SIGNAL, RATE, RATE_SIGNAL, ZBAR, ZBAR_REC, ZBAR_OUT, PSI_BAR, Y, ERROR,
    SCALE, CURRENT, E, G,
    EBAR, EBAR_REC, EPS_A, EPS_A_REC, EPS_V, EPS_V_REC, RATE_TRACE, RATE_TRACE_REC,
    TAG, TAG_REC, B_TAG, REG, REG_REC, B_REG,
    W, W_REC, B, M, M_REC, B_M, S, S_REC, B_S, MASK, MASK_REC, FILTER, RHO,
    COMPOSITES, COMPOSITES_A, AGE, AGE_REC, BASE_ZBAR, BASE_ZBAR_REC, DUE, DUE_REC, KAPPA_POWERS, ALPHA_POWERS,
    TARGETS, TARGETS_REC, TD_NUMBERS, N_FIELDS,
) = range(62)  # fmt: skip
# ... followed by the block's own integers
N_PRE, N_POST, N_ADAPTIVE, STEPS, STEPS_REC, STEPS_B, STARTS, STARTS_REC, N_NUMBERS = range(
    2 * N_FIELDS, 2 * N_FIELDS + 9
)
BLOCK = N_NUMBERS

Starts = Mapping[tuple[int, int], Ints]  # of sparse matrices, by block and 1 for recurrent: where each row starts, ends

# ticks between two bases, multiples of SPAN: the first that leaves so much of activity and trace to calculate back from
STRIDES, LEAST = (32, 16), 1 / 32
ALIGN = LANES  # entries: rows of fields start on cache lines


@kernel
def number(table: Ints, block: int, name: int) -> int:
    """One of a block's own integers, such as N_POST."""
    return table[N_SWITCHES + block * BLOCK + name]  # type: ignore[no-any-return]


@kernel
def place(table: Ints, block: int, field: int) -> int:
    """Where a field starts in `state`."""
    return table[N_SWITCHES + block * BLOCK + 2 * field]  # type: ignore[no-any-return]


@kernel
def vector(state: Array, table: Ints, block: int, field: int) -> Array:
    """View of a field as a row of numbers; empty where the network has no such field. For kernels only, see `view`."""
    at = N_SWITCHES + block * BLOCK + 2 * field
    return window(state, table[at], table[at + 1])


def view(state: Array, table: Ints, block: int, field: int) -> Array:
    """As `vector`, for callers that are not kernels: keeps the buffer alive."""
    at = N_SWITCHES + block * BLOCK + 2 * field
    return state[table[at] : table[at + 1]]


@kernel
def matrix(state: Array, table: Ints, block: int, field: int, columns: int) -> Array:
    """View of a field as a matrix with `columns` columns; of no rows where the network has no such field."""
    at = N_SWITCHES + block * BLOCK + 2 * field
    return grid(state, table[at], table[at + 1], columns)


@kernel
def has(table: Ints, block: int, field: int) -> bool:
    """Whether the network has this field."""
    at = N_SWITCHES + block * BLOCK + 2 * field
    return table[at + 1] > table[at]  # type: ignore[no-any-return]


@kernel
def starts_of(table: Ints, block: int, rec: int) -> Ints:
    """Where each row of a sparse matrix starts among its entries, and behind them where the last one ends."""
    at, rows = number(table, block, STARTS + rec), number(table, block, N_POST if rec else N_PRE)
    return window(table, at, at + rows + 1)


@dataclass(frozen=True)
class Region:
    """First and last place of a part of the buffer."""

    start: int
    stop: int

    def of(self, state: Array) -> Array:
        """View of this part."""
        return state[self.start : self.stop]


@dataclass(frozen=True)
class Layout:
    """The tables of a network, a row for each copy, and the parts of its buffer, of the first copy."""

    tables: Ints
    size: int
    fast: Region
    traces: Region
    tags: Region
    lasting: Region


def _defers(s: NetworkSettings, masked: bool) -> int:
    """What may wait until it is needed: sums of gradients, weights (and tags) under plain descent, or nothing."""
    per_sequence = math.isinf(s.rate_tau)
    regularised = bool(s.rate_strength or s.spike_l1)
    if (
        s.exact_reset
        or s.freeze_hidden
        or masked
        or s.voltage_l2
        or (regularised and not per_sequence)
        or s.n_copies > 1
    ):
        return NOTHING
    if s.optimiser == "intentional":
        return NOTHING
    if s.tag_decay == 1.0:
        return SUMS
    unbounded = math.isinf(s.weight_min) and math.isinf(s.weight_max)
    unclipped = math.isinf(s.clip_value) and math.isinf(s.clip_norm)
    plain = s.optimiser == "sgd" and not (regularised or s.weight_decay)
    if not (plain and unbounded and unclipped):
        return NOTHING
    return TD if s.tag_decay > 0.0 else WEIGHTS


def _stride(s: NetworkSettings, defers: int, starts: Starts) -> int:
    """Ticks from a base to the next, see `deferral`: one, if rows cannot be set back."""
    stacked = len(s.n_hidden) > 1  # learning signals then need a layer's rows as they are at each tick
    if defers != WEIGHTS or starts or any(s.n_adaptive) or s.normalise_current or stacked:
        return 1
    left = trace_filter(s, 0)[0] * decay(s.dt, s.tau_m)  # of activity and trace together, after a tick
    return next((stride for stride in STRIDES if left**stride >= LEAST), 1)


def _fields(s: NetworkSettings, masked: bool, starts: Starts, waiting: int) -> dict[str, list[tuple[int, int, int]]]:
    """For each region the (block, field, size) that a network of these settings needs."""
    bias, out = int(s.bias), s.n_out
    intentional, tags = s.optimiser == "intentional", not s.freeze_hidden
    adam, room = s.optimiser == "adam", 3 if intentional else 2
    regularised = bool(s.rate_strength or s.spike_l1 or s.voltage_l2)
    per_sequence = math.isinf(s.rate_tau) and bool(s.rate_strength or s.spike_l1)
    averaged = per_sequence or (s.rate_strength > 0.0 and s.rate_trace_tau > 0.0)
    defers, td, stride = waiting != NOTHING, waiting == TD, _stride(s, waiting, starts)
    ring = horizon(stride)
    fast, traces, tag, lasting = [], [], [], []
    n_pre = s.n_in + bias
    for block, n in enumerate(s.n_hidden):
        last = block == len(s.n_hidden) - 1
        if block == 0:
            fast += [(0, INPUT, s.n_in), (0, PRE, n_pre)]
        fast += [(block, f, n) for f in (V, A, Z_PREV, WAIT, PSI, SIGNAL, RATE, RATE_SIGNAL, PSI_BAR, CURRENT, G)]
        fast += [(block, Z, n + bias), (block, ZBAR, n_pre), (block, SCALE, 1), (block, E, room * n)]
        fast += [(block, ZBAR_OUT, n + bias)] if last or s.credit == "direct" else []
        fast += [(block, ZBAR_REC, n)] if s.recurrent else []
        n_alif = s.n_adaptive[block] if s.n_adaptive else 0
        for rec, rows in ((0, n_pre), (1, n)) if s.recurrent else ((0, n_pre),):
            sparse = (block, rec) in starts
            square = int(starts[block, rec][-1]) if sparse else rows * n
            if defers:
                traces += [(block, AGE + rec, rows), (block, BASE_ZBAR + rec, rows), (block, DUE + rec, rows + 1)]
            lasting.append((block, W + rec, square))
            if tags:
                traces.append((block, EBAR + rec, square))
                traces += [(block, EPS_A + rec, (square if sparse else rows * n_alif) if n_alif else 0)]
                traces += [(block, EPS_V + rec, square)] if s.exact_reset else []
                traces += [(block, RATE_TRACE + rec, square)] if averaged else []
                tag += [] if sparse and not td else [(block, TAG + rec, square)]
                tag += [(block, REG + rec, square)] if regularised else []
                lasting += [(block, M + rec, square)] if adam else []
                lasting += [(block, S + rec, square)] if adam or intentional else []
            lasting += [(block, MASK + rec, square)] if masked else []
            lasting += [(block, TARGETS + rec, square)] if sparse else []
        lasting += [(block, FILTER, 3), (block, RHO, n)]
        if defers:
            traces.append((block, COMPOSITES, (KINDS if td else 3 + averaged) * ring // stride * n))
            traces += [(block, TD_NUMBERS, 2 * HORIZON)] if td else []
            traces.append((block, COMPOSITES_A, (KINDS_A if td else 4 + averaged) * HORIZON * n_alif))
            lasting += [(block, KAPPA_POWERS, ring + 1), (block, ALPHA_POWERS, ring + 1)]
        if s.feedback != "symmetric" and (last or s.credit == "direct"):
            lasting.append((block, B, out * n))
            if s.feedback == "adaptive":
                tag.append((block, B_TAG, out * n))
                lasting += [(block, B_M, out * n)] if adam else []
                lasting += [(block, B_S, out * n)] if adam or intentional else []
        n_pre = n + bias
    block, square = len(s.n_hidden), out * n_pre
    fast += [(block, f, out) for f in (V, Y, ERROR)] + [(block, G, n_pre)]
    fast += [(block, E, room * n_pre)] if intentional else []
    tag.append((block, TAG, square))
    lasting.append((block, W, square))
    lasting += [(block, M, square)] if adam else []
    lasting += [(block, S, square)] if adam or intentional else []
    lasting += [(block, MASK, square)] if masked else []
    return {"fast": fast, "traces": traces, "tags": tag, "lasting": lasting}


def _alias(table: Ints, field: int, other: int) -> None:
    table[field : field + 2] = table[other : other + 2]


def place_of_starts(s: NetworkSettings, names: Collection[tuple[int, int]]) -> dict[tuple[int, int], slice]:
    """Where in a table the rows' starts of these sparse matrices stand."""
    found, place = {}, N_SWITCHES + (len(s.n_hidden) + 1) * BLOCK
    for block, rec in sorted(names):
        rows = s.n_hidden[block] if rec else (s.n_in, *s.n_hidden)[block] + int(s.bias)
        found[block, rec] = slice(place, place + rows + 1)
        place += rows + 1
    return found


def starts_in(s: NetworkSettings, table: Ints) -> dict[tuple[int, int], Ints]:
    """What a table says of where the rows of sparse matrices start."""
    names = [
        (block, rec) for block in range(len(s.n_hidden)) for rec in range(2)
        if table[N_SWITCHES + block * BLOCK + STARTS + rec]
    ]  # fmt: skip
    return {name: table[room] for name, room in place_of_starts(s, names).items()}


def plan(s: NetworkSettings, masked: bool = False, starts: Starts | None = None, waits: bool = True) -> Layout:
    """Lay out the buffer of a network; unless it `waits`, everything is done at once.

    Raises
    ------
    ValueError
        Sparse matrices in a network whose weights cannot wait.
    """
    starts, defers = starts or {}, _defers(s, masked) if waits else NOTHING
    if starts and defers not in (WEIGHTS, TD):
        raise ValueError(
            "sparse masks need plain descent at each tick: optimiser 'sgd', no regularisers, bounds, clipping, weight "
            "decay, exact_reset or freeze_hidden, one copy, no dense masks beside them."
        )
    n_layers, rooms = len(s.n_hidden), place_of_starts(s, starts)
    table = np.zeros(N_SWITCHES + (n_layers + 1) * BLOCK + sum(map(len, starts.values())), dtype=np.int64)
    place = math.ceil(N_PARAMETERS / ALIGN) * ALIGN
    regions = {}
    for name, fields in _fields(s, masked, starts, defers).items():
        start = place
        for block, field, size in fields:
            at = N_SWITCHES + block * BLOCK + 2 * field
            table[at : at + 2] = place, place + size
            place += math.ceil(size / ALIGN) * ALIGN
        regions[name] = Region(start, place)

    for (block, rec), room in rooms.items():
        table[N_SWITCHES + block * BLOCK + STARTS + rec] = room.start
        table[room] = starts[block, rec]
    sizes = (s.n_in, *s.n_hidden, s.n_out)
    for block in range(n_layers + 1):
        at = N_SWITCHES + block * BLOCK
        table[at + N_PRE] = sizes[block] + int(s.bias)
        table[at + N_POST] = sizes[block + 1]
        table[at + N_ADAPTIVE] = s.n_adaptive[block] if s.n_adaptive and block < n_layers else 0
        if block:  # what the layer below sends is what this one receives
            _alias(table, at + 2 * PRE, at - BLOCK + 2 * Z)
    _alias(table, at + 2 * ZBAR, at - BLOCK + 2 * ZBAR_OUT)

    switches = {
        N_LAYERS: n_layers, N_OUT: s.n_out, BIAS: s.bias, RECURRENT: s.recurrent, SURROGATE: SURROGATES[s.surrogate][0],
        AREA: s.normalisation == "area", EXACT_RESET: s.exact_reset, NORMALISE: s.normalise_current,
        SOFTMAX: s.readout == "softmax", FEEDBACK: ("symmetric", "random", "adaptive").index(s.feedback),
        DIRECT: s.credit == "direct", FROZEN: s.freeze_hidden,
        OPTIMISER: ("sgd", "adam", "obgd", "intentional").index(s.optimiser),
        REGULARISED: bool(s.rate_strength or s.spike_l1 or s.voltage_l2), RATE_PER_SEQUENCE: math.isinf(s.rate_tau),
        MASKED: masked, FAST: regions["fast"].start, TRACES: regions["traces"].start, TAGS: regions["tags"].start,
        TAGS_END: regions["tags"].stop,
        DEFERS: defers, SPARSE: bool(starts), STRIDE: _stride(s, defers, starts),
    }  # fmt: skip
    for place_, value in switches.items():
        table[place_] = int(value)
    own = regions["tags"].stop - regions["fast"].start  # of each copy
    tables = np.array([_moved(table, regions, place - regions["fast"].start + (k - 1) * own) if k else table
                       for k in range(s.n_copies)])  # fmt: skip
    return Layout(tables=tables, size=place + (s.n_copies - 1) * own, **regions)


def _moved(table: Ints, regions: dict[str, Region], distance: int) -> Ints:
    """The table of a copy whose fast state, traces and tags lie `distance` places behind those of the first."""
    moved = table.copy()
    places = [FAST, TRACES, TAGS, TAGS_END]
    for block in range(int(table[N_LAYERS]) + 1):
        fields = N_SWITCHES + block * BLOCK + 2 * np.arange(N_FIELDS)
        inside = (regions["fast"].start <= table[fields]) & (table[fields] < regions["tags"].stop)
        places += [*fields[inside], *(fields[inside] + 1)]
    moved[places] += distance
    return moved


def fill_parameters(state: Array, table: Ints, s: NetworkSettings) -> None:
    """Write the numbers of the settings, as decays and gains, into the head of the buffer."""
    alpha, kappa_out = decay(s.dt, s.tau_m), decay(s.dt, s.tau_out)
    v_reset = s.threshold if s.reset == "next_tick" else alpha * s.threshold
    per_sequence = math.isinf(s.rate_tau)
    rate_decay, rate_trace_decay = decay(s.dt, s.rate_tau), 1.0 if per_sequence else decay(s.dt, s.rate_trace_tau)
    parameters = {
        ALPHA: alpha, ZETA: 1.0 if s.current_gain == "unit" else 1.0 - alpha, BETA: s.adaptation_strength,
        V_TH: s.threshold, V_RESET: v_reset, REFRACTORY: round(s.refractory / s.dt),
        KAPPA_OUT: kappa_out, ZETA_OUT: 1.0 if s.readout_gain == "unit" else 1.0 - kappa_out, SLOPE: s.slope,
        HEIGHT: s.height, RATE_STRENGTH: s.rate_strength,
        RATE_TARGET: s.rate_target / 1000.0 * (s.dt if per_sequence else 1.0),
        RATE_DECAY: rate_decay, RATE_GAIN: 1.0 if per_sequence else (1.0 - rate_decay) / s.dt,
        RATE_TRACE_DECAY: rate_trace_decay, RATE_TRACE_GAIN: 1.0 if per_sequence else 1.0 - rate_trace_decay,
        SPIKE_L1: s.spike_l1, VOLTAGE_L2: s.voltage_l2, LEARNING_RATE: s.learning_rate, BETA_1: s.beta_1,
        BETA_2: s.beta_2, EPSILON: s.epsilon, OVERSHOOT: s.overshoot, TAG_DECAY: s.tag_decay, CLIP_VALUE: s.clip_value,
        CLIP_NORM: s.clip_norm, WEIGHT_MIN: s.weight_min, WEIGHT_MAX: s.weight_max,
        WEIGHT_DECAY: s.weight_decay,
        FEEDBACK_DECAY: s.feedback_decay, PER_AREA: 1.0 / SURROGATES[s.surrogate][1], NORM_DECAY: s.norm_decay,
    }  # fmt: skip
    for place, value in parameters.items():
        state[place] = value
    for block in range(len(s.n_hidden)):
        view(state, table, block, RHO)[:] = adaptation_decays(s, block)
        below = len(s.n_hidden) - 1 - block if s.credit == "layerwise" else 0
        view(state, table, block, FILTER)[:] = trace_filter(s, below)
        for field, kept in ((KAPPA_POWERS, trace_filter(s, below)[0]), (ALPHA_POWERS, alpha)):
            powers = view(state, table, block, field)
            powers[:] = kept ** np.arange(powers.size)


@kernel
def hand_over(table: Ints, given: Ints) -> None:
    """Take over the counts that belong to the shared weights, those of updates, from the table of another copy."""
    for block in range(table[N_LAYERS] + 1):
        start = N_SWITCHES + block * BLOCK
        for counter in range(STEPS, STEPS_B + 1):
            table[start + counter] = given[start + counter]


def counters(table: Ints) -> list[int]:
    """Places of `table` that change while a network runs; the others follow from the settings."""
    found = [PENDING, TICKS, SLOT, WAITING]
    for block in range(int(table[N_LAYERS]) + 1):
        start = N_SWITCHES + block * BLOCK
        found += [start + STEPS, start + STEPS_REC, start + STEPS_B]
    return found


def same_layout(tables: Ints, others: Ints) -> bool:
    """Whether tables, a row for each copy, are of one layout, whatever their networks have counted."""
    if tables.shape != others.shape:
        return False
    changing = counters(tables[0])
    return np.array_equal(np.delete(tables, changing, axis=1), np.delete(others, changing, axis=1))
