"""A small quadrotor that holds its place or follows a path, compiled, with every parameter within reach."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from envs.compiled import CompiledEnv, Floats
from envs.sequences import require
from threefactor._jit import entry, kernel

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
# Of the generator of noise; the multiplier is that of Thomas's MWC64X.
MULTIPLIER, LOW_HALF, HALF = np.uint64(4294883355), np.uint64(0xFFFFFFFF), np.uint64(32)
STEP_31 = 2.0**-31

LEARNING_TO_FLY: dict[str, Any] = {
    "mass": 0.027, "inertia": (3.85e-6, 3.85e-6, 5.9675e-6), "arm": 0.028, "thrust": (0.0, 0.0, 3.16e-10 * 21702.0**2),
    "drag": 0.005964552, "lag": 0.15,
}  # fmt: skip
RL_TOOLS: dict[str, Any] = {
    "mass": 0.027, "inertia": (1.029e-5, 1.105e-5, 2.005e-5), "arm": 0.028, "thrust": (0.0213, -0.0112, 0.1201),
    "drag": 0.004665, "lag": 0.072,
}  # fmt: skip

# Place, entries, least and largest value of each parameter.
TINY, MOST = math.ulp(0.0), float(np.finfo(np.float64).max)
RANGES: dict[str, tuple[int, int, float, float]] = {
    "mass": (MASS, 1, TINY, MOST), "inertia": (INERTIA, 3, TINY, MOST), "arm": (ARM, 1, 0.0, MOST),
    "thrust": (THRUST, 3, -MOST, MOST), "drag": (DRAG, 1, 0.0, MOST), "lag": (LAG, 1, TINY, MOST),
    "gravity": (GRAVITY, 1, 0.0, MOST), "motors": (MOTORS, 4, 0.0, MOST), "wind": (WIND, 3, -MOST, MOST),
    "force": (FORCES, 1, 0.0, MOST), "torque": (TORQUES, 1, 0.0, MOST), "noise": (NOISE, 4, 0.0, 0.1),
    "radius": (RADIUS, 1, 0.0, MOST), "period": (PERIOD, 1, TINY, MOST), "interval": (INTERVAL, 1, TINY, MOST),
}  # fmt: skip
WORDS = {(TINY, MOST): "finite and above 0", (0.0, MOST): "finite and 0 or more", (-MOST, MOST): "finite"}


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
    """Add the sensors' noise: normal by Marsaglia's polar method, from his multiply-with-carry generator.

    Its state, two halves of 32 bits at DRAW, is exact in float64, and no product leaves 64 bits.
    """
    low, carry = np.uint64(world[DRAW]), np.uint64(world[DRAW + 1])
    for k in range(0, N_OBSERVATION, 2):
        x, y, square = 0.0, 0.0, 2.0
        for _ in range(64):  # 1.3 rounds on average; a row that no reset wrote gives no number, but an end
            x = STEP_31 * np.float64(low ^ carry) - 1.0
            product = MULTIPLIER * low + carry
            low, carry = product & LOW_HALF, product >> HALF
            y = STEP_31 * np.float64(low ^ carry) - 1.0
            product = MULTIPLIER * low + carry
            low, carry = product & LOW_HALF, product >> HALF
            square = x * x + y * y
            if 0.0 < square < 1.0:
                break
        reach = math.sqrt(-2.0 * math.log(square) / square)
        observation[k] += world[NOISE + sensor(k)] * reach * x
        observation[k + 1] += world[NOISE + sensor(k + 1)] * reach * y
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


@kernel
def step_all(
    worlds: Floats, commands: Floats, observations: Floats, rewards: Floats, ends: npt.NDArray[np.bool_]
) -> None:
    """Move each of n worlds on by a step; none is begun anew.

    `worlds` (n, SIZE), float64, copies of `Quadrotor.world`, changed in place, and `commands` (n, 4), float64, are
    read; written are `observations` (n, 18), float64, `rewards` (n,) and `ends` (n, 2): terminated, truncated.
    """
    for i in range(len(worlds)):
        rewards[i], ends[i, 0], ends[i, 1] = step(worlds[i], commands[i], observations[i])


def tilted(rng: np.random.Generator) -> Floats:
    """A quaternion (4,), uniform among the attitudes that are a turn of at most 90 degrees away from upright."""
    while True:
        q = rng.normal(size=4)
        q /= math.sqrt(q @ q)
        if abs(q[0]) >= math.sqrt(0.5):
            return q if q[0] > 0.0 else -q


class Quadrotor(CompiledEnv):
    """Fly a Crazyflie to a place and stay there, or follow a figure of eight.

    Description
    -----------
    A rigid body of 27 g with four rotors in a square, flown by the speeds of its rotors at 100 Hz. The target stands at
    the origin, or flies a lying figure of eight about it at height 0: x = `radius` sin(w t), y = `radius` sin(w t)
    cos(w t), w = 2 pi / `period`. A constant force and torque, drawn for each episode, disturb the flight.

    The equations are integrated by the classical Runge-Kutta rule. Rotors are counted from the front right one
    clockwise, seen from above; x points ahead, y to the left, z up: (`arm`, -`arm`), (-`arm`, -`arm`), (-`arm`,
    `arm`), (`arm`, `arm`). A rotor at the share u of its top speed lifts by c0 + c1 u + c2 u^2 and turns the body about
    z by `drag` times that, with the signs - + - +.

    Two sets of parameters are at hand: ``Quadrotor()`` is that of "Learning to fly in seconds", which hovers at
    u = 0.667; ``Quadrotor(**RL_TOOLS)`` has other inertia, thrust and lag, and hovers at u = 0.660.

    `world` holds every parameter at the place of this module that bears its name, and all may be changed there in
    flight: a motor's strength (`MOTORS`), the mass (`MASS`), a wind (`WIND`), the noise (`NOISE`), the target's path
    (`RADIUS`). They stay as they are over a reset.

    Action Space
    ------------
    ``Box(-1, 1, (4,), float32)``: the speeds wanted of the rotors, -1 at rest, 1 at the top: u = (a + 1) / 2. What is
    beyond is taken as the nearest. The rotors follow with the time constant `lag`.

    Observation Space
    -----------------
    ``Box((18,), float32)``, with normal noise of the standard deviations `noise`:

    ===== =============================================== ======= =======
    Num   Observation                                     Min     Max
    ===== =============================================== ======= =======
    0-2   position, relative to the target [m]            -1.2    1.2
    3-11  rotation matrix, body to world, row by row      -2      2
    12-14 velocity, relative to the target's [m/s]        none    none
    15-17 rate of turn about the body's axes [rad/s]      none    none
    ===== =============================================== ======= =======

    Rewards
    -------
    1 - C_p |p|^2 - C_v |v|^2 - 0.25 |q - 1|^2 - C_a |u - 0.667|^2 after each step, with position p and velocity v
    relative to the target, attitude q (of the two quaternions of an attitude that nearer to 1) and commands u in
    [0, 1]. The curriculum has 6 stages, from 0, mild, to 5, in even steps: C_p from 1 to 3.5, C_v from 0.01 to 0.1, C_a
    from 0.14 to 0.5.

    Starting State
    --------------
    In one of ten episodes at rest and upright at the origin. Else position uniform in +-0.2 m, velocity in +-1 m/s and
    turn in +-1 rad/s, on each axis, and an attitude uniform among those at most 90 degrees from upright. Rotors at half
    their top speed.

    Episode End
    -----------
    Termination once the craft is farther than 0.6 m from the target along any axis, or faster than 1000 m/s or
    1000 rad/s, or no longer anywhere that is a number; truncation after `limit` steps.

    Arguments
    ---------
    mass : float
        [kg], above 0.
    inertia : sequence of 3 floats
        About the body's axes [kg m^2], above 0.
    arm : float
        Distance of each rotor from the middle along x and along y [m], 0 or more.
    thrust : sequence of 3 floats
        c0, c1, c2 [N].
    drag : float
        Yaw torque of a rotor over its thrust [m], 0 or more.
    lag : float
        Time constant of the rotors [s], at least `interval`.
    gravity : float
        [m/s^2], 0 or more.
    motors : sequence of 4 floats
        Factor on each rotor's thrust, 0 or more; 1 is a sound motor.
    wind : sequence of 3 floats
        A steady force on the craft, in the world's axes [N].
    force, torque : float
        Standard deviations, on each axis, of the force in the world's axes [N] and the torque about the body's [N m]
        that are drawn for each episode, 0 or more.
    noise : sequence of 4 floats
        Standard deviations of what is seen of position [m], attitude, velocity [m/s] and turn [rad/s], 0 to 0.1.
    radius : float
        Of the target's path [m], 0 or more; 0 holds the target at the origin.
    period : float
        Time in which the target flies its path [s], above 0.
    interval : float
        Of a step [s], above 0.
    limit : int
        Steps of an episode.
    stage : int
        Of the curriculum, 0 to 5.
    render_mode : str, optional
        "rgb_array" or "human".

    Version History
    ---------------
    v0: first version. Its reward threshold is the return that Van den Berghe et al. report.

    Raises
    ------
    ValueError
        An argument outside its range, or of another number of entries.

    Examples
    --------
    A motor loses 30 % of its thrust in flight:

    >>> from envs import quadrotor
    >>> env = quadrotor.Quadrotor()
    >>> observation, _ = env.reset(seed=0)
    >>> env.world[quadrotor.MOTORS + 2] = 0.7
    >>> observation, reward, terminated, truncated, _ = env.step([0.334, 0.334, 0.334, 0.334])

    References
    ----------
    Eschmann, Albani, Loianno 2024, "Learning to fly in seconds", IEEE Robot. Autom. Lett. 9:6336: dynamics, first set
    of parameters, disturbances, noise, start and end. Van den Berghe, Stroobants, Reddi, de Croon 2025, arXiv
    2510.24461: reward, curriculum, and, from RLtools, the second set.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "human"], "render_fps": 100}  # type: ignore[misc]
    kernel = staticmethod(step)

    def __init__(
        self, mass: float = LEARNING_TO_FLY["mass"], inertia: npt.ArrayLike = LEARNING_TO_FLY["inertia"],
        arm: float = LEARNING_TO_FLY["arm"], thrust: npt.ArrayLike = LEARNING_TO_FLY["thrust"],
        drag: float = LEARNING_TO_FLY["drag"], lag: float = LEARNING_TO_FLY["lag"], gravity: float = 9.81,
        motors: npt.ArrayLike = (1.0, 1.0, 1.0, 1.0), wind: npt.ArrayLike = (0.0, 0.0, 0.0), force: float = 0.01324,
        torque: float = 2.65e-5, noise: npt.ArrayLike = (0.001, 0.001, 0.002, 0.002), radius: float = 0.0,
        period: float = 5.5, interval: float = 0.01, limit: int = 500, stage: int = N_STAGES - 1,
        render_mode: str | None = None,
    ) -> None:  # fmt: skip
        world, given = np.zeros(SIZE), locals()
        for name, (place, count, least, most) in RANGES.items():
            row = np.asarray(given[name], np.float64)
            if row.size != count:
                raise ValueError(f"{name} has {row.size} entries; it must have {count}.")
            for value in row.reshape(-1).tolist():
                require(name, value, least <= value <= most, WORDS.get((least, most), f"{least:g} to {most:g}"))
            world[place : place + count] = row.reshape(-1)
        require("lag", lag, lag >= interval, f"at least interval, {interval:g}")
        require("limit", limit, limit >= 1, "1 or more")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f'render_mode is {render_mode!r}; it must be None, "rgb_array" or "human".')
        world[LIMIT], self.render_mode = limit, render_mode
        largest = np.finfo(np.float32).max  # checkers do not like infinity
        high = np.repeat(np.array([2.0 * FARTHEST, 2.0, largest], np.float32), [3, 9, 6])
        self.observation_space = gym.spaces.Box(-high, high)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        super().__init__(world, 4, N_OBSERVATION)
        self._figure: Any = None
        self._trail: list[Floats] = []
        self.set_stage(stage)

    def _compile(self) -> None:
        super()._compile()
        self._observe = entry(observe, self.world, self._seen)

    def set_stage(self, stage: int) -> None:
        """Set the reward's weights to those of a stage of the curriculum, 0 to 5, from the next step on.

        Raises
        ------
        ValueError
            There is no such stage.
        """
        require("stage", stage, stage in range(N_STAGES), f"0 to {N_STAGES - 1}")
        way = stage / (N_STAGES - 1)
        self.world[ALIVE], self.world[LEVEL] = 1.0, 0.25
        self.world[NEAR], self.world[SLOW], self.world[CALM] = 1.0 + 2.5 * way, 0.01 + 0.09 * way, 0.14 + 0.36 * way

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """At rest at the origin, or thrown somewhere near."""
        world = self.world
        world[: STEPS + 1] = 0.0
        world[ATTITUDE], world[ROTORS : ROTORS + 4] = 1.0, 0.5
        if rng.random() >= 0.1:
            world[POSITION : POSITION + 3] = rng.uniform(-0.2, 0.2, 3)
            world[ATTITUDE : ATTITUDE + 4] = tilted(rng)
            world[VELOCITY : VELOCITY + 6] = rng.uniform(-1.0, 1.0, 6)
        world[FORCE : FORCE + 3] = world[FORCES] * rng.normal(size=3)
        world[TORQUE : TORQUE + 3] = world[TORQUES] * rng.normal(size=3)
        world[DRAW : DRAW + 2] = rng.integers(1, int(MULTIPLIER) - 1, 2)
        self._observe(world, seen)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        begun = super().reset(seed=seed, options=options)
        self._trail.clear()
        self._follow()
        return begun

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """As `CompiledEnv.step`."""
        moved = super().step(action)
        self._follow()
        return moved

    def _follow(self) -> None:
        if self.render_mode is not None:
            self._trail.append(self.world[POSITION : POSITION + 3].copy())
            if self.render_mode == "human":
                self.render()

    def render(self) -> Any:
        """Draw the craft, three times its size, its trail of the last second and its target.

        Returns
        -------
        array, uint8, shape (400, 400, 3)
            With `render_mode` "rgb_array"; else nothing.
        """
        if self.render_mode is None:
            gym.logger.warn('there is no picture without a render_mode; make the world with render_mode="rgb_array".')
            return None
        if self._figure is None:
            self._figure = _display() if self.render_mode == "human" else _canvas()
        _draw(self._figure, self.world, np.array(self._trail[-100:]).reshape(-1, 3))
        self._figure.canvas.draw()
        if self.render_mode == "human":
            self._figure.canvas.flush_events()
            return None
        return np.asarray(self._figure.canvas.buffer_rgba())[:, :, :3].copy()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._figure is not None and self.render_mode == "human":
            import matplotlib.pyplot as plt

            plt.close(self._figure)
        self._figure = None


