"""The tick: the only place where neurons, traces, learning signals and optimisers meet.

`run` is the one entry into compiled code. A supervised network calls FORWARD, LEARN each tick; one driven by a TD error
FORWARD, UPDATE, TAG; one that sums a gradient over a sequence FORWARD, TAG, ..., UPDATE, CLEAR.

The traces of a tick are advanced by the LEARN or TAG that follows it; if neither comes, by the next FORWARD, with a
learning signal of zero; SKIP leaves them where they are. Where the rule allows it (`deferral`), LEARN only notes what
the tick does to the hidden weights and traces, and a later FORWARD carries it out for the rows that it needs; SETTLE
does so for all, and has to come before anybody looks at them.
"""

from __future__ import annotations

import numpy as np

from threefactor import layout as at
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.deferral import HORIZON, carry_adaptation, carry_on
from threefactor.forward import all_finite, bring_rows_up, fill, forward, start_rows
from threefactor.layout import has, matrix, number, vector
from threefactor.learning_signals import broadcast, from_above
from threefactor.optimisers import (
    ADAM,
    INTENTIONAL,
    OBGD,
    adam_step,
    add_norms,
    descend,
    intentional_step,
    measure_matrix,
    overshooting_bound,
)
from threefactor.regularisers import gather_sequence, sequence_signal
from threefactor.traces import keep_connected, tag_outputs, tag_traces

FORWARD, LEARN, TAG, UPDATE, RESET, CLEAR, SETTLE, SKIP = range(8)  # commands
DONE, NOT_FINITE, NOTHING_PENDING = 0, 1, 2  # answers; unless DONE nothing was changed


# --- credit ----------------------------------------------------------------------------------------------------------


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
            psi_bar, signal_above = vector(state, table, above, at.PSI_BAR), vector(state, table, above, at.SIGNAL)
            w, scale = matrix(state, table, above, at.W, psi_bar.size), vector(state, table, above, at.SCALE)[0]
            from_above(signal, w, psi_bar, signal_above, scale)


@kernel
def silence(state: Array, table: Ints) -> None:
    """Learning signals and error of zero."""
    last = table[at.N_LAYERS]
    fill(vector(state, table, last, at.ERROR), 0)
    for block in range(last):
        fill(vector(state, table, block, at.SIGNAL), 0)


@kernel
def tag_layer(state: Array, table: Ints, block: int, rec: int, decay: float) -> None:
    """Advance the traces of one matrix of a hidden layer and add to its tags; `rec` is 1 for the recurrent one."""
    psi = vector(state, table, block, at.PSI)
    trace_filter = vector(state, table, block, at.FILTER)
    n, adaptive = psi.size, max(number(table, block, at.N_ADAPTIVE), 1)
    pre = vector(state, table, block, at.PRE + rec * (at.Z_PREV - at.PRE))
    tags, reg = matrix(state, table, block, at.TAG + rec, n), matrix(state, table, block, at.REG + rec, n)
    tag_traces(
        tags, reg, matrix(state, table, block, at.EBAR + rec, n),
        matrix(state, table, block, at.EPS_A + rec, adaptive), matrix(state, table, block, at.EPS_V + rec, n),
        matrix(state, table, block, at.RATE_TRACE + rec, n), vector(state, table, block, at.E),
        psi, vector(state, table, block, at.SIGNAL), vector(state, table, block, at.RATE_SIGNAL),
        vector(state, table, block, at.V), vector(state, table, block, at.ZBAR + rec), pre,
        vector(state, table, block, at.SCALE)[0], decay, trace_filter[0], trace_filter[1], state[at.ALPHA],
        state[at.V_RESET], state[at.BETA], state[at.RHO],
        state[at.RATE_TRACE_DECAY], state[at.RATE_TRACE_GAIN], state[at.VOLTAGE_L2],
    )  # fmt: skip
    mask = matrix(state, table, block, at.MASK + rec, n)
    keep_connected(tags, mask, rec == 1)
    keep_connected(reg, mask, rec == 1)


@kernel
def defer_layer(state: Array, table: Ints, block: int) -> None:
    """Note what this tick does to traces and to what is learnt in a hidden layer; `bring_rows_up` carries it out."""
    psi, s = vector(state, table, block, at.PSI), vector(state, table, block, at.G)
    signal, n_alif = vector(state, table, block, at.SIGNAL), number(table, block, at.N_ADAPTIVE)
    factor = -state[at.LEARNING_RATE] if table[at.DEFERS] == at.WEIGHTS else state.dtype.type(1)
    for j in range(psi.size):
        s[j] = factor * signal[j]
    composites = matrix(state, table, block, at.COMPOSITES, psi.size)
    kappa_powers, alpha_powers = (
        vector(state, table, block, at.KAPPA_POWERS),
        vector(state, table, block, at.ALPHA_POWERS),
    )
    gain, slot = vector(state, table, block, at.FILTER)[1], table[at.SLOT]
    carry_on(composites, psi, s, kappa_powers, alpha_powers, gain, slot, psi.size - n_alif)
    if n_alif > 0:
        carry_adaptation(
            composites, matrix(state, table, block, at.COMPOSITES_A, n_alif), psi, s, kappa_powers, alpha_powers, gain,
            state[at.RHO], state[at.BETA], slot, vector(state, table, block, at.E),
        )  # fmt: skip
    for rec in range(2):
        age = vector(state, table, block, at.AGE + rec)
        for i in range(age.size):
            age[i] += 1


