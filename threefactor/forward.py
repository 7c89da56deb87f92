"""The forward half of a tick: input to spikes to readout, with the filters that learning needs.

Everything that a synapse multiplies later, filtered presynaptic activity, surrogate derivative, filtered spikes, is a
vector of neurons and is advanced here; what has one entry a synapse is left to `tick`.
"""

from __future__ import annotations

from threefactor import layout as at
from threefactor._arithmetic import take_wide_vectors
from threefactor._choices import alone, anywhere, like
from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array, Ints
from threefactor.deferral import HORIZON, bring_up, gather_listed, horizon, list_rows, restart, start_base
from threefactor.deferred_tags import bring_tags_up, open_base
from threefactor.layout import has, matrix, number, starts_of, vector
from threefactor.neurons import adapt, fire, gather, integrate, low_pass, normalise
from threefactor.readouts import integrate_readout, softmax
from threefactor.regularisers import rate_signal
from threefactor.setback import pass_rows
from threefactor.sparse import bring_sparse_tags_up, bring_sparse_up, gather_sparse


@kernel
def fill(x: Array, value: float) -> None:
    """X = value, as a loop: numba compiles a loop much faster than a slice assignment."""
    for i in range(x.size):
        x[i] = value


@disjoint
def copy(x: Array, y: Array) -> None:
    """X = the first entries of y."""
    for i in range(x.size):
        x[i] = y[i]


@kernel
def all_finite(x: Array) -> bool:
    """Whether no entry is NaN or infinite."""
    wrong = 0
    for i in range(x.size):  # a count of integers, which the compiler may take in any order, is done in vectors
        wrong += 1 if anywhere(x[i] - x[i] != 0) else 0  # neither infinity nor NaN is its own difference's zero
    return wrong == 0


@alone
@kernel
def bring_rows_up(state: Array, table: Ints, block: int, rec: int, everything: bool) -> None:
    """Carry out what `deferral` noted for the rows that spikes need, or for `everything`."""
    n, adaptive = vector(state, table, block, at.V).size, max(number(table, block, at.N_ADAPTIVE), 1)
    due, age = vector(state, table, block, at.DUE + rec), vector(state, table, block, at.AGE + rec)
    pre = vector(state, table, block, at.PRE + rec * (at.Z_PREV - at.PRE))
    list_rows(due, pre, age, table[at.SLOT], horizon(table[at.STRIDE]), everything)
    if has(table, block, at.TARGETS + rec) and table[at.DEFERS] == at.TD:
        bring_sparse_tags_up(
            vector(state, table, block, at.W + rec), vector(state, table, block, at.TAG + rec),
            vector(state, table, block, at.EBAR + rec), vector(state, table, block, at.EPS_A + rec),
            vector(state, table, block, at.TARGETS + rec), starts_of(table, block, rec), age,
            vector(state, table, block, at.BASE_ZBAR + rec), due, matrix(state, table, block, at.COMPOSITES, n),
            matrix(state, table, block, at.COMPOSITES_A, adaptive), matrix(state, table, block, at.TD_NUMBERS, HORIZON),
            vector(state, table, block, at.KAPPA_POWERS), vector(state, table, block, at.ALPHA_POWERS),
            table[at.SLOT], n - number(table, block, at.N_ADAPTIVE), table[at.PENDING] == 1,
        )  # fmt: skip
        return
    if has(table, block, at.TARGETS + rec):
        bring_sparse_up(
            vector(state, table, block, at.W + rec), vector(state, table, block, at.EBAR + rec),
            vector(state, table, block, at.EPS_A + rec), vector(state, table, block, at.TARGETS + rec),
            starts_of(table, block, rec), age, vector(state, table, block, at.BASE_ZBAR + rec), due,
            matrix(state, table, block, at.COMPOSITES, n), matrix(state, table, block, at.COMPOSITES_A, adaptive),
            vector(state, table, block, at.KAPPA_POWERS), vector(state, table, block, at.ALPHA_POWERS),
            table[at.SLOT], n - number(table, block, at.N_ADAPTIVE),
        )  # fmt: skip
        return
    if table[at.DEFERS] == at.TD:
        bring_tags_up(
            matrix(state, table, block, at.W + rec, n), matrix(state, table, block, at.TAG + rec, n),
            matrix(state, table, block, at.EBAR + rec, n), matrix(state, table, block, at.EPS_A + rec, adaptive), age,
            vector(state, table, block, at.BASE_ZBAR + rec), due, matrix(state, table, block, at.COMPOSITES, n),
            matrix(state, table, block, at.COMPOSITES_A, adaptive), matrix(state, table, block, at.TD_NUMBERS, HORIZON),
            vector(state, table, block, at.KAPPA_POWERS), vector(state, table, block, at.ALPHA_POWERS),
            table[at.SLOT], rec == 1, table[at.PENDING] == 1,
        )  # fmt: skip
        return
    learnt = at.W if table[at.DEFERS] == at.WEIGHTS else at.TAG
    bring_up(
        matrix(state, table, block, learnt + rec, n), matrix(state, table, block, at.EBAR + rec, n),
        matrix(state, table, block, at.EPS_A + rec, adaptive), matrix(state, table, block, at.RATE_TRACE + rec, n),
        age, vector(state, table, block, at.BASE_ZBAR + rec), due, matrix(state, table, block, at.COMPOSITES, n),
        matrix(state, table, block, at.COMPOSITES_A, adaptive), vector(state, table, block, at.KAPPA_POWERS),
        vector(state, table, block, at.ALPHA_POWERS), table[at.SLOT], table[at.STRIDE], rec == 1,
    )  # fmt: skip