def _canvas() -> Any:
    from threefactor.pictures import new_figure  # matplotlib takes longer to import than all else here

    return new_figure(4.0, 4.0)


def _display() -> Any:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(4.0, 4.0))
    figure.show(warn=False)
    return figure


def _draw(figure: Any, world: Floats, trail: Floats) -> None:
    from threefactor.pictures import BLUE, GREY, LIGHT, RED

    axes = figure.axes[0] if figure.axes else figure.add_subplot(projection="3d")
    axes.clear()
    place, seen = world[POSITION : POSITION + 3], np.zeros(N_OBSERVATION)
    show(world, seen)
    aim = place - seen[:3]
    axes.plot(*trail.T, color=LIGHT, linewidth=1)
    axes.plot(*aim[:, None], "+", color=RED, markersize=12)
    rotors = 3.0 * world[ARM] * np.array([[1, -1, 0], [-1, -1, 0], [-1, 1, 0], [1, 1, 0]])
    corners = place + rotors @ seen[3:12].reshape(3, 3).T
    for pair in (corners[::2], corners[1::2]):
        axes.plot(*pair.T, color=GREY, linewidth=2)
    axes.plot(*corners.T, "o", color=BLUE, markersize=6)
    for axis, middle in zip("xyz", aim, strict=True):
        getattr(axes, f"set_{axis}lim")(middle - FARTHEST, middle + FARTHEST)
    axes.set_box_aspect(None, zoom=0.85)  # room for the label of z
    axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]", title=f"{world[STEPS] * world[INTERVAL]:.2f} s")
