"""The tick: the only place where neurons, traces, signals and optimisers meet.

Four kernels act on the two arrays of a network: `forward` advances time; `learn` turns an error into a weight change
at once; `tag` adds it to the tags and `update` turns the tags into a weight change later, times a third factor. A
supervised network calls forward, learn; one driven by a TD error forward, update, tag; one that sums a gradient over a
sequence forward, tag, ..., update. `reset` and `clear` wipe state and tags.

The traces of a tick are advanced by whichever of learn and tag follows it, in the same pass over memory that
uses them; if neither does, by the next forward.
"""

from __future__ import annotations

import numpy as np

from threefactor import layout as at
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.layout import matrix, number, vector
from threefactor.learning_signals import broadcast, from_above
from threefactor.neurons import adapt, fire, gather, integrate, low_pass, normalise
from threefactor.optimisers import adam_step, clip_row, descend, overshooting_bound
from threefactor.readouts import integrate_readout, softmax
from threefactor.regularisers import add_rate_row, add_voltage_row, rate_signal
from threefactor.traces import eligibility, exact_eligibility, filter_row, learn_row

DONE, NOT_FINITE, NOTHING_PENDING = 0, 1, 2  # what a kernel answers; unless DONE it changed nothing
ADVANCE, LEARN, TAG = 0, 1, 2  # what a pass over the synapses does besides advancing their traces


@kernel
def layer_forward(state: Array, table: Ints, block: int) -> None:
    """Advance one hidden layer by a tick, with the filters that its synapses need."""
    pre, v = vector(state, table, block, at.PRE), vector(state, table, block, at.V)
    a, z = vector(state, table, block, at.A), vector(state, table, block, at.Z)
    z_prev, current = vector(state, table, block, at.Z_PREV), vector(state, table, block, at.CURRENT)
    scale = vector(state, table, block, at.SCALE)
    n = v.size
    z_prev[:] = z[:n]
    current[:] = 0
    gather(current, matrix(state, table, block, at.W, n), pre)
    if table[at.RECURRENT]:
        gather(current, matrix(state, table, block, at.W_REC, n), z_prev)
    zeta = state[at.ZETA]
    scale[0] = zeta
    if table[at.NORMALISE]:
        scale[0] = zeta * normalise(current, 1e-5)
    alpha = state[at.ALPHA]
    integrate(v, current, z_prev, alpha, zeta, state[at.V_RESET])
    adapt(a, z_prev, state[at.RHO], n - number(table, block, at.N_ADAPTIVE))
    slope = state[at.SLOPE]
    height = state[at.HEIGHT]
    if table[at.AREA]:
        height = height * slope * state[at.PER_AREA]
    psi = vector(state, table, block, at.PSI)
    fire(
        z, psi, vector(state, table, block, at.WAIT), v, a, state[at.V_TH], state[at.BETA], state[at.REFRACTORY],
        slope, height, table[at.SURROGATE],
    )  # fmt: skip
    low_pass(vector(state, table, block, at.ZBAR), pre, alpha, scale[0])
    low_pass(vector(state, table, block, at.ZBAR_REC), z_prev, alpha, scale[0])
    low_pass(vector(state, table, block, at.ZBAR_OUT), z, state[at.KAPPA_OUT], state[at.ZETA_OUT])
    low_pass(vector(state, table, block, at.PSI_BAR), psi, state[at.KAPPA], state[at.TRACE_GAIN])
    if table[at.REGULARISED]:
        rate_signal(
            vector(state, table, block, at.RATE_SIGNAL), vector(state, table, block, at.RATE), z, state[at.RATE_DECAY],
            state[at.RATE_GAIN], state[at.RATE_STRENGTH], state[at.RATE_TARGET], state[at.SPIKE_L1],
        )  # fmt: skip


@kernel
def all_finite(x: Array) -> bool:
    """Whether no entry is NaN or infinite."""
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * x.dtype.type(0)
    return total == 0  # type: ignore[no-any-return]


@kernel
def ready(state: Array, table: Ints) -> int:
    """Whether the error that stands in ERROR may be learnt from: finite, and its tick not yet used."""
    if not all_finite(vector(state, table, table[at.N_LAYERS], at.ERROR)):
        return NOT_FINITE
    return DONE if table[at.PENDING] else NOTHING_PENDING