@alone
@kernel
def start_rows(state: Array, table: Ints, block: int, rec: int) -> None:
    """Let all rows, which are up to date, wait from the next tick whose learning signal comes: this one or the next."""
    decay = like(state, 1) if table[at.PENDING] else state[at.ALPHA]
    base_zbar, zbar = vector(state, table, block, at.BASE_ZBAR + rec), vector(state, table, block, at.ZBAR + rec)
    for i in range(base_zbar.size):
        base_zbar[i] = decay * zbar[i]


@alone
@kernel
def open_row(state: Array, table: Ints, block: int) -> None:
    """Start the composites of the tick to come, where a TD error drives the learning."""
    adaptive = matrix(state, table, block, at.COMPOSITES_A, max(number(table, block, at.N_ADAPTIVE), 1))
    composites = matrix(state, table, block, at.COMPOSITES, number(table, block, at.N_POST))
    open_base(composites, adaptive, matrix(state, table, block, at.TD_NUMBERS, HORIZON), table[at.SLOT])


@kernel
def filter_inputs(state: Array, table: Ints, block: int) -> None:
    """Filtered activity of what a layer receives."""
    alpha, scale = state[at.ALPHA], vector(state, table, block, at.SCALE)[0]
    low_pass(vector(state, table, block, at.ZBAR), vector(state, table, block, at.PRE), alpha, scale)
    low_pass(vector(state, table, block, at.ZBAR_REC), vector(state, table, block, at.Z_PREV), alpha, scale)


@kernel
def sets_back(table: Ints) -> bool:
    """Whether rows of this tick are set back to a base (`setback`); who looks ahead lets none wait."""
    return table[at.DEFERS] != at.NOTHING and table[at.STRIDE] > 1  # type: ignore[no-any-return]


@alone
@kernel
def receive_late(state: Array, table: Ints, block: int, rec: int) -> None:
    """As `receive`, by a matrix whose rows wait; they are brought up to date as far as needed."""
    take_wide_vectors()  # for what the compiler copies into this place
    current, n = vector(state, table, block, at.CURRENT), vector(state, table, block, at.V).size
    source = vector(state, table, block, at.PRE + rec * (at.Z_PREV - at.PRE))
    due, slot, stride = vector(state, table, block, at.DUE + rec), table[at.SLOT], table[at.STRIDE]
    if sets_back(table):
        age = vector(state, table, block, at.AGE + rec)
        list_rows(due, source, age, slot, horizon(stride), False)
        pass_rows(
            current, vector(state, table, block, at.W + rec), vector(state, table, block, at.EBAR + rec), age,
            vector(state, table, block, at.BASE_ZBAR + rec), vector(state, table, block, at.ZBAR + rec), source, due,
            vector(state, table, block, at.COMPOSITES), vector(state, table, block, at.KAPPA_POWERS),
            vector(state, table, block, at.ALPHA_POWERS), slot, stride, rec == 1,
        )  # fmt: skip
        return
    bring_rows_up(state, table, block, rec, False)
    if has(table, block, at.TARGETS + rec):
        targets, starts = vector(state, table, block, at.TARGETS + rec), starts_of(table, block, rec)
        gather_sparse(current, vector(state, table, block, at.W + rec), targets, starts, source, due)
    else:
        gather_listed(current, matrix(state, table, block, at.W + rec, n), source, due)