@kernel
def settle(state: Array, table: Ints) -> None:
    """Bring the weights and traces of all rows that wait up to date."""
    for block in range(table[at.N_LAYERS]):
        for rec in range(1 + table[at.RECURRENT]):
            bring_rows_up(state, table, block, rec, True)
            start_rows(state, table, block, rec)
    table[at.WAITING] = 0


@kernel
def advance(state: Array, table: Ints, decay: float, later: bool) -> None:
    """Advance the traces of all hidden layers and add to their tags, or note it for `later`."""
    table[at.PENDING] = 0
    if table[at.FROZEN]:
        return
    for block in range(table[at.N_LAYERS]):
        if later:
            defer_layer(state, table, block)
            table[at.WAITING] = 1
            continue
        for rec in range(1 + table[at.RECURRENT]):
            tag_layer(state, table, block, rec, decay)
            if table[at.DEFERS] != at.NOTHING:
                start_rows(state, table, block, rec)
    table[at.SLOT] = (table[at.SLOT] + 1) % HORIZON


@kernel
def tag_readouts(state: Array, table: Ints, decay: float) -> None:
    """Tag what receives the error without a trace: the readout, and adaptive feedback, which learns as it does."""
    last = table[at.N_LAYERS]
    error = vector(state, table, last, at.ERROR)
    zbar = vector(state, table, last, at.ZBAR)
    tags = matrix(state, table, last, at.TAG, zbar.size)
    tag_outputs(tags, error, zbar, decay)
    keep_connected(tags, matrix(state, table, last, at.MASK, zbar.size), False)
    for block in range(last):
        if has(table, block, at.B_TAG):
            tags = matrix(state, table, block, at.B_TAG, vector(state, table, block, at.PSI).size)
            tag_outputs(tags, error, vector(state, table, block, at.ZBAR_OUT), decay)


