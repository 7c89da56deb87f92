"""The tick: the only place where neurons, traces, learning signals and optimisers meet.

`run` is the one entry into compiled code. A supervised network calls FORWARD, LEARN each tick, or LEARN_FORWARD, which
learns from the last tick and takes the next; one driven by a TD error FORWARD, TAG, UPDATE; one that sums a gradient
over a sequence FORWARD, TAG, ..., UPDATE, CLEAR.

The traces of a tick are advanced by the LEARN or TAG that follows it; if neither comes, by the next FORWARD, with a
learning signal of zero; SKIP leaves them where they are. Where the rule allows it (`deferral`), LEARN, or TAG and
UPDATE, only note what they do to hidden weights, tags and traces, and a later FORWARD carries it out for the rows that
it needs; SETTLE does so for all, and has to come before anybody looks at them.
"""

from __future__ import annotations

from threefactor import layout as at
from threefactor._choices import alone, anywhere, like
from threefactor._denormal import ignore_denormals, restore
from threefactor._jit import kernel, window
from threefactor.arrays import Array, Ints
from threefactor.deferral import HORIZON, carry_adaptation, carry_on, horizon
from threefactor.deferred_tags import carry_tags_on
from threefactor.forward import all_finite, bring_rows_up, copy, fill, forward, open_row, start_rows
from threefactor.layout import has, matrix, number, starts_of, vector
from threefactor.learning_signals import broadcast, from_above, from_above_sparse
from threefactor.optimisers import INTENTIONAL, floor_of
from threefactor.regularisers import gather_sequence, sequence_signal
from threefactor.sums import added
from threefactor.traces import keep_connected, measure_traces, tag_outputs, tag_traces
from threefactor.updates import begin_measure, end_measure, measure_direct, update

FORWARD, LEARN, TAG, UPDATE, RESET, CLEAR, SETTLE, SKIP, LEARN_FORWARD = range(9)  # commands
DONE, BAD_INPUT, BAD_ERROR, NOTHING_PENDING, NO_TAGS = range(5)  # answers; unless DONE nothing was changed


# --- credit ----------------------------------------------------------------------------------------------------------


@alone
@kernel
def settle_layer(state: Array, table: Ints, block: int) -> None:
    """Bring the weights and traces of all rows of a layer up to date."""
    for rec in range(1 + table[at.RECURRENT]):
        bring_rows_up(state, table, block, rec, True)
        start_rows(state, table, block, rec)
    if table[at.DEFERS] == at.TD and table[at.PENDING]:  # updates since the last tick are carried out
        open_row(state, table, block)


@alone
@kernel
def settle(state: Array, table: Ints) -> None:
    """Bring the weights and traces of all rows that wait up to date."""
    for block in range(table[at.N_LAYERS]):
        settle_layer(state, table, block)
    table[at.SLOT] -= table[at.SLOT] % table[at.STRIDE]  # no row waits: the next may start at a base
    table[at.WAITING] = 0


@kernel
def spread_error(state: Array, table: Ints) -> None:
    """Learning signals of all hidden layers from the readout's ERROR."""
    last = table[at.N_LAYERS]
    error = vector(state, table, last, at.ERROR)
    for up in range(last):
        block = last - 1 - up
        signal = vector(state, table, block, at.SIGNAL)
        if up == 0 and table[at.FEEDBACK] == at.SYMMETRIC:
            broadcast(signal, matrix(state, table, last, at.W, number(table, last, at.N_PRE)), error)
        elif up == 0 or table[at.DIRECT]:
            broadcast(signal, matrix(state, table, block, at.B, signal.size), error)
        else:
            above = block + 1
            if table[at.DEFERS] == at.WEIGHTS:
                bring_rows_up(state, table, above, 0, True)
                start_rows(state, table, above, 0)
            elif table[at.DEFERS] == at.TD:
                settle_layer(state, table, above)
            psi_bar, signal_above = vector(state, table, above, at.PSI_BAR), vector(state, table, above, at.SIGNAL)
            scale = vector(state, table, above, at.SCALE)[0]
            if has(table, above, at.TARGETS):
                entries, targets = vector(state, table, above, at.W), vector(state, table, above, at.TARGETS)
                starts = starts_of(table, above, 0)
                from_above_sparse(signal, entries, targets, starts, psi_bar, signal_above, scale)
            else:
                w = matrix(state, table, above, at.W, psi_bar.size)
                from_above(signal, w, psi_bar, signal_above, scale)


