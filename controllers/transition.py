"""One step of the actor-critic in compiled code: observation in, action out, learning included.

Several copies may learn together, each in a world of its own: the weights and `memory` are theirs in common, neurons,
traces, tags and `own` are each one's.

Reward-based e-prop: Bellec et al. 2020, Nat. Commun. 11:3625, equations 28 to 36. The TD error multiplies tags that
were laid before it, so learning is causal; nothing but the two networks and the vectors `memory`, `own` is kept.
Clipping and normalisation of the TD error: Sharifnassab et al. 2026, arXiv:2604.19033.
"""

from __future__ import annotations

import math

from controllers import places
from controllers.encoding import novelty, rarity
from controllers.observations import inside, look, present, take
from controllers.policies import (
    CATEGORICAL,
    categorical_error,
    colour,
    draw_categorical,
    draw_gaussian,
    gaussian_error,
    likeliest,
)
from threefactor import layout as at
from threefactor import tick
from threefactor._denormal import ignore_denormals, restore
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.forward import all_finite, copy
from threefactor.layout import vector
from threefactor.readouts import softmax

NEWEST_SHARE, CLIP_ERRORS = 2e-4, 20.0  # usual size of the TD error: its averages, bound in it
LEAST_SPREAD = 0.01  # of returns: share of their squared mean, over their number, that their variance is at least
LARGEST_REWARD = 1e12  # larger ones are cut: what follows from it must be finite in single precision
BEGIN, STEP, ACT, CHECK = 0, 1, 2, 3  # commands
DONE, BAD_OBSERVATION, OUTSIDE, BAD_REWARD = 0, 1, 2, 3  # answers; unless DONE nothing was changed
WARM_UP_EPISODES = 4.0  # as good as all the steps of the actor's warm-up


@kernel
def readout(state: Array, table: Ints, which: int) -> Array:
    """View of the readout's field `which`: Y or ERROR."""
    return vector(state, table, table[at.N_LAYERS], which)


@kernel
def choose(state: Array, table: Ints, memory: Array, own: Array, sizes: Ints, greedy: bool) -> None:
    """Write the action that the actor's readout asks for; WIDTH scales the deviation, or the softmax's temperature."""
    y, action, noise = readout(state, table, at.Y), places.action_of(own, sizes), places.noise_of(own, sizes, 0)
    if not greedy:
        colour(noise, places.noise_of(own, sizes, 1), memory[places.NOISE_CORRELATION])
    if sizes[places.KIND] == CATEGORICAL:
        for g in range(action.size):
            start, stop = sizes[places.N_SIZES + g], sizes[places.N_SIZES + g + 1]
            p = places.probabilities_of(own, sizes)[start:stop]
            for k in range(p.size):
                p[k] = y[start + k] / memory[places.WIDTH]
            softmax(p, p)
            action[g] = likeliest(p) if greedy else draw_categorical(p, noise[g])
    else:
        width = 0.0 if greedy else memory[places.WIDTH]
        draw_gaussian(action, y, noise, memory[places.SIGMA_FLOOR], memory[places.DEVIATION_BIAS], width)


@kernel
def blame(state: Array, table: Ints, memory: Array, own: Array, sizes: Ints, entropy: float) -> None:
    """Write the error that credits the last action to the actor's synapses, and an entropy bonus."""
    error, y = readout(state, table, at.ERROR), readout(state, table, at.Y)
    if sizes[places.KIND] == CATEGORICAL:
        action = places.action_of(own, sizes)
        for g in range(action.size):
            start, stop = sizes[places.N_SIZES + g], sizes[places.N_SIZES + g + 1]
            categorical_error(
                error[start:stop], places.probabilities_of(own, sizes)[start:stop], int(action[g]), entropy
            )
    else:
        floor, bias, width = memory[places.SIGMA_FLOOR], memory[places.DEVIATION_BIAS], memory[places.WIDTH]
        gaussian_error(error, y, places.noise_of(own, sizes, 0), floor, bias, width, entropy)


@kernel
def watch_rate(actor: Array, actor_table: Ints, memory: Array) -> None:
    """Low-pass the share of the actor's neurons that spike."""
    z, n, spikes = vector(actor, actor_table, 0, at.Z), vector(actor, actor_table, 0, at.V).size, 0.0
    for j in range(n):
        spikes += z[j]
    memory[places.MEAN_RATE] += 0.01 * (spikes / n - memory[places.MEAN_RATE])