@kernel
def forward(state: Array, table: Ints) -> int:
    """Advance the whole network by one tick on the input that stands in INPUT; writes the readout's Y."""
    x = vector(state, table, 0, at.INPUT)
    if not all_finite(x):
        return NOT_FINITE
    if table[at.PENDING]:
        advance(state, table, ADVANCE, state[at.NO_DECAY])
    vector(state, table, 0, at.PRE)[: x.size] = x
    last = table[at.N_LAYERS]
    for block in range(last):
        layer_forward(state, table, block)
    v, y = vector(state, table, last, at.V), vector(state, table, last, at.Y)
    z = vector(state, table, last, at.PRE)
    integrate_readout(v, matrix(state, table, last, at.W, z.size), z, state[at.KAPPA_OUT], state[at.ZETA_OUT])
    if table[at.SOFTMAX]:
        softmax(y, v)
    else:
        y[:] = v
    table[at.PENDING] = 1
    table[at.TICKS] += 1
    return DONE


@kernel
def spread_error(state: Array, table: Ints) -> None:
    """Learning signals of all hidden layers from the readout's ERROR."""
    if table[at.FROZEN]:
        return
    last = table[at.N_LAYERS]
    error = vector(state, table, last, at.ERROR)
    for up in range(last):
        block = last - 1 - up
        signal = vector(state, table, block, at.SIGNAL)
        if block == last - 1 and table[at.FEEDBACK] == at.SYMMETRIC:
            broadcast(signal, matrix(state, table, last, at.W, number(table, last, at.N_PRE)), error)
        elif block == last - 1 or table[at.DIRECT]:
            broadcast(signal, matrix(state, table, block, at.B, signal.size), error)
        else:
            above = block + 1
            psi_bar = vector(state, table, above, at.PSI_BAR)
            w = matrix(state, table, above, at.W, psi_bar.size)
            from_above(signal, w, psi_bar, vector(state, table, above, at.SIGNAL), vector(state, table, above, at.SCALE)[0])


@kernel
def constrain_row(g: Array, mask: Array, i: int, autapse: int) -> None:
    """Zero the gradient where there is no synapse."""
    if autapse >= 0:
        g[autapse] = 0
    if mask.shape[0] > 0:
        for j in range(g.size):
            g[j] *= mask[i, j]


@kernel
def apply_row(state: Array, table: Ints, w: Array, m: Array, s: Array, i: int, g: Array, decay: float) -> None:
    """One optimiser step of row i by the STEP_SIZE that `choose_step` wrote; `decay` is the weight decay."""
    if state[at.CLIP_VALUE] < np.inf:
        clip_row(g, state[at.CLIP_VALUE])
    descend(
        w, m, s, i, g, table[at.OPTIMISER], state[at.STEP_SIZE], state[at.BETA_1], state[at.BETA_2], state[at.EPSILON],
        state[at.LEARNING_RATE] * decay, state[at.WEIGHT_LIMIT],
    )  # fmt: skip


@kernel
def choose_step(state: Array, table: Ints, block: int, which: int) -> None:
    """Write STEP_SIZE for one matrix; counts its updates for Adam's bias correction."""
    state[at.STEP_SIZE] = state[at.LEARNING_RATE]
    if table[at.OPTIMISER] == at.ADAM:
        place = at.N_SWITCHES + block * at.BLOCK + at.STEPS + which
        table[place] += 1
        state[at.STEP_SIZE] = adam_step(state[at.LEARNING_RATE], state[at.BETA_1], state[at.BETA_2], table[place])


@kernel
def plain_descent(state: Array, table: Ints, block: int) -> bool:
    """Whether this layer may learn by the one-pass kernel: LIF, SGD, nothing else asked for."""
    return (
        table[at.OPTIMISER] == at.SGD
        and not table[at.REGULARISED]
        and not table[at.MASKED]
        and not table[at.EXACT_RESET]
        and number(table, block, at.N_ADAPTIVE) == 0
        and state[at.CLIP_VALUE] == np.inf
        and state[at.WEIGHT_LIMIT] == np.inf
        and state[at.WEIGHT_DECAY] == 0
    )


