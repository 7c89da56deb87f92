"""Places in the row of the quadrotor's world, and the kernels that move it on, pay and observe."""

from __future__ import annotations

import math

import numpy as np

from envs.compiled import MOST, TINY, Floats, Range
from envs.generator import normal_pair
from threefactor._jit import kernel

# Places in `world`, each the first of its entries. The state:
POSITION, ATTITUDE, VELOCITY, TURN, ROTORS, STEPS = 0, 3, 7, 10, 13, 17
N_STATE = STEPS
# What a reset draws: the generator of the noise, the disturbing force [N] and torque [N m]:
DRAW, FORCE, TORQUE = 18, 20, 23
# The parameters, in the order of the constructor's arguments, and the weights of the reward:
MASS, INERTIA, ARM, THRUST, DRAG, LAG, GRAVITY, MOTORS, WIND = 26, 27, 30, 31, 34, 35, 36, 37, 41
FORCES, TORQUES, NOISE, RADIUS, PERIOD, INTERVAL, LIMIT = 44, 45, 46, 50, 51, 52, 53
ALIVE, NEAR, SLOW, LEVEL, CALM = 54, 55, 56, 57, 58
# Room for a step's work: the rotors' commanded speeds, the state inside a step, its rate, the sum of its rates:
COMMANDED, NOW, RATE, SUM, SIZE = 59, 63, 80, 97, 114

FARTHEST, FASTEST = 0.6, 1000.0  # [m]; [m/s] and [rad/s]
CHEAPEST = 0.667  # share of the rotors' top speed, about that of hovering, from which the reward counts their effort
N_OBSERVATION, N_STAGES = 18, 6

RANGES = {
    "mass": Range(MASS, (), TINY, MOST), "inertia": Range(INERTIA, (3,), TINY, MOST),
    "arm": Range(ARM, (), 0.0, MOST), "thrust": Range(THRUST, (3,), -MOST, MOST),
    "drag": Range(DRAG, (), 0.0, MOST), "lag": Range(LAG, (), TINY, MOST),
    "gravity": Range(GRAVITY, (), 0.0, MOST), "motors": Range(MOTORS, (4,), 0.0, MOST),
    "wind": Range(WIND, (3,), -MOST, MOST), "force": Range(FORCES, (), 0.0, MOST),
    "torque": Range(TORQUES, (), 0.0, MOST), "noise": Range(NOISE, (4,), 0.0, 0.1),
    "radius": Range(RADIUS, (), 0.0, MOST), "period": Range(PERIOD, (), TINY, MOST),
    "interval": Range(INTERVAL, (), TINY, MOST),
}  # fmt: skip


@kernel
def rates(world: Floats) -> None:
    """Write at RATE the derivative of the state at NOW: rigid body, four rotors with a first-order lag.

    x' = v,  m v' = R(q) sum(T) e_z + forces - m g e_z,  q' = q (0, w) / 2,  J w' = torques - w x J w,
    u' = (command - u) / lag,  T = c0 + c1 u + c2 u^2.
    """
    t0, t1, t2, t3 = thrust(world, 0), thrust(world, 1), thrust(world, 2), thrust(world, 3)
    lift, arm = t0 + t1 + t2 + t3, world[ARM]
    roll, pitch = arm * (t2 + t3 - t0 - t1), arm * (t1 + t2 - t0 - t3)
    yaw = world[DRAG] * (t1 + t3 - t0 - t2)
    a, b = world[NOW + ATTITUDE], world[NOW + ATTITUDE + 1]
    c, d = world[NOW + ATTITUDE + 2], world[NOW + ATTITUDE + 3]
    p, q, r = world[NOW + TURN], world[NOW + TURN + 1], world[NOW + TURN + 2]
    jx, jy, jz, m = world[INERTIA], world[INERTIA + 1], world[INERTIA + 2], world[MASS]
    for i in range(3):
        world[RATE + i] = world[NOW + VELOCITY + i]
    world[RATE + ATTITUDE] = -0.5 * (b * p + c * q + d * r)
    world[RATE + ATTITUDE + 1] = 0.5 * (a * p + c * r - d * q)
    world[RATE + ATTITUDE + 2] = 0.5 * (a * q + d * p - b * r)
    world[RATE + ATTITUDE + 3] = 0.5 * (a * r + b * q - c * p)
    world[RATE + VELOCITY] = (2.0 * (b * d + a * c) * lift + world[FORCE] + world[WIND]) / m
    world[RATE + VELOCITY + 1] = (2.0 * (c * d - a * b) * lift + world[FORCE + 1] + world[WIND + 1]) / m
    up = 1.0 - 2.0 * (b * b + c * c)
    world[RATE + VELOCITY + 2] = (up * lift + world[FORCE + 2] + world[WIND + 2]) / m - world[GRAVITY]
    world[RATE + TURN] = (roll + world[TORQUE] - (jz - jy) * q * r) / jx
    world[RATE + TURN + 1] = (pitch + world[TORQUE + 1] - (jx - jz) * r * p) / jy
    world[RATE + TURN + 2] = (yaw + world[TORQUE + 2] - (jy - jx) * p * q) / jz
    for i in range(4):
        world[RATE + ROTORS + i] = (world[COMMANDED + i] - world[NOW + ROTORS + i]) / world[LAG]


