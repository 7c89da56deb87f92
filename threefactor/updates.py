"""Weight changes of a whole network: the step that is shared by all its matrices, and the descent of each."""

from __future__ import annotations

import numpy as np

from threefactor import layout as at
from threefactor._choices import alone, anywhere, like, where
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.deferral import HORIZON
from threefactor.deferred_tags import carry_update_on
from threefactor.forward import fill
from threefactor.layout import has, matrix, number, vector
from threefactor.optimisers import (
    ADAM,
    INTENTIONAL,
    OBGD,
    adam_step,
    add_norms,
    descend,
    descend_as_intended,
    floor_of,
    intentional_step,
    measure_outputs,
    overshooting_bound,
)


@kernel
def begin_measure(state: Array, table: Ints) -> None:
    """For the intentional step: count a tag, and empty the norms that the matrices will add to."""
    counter = at.N_SWITCHES + table[at.N_LAYERS] * at.BLOCK + at.STEPS
    table[counter] += 1
    state[at.LIFT] = 1.0 / (1.0 - state[at.BETA_2] ** table[counter])
    fill(state[at.NORMS : at.NORMS + 2], 0)


@kernel
def measure_direct(state: Array, table: Ints, block: int, kind: int) -> None:
    """Measure the readout's matrix, of the last block, or the feedback of another, `kind` 2: they have no traces."""
    last = table[at.N_LAYERS]
    n = vector(state, table, block, at.G).size
    measure_outputs(
        state[at.NORMS : at.NORMS + 2], matrix(state, table, block, at.S + kind, n),
        matrix(state, table, block, at.E, n),
        matrix(state, table, block, at.TAG + kind, n), vector(state, table, last, at.ERROR),
        vector(state, table, block, at.ZBAR if block == last else at.ZBAR_OUT),
        # feedback has no mask: this field of the readout's is empty
        matrix(state, table, last, at.MASK + kind // 2, n), state[at.BETA_2], state[at.LIFT],
        like(state, floor_of(state[at.EPSILON])),
    )  # fmt: skip


@kernel
def end_measure(state: Array, table: Ints) -> None:
    """Take the norms that all matrices gave into the running ones."""
    norms, one = state[at.NORMS : at.NORMS + 2], like(state, 1)
    counter = at.N_SWITCHES + table[at.N_LAYERS] * at.BLOCK + at.STEPS
    share = max(one - state[at.NORM_DECAY], 1.0 / table[counter])  # a plain mean at first
    state[at.MEAN_NORM] += share * (norms[0] - state[at.MEAN_NORM])
    state[at.TAG_NORM] = norms[1]


@kernel
def update_matrix(state: Array, table: Ints, block: int, kind: int, third: float, scale: float, shared: float) -> None:
    """Descend one matrix along its tags.

    `kind`: 0 from below, 1 recurrent, 2 feedback; `shared`: the step of the optimisers that have one for all matrices.
    """
    g = vector(state, table, block, at.G)
    n, optimiser = g.size, table[at.OPTIMISER]
    tags = matrix(state, table, block, at.TAG + kind, n)
    step = shared
    if kind < 2 and has(table, block, at.TARGETS + kind):  # plain descent, or there would be no sparse matrix
        w, entries = vector(state, table, block, at.W + kind), vector(state, table, block, at.TAG + kind)
        for k in range(w.size):
            w[k] -= step * third * entries[k]
        return
    if optimiser == ADAM:
        counter = at.N_SWITCHES + block * at.BLOCK + at.STEPS + kind
        table[counter] += 1
        state[at.STEP_SIZE] = adam_step(state[at.LEARNING_RATE], state[at.BETA_1], state[at.BETA_2], table[counter])
        step = state[at.STEP_SIZE]
    decay = state[at.FEEDBACK_DECAY] if kind == 2 else state[at.WEIGHT_DECAY]
    if optimiser == INTENTIONAL:
        descend_as_intended(
            vector(state, table, block, at.W + kind), vector(state, table, block, at.S + kind),
            vector(state, table, block, at.TAG + kind), scale * third, step, state[at.LIFT],
            like(state, floor_of(state[at.EPSILON])), state[at.LEARNING_RATE] * decay, state[at.CLIP_VALUE],
            state[at.WEIGHT_MIN], state[at.WEIGHT_MAX],
        )  # fmt: skip
        return
    reg = matrix(state, table, block, at.REG + kind, n)
    descend(
        matrix(state, table, block, at.W + kind, n), matrix(state, table, block, at.M + kind, n),
        matrix(state, table, block, at.S + kind, n), tags, reg, g, optimiser, third, scale, step, state[at.BETA_1],
        state[at.BETA_2], state[at.EPSILON], state[at.LEARNING_RATE] * decay, state[at.CLIP_VALUE],
        state[at.WEIGHT_MIN], state[at.WEIGHT_MAX],
    )  # fmt: skip


@alone
@kernel
def defer_update(state: Array, table: Ints, block: int, amount: float) -> None:
    """Note a change of a hidden layer's weights by `amount` x tags, which wait."""
    composites = matrix(state, table, block, at.COMPOSITES, vector(state, table, block, at.V).size)
    adaptive = matrix(state, table, block, at.COMPOSITES_A, max(number(table, block, at.N_ADAPTIVE), 1))
    numbers = matrix(state, table, block, at.TD_NUMBERS, HORIZON)
    carry_update_on(composites, adaptive, numbers, amount, table[at.SLOT], table[at.PENDING] == 1)


@kernel
def update(state: Array, table: Ints, third: float, at_once: bool) -> None:
    """Change the weights by `third` x tags and by what the regularisers gathered.

    With `at_once` hidden weights that are learnt later are left out; where tags wait, so does what they change.
    """
    scale, step = like(state, 1), state[at.LEARNING_RATE]
    layers = table[at.N_LAYERS]
    if table[at.OPTIMISER] == INTENTIONAL:
        if table[at.N_SWITCHES + layers * at.BLOCK + at.STEPS] == 0:  # nothing was tagged yet
            return
        state[at.STEP_SIZE] = intentional_step(state[at.LEARNING_RATE], state[at.MEAN_NORM], state[at.TAG_NORM])
        step = state[at.STEP_SIZE]
    if table[at.OPTIMISER] == OBGD or anywhere(state[at.CLIP_NORM] < np.inf):
        norms = state[at.NORMS : at.NORMS + 2]
        fill(norms, 0)
        for block in range(layers + 1):
            for rec in range(2):
                tags, reg = vector(state, table, block, at.TAG + rec), vector(state, table, block, at.REG + rec)
                add_norms(norms, tags, reg, third)
        if table[at.OPTIMISER] == OBGD:
            state[at.STEP_SIZE] = overshooting_bound(third, norms[0], state[at.LEARNING_RATE], state[at.OVERSHOOT])
            step = state[at.STEP_SIZE]
        most = state[at.CLIP_NORM]
        square = where(norms[1] > most * most, norms[1], scale)  # a norm of 0 must not divide, chosen or not
        scale = where(norms[1] > most * most, most / np.sqrt(square), scale)
    waits = table[at.WAITING] and table[at.DEFERS] == at.TD
    for block in range(layers + 1):
        later = (at_once and table[at.DEFERS] == at.WEIGHTS) or waits
        first = 2 if later and block < layers else 0
        if waits and block < layers:
            defer_update(state, table, block, -step * third)
        for kind in range(first, 3):
            if has(table, block, at.TAG + kind):
                update_matrix(state, table, block, kind, third, scale, step)