@kernel
def learn_plainly(state: Array, table: Ints, block: int, rec: int) -> None:
    """Advance traces and learn at once, where `plain_descent` allows it."""
    psi, step = vector(state, table, block, at.PSI), vector(state, table, block, at.G)
    signal = vector(state, table, block, at.SIGNAL)
    gain = state[at.TRACE_GAIN]
    for j in range(step.size):
        step[j] = state[at.STEP_SIZE] * signal[j]
    w, ebar = matrix(state, table, block, at.W + rec, psi.size), matrix(state, table, block, at.EBAR + rec, psi.size)
    zbar = vector(state, table, block, at.ZBAR + rec)
    for i in range(w.shape[0]):
        learn_row(w, ebar, i, psi, step, gain * zbar[i], state[at.KAPPA])
        if rec:
            w[i, i] = 0


@kernel
def advance_projection(state: Array, table: Ints, block: int, rec: int, mode: int, decay: float) -> None:
    """Advance the traces of one matrix and, as `mode` says, learn from them at once or add to the tags.

    `rec` is 0 for the connection from below and 1 for the recurrent one; `decay` is what the tags keep.
    """
    psi, signal = vector(state, table, block, at.PSI), vector(state, table, block, at.SIGNAL)
    e, g = vector(state, table, block, at.E), vector(state, table, block, at.G)
    v, regular = vector(state, table, block, at.V), vector(state, table, block, at.RATE_SIGNAL)
    n = psi.size
    adaptive = number(table, block, at.N_ADAPTIVE)
    pre = vector(state, table, block, at.Z_PREV if rec else at.PRE)
    zbar = vector(state, table, block, at.ZBAR + rec)
    w, ebar = matrix(state, table, block, at.W + rec, n), matrix(state, table, block, at.EBAR + rec, n)
    eps_a = matrix(state, table, block, at.EPS_A + rec, max(adaptive, 1))
    eps_v = matrix(state, table, block, at.EPS_V + rec, n)
    averaged = matrix(state, table, block, at.RATE_TRACE + rec, n)
    tags, reg = matrix(state, table, block, at.TAG + rec, n), matrix(state, table, block, at.REG + rec, n)
    m, s = matrix(state, table, block, at.M + rec, n), matrix(state, table, block, at.S + rec, n)
    mask = matrix(state, table, block, at.MASK + rec, n)
    kappa, gain, beta, rho = state[at.KAPPA], state[at.TRACE_GAIN], state[at.BETA], state[at.RHO]
    scale = vector(state, table, block, at.SCALE)[0]
    alpha, reset = state[at.ALPHA], state[at.EXACT]
    rate_decay, rate_gain, voltage = state[at.RATE_TRACE_DECAY], state[at.RATE_TRACE_GAIN], state[at.VOLTAGE_L2]
    for i in range(w.shape[0]):
        if table[at.EXACT_RESET]:
            exact_eligibility(e, psi, scale * pre[i], eps_v, eps_a, i, n - adaptive, alpha, reset, beta, rho)
        else:
            eligibility(e, psi, zbar[i], eps_a, i, n - adaptive, beta, rho)
        filter_row(ebar, i, e, kappa, gain)
        if averaged.shape[0] > 0:
            filter_row(averaged, i, e, rate_decay, rate_gain)
        if mode == ADVANCE:
            continue
        for j in range(n):
            g[j] = signal[j] * ebar[i, j]
        constrain_row(g, mask, i, i if rec else -1)
        if mode == TAG:
            for j in range(n):
                tags[i, j] = decay * tags[i, j] + g[j]
                g[j] = 0
        if table[at.REGULARISED]:
            if not table[at.RATE_PER_SEQUENCE]:
                add_rate_row(g, regular, averaged[i] if averaged.shape[0] > 0 else e)
            add_voltage_row(g, v, zbar[i], voltage)
            constrain_row(g, mask, i, i if rec else -1)
            if mode == TAG:
                for j in range(n):
                    reg[i, j] += g[j]
        if mode == LEARN:
            apply_row(state, table, w, m, s, i, g, state[at.WEIGHT_DECAY])