@kernel
def scaled(memory: Array, own: Array, sizes: Ints, reward: float, terminated: bool) -> float:
    """Reward over the running deviation of the discounted return, as soon as each copy has given two returns.

    The first few returns may be alike by chance, or all of one value, where a step is an episode. Their deviation
    counts as no less than a tenth of their mean over the root of their number.
    """
    own[places.RETURN] = own[places.RETURN] * memory[places.DISCOUNT] + reward
    memory[places.RETURN_COUNT] += 1.0
    off = own[places.RETURN] - memory[places.RETURN_MEAN]
    memory[places.RETURN_MEAN] += off / memory[places.RETURN_COUNT]
    memory[places.RETURN_SQUARES] += off * (own[places.RETURN] - memory[places.RETURN_MEAN])
    if memory[places.SCALE_REWARDS] > 0.0 and memory[places.RETURN_COUNT] >= 2.0 * sizes[places.N_COPIES]:
        variance = memory[places.RETURN_SQUARES] / (memory[places.RETURN_COUNT] - 1.0)
        variance = max(variance, LEAST_SPREAD * memory[places.RETURN_MEAN] ** 2 / memory[places.RETURN_COUNT])
        memory[places.REWARD_SCALE] = 1.0 / math.sqrt(variance + 1e-8)
    if terminated:
        own[places.RETURN] = 0.0
    return reward * memory[places.REWARD_SCALE]  # type: ignore[no-any-return]


@kernel
def td_error(
    critic: Array, critic_table: Ints, memory: Array, own: Array, sizes: Ints, reward: float, terminated: bool
) -> float:
    """R + bonus + discount V' - V with the scaled reward, and the statistics that go with it.

    Only termination makes the next state worthless; a truncated episode bootstraps from it. An observation that ends an
    episode is as new as any other: a bonus for all but these would be a reward for never getting there.
    """
    value_after = 0.0 if terminated else memory[places.BASELINE] + readout(critic, critic_table, at.Y)[0]
    visits, seen = places.visits_of(memory, sizes), vector(critic, critic_table, 0, at.INPUT)
    bonus = memory[places.NOVELTY] * (
        novelty(visits, seen) if sizes[places.N_FIELDS] > 0 else rarity(visits[:, 0], seen)
    )
    delta = (
        scaled(memory, own, sizes, reward, terminated)
        + bonus
        + memory[places.DISCOUNT] * value_after
        - own[places.VALUE]
    )
    memory[places.TD_ERROR] = delta
    own[places.EPISODE_RETURN] += reward
    memory[places.STEPS] += 1.0
    memory[places.MEAN_TD_ERROR] += 0.01 * (abs(delta) - memory[places.MEAN_TD_ERROR])
    return delta  # type: ignore[no-any-return]


@kernel
def warmth(memory: Array) -> float:
    """Share of its step that the actor takes, the larger of steps / WARM_UP and episodes / 4, at most 1."""
    if memory[places.STEPS] >= memory[places.WARM_UP]:
        return 1.0
    share = max(memory[places.STEPS] / memory[places.WARM_UP], memory[places.EPISODES] / WARM_UP_EPISODES)
    return min(share, 1.0)  # type: ignore[no-any-return]


@kernel
def usual_size(memory: Array) -> float:
    """Size of the TD errors that matter: their mean size with each weighted by its own, 2 / pi E[d^2] / E[|d|].

    It is the plain mean if errors are normally distributed. Where rewards are rare and most errors next to nothing, the
    plain mean would be next to nothing, and the reward's error a hundred times its usual size.
    """
    mean, least = memory[places.ERROR_SIZE], memory[places.LEAST_ERROR]
    return max(2.0 / math.pi * memory[places.ERROR_SQUARE] / mean, least) if mean > 0.0 else least  # type: ignore[no-any-return]


@kernel
def clipped(memory: Array, delta: float) -> float:
    """TD error within 20 times the usual size of those before it; what is left goes into the averages.

    The first errors, of rewards whose scale is not yet known, are soon forgotten: the k-th of the first 15,000 counts
    by k^2.
    """
    bound = CLIP_ERRORS * usual_size(memory)
    delta = min(max(delta, -bound), bound)
    memory[places.ERRORS] += 1.0
    share = max(NEWEST_SHARE, 3.0 / (memory[places.ERRORS] + 2.0))
    memory[places.ERROR_SIZE] += share * (abs(delta) - memory[places.ERROR_SIZE])
    memory[places.ERROR_SQUARE] += share * (delta * delta - memory[places.ERROR_SQUARE])
    return delta