@kernel
def thrust(world: Floats, i: int) -> float:
    """Thrust of a rotor [N] at its speed in NOW."""
    u = world[NOW + ROTORS + i]
    lift: float = world[MOTORS + i] * (world[THRUST] + u * (world[THRUST + 1] + u * world[THRUST + 2]))
    return lift


@kernel
def move(world: Floats) -> None:
    """Move the state on by an interval, by the classical Runge-Kutta rule, and make the quaternion one of length 1."""
    dt = world[INTERVAL]
    for i in range(N_STATE):
        world[NOW + i], world[SUM + i] = world[i], 0.0
    for ahead, weight in ((0.5, 1.0), (0.5, 2.0), (1.0, 2.0), (0.0, 1.0)):
        rates(world)
        for i in range(N_STATE):
            world[SUM + i] += weight * world[RATE + i]
            world[NOW + i] = world[i] + ahead * dt * world[RATE + i]
    for i in range(N_STATE):
        world[i] += dt / 6.0 * world[SUM + i]
    length = 0.0
    for i in range(ATTITUDE, ATTITUDE + 4):
        length += world[i] * world[i]
    for i in range(ATTITUDE, ATTITUDE + 4):
        world[i] /= math.sqrt(length)


@kernel
def target(world: Floats) -> tuple[float, float, float, float]:
    """Where the target is, x and y [m], and how fast it moves [m/s]; its height is 0."""
    pace = 2.0 * math.pi / world[PERIOD]
    angle = pace * world[INTERVAL] * world[STEPS]
    s, c = math.sin(angle), math.cos(angle)
    return world[RADIUS] * s, world[RADIUS] * s * c, world[RADIUS] * pace * c, world[RADIUS] * pace * (c * c - s * s)


@kernel
def show(world: Floats, observation: Floats) -> None:
    """Write what would be seen without noise."""
    x, y, vx, vy = target(world)
    a, b, c, d = world[ATTITUDE], world[ATTITUDE + 1], world[ATTITUDE + 2], world[ATTITUDE + 3]
    for i in range(3):
        observation[i], observation[12 + i], observation[15 + i] = world[i], world[VELOCITY + i], world[TURN + i]
    observation[0] -= x
    observation[1] -= y
    observation[12] -= vx
    observation[13] -= vy
    observation[3], observation[7] = 1.0 - 2.0 * (c * c + d * d), 1.0 - 2.0 * (b * b + d * d)
    observation[4], observation[6] = 2.0 * (b * c - a * d), 2.0 * (b * c + a * d)
    observation[5], observation[9] = 2.0 * (b * d + a * c), 2.0 * (b * d - a * c)
    observation[8], observation[10] = 2.0 * (c * d - a * b), 2.0 * (c * d + a * b)
    observation[11] = 1.0 - 2.0 * (b * b + c * c)


@kernel
def blur(world: Floats, observation: Floats) -> None:
    """Add the sensors' noise, normal, from the generator at DRAW."""
    low, carry = np.uint64(world[DRAW]), np.uint64(world[DRAW + 1])
    for k in range(0, N_OBSERVATION, 2):
        x, y, low, carry = normal_pair(low, carry)
        observation[k] += world[NOISE + sensor(k)] * x
        observation[k + 1] += world[NOISE + sensor(k + 1)] * y
    world[DRAW], world[DRAW + 1] = np.float64(low), np.float64(carry)


@kernel
def sensor(k: int) -> int:
    """Which of the four levels of noise entry `k` of an observation has."""
    return 0 if k < 3 else 1 if k < 12 else 2 if k < 15 else 3


@kernel
def observe(world: Floats, observation: Floats) -> None:
    """Write what is seen."""
    show(world, observation)
    blur(world, observation)


@kernel
def step(world: Floats, command: Floats, observation: Floats) -> tuple[float, bool, bool]:
    """One interval: move, pay, observe."""
    effort = 0.0
    for i in range(4):
        share = min(max(0.5 * (command[i] + 1.0), 0.0), 1.0)
        world[COMMANDED + i] = share
        effort += (share - CHEAPEST) * (share - CHEAPEST)
    move(world)
    world[STEPS] += 1.0
    show(world, observation)
    distance, speed, spin, inside = 0.0, 0.0, 0.0, True
    for i in range(3):
        distance += observation[i] * observation[i]
        speed += observation[12 + i] * observation[12 + i]
        spin += observation[15 + i] * observation[15 + i]
        inside = inside and abs(observation[i]) <= FARTHEST  # false of what is no number, so that it ends, too
    tilt = 2.0 - 2.0 * abs(world[ATTITUDE])  # |q - 1|^2 of the nearer of q and -q, which are the same attitude
    reward = world[ALIVE] - world[NEAR] * distance - world[SLOW] * speed - world[LEVEL] * tilt - world[CALM] * effort
    inside = inside and speed <= FASTEST * FASTEST and spin <= FASTEST * FASTEST
    blur(world, observation)
    return reward, not inside, world[STEPS] >= world[LIMIT]