@kernel
def advance(state: Array, table: Ints, mode: int, decay: float) -> None:
    """Advance the traces of all hidden layers, and learn or tag if `mode` says so; `decay` is what the tags keep."""
    table[at.PENDING] = 0
    if table[at.FROZEN]:
        return
    for block in range(table[at.N_LAYERS]):
        for rec in range(1 + table[at.RECURRENT]):
            if mode == LEARN:
                choose_step(state, table, block, rec)
            if mode == LEARN and plain_descent(state, table, block):
                learn_plainly(state, table, block, rec)
            else:
                advance_projection(state, table, block, rec, mode, decay)


@kernel
def output_projection(state: Array, table: Ints, block: int, kind: int, mode: int, decay: float) -> None:
    """Learn or tag the weights onto the readout, or adaptive feedback weights, which learn by the same rule.

    The gradient is error_o zbar_i. `kind` is 0 for the readout's own weights (`block` the readout) and 2 for the
    feedback weights of hidden layer `block`.
    """
    last = table[at.N_LAYERS]
    error = vector(state, table, last, at.ERROR)
    zbar = vector(state, table, block, at.ZBAR if kind == 0 else at.ZBAR_OUT)
    g = vector(state, table, block, at.G)
    n = g.size
    w, tags = matrix(state, table, block, at.W + kind, n), matrix(state, table, block, at.TAG + kind, n)
    m, s = matrix(state, table, block, at.M + kind, n), matrix(state, table, block, at.S + kind, n)
    mask = matrix(state, table, block, at.MASK, n)
    if mode == LEARN:
        choose_step(state, table, block, kind)
    for o in range(error.size):
        for i in range(n):
            g[i] = error[o] * zbar[i]
        if kind == 0:
            constrain_row(g, mask, o, -1)
        if mode == LEARN:
            apply_row(state, table, w, m, s, o, g, state[at.WEIGHT_DECAY if kind == 0 else at.FEEDBACK_DECAY])
        else:
            for i in range(n):
                tags[o, i] = decay * tags[o, i] + g[i]


@kernel
def outputs(state: Array, table: Ints, mode: int, decay: float) -> None:
    """Learn or tag everything that receives the error without a trace: the readout, and adaptive feedback."""
    last = table[at.N_LAYERS]
    output_projection(state, table, last, 0, mode, decay)
    if table[at.FEEDBACK] == at.ADAPTIVE:
        for block in range(last):
            if block == last - 1 or table[at.DIRECT]:
                output_projection(state, table, block, 2, mode, decay)


@kernel
def tag(state: Array, table: Ints, decay: float) -> int:
    """tag <- decay tag + gradient, for the error that stands in the readout's ERROR."""
    status = ready(state, table)
    if status != DONE:
        return status
    spread_error(state, table)
    advance(state, table, TAG, decay)
    outputs(state, table, TAG, decay)
    return DONE


@kernel
def learn(state: Array, table: Ints) -> int:
    """Change the weights at once by the error that stands in the readout's ERROR."""
    status = ready(state, table)
    if status != DONE:
        return status
    if table[at.OPTIMISER] == at.OBGD or state[at.CLIP_NORM] < np.inf:  # these need the whole gradient first
        tag(state, table, state[at.NO_DECAY])
        state[at.THIRD] = 1
        update(state, table)
        return DONE
    spread_error(state, table)
    advance(state, table, LEARN, state[at.NO_DECAY])
    outputs(state, table, LEARN, state[at.NO_DECAY])
    return DONE


@kernel
def gradient_norms(state: Array, table: Ints, third: float) -> tuple[float, float]:
    """L1 norm of the tags and L2 norm of third x tag + regularisation, over all weights."""
    l1, squares = third - third, third - third
    last = table[at.N_LAYERS]
    for block in range(last + 1):
        for rec in range(2):
            tags, reg = vector(state, table, block, at.TAG + rec), vector(state, table, block, at.REG + rec)
            for i in range(tags.size):
                l1 += abs(tags[i])
            for i in range(tags.size):
                g = third * tags[i]
                if reg.size > 0:
                    g += reg[i]
                squares += g * g
    return l1, np.sqrt(squares)