@kernel
def drive(
    actor: Array, actor_table: Ints, critic: Array, critic_table: Ints, memory: Array, own: Array, sizes: Ints,
    given: Array, command: int, reward: float, terminated: bool, truncated: bool,
) -> int:  # fmt: skip
    """One crossing into compiled code: BEGIN an episode, STEP from one observation to the next, ACT greedily, or
    only CHECK what is given.

    Parameters
    ----------
    actor, actor_table, critic, critic_table : the arrays of the two networks; the tables are a copy's
    memory, own, sizes : what else is kept, by all and by this copy; the random numbers of the next action stand in it
    given : observation, float64
    command : BEGIN, STEP, ACT or CHECK; the rest counts for STEP alone, the reward for CHECK, too

    Returns
    -------
    int
        DONE; or BAD_OBSERVATION, OUTSIDE, BAD_REWARD, and then nothing was changed.
    """
    if not math.isfinite(reward):
        return BAD_REWARD
    if not all_finite(given):
        return BAD_OBSERVATION
    if not inside(memory, sizes, given):
        return OUTSIDE
    if command == CHECK:
        return DONE
    word = ignore_denormals()
    reward = min(max(reward, -LARGEST_REWARD), LARGEST_REWARD)
    ticks = 0 if terminated else 1  # what ended an episode is looked at once, for its novelty
    starts = command == BEGIN or (command == ACT and actor_table[at.TICKS] == 0)
    look(own, sizes, given, starts)
    if command == ACT and starts:
        ticks = sizes[places.WARM_TICKS]
    # `tick.run` is called from here alone: the compiler works through a copy of it for each function that calls it
    if command == BEGIN:
        own[places.RETURN] = own[places.EPISODE_RETURN] = 0.0
        tick.run(actor, actor_table, actor, actor, tick.CLEAR, 0.0)
        tick.run(critic, critic_table, critic, critic, tick.CLEAR, 0.0)
        if memory[places.KEEP_STATE] == 0.0:
            tick.run(actor, actor_table, actor, actor, tick.RESET, 0.0)
            tick.run(critic, critic_table, critic, critic, tick.RESET, 0.0)
            ticks = sizes[places.WARM_TICKS]  # from rest to where the neurons would be, had they seen this all the time
    if command == STEP:
        readout(critic, critic_table, at.ERROR)[0] = -1.0
        tick.run(critic, critic_table, critic, critic, tick.TAG, memory[places.DISCOUNT] * memory[places.TRACE_DECAY])
    if command != ACT:
        if not terminated:
            take(memory, own, sizes)
        present(critic, critic_table, memory, own, sizes)
        for k in range(ticks):
            if k > 0:
                tick.run(critic, critic_table, critic, critic, tick.SKIP, 0.0)
            tick.run(critic, critic_table, critic, critic, tick.FORWARD, 0.0)
    delta = 0.0
    if command == STEP:
        delta = td_error(critic, critic_table, memory, own, sizes, reward, terminated)
        # what is tagged for entropy will be multiplied by this TD error: its sign makes a bonus of it in any case
        blame(actor, actor_table, memory, own, sizes, math.copysign(memory[places.ENTROPY], delta))
        tick.run(actor, actor_table, actor, actor, tick.TAG, memory[places.DISCOUNT] * memory[places.TRACE_DECAY])
        size = 1.0
        if memory[places.NORMALISE_ERROR] > 0.0:
            delta = clipped(memory, delta)
            size = usual_size(memory)
        tick.run(actor, actor_table, actor, actor, tick.UPDATE, warmth(memory) * delta / size)
        tick.run(critic, critic_table, critic, critic, tick.UPDATE, delta)
    if command == ACT:
        present(actor, actor_table, memory, own, sizes)
    else:  # both networks see the same
        copy(vector(actor, actor_table, 0, at.INPUT), vector(critic, critic_table, 0, at.INPUT))
    for k in range(ticks):
        if k > 0:
            tick.run(actor, actor_table, actor, actor, tick.SKIP, 0.0)
        tick.run(actor, actor_table, actor, actor, tick.FORWARD, 0.0)
    if command == ACT:
        choose(actor, actor_table, memory, own, sizes, True)
    elif not (terminated or truncated):
        watch_rate(actor, actor_table, memory)
        choose(actor, actor_table, memory, own, sizes, False)
        own[places.VALUE] = memory[places.BASELINE] + readout(critic, critic_table, at.Y)[0]
    if command == STEP and (terminated or truncated):
        memory[places.EPISODES] += 1.0
    memory[places.BASELINE] += memory[places.BASELINE_RATE] * delta  # 0 but for STEP
    restore(word)
    return DONE
