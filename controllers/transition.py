"""One step of the actor-critic in compiled code: observation in, action out, learning included.

Reward-based e-prop: Bellec et al. 2020, Nat. Commun. 11:3625, equations 28 to 36. The TD error multiplies tags that
were laid before it, so learning is causal; nothing but the two networks and the vector `memory` is kept.
"""

from __future__ import annotations

import math

from controllers.normalisation import observe, standardise
from controllers.policies import (
    CATEGORICAL,
    categorical_error,
    draw_categorical,
    draw_gaussian,
    gaussian_error,
)
from threefactor import layout as at
from threefactor import tick
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.forward import all_finite, copy
from threefactor.layout import vector
from threefactor.readouts import softmax

# Places in `memory`: numbers first, then five vectors.
(
    COUNT, RETURN, RETURN_COUNT, RETURN_MEAN, RETURN_SQUARES, VALUE, TD_ERROR, DISCOUNT, TRACE_DECAY, ENTROPY,
    SIGMA_FLOOR, OBSERVATION_LIMIT, SCALE_REWARDS, NORMALISE, KEEP_STATE, REWARD_SCALE, EPISODE_RETURN,
    MEAN_TD_ERROR, MEAN_RATE, STEPS, N_NUMBERS,
) = range(21)  # fmt: skip
# Places in `sizes`
N_OBSERVATION, N_ACTION, N_NOISE, KIND, N_SIZES = range(5)

LARGE = 1e30
BEGIN, STEP, ACT = 0, 1, 2  # commands
DONE, BAD_OBSERVATION, BAD_REWARD = 0, 1, 2  # answers; unless DONE nothing was changed


@kernel
def observation_of(memory: Array, sizes: Ints, which: int) -> Array:
    """View of the observation (0), of its running mean (1) or of its summed squared deviations (2)."""
    n = sizes[N_OBSERVATION]
    return memory[N_NUMBERS + which * n : N_NUMBERS + (which + 1) * n]


@kernel
def action_of(memory: Array, sizes: Ints) -> Array:
    """View of the action; behind it come the probabilities, then the noise."""
    start = N_NUMBERS + 3 * sizes[N_OBSERVATION]
    return memory[start : start + sizes[N_ACTION]]


@kernel
def probabilities_of(memory: Array, sizes: Ints) -> Array:
    """View of the probabilities of a categorical policy."""
    start = N_NUMBERS + 3 * sizes[N_OBSERVATION] + sizes[N_ACTION]
    return memory[start : start + sizes[N_ACTION]]


@kernel
def noise_of(memory: Array, sizes: Ints) -> Array:
    """View of the random numbers of this step."""
    start = N_NUMBERS + 3 * sizes[N_OBSERVATION] + 2 * sizes[N_ACTION]
    return memory[start : start + sizes[N_NOISE]]


@kernel
def present(state: Array, table: Ints, memory: Array, sizes: Ints) -> None:
    """Write the present observation, standardised if so wished, where a network takes its input from."""
    x = observation_of(memory, sizes, 0)
    slot = vector(state, table, 0, at.INPUT)
    if memory[NORMALISE] > 0.0:
        mean, squares = observation_of(memory, sizes, 1), observation_of(memory, sizes, 2)
        standardise(slot, x, mean, squares, memory[COUNT], memory[OBSERVATION_LIMIT])
    else:
        for i in range(x.size):  # what is finite in double precision must be so in single, too
            slot[i] = min(max(x[i], -LARGE), LARGE)


@kernel
def readout(state: Array, table: Ints, which: int) -> Array:
    """View of the readout's field `which`: Y or ERROR."""
    return vector(state, table, table[at.N_LAYERS], which)


@kernel
def choose(state: Array, table: Ints, memory: Array, sizes: Ints, greedy: bool) -> None:
    """Write the action that the actor's readout asks for."""
    y, action, noise = readout(state, table, at.Y), action_of(memory, sizes), noise_of(memory, sizes)
    if sizes[KIND] == CATEGORICAL:
        p = probabilities_of(memory, sizes)
        softmax(p, y)
        if greedy:
            best = 0
            for k in range(1, p.size):
                best = k if p[k] > p[best] else best
            action[0] = best
        else:
            action[0] = draw_categorical(p, noise[0])
    elif greedy:
        for k in range(action.size):
            action[k] = y[k]
    else:
        draw_gaussian(action, y, noise, memory[SIGMA_FLOOR])


@kernel
def choose_and_blame(
    actor: Array, actor_table: Ints, critic: Array, critic_table: Ints, memory: Array, sizes: Ints
) -> None:
    """Choose an action in the state just seen, and write the errors that credit value and action to the synapses."""
    choose(actor, actor_table, memory, sizes, False)
    memory[VALUE] = readout(critic, critic_table, at.Y)[0]
    readout(critic, critic_table, at.ERROR)[0] = -1.0
    error, y = readout(actor, actor_table, at.ERROR), readout(actor, actor_table, at.Y)
    if sizes[KIND] == CATEGORICAL:
        chosen = int(action_of(memory, sizes)[0])
        categorical_error(error, probabilities_of(memory, sizes), chosen, memory[ENTROPY])
    else:
        gaussian_error(error, y, noise_of(memory, sizes), memory[SIGMA_FLOOR], memory[ENTROPY])


