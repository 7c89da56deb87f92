"""Places in the row of the cursor's world, and the kernels of its user, of the neurons and of the task."""

from __future__ import annotations

import math

import numpy as np

from envs.compiled import Floats
from envs.generator import normal_pair, poisson
from threefactor._jit import kernel

# Places in `world`, each the first of its entries. The state, and what a reset draws:
CURSOR, INTENTION, STEPS, HELD, TARGET, DRAW = 0, 2, 4, 5, 6, 8
# Parameters that are one number, and the rest of the task:
DRIFT, TOP_SPEED, SLOWING, INTERVAL, DELAY, RADIUS, HOLD, LIMIT = 10, 11, 12, 13, 14, 15, 16, 17
UNITS = 18  # here the four parameters of n units begin, and after them what the user will see: DELAY + 1 places

N_PER_UNIT = 4
EDGE = 1.0  # the cursor stops here, along each axis
BONUS = 10.0  # for a hit


def size(n_units: int, delay: int) -> int:
    """Entries of a row."""
    return UNITS + N_PER_UNIT * n_units + 2 * (delay + 1)


@kernel
def intend(world: Floats, seen_at: int) -> None:
    """Write the velocity that the user intends, as a share of the top speed: towards the target, slower close to it.

    (target - seen) / max(|target - seen|, SLOWING), with the cursor as it was seen DELAY steps ago: `seen_at` is the
    place of a ring of DELAY + 1 places, into which the cursor of now is written.
    """
    length = int(world[DELAY]) + 1
    now = int(world[STEPS]) % length
    old = (now + 1) % length
    for i in range(2):
        world[seen_at + 2 * now + i] = world[CURSOR + i]
    dx, dy = world[TARGET] - world[seen_at + 2 * old], world[TARGET + 1] - world[seen_at + 2 * old + 1]
    far = max(math.hypot(dx, dy), world[SLOWING])
    world[INTENTION], world[INTENTION + 1] = dx / far, dy / far


@kernel
def wander(world: Floats, n: int) -> None:
    """Let the preferred directions take a step of their random walk, of DRIFT radians in a root of a minute."""
    reach = world[DRIFT] * math.sqrt(world[INTERVAL] / 60.0)
    low, carry = np.uint64(world[DRAW]), np.uint64(world[DRAW + 1])
    for i in range(0, n, 2):
        x, y, low, carry = normal_pair(low, carry)
        world[UNITS + i] += reach * x
        if i + 1 < n:
            world[UNITS + i + 1] += reach * y
    world[DRAW], world[DRAW + 1] = np.float64(low), np.float64(carry)


@kernel
def fire(world: Floats, counts: Floats) -> None:
    """Write how often each unit spikes in this bin: Poisson, with the rate gain max(0, baseline + depth p . v).

    p is the direction that the unit prefers, of length 1, and v the intended velocity as a share of the top speed.
    """
    n, bin_length = counts.size, world[INTERVAL]
    speed = math.hypot(world[INTENTION], world[INTENTION + 1])
    direction = math.atan2(world[INTENTION + 1], world[INTENTION])
    low, carry = np.uint64(world[DRAW]), np.uint64(world[DRAW + 1])
    for i in range(n):
        baseline, depth, gain = world[UNITS + n + i], world[UNITS + 2 * n + i], world[UNITS + 3 * n + i]
        rate = gain * max(0.0, baseline + depth * speed * math.cos(world[UNITS + i] - direction))
        counts[i], low, carry = poisson(rate * bin_length, low, carry)
    world[DRAW], world[DRAW + 1] = np.float64(low), np.float64(carry)


@kernel
def observe(world: Floats, observation: Floats) -> None:
    """Have the user intend and the units fire."""
    intend(world, UNITS + N_PER_UNIT * observation.size)
    fire(world, observation)


@kernel
def step(world: Floats, command: Floats, observation: Floats) -> tuple[float, bool, bool]:
    """One bin: move the cursor, pay, let the tuning drift, observe."""
    for i in range(2):
        share = min(max(command[i], -1.0), 1.0)
        moved = world[CURSOR + i] + world[INTERVAL] * world[TOP_SPEED] * share
        world[CURSOR + i] = min(max(moved, -EDGE), EDGE)
    world[STEPS] += 1.0
    distance = math.hypot(world[CURSOR] - world[TARGET], world[CURSOR + 1] - world[TARGET + 1])
    world[HELD] = world[HELD] + 1.0 if distance <= world[RADIUS] else 0.0
    if world[DRIFT] > 0.0:
        wander(world, observation.size)
    observe(world, observation)
    hit = world[HELD] >= world[HOLD]
    return BONUS - distance if hit else -distance, hit, world[STEPS] >= world[LIMIT]