@kernel
def update_matrix(state: Array, table: Ints, block: int, kind: int, third: float, scale: float, bounded: float) -> None:
    """Apply scale x (third x tag + regularisation) to one matrix; `bounded` is the step size of ObGD."""
    g = vector(state, table, block, at.G)
    n = g.size
    w, tags = matrix(state, table, block, at.W + kind, n), matrix(state, table, block, at.TAG + kind, n)
    m, s = matrix(state, table, block, at.M + kind, n), matrix(state, table, block, at.S + kind, n)
    reg = matrix(state, table, block, at.REG + (0 if kind == 2 else kind), n)
    if tags.shape[0] == 0:
        return
    choose_step(state, table, block, kind)
    if table[at.OPTIMISER] == at.OBGD:
        state[at.STEP_SIZE] = bounded
    decay = state[at.FEEDBACK_DECAY if kind == 2 else at.WEIGHT_DECAY]
    for i in range(w.shape[0]):
        for j in range(n):
            g[j] = scale * third * tags[i, j]
        if reg.shape[0] > 0 and kind != 2:
            for j in range(n):
                g[j] += scale * reg[i, j]
                reg[i, j] = 0
        apply_row(state, table, w, m, s, i, g, decay)


@kernel
def update(state: Array, table: Ints) -> None:
    """Change the weights by the tags times the factor that stands in THIRD, and by what the regularisers gathered."""
    third = state[at.THIRD]
    scale, bounded = state.dtype.type(1), state[at.LEARNING_RATE]
    if table[at.OPTIMISER] == at.OBGD or state[at.CLIP_NORM] < np.inf:
        l1, norm = gradient_norms(state, table, third)
        if table[at.OPTIMISER] == at.OBGD:
            bounded = overshooting_bound(third, l1, state[at.LEARNING_RATE], state[at.OVERSHOOT])
        if norm > state[at.CLIP_NORM]:
            scale = state[at.CLIP_NORM] / norm
    for block in range(table[at.N_LAYERS] + 1):
        for kind in range(3):
            update_matrix(state, table, block, kind, third, scale, bounded)


@kernel
def end_sequence(state: Array, table: Ints) -> None:
    """Gather the gradient of a homeostasis that takes the rate over the whole sequence."""
    if table[at.PENDING]:
        advance(state, table, ADVANCE, state[at.NO_DECAY])
    if not (table[at.REGULARISED] and table[at.RATE_PER_SEQUENCE]) or table[at.TICKS] == 0 or table[at.FROZEN]:
        return
    ticks = state.dtype.type(table[at.TICKS])
    for block in range(table[at.N_LAYERS]):
        signal, rate = vector(state, table, block, at.RATE_SIGNAL), vector(state, table, block, at.RATE)
        n = signal.size
        for j in range(n):
            signal[j] = state[at.RATE_STRENGTH] * (rate[j] / ticks - state[at.RATE_TARGET]) / ticks + state[at.SPIKE_L1]
        for rec in range(1 + table[at.RECURRENT]):
            averaged = matrix(state, table, block, at.RATE_TRACE + rec, n)
            reg, mask = matrix(state, table, block, at.REG + rec, n), matrix(state, table, block, at.MASK + rec, n)
            g = vector(state, table, block, at.G)
            for i in range(averaged.shape[0]):
                for j in range(n):
                    g[j] = signal[j] * averaged[i, j]
                constrain_row(g, mask, i, i if rec else -1)
                for j in range(n):
                    reg[i, j] += g[j]


@kernel
def reset(state: Array, table: Ints) -> None:
    """End the sequence: neurons at rest, filters and eligibility traces at zero. Tags and weights stay."""
    end_sequence(state, table)
    state[table[at.FAST] : table[at.TAGS]] = 0
    table[at.PENDING] = 0
    table[at.TICKS] = 0
    if table[at.BIAS]:
        for block in range(table[at.N_LAYERS] + 1):
            vector(state, table, block, at.PRE)[-1] = 1


@kernel
def clear(state: Array, table: Ints) -> None:
    """Forget the tags and what the regularisers gathered."""
    state[table[at.TAGS] : table[at.LASTING]] = 0