@kernel
def silence(state: Array, table: Ints) -> None:
    """Learning signals and error of zero."""
    last = table[at.N_LAYERS]
    fill(vector(state, table, last, at.ERROR), 0)
    for block in range(last):
        fill(vector(state, table, block, at.SIGNAL), 0)


@kernel
def tag_layer(state: Array, table: Ints, block: int, rec: int, decay: float, measuring: bool) -> None:
    """Advance the traces of one matrix of a hidden layer and add to its tags; `rec` is 1 for the recurrent one."""
    psi = vector(state, table, block, at.PSI)
    trace_filter = vector(state, table, block, at.FILTER)
    n, adaptive = psi.size, max(number(table, block, at.N_ADAPTIVE), 1)
    pre = vector(state, table, block, at.PRE + rec * (at.Z_PREV - at.PRE))
    tags, reg = matrix(state, table, block, at.TAG + rec, n), matrix(state, table, block, at.REG + rec, n)
    mask, room = matrix(state, table, block, at.MASK + rec, n), vector(state, table, block, at.E)
    norms, tag_norms = window(room, n, 2 * n), window(room, 2 * n, room.size)
    if measuring:
        fill(norms, 0)
        fill(tag_norms, 0)
    floor = like(state, floor_of(state[at.EPSILON]))
    plain = rec == 0 and not (has(table, block, at.EPS_A) or has(table, block, at.EPS_V) or has(table, block, at.MASK))
    if measuring and plain:
        measure_traces(
            tags, matrix(state, table, block, at.EBAR, n), matrix(state, table, block, at.S, n), norms, tag_norms, psi,
            vector(state, table, block, at.SIGNAL), vector(state, table, block, at.ZBAR), decay, trace_filter[0],
            trace_filter[1], state[at.BETA_2], state[at.LIFT], floor,
        )  # fmt: skip
    else:
        tag_traces(
            tags, reg, matrix(state, table, block, at.EBAR + rec, n),
            matrix(state, table, block, at.EPS_A + rec, adaptive), matrix(state, table, block, at.EPS_V + rec, n),
            matrix(state, table, block, at.RATE_TRACE + rec, n), window(room, 0, n),
            psi, vector(state, table, block, at.SIGNAL), vector(state, table, block, at.RATE_SIGNAL),
            vector(state, table, block, at.V), vector(state, table, block, at.ZBAR + rec), pre, mask,
            vector(state, table, block, at.SCALE)[0], decay, trace_filter[0], trace_filter[1], state[at.ALPHA],
            state[at.V_RESET], state[at.BETA], vector(state, table, block, at.RHO),
            state[at.RATE_TRACE_DECAY], state[at.RATE_TRACE_GAIN], state[at.VOLTAGE_L2], rec == 1,
            measuring, matrix(state, table, block, at.S + rec, n), norms, tag_norms, state[at.BETA_2], state[at.LIFT],
            floor,
        )  # fmt: skip
    if measuring:
        state[at.NORMS] += added(norms)
        state[at.NORMS + 1] += added(tag_norms)
    else:
        keep_connected(tags, mask, rec == 1)
    keep_connected(reg, mask, rec == 1)