@kernel
def receive(state: Array, table: Ints, block: int, rec: int) -> None:
    """Add to the currents of a layer what comes by one matrix."""
    take_wide_vectors()  # for what the compiler copies into this place
    if table[at.DEFERS] != at.NOTHING:
        receive_late(state, table, block, rec)
        return
    current = vector(state, table, block, at.CURRENT)
    source = vector(state, table, block, at.PRE + rec * (at.Z_PREV - at.PRE))
    gather(current, matrix(state, table, block, at.W + rec, current.size), source)


@alone
@kernel
def begin_row(state: Array, table: Ints, block: int) -> None:
    """Start the composites of a base, if one begins with this tick."""
    composites = matrix(state, table, block, at.COMPOSITES, vector(state, table, block, at.V).size)
    start_base(composites, 3, table[at.SLOT], table[at.STRIDE])


@alone
@kernel
def restart_rows(state: Array, table: Ints, block: int) -> None:
    """Let the rows that were brought up to date wait from here on."""
    for rec in range(1 + table[at.RECURRENT]):
        zbar, due = vector(state, table, block, at.ZBAR + rec), vector(state, table, block, at.DUE + rec)
        restart(vector(state, table, block, at.BASE_ZBAR + rec), zbar, due)
    if table[at.DEFERS] == at.TD:
        open_row(state, table, block)


@kernel
def layer_forward(state: Array, table: Ints, block: int) -> None:
    """Advance one hidden layer by a tick, with the filters that its synapses need."""
    v = vector(state, table, block, at.V)
    a, z = vector(state, table, block, at.A), vector(state, table, block, at.Z)
    z_prev, current = vector(state, table, block, at.Z_PREV), vector(state, table, block, at.CURRENT)
    psi, scale = vector(state, table, block, at.PSI), vector(state, table, block, at.SCALE)
    n, alpha, zeta = v.size, state[at.ALPHA], state[at.ZETA]
    copy(z_prev, z)
    fill(current, 0)
    scale[0] = zeta
    back = sets_back(table)
    if back:
        begin_row(state, table, block)
        filter_inputs(state, table, block)
    for rec in range(1 + table[at.RECURRENT]):
        receive(state, table, block, rec)
    if table[at.NORMALISE]:
        scale[0] = zeta * normalise(current, 1e-5)
    integrate(v, current, z_prev, alpha, zeta, state[at.V_RESET])
    adapt(a, z_prev, vector(state, table, block, at.RHO), n - number(table, block, at.N_ADAPTIVE))
    slope, height = state[at.SLOPE], state[at.HEIGHT]
    if table[at.AREA]:
        height = height * slope * state[at.PER_AREA]
    fire(
        z, psi, vector(state, table, block, at.WAIT), v, a, state[at.V_TH], state[at.BETA], state[at.REFRACTORY],
        slope, height, table[at.SURROGATE],
    )  # fmt: skip
    if not back:
        filter_inputs(state, table, block)
    if table[at.DEFERS] != at.NOTHING and not back:
        restart_rows(state, table, block)
    low_pass(vector(state, table, block, at.ZBAR_OUT), z, state[at.KAPPA_OUT], state[at.ZETA_OUT])
    trace_filter = vector(state, table, block, at.FILTER)
    low_pass(vector(state, table, block, at.PSI_BAR), psi, trace_filter[0], trace_filter[2])
    if table[at.REGULARISED]:  # over a whole sequence, the signal comes at its end
        now = like(state, 1 - table[at.RATE_PER_SEQUENCE])
        rate_signal(
            vector(state, table, block, at.RATE_SIGNAL), vector(state, table, block, at.RATE), z, state[at.RATE_DECAY],
            state[at.RATE_GAIN], now * state[at.RATE_STRENGTH], state[at.RATE_TARGET], now * state[at.SPIKE_L1],
        )  # fmt: skip


@kernel
def forward(state: Array, table: Ints) -> None:
    """Advance the whole network by one tick on the input that stands in INPUT; writes the readout's Y."""
    x = vector(state, table, 0, at.INPUT)
    pre = vector(state, table, 0, at.PRE)
    for i in range(x.size):
        pre[i] = x[i]
    last = table[at.N_LAYERS]
    for block in range(last):
        layer_forward(state, table, block)
    v, y = vector(state, table, last, at.V), vector(state, table, last, at.Y)
    z = vector(state, table, last, at.PRE)
    room, w = vector(state, table, last, at.G), matrix(state, table, last, at.W, z.size)
    integrate_readout(v, w, z, room, state[at.KAPPA_OUT], state[at.ZETA_OUT])
    if table[at.SOFTMAX]:
        softmax(y, v)
    else:
        copy(y, v)
    table[at.PENDING] = 1
    table[at.TICKS] += 1