@kernel
def measure(state: Array, table: Ints) -> None:
    """For the intentional step: mean squares of this tick's gradient, its running norm, and the norm of the tags."""
    last, one = table[at.N_LAYERS], state.dtype.type(1)
    counter, norms = at.N_SWITCHES + last * at.BLOCK + at.STEPS, state[at.NORMS : at.NORMS + 2]
    table[counter] += 1
    state[at.LIFT] = 1.0 / (1.0 - state[at.BETA_2] ** table[counter])
    fill(norms, 0)
    error = vector(state, table, last, at.ERROR)
    for block in range(last + 1):
        n = vector(state, table, block, at.G).size
        for kind in range(3):
            if not has(table, block, at.TAG + kind):
                continue
            # onto the readout, and so for feedback, there are no traces; feedback has no mask: the readout's own fields
            # of these names are empty
            direct = block == last or kind == 2
            sent = (at.ZBAR if block == last else at.ZBAR_OUT) if direct else at.SIGNAL
            measure_matrix(
                norms, matrix(state, table, block, at.S + kind, n), matrix(state, table, block, at.E, n),
                matrix(state, table, block, at.TAG + kind, n),
                matrix(state, table, last if direct else block, at.EBAR + kind % 2, n), error,
                vector(state, table, block, sent),
                matrix(state, table, last if kind == 2 else block, at.MASK + (kind + 1) // 2, n), kind == 1,
                state[at.BETA_2], state[at.LIFT], state[at.EPSILON],
            )  # fmt: skip
    share = max(one - state[at.NORM_DECAY], 1.0 / table[counter])  # a plain mean at first
    state[at.MEAN_NORM] += share * (norms[0] - state[at.MEAN_NORM])
    state[at.TAG_NORM] = norms[1]


# --- weight changes --------------------------------------------------------------------------------------------------


@kernel
def update_matrix(state: Array, table: Ints, block: int, kind: int, third: float, scale: float, shared: float) -> None:
    """Descend one matrix along its tags.

    `kind`: 0 from below, 1 recurrent, 2 feedback; `shared`: the step of the optimisers that have one for all matrices.
    """
    g = vector(state, table, block, at.G)
    n, optimiser = g.size, table[at.OPTIMISER]
    tags = matrix(state, table, block, at.TAG + kind, n)
    step = shared
    if optimiser == ADAM:
        counter = at.N_SWITCHES + block * at.BLOCK + at.STEPS + kind
        table[counter] += 1
        state[at.STEP_SIZE] = adam_step(state[at.LEARNING_RATE], state[at.BETA_1], state[at.BETA_2], table[counter])
        step = state[at.STEP_SIZE]
    reg = matrix(state, table, block, at.REG + kind, n)
    decay = state[at.FEEDBACK_DECAY] if kind == 2 else state[at.WEIGHT_DECAY]
    descend(
        matrix(state, table, block, at.W + kind, n), matrix(state, table, block, at.M + kind, n),
        matrix(state, table, block, at.S + kind, n), tags, reg, g, optimiser, third, scale, step, state[at.BETA_1],
        state[at.BETA_2], state[at.EPSILON], state[at.LIFT], state[at.LEARNING_RATE] * decay, state[at.CLIP_VALUE],
        state[at.WEIGHT_MIN], state[at.WEIGHT_MAX],
    )  # fmt: skip


@kernel
def update(state: Array, table: Ints, third: float, at_once: bool) -> None:
    """Change the weights by `third` x tags and by what the regularisers gathered.

    With `at_once` hidden weights that are learnt later are left out.
    """
    scale, step = state.dtype.type(1), state[at.LEARNING_RATE]
    layers = table[at.N_LAYERS]
    if table[at.OPTIMISER] == INTENTIONAL:
        if table[at.N_SWITCHES + layers * at.BLOCK + at.STEPS] == 0:  # nothing was tagged yet
            return
        state[at.STEP_SIZE] = intentional_step(state[at.LEARNING_RATE], state[at.MEAN_NORM], state[at.TAG_NORM])
        step = state[at.STEP_SIZE]
    if table[at.OPTIMISER] == OBGD or state[at.CLIP_NORM] < np.inf:
        norms = state[at.NORMS : at.NORMS + 2]
        fill(norms, 0)
        for block in range(layers + 1):
            for rec in range(2):
                tags, reg = vector(state, table, block, at.TAG + rec), vector(state, table, block, at.REG + rec)
                add_norms(norms, tags, reg, third)
        if table[at.OPTIMISER] == OBGD:
            state[at.STEP_SIZE] = overshooting_bound(third, norms[0], state[at.LEARNING_RATE], state[at.OVERSHOOT])
            step = state[at.STEP_SIZE]
        if norms[1] > state[at.CLIP_NORM] * state[at.CLIP_NORM]:
            scale = state[at.CLIP_NORM] / np.sqrt(norms[1])
    for block in range(layers + 1):
        first = 2 if at_once and block < layers and table[at.DEFERS] == at.WEIGHTS else 0
        for kind in range(first, 3):
            if has(table, block, at.TAG + kind):
                update_matrix(state, table, block, kind, third, scale, step)


# --- sequences -------------------------------------------------------------------------------------------------------


@kernel
def end_sequence(state: Array, table: Ints) -> None:
    """Gather the gradient of a homeostasis that takes the rate over the whole sequence."""
    if not (table[at.REGULARISED] and table[at.RATE_PER_SEQUENCE]) or table[at.TICKS] == 0 or table[at.FROZEN]:
        return
    ticks = state.dtype.type(table[at.TICKS])
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
def run(state: Array, table: Ints, command: int, number_given: float) -> int:
    """Carry out one command on a network; the one entry into compiled code.

    Parameters
    ----------
    state, table : the two arrays of a network, see `layout`
    command : FORWARD, LEARN, TAG, UPDATE, RESET, CLEAR, SETTLE or SKIP
    number_given : what TAG keeps of the tags, or the third factor of UPDATE; else unused

    Returns
    -------
    int
        DONE; or NOT_FINITE, NOTHING_PENDING, and then nothing was changed.
    """
    # each stage is called from one place: the compiler copies it into every place that calls it
    last, one = table[at.N_LAYERS], state.dtype.type(1)
    learning = command in (LEARN, TAG)
    if command == FORWARD and not all_finite(vector(state, table, 0, at.INPUT)):
        return NOT_FINITE
    if learning and not all_finite(vector(state, table, last, at.ERROR)):
        return NOT_FINITE
    if learning and not table[at.PENDING]:
        return NOTHING_PENDING

    decay = state.dtype.type(number_given) if command == TAG else one - one
    pending = table[at.PENDING]
    later = table[at.DEFERS] == at.SUMS and command == TAG and decay == one
    later = later or (table[at.DEFERS] == at.WEIGHTS and command == LEARN)
    later = later or (table[at.DEFERS] != at.NOTHING and command in (FORWARD, RESET))
    skips = command == SKIP
    if skips:
        table[at.PENDING] = 0
    if (table[at.WAITING] and not later) or (skips and table[at.DEFERS] != at.NOTHING):
        settle(state, table)
    if pending and command in (FORWARD, RESET):  # nobody learnt from the last tick, whose traces still have to move on
        silence(state, table)
        decay = one
    elif learning and not table[at.FROZEN]:
        spread_error(state, table)
    if pending and command in (FORWARD, LEARN, TAG, RESET):
        advance(state, table, decay, later)
    if learning:
        tag_readouts(state, table, decay)
        if table[at.OPTIMISER] == INTENTIONAL:
            measure(state, table)
    if command in (LEARN, UPDATE):
        third = one if command == LEARN else state.dtype.type(number_given)
        update(state, table, third, command == LEARN)

    if command == FORWARD:
        forward(state, table)
    elif command == RESET:
        if table[at.WAITING]:
            settle(state, table)
        reset(state, table)
    elif command == CLEAR:
        fill(state[table[at.TAGS] : table[at.LASTING]], 0)
    return DONE
