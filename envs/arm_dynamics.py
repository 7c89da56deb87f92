"""Places in the row of the arm's world, the arm's kinematics and dynamics, its muscles, and the step of the task.

Angles are those of the shoulder, from the x axis on, and of the elbow, from the upper arm on, both counter-clockwise;
the shoulder is the origin. Whoever wants an arm's kinematics or dynamics hands its `world`, or a copy of an earlier
one, to `forward_kinematics`, `jacobian`, `inverse_kinematics` or `inverse_dynamics`.
"""

from __future__ import annotations

import math

import numpy as np

from envs.compiled import MOST, TINY, Floats, Range
from threefactor._jit import kernel

# Places in `world`, each the first of its entries. The state, and what a reset draws:
ANGLES, RATES, ACTIVATIONS, STEPS, HELD = 0, 2, 4, 10, 11
N_STATE = STEPS
DELAY, TARGET, HOME = 12, 13, 15
# The parameters, in the order of the constructor's arguments, and the rest of the task:
MASS, LENGTH, CENTRE, INERTIA, FRICTION, TORQUE, MUSCLES, CURL, FORCE = 17, 19, 21, 23, 25, 29, 31, 37, 38
INTERVAL, RADIUS, HOLD, LIMIT, MUSCULAR = 40, 41, 42, 43, 44
# The hand, and room for a step's work: torques, excitations, the state inside a step, its rate, the sum of its rates:
HAND, HAND_VELOCITY, DRIVE, NOW, RATE, SUM, SIZE = 45, 47, 49, 55, 65, 75, 85

LOWEST, HIGHEST = np.radians([-30.0, 0.0]), np.radians([120.0, 150.0])  # where the joints stop [rad]
N_OBSERVATION, N_MUSCLES, N_SUBSTEPS = 11, 6, 2
NEAR, SLOW, CALM = 10.0, 0.1, 0.1  # weights of the cost: [1/m], [s^2/m^2], 1

# The muscles: flexor and extensor of the shoulder, of the elbow, of both.
MOMENT_ARM = 0.01 * np.array([[2.0, -2.0, 0.0, 0.0, 1.5, -2.0], [0.0, 0.0, 2.0, -2.0, 2.0, -1.5]])  # [m]
OPTIMAL_LENGTH = 0.01 * np.array([7.32, 3.26, 6.4, 4.26, 5.95, 4.04])  # [m]
OPTIMAL_ANGLE = np.radians([[15.0, 4.88, 0.0, 0.0, 4.5, 2.12], [0.0, 0.0, 80.86, 109.32, 92.96, 91.52]])  # [rad]
LARGEST_FORCE = 31.8 * np.array([22.0, 12.0, 18.0, 14.0, 5.0, 10.0])  # [N]: [N/cm^2] times [cm^2]
RISE, FALL = 0.05, 0.066  # time constants of activation [s]

RANGES = {
    "mass": Range(MASS, (2,), TINY, MOST), "length": Range(LENGTH, (2,), TINY, MOST),
    "centre": Range(CENTRE, (2,), 0.0, MOST), "inertia": Range(INERTIA, (2,), TINY, MOST),
    "friction": Range(FRICTION, (2, 2), 0.0, MOST), "torque": Range(TORQUE, (2,), 0.0, MOST),
    "muscles": Range(MUSCLES, (N_MUSCLES,), 0.0, MOST), "curl": Range(CURL, (), -MOST, MOST),
    "force": Range(FORCE, (2,), -MOST, MOST), "interval": Range(INTERVAL, (), TINY, 0.01),
}  # fmt: skip


@kernel
def forward_kinematics(world: Floats, shoulder: float, elbow: float) -> tuple[float, float]:
    """Where the hand is, x and y [m]."""
    upper, lower, both = world[LENGTH], world[LENGTH + 1], shoulder + elbow
    return (
        upper * math.cos(shoulder) + lower * math.cos(both),
        upper * math.sin(shoulder) + lower * math.sin(both),
    )


@kernel
def jacobian(world: Floats, shoulder: float, elbow: float) -> tuple[float, float, float, float]:
    """dx/dshoulder, dx/delbow, dy/dshoulder, dy/delbow [m]."""
    upper, lower, both = world[LENGTH], world[LENGTH + 1], shoulder + elbow
    s, c = lower * math.sin(both), lower * math.cos(both)
    return -upper * math.sin(shoulder) - s, -s, upper * math.cos(shoulder) + c, c