@kernel
def watch_rate(actor: Array, actor_table: Ints, memory: Array) -> None:
    """Low-pass the share of the actor's neurons that spike."""
    z, n, spikes = vector(actor, actor_table, 0, at.Z), vector(actor, actor_table, 0, at.V).size, 0.0
    for j in range(n):
        spikes += z[j]
    memory[MEAN_RATE] += 0.01 * (spikes / n - memory[MEAN_RATE])


@kernel
def scaled(memory: Array, reward: float, terminated: bool) -> float:
    """Reward over the running deviation of the discounted return."""
    memory[RETURN] = memory[RETURN] * memory[DISCOUNT] + reward
    memory[RETURN_COUNT] += 1.0
    off = memory[RETURN] - memory[RETURN_MEAN]
    memory[RETURN_MEAN] += off / memory[RETURN_COUNT]
    memory[RETURN_SQUARES] += off * (memory[RETURN] - memory[RETURN_MEAN])
    if memory[SCALE_REWARDS] > 0.0 and memory[RETURN_COUNT] > 1.0:
        variance = memory[RETURN_SQUARES] / (memory[RETURN_COUNT] - 1.0)
        memory[REWARD_SCALE] = 1.0 / math.sqrt(variance + 1e-8)
    if terminated:
        memory[RETURN] = 0.0
    return reward * memory[REWARD_SCALE]  # type: ignore[no-any-return]


@kernel
def td_error(memory: Array, reward: float, value_after: float, terminated: bool) -> float:
    """R + discount V' - V with the scaled reward, and the statistics that go with it."""
    delta = scaled(memory, reward, terminated) + memory[DISCOUNT] * value_after - memory[VALUE]
    memory[TD_ERROR] = delta
    memory[EPISODE_RETURN] += reward
    memory[STEPS] += 1.0
    memory[MEAN_TD_ERROR] += 0.01 * (abs(delta) - memory[MEAN_TD_ERROR])
    return delta  # type: ignore[no-any-return]


@kernel
def drive(
    actor: Array, actor_table: Ints, critic: Array, critic_table: Ints, memory: Array, sizes: Ints, given: Array,
    command: int, reward: float, terminated: bool, truncated: bool,
) -> int:  # fmt: skip
    """One crossing into compiled code: BEGIN an episode, STEP from one observation to the next, or ACT greedily.

    Parameters
    ----------
    actor, actor_table, critic, critic_table : the arrays of the two networks
    memory, sizes : what else is kept; the random numbers of the next action stand in it
    given : observation, float64
    command : BEGIN, STEP or ACT; the rest counts for STEP alone

    Returns
    -------
    int
        DONE; or BAD_OBSERVATION, BAD_REWARD, and then nothing was changed.
    """
    if not math.isfinite(reward):
        return BAD_REWARD
    if not all_finite(given):
        return BAD_OBSERVATION
    copy(observation_of(memory, sizes, 0), given)
    # `tick.run` is called from here alone: the compiler works through a copy of it for each function that calls it
    if command == BEGIN:
        memory[RETURN] = memory[EPISODE_RETURN] = 0.0
        tick.run(actor, actor_table, tick.CLEAR, 0.0)
        tick.run(critic, critic_table, tick.CLEAR, 0.0)
        if memory[KEEP_STATE] == 0.0:
            tick.run(actor, actor_table, tick.RESET, 0.0)
            tick.run(critic, critic_table, tick.RESET, 0.0)
    if command != ACT and not terminated:
        memory[COUNT] += 1.0
        observe(observation_of(memory, sizes, 1), observation_of(memory, sizes, 2), memory[COUNT], given)
        present(critic, critic_table, memory, sizes)
        tick.run(critic, critic_table, tick.FORWARD, 0.0)
    if not terminated:
        present(actor, actor_table, memory, sizes)
        tick.run(actor, actor_table, tick.FORWARD, 0.0)
    if command == ACT:
        choose(actor, actor_table, memory, sizes, True)
        return DONE
    if command == STEP:  # only termination makes the next state worthless; a truncated episode bootstraps from it
        value_after = 0.0 if terminated else readout(critic, critic_table, at.Y)[0]
        delta = td_error(memory, reward, value_after, terminated)
        tick.run(actor, actor_table, tick.UPDATE, delta)
        tick.run(critic, critic_table, tick.UPDATE, delta)
    if not (terminated or truncated):
        watch_rate(actor, actor_table, memory)
        choose_and_blame(actor, actor_table, critic, critic_table, memory, sizes)
        decay = memory[DISCOUNT] * memory[TRACE_DECAY]
        tick.run(actor, actor_table, tick.TAG, decay)
        tick.run(critic, critic_table, tick.TAG, decay)
    return DONE