@alone
@kernel
def defer_layer(state: Array, table: Ints, block: int, decay: float) -> None:
    """Note what this tick does to traces and to what is learnt in a hidden layer; `bring_rows_up` carries it out."""
    psi, s = vector(state, table, block, at.PSI), vector(state, table, block, at.G)
    signal, n_alif = vector(state, table, block, at.SIGNAL), number(table, block, at.N_ADAPTIVE)
    factor = -state[at.LEARNING_RATE] if table[at.DEFERS] == at.WEIGHTS else like(state, 1)
    for j in range(psi.size):
        s[j] = factor * signal[j]
    composites = matrix(state, table, block, at.COMPOSITES, psi.size)
    kappa_powers, alpha_powers = (
        vector(state, table, block, at.KAPPA_POWERS),
        vector(state, table, block, at.ALPHA_POWERS),
    )
    gain, slot = vector(state, table, block, at.FILTER)[1], table[at.SLOT]
    adaptive = matrix(state, table, block, at.COMPOSITES_A, max(n_alif, 1))
    rho, room = vector(state, table, block, at.RHO), vector(state, table, block, at.E)
    if table[at.DEFERS] == at.TD:
        numbers = matrix(state, table, block, at.TD_NUMBERS, HORIZON)
        carry_tags_on(
            composites, adaptive, numbers, psi, s, kappa_powers, alpha_powers, gain, decay, rho, state[at.BETA], slot,
            room,
        )  # fmt: skip
    else:
        carry_on(composites, psi, s, kappa_powers, alpha_powers, gain, slot, table[at.STRIDE], psi.size - n_alif)
        if n_alif > 0:
            carry_adaptation(
                composites, adaptive, psi, s, kappa_powers, alpha_powers, gain, rho, state[at.BETA], slot, room
            )
    for rec in range(2):
        age = vector(state, table, block, at.AGE + rec)
        for i in range(age.size):
            age[i] += 1


@kernel
def advance(state: Array, table: Ints, decay: float, later: bool, measuring: bool) -> None:
    """Advance the traces of all hidden layers and add to their tags, or note it for `later`."""
    table[at.PENDING] = 0
    if table[at.FROZEN]:
        return
    for block in range(table[at.N_LAYERS]):
        if later:
            defer_layer(state, table, block, decay)
            table[at.WAITING] = 1
            continue
        for rec in range(1 + table[at.RECURRENT]):
            tag_layer(state, table, block, rec, decay, measuring)
            if table[at.DEFERS] != at.NOTHING:
                start_rows(state, table, block, rec)
    table[at.SLOT] = (table[at.SLOT] + (1 if later else table[at.STRIDE])) % horizon(table[at.STRIDE])


@kernel
def tag_readouts(state: Array, table: Ints, decay: float, measuring: bool) -> None:
    """Tag what receives the error without a trace: the readout, and adaptive feedback, which learns as it does."""
    last = table[at.N_LAYERS]
    error = vector(state, table, last, at.ERROR)
    zbar = vector(state, table, last, at.ZBAR)
    tags = matrix(state, table, last, at.TAG, zbar.size)
    tag_outputs(tags, error, zbar, decay)
    keep_connected(tags, matrix(state, table, last, at.MASK, zbar.size), False)
    if measuring:
        measure_direct(state, table, last, 0)
    for block in range(last):
        if has(table, block, at.B_TAG):
            tags = matrix(state, table, block, at.B_TAG, vector(state, table, block, at.PSI).size)
            tag_outputs(tags, error, vector(state, table, block, at.ZBAR_OUT), decay)
            if measuring:
                measure_direct(state, table, block, 2)


# --- sequences -------------------------------------------------------------------------------------------------------


@kernel
def end_sequence(state: Array, table: Ints) -> None:
    """Gather the gradient of a homeostasis that takes the rate over the whole sequence."""
    if not (table[at.REGULARISED] and table[at.RATE_PER_SEQUENCE]) or table[at.TICKS] == 0 or table[at.FROZEN]:
        return
    ticks = like(state, table[at.TICKS])
    for block in range(table[at.N_LAYERS]):
        signal, rate = vector(state, table, block, at.RATE_SIGNAL), vector(state, table, block, at.RATE)
        sequence_signal(signal, rate, ticks, state[at.RATE_STRENGTH], state[at.RATE_TARGET], state[at.SPIKE_L1])
        for rec in range(1 + table[at.RECURRENT]):
            reg = matrix(state, table, block, at.REG + rec, signal.size)
            gather_sequence(reg, signal, matrix(state, table, block, at.RATE_TRACE + rec, signal.size))
            keep_connected(reg, matrix(state, table, block, at.MASK + rec, signal.size), rec == 1)