@kernel
def inverse_kinematics(world: Floats, x: float, y: float) -> tuple[float, float]:
    """Angles that bring the hand there [rad], -pi to pi and 0 to pi; out of reach, to what is nearest."""
    upper, lower = world[LENGTH], world[LENGTH + 1]
    c = (x * x + y * y - upper * upper - lower * lower) / (2.0 * upper * lower)
    elbow = math.acos(min(max(c, -1.0), 1.0))
    along, across = upper + lower * math.cos(elbow), lower * math.sin(elbow)
    return math.atan2(y * along - x * across, x * along + y * across), elbow


@kernel
def mass_matrix(world: Floats, elbow: float) -> tuple[float, float, float]:
    """Its entries 11, 12 = 21 and 22 [kg m^2]."""
    m1, m2, s1, s2, upper = world[MASS], world[MASS + 1], world[CENTRE], world[CENTRE + 1], world[LENGTH]
    lower, coupled = world[INERTIA + 1] + m2 * s2 * s2, m2 * upper * s2 * math.cos(elbow)
    whole = world[INERTIA] + m1 * s1 * s1 + m2 * upper * upper + lower
    return whole + 2.0 * coupled, lower + coupled, lower


@kernel
def resistance(world: Floats, elbow: float, w1: float, w2: float) -> tuple[float, float]:
    """Coriolis, centripetal and friction torques at the rates `w1` and `w2` [N m]."""
    h = world[MASS + 1] * world[LENGTH] * world[CENTRE + 1] * math.sin(elbow)
    rubbed1 = world[FRICTION] * w1 + world[FRICTION + 1] * w2
    rubbed2 = world[FRICTION + 2] * w1 + world[FRICTION + 3] * w2
    return rubbed1 - h * w2 * (2.0 * w1 + w2), rubbed2 + h * w1 * w1


@kernel
def inverse_dynamics(
    world: Floats, shoulder: float, elbow: float, w1: float, w2: float, acceleration1: float, acceleration2: float
) -> tuple[float, float]:
    """Torques [N m] for angles, rates and accelerations, without what pushes the hand: M(q) q'' + C(q, q') + B q'.

    As the arm lies, the shoulder's angle plays no part.
    """
    m11, m12, m22 = mass_matrix(world, elbow)
    r1, r2 = resistance(world, elbow, w1, w2)
    return m11 * acceleration1 + m12 * acceleration2 + r1, m12 * acceleration1 + m22 * acceleration2 + r2


@kernel
def tension(world: Floats, i: int, w1: float, w2: float) -> float:
    """Force of a muscle [N] in the state at NOW: activation x force-length x force-velocity x largest force.

    Length and velocity count in optimal lengths, and lengthening is positive.
    """
    arm1, arm2, optimal = MOMENT_ARM[0, i], MOMENT_ARM[1, i], OPTIMAL_LENGTH[i]
    bent1, bent2 = world[NOW] - OPTIMAL_ANGLE[0, i], world[NOW + 1] - OPTIMAL_ANGLE[1, i]
    length = max(1.0 - (arm1 * bent1 + arm2 * bent2) / optimal, 0.05)  # a Runge-Kutta stage may look past a stop
    speed = -(arm1 * w1 + arm2 * w2) / optimal
    off = abs(math.exp(1.93 * math.log(length)) - 1.0) / 1.03  # so faster than as a power
    by_length = math.exp(-math.exp(1.87 * math.log(off))) if off > 0.0 else 1.0
    if speed <= 0.0:
        by_speed = min(-5.72 - speed, 0.0) / (-5.72 + (1.38 + 2.09 * length) * speed)
    else:
        by_speed = (0.62 - (-3.12 + 4.21 * length - 2.67 * length * length) * speed) / (0.62 + speed)
    force: float = world[NOW + ACTIVATIONS + i] * by_length * by_speed * LARGEST_FORCE[i] * world[MUSCLES + i]
    return force


@kernel
def pull(world: Floats, w1: float, w2: float) -> tuple[float, float]:
    """Torques of the muscles [N m]; writes at RATE how their activations change.

    a' = (u - a) / t, with t = FALL + u (RISE - FALL) while the excitation u is above a, else FALL.
    """
    torque1, torque2 = 0.0, 0.0
    for i in range(N_MUSCLES):
        u, a = world[DRIVE + i], world[NOW + ACTIVATIONS + i]
        constant = FALL + u * (RISE - FALL) if u > a else FALL
        world[RATE + ACTIVATIONS + i] = (u - a) / constant
        force = tension(world, i, w1, w2)
        torque1 += MOMENT_ARM[0, i] * force
        torque2 += MOMENT_ARM[1, i] * force
    return torque1, torque2


@kernel
def rates(world: Floats) -> None:
    """Write at RATE the derivative of the state at NOW: q'' = M(q)^-1 (torques + J(q)^T F - C(q, q') - B q').

    F = `curl` [[0, 1], [-1, 0]] v + `force`, v = J(q) q'.
    """
    shoulder, elbow, w1, w2 = world[NOW], world[NOW + 1], world[NOW + RATES], world[NOW + RATES + 1]
    torque1, torque2 = world[DRIVE], world[DRIVE + 1]
    if world[MUSCULAR] > 0.0:
        torque1, torque2 = pull(world, w1, w2)
    a, b, c, d = jacobian(world, shoulder, elbow)
    fx = world[CURL] * (c * w1 + d * w2) + world[FORCE]
    fy = -world[CURL] * (a * w1 + b * w2) + world[FORCE + 1]
    r1, r2 = resistance(world, elbow, w1, w2)
    free1, free2 = torque1 + a * fx + c * fy - r1, torque2 + b * fx + d * fy - r2
    m11, m12, m22 = mass_matrix(world, elbow)
    area = m11 * m22 - m12 * m12
    world[RATE], world[RATE + 1] = w1, w2
    world[RATE + RATES] = (m22 * free1 - m12 * free2) / area
    world[RATE + RATES + 1] = (m11 * free2 - m12 * free1) / area


@kernel
def move(world: Floats) -> None:
    """Move the state on by an interval, in two steps of the classical Runge-Kutta rule; then the joints' stops hold.

    A joint that has gone beyond its stop lies at it and rests: the stops are hard and swallow all speed.
    """
    n, dt = N_STATE if world[MUSCULAR] > 0.0 else ACTIVATIONS, world[INTERVAL] / N_SUBSTEPS
    for _ in range(N_SUBSTEPS):
        for i in range(n):
            world[NOW + i], world[SUM + i] = world[i], 0.0
        for ahead, weight in ((0.5, 1.0), (0.5, 2.0), (1.0, 2.0), (0.0, 1.0)):
            rates(world)
            for i in range(n):
                world[SUM + i] += weight * world[RATE + i]
                world[NOW + i] = world[i] + ahead * dt * world[RATE + i]
        for i in range(n):
            world[i] += dt / 6.0 * world[SUM + i]
        for i in range(2):
            angle = world[ANGLES + i]
            if not LOWEST[i] <= angle <= HIGHEST[i]:
                world[ANGLES + i], world[RATES + i] = HIGHEST[i] if angle > HIGHEST[i] else LOWEST[i], 0.0


@kernel
def observe(world: Floats, observation: Floats) -> None:
    """Write the hand's place and velocity, and what is seen."""
    shoulder, elbow, w1, w2 = world[0], world[1], world[RATES], world[RATES + 1]
    world[HAND], world[HAND + 1] = forward_kinematics(world, shoulder, elbow)
    a, b, c, d = jacobian(world, shoulder, elbow)
    world[HAND_VELOCITY], world[HAND_VELOCITY + 1] = a * w1 + b * w2, c * w1 + d * w2
    for i in range(4):
        observation[i] = world[i]
    for i in range(2):
        observation[4 + i] = world[HAND + i] - world[HOME + i]
        observation[6 + i] = world[HAND_VELOCITY + i]
        observation[8 + i] = world[TARGET + i] - world[HOME + i]
    observation[10] = 1.0 if world[STEPS] >= world[DELAY] else 0.0


@kernel
def step(world: Floats, command: Floats, observation: Floats) -> tuple[float, bool, bool]:
    """One interval: move, observe, pay for what the action could know of."""
    effort, muscular = 0.0, world[MUSCULAR] > 0.0
    for i in range(command.size):
        share = min(max(command[i], 0.0 if muscular else -1.0), 1.0)
        world[DRIVE + i] = share if muscular else share * world[TORQUE + i]
        effort += share * share / command.size
    gone = world[STEPS] >= world[DELAY]
    move(world)
    world[STEPS] += 1.0
    observe(world, observation)
    goal = TARGET if gone else HOME
    distance = math.hypot(world[HAND] - world[goal], world[HAND + 1] - world[goal + 1])
    vx, vy = world[HAND_VELOCITY], world[HAND_VELOCITY + 1]
    world[HELD] = world[HELD] + 1.0 if gone and distance <= world[RADIUS] else 0.0
    reward = -NEAR * distance - SLOW * (vx * vx + vy * vy) - CALM * effort
    return reward, world[HELD] >= world[HOLD], world[STEPS] >= world[LIMIT]