@kernel
def reset(state: Array, table: Ints) -> None:
    """End the sequence: neurons at rest, filters and eligibility traces at zero. Tags and weights stay."""
    end_sequence(state, table)
    fill(state[table[at.FAST] : table[at.TAGS]], 0)
    table[at.PENDING], table[at.TICKS], table[at.SLOT], table[at.WAITING] = 0, 0, 0, 0
    if table[at.BIAS]:
        for block in range(table[at.N_LAYERS] + 1):
            pre = vector(state, table, block, at.PRE)
            pre[pre.size - 1] = 1


@kernel
def takes(state: Array, place: Array, given: Array) -> bool:
    """Whether what is given for a place, or stands in it already, is of its size and finite."""
    if given.size == state.size:
        return all_finite(place)
    return given.size == place.size and all_finite(given)


@kernel
def take(state: Array, place: Array, given: Array) -> None:
    """Write what is given into its place."""
    if given.size != state.size:
        copy(place, given)


@kernel
def run(state: Array, table: Ints, x: Array, error: Array, command: int, number_given: float) -> int:
    """Carry out one command on a network; the one entry into compiled code.

    Parameters
    ----------
    state, table : the two arrays of a network, see `layout`
    x : input of FORWARD; `state` itself where it stands in INPUT already, or is not needed
    error : that of LEARN or TAG; `state` where it stands in ERROR already, or is not needed
    command : FORWARD, LEARN, TAG, UPDATE, RESET, CLEAR, SETTLE, SKIP or LEARN_FORWARD
    number_given : what TAG keeps of the tags, or the third factor of UPDATE; else unused

    Returns
    -------
    int
        DONE; or BAD_INPUT, BAD_ERROR (wrong size, not finite), NOTHING_PENDING, NO_TAGS (a sparse network), and then
        nothing was changed.
    """
    # each stage is called from one place: the compiler copies it into every place that calls it
    last, one = table[at.N_LAYERS], like(state, 1)
    steps = command in (FORWARD, LEARN_FORWARD)
    learns = command in (LEARN, LEARN_FORWARD)
    assigns = learns or command == TAG
    if steps and not takes(state, vector(state, table, 0, at.INPUT), x):
        return BAD_INPUT
    if assigns and not takes(state, vector(state, table, last, at.ERROR), error):
        return BAD_ERROR
    if assigns and not table[at.PENDING]:
        return NOTHING_PENDING
    if command == TAG and table[at.SPARSE] and table[at.DEFERS] != at.TD:
        return NO_TAGS
    word = ignore_denormals()
    if steps:
        take(state, vector(state, table, 0, at.INPUT), x)
    if assigns:
        take(state, vector(state, table, last, at.ERROR), error)

    decay = like(state, number_given) if command == TAG else one - one
    pending = table[at.PENDING]
    later = table[at.DEFERS] == at.SUMS and command == TAG and anywhere(decay == one)
    later = later or (table[at.DEFERS] == at.WEIGHTS and learns)
    later = later or (table[at.DEFERS] == at.TD and (assigns or command == UPDATE))
    later = later or (table[at.DEFERS] != at.NOTHING and command in (FORWARD, RESET))
    skips = command == SKIP
    if skips:
        table[at.PENDING] = 0
    if (table[at.WAITING] and not later) or (skips and table[at.DEFERS] != at.NOTHING):
        settle(state, table)
    if pending and command in (FORWARD, RESET):  # nobody learnt from the last tick, whose traces still have to move on
        silence(state, table)
        decay = one
    elif assigns and not table[at.FROZEN]:
        spread_error(state, table)
    measures = assigns and table[at.OPTIMISER] == INTENTIONAL
    if measures:
        begin_measure(state, table)
    if pending and (assigns or command in (FORWARD, RESET)):
        advance(state, table, decay, later, measures)
    if assigns:
        tag_readouts(state, table, decay, measures)
        if measures:
            end_measure(state, table)
    if learns or command == UPDATE:
        third = one if learns else like(state, number_given)
        update(state, table, third, learns)

    if steps:
        forward(state, table)
    elif command == RESET:
        if table[at.WAITING]:
            settle(state, table)
        reset(state, table)
    elif command == CLEAR:
        fill(state[table[at.TAGS] : table[at.TAGS_END]], 0)
    restore(word)
    return DONE
