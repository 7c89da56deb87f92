"""A small quadrotor that holds its place or follows a path, compiled, with every parameter within reach."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from envs import quadrotor_dynamics as places
from envs.compiled import CompiledEnv, Floats
from envs.generator import first_state
from envs.quadrotor_dynamics import FARTHEST, N_OBSERVATION, N_STAGES, observe, show, step
from envs.sequences import require
from threefactor._jit import entry

LEARNING_TO_FLY: dict[str, Any] = {
    "mass": 0.027, "inertia": (3.85e-6, 3.85e-6, 5.9675e-6), "arm": 0.028, "thrust": (0.0, 0.0, 3.16e-10 * 21702.0**2),
    "drag": 0.005964552, "lag": 0.15,
}  # fmt: skip
RL_TOOLS: dict[str, Any] = {
    "mass": 0.027, "inertia": (1.029e-5, 1.105e-5, 2.005e-5), "arm": 0.028, "thrust": (0.0213, -0.0112, 0.1201),
    "drag": 0.004665, "lag": 0.072,
}  # fmt: skip


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

    All parameters, from `mass` to `interval`, may be changed in flight by `change`: a motor's strength (``"motors"``),
    the mass, a wind, the noise, the target's path. They stay as they are over a reset.

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
    their top speed. With the option ``"at_rest"`` true, `reset` begins at rest and upright at the origin in any case.

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

    >>> from envs import Quadrotor
    >>> env = Quadrotor()
    >>> observation, _ = env.reset(seed=0)
    >>> env.change("motors", [1.0, 1.0, 0.7, 1.0])
    >>> observation, reward, terminated, truncated, _ = env.step([0.334, 0.334, 0.334, 0.334])

    References
    ----------
    Eschmann, Albani, Loianno 2024, "Learning to fly in seconds", IEEE Robot. Autom. Lett. 9:6336: dynamics, first set
    of parameters, disturbances, noise, start and end. Van den Berghe, Stroobants, Reddi, de Croon 2025, arXiv
    2510.24461: reward, curriculum, and, from RLtools, the second set.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "human"], "render_fps": 100}  # type: ignore[misc]
    kernel = staticmethod(step)
    projection = "3d"
    ranges = places.RANGES

    def __init__(
        self, mass: float = LEARNING_TO_FLY["mass"], inertia: npt.ArrayLike = LEARNING_TO_FLY["inertia"],
        arm: float = LEARNING_TO_FLY["arm"], thrust: npt.ArrayLike = LEARNING_TO_FLY["thrust"],
        drag: float = LEARNING_TO_FLY["drag"], lag: float = LEARNING_TO_FLY["lag"], gravity: float = 9.81,
        motors: npt.ArrayLike = (1.0, 1.0, 1.0, 1.0), wind: npt.ArrayLike = (0.0, 0.0, 0.0), force: float = 0.01324,
        torque: float = 2.65e-5, noise: npt.ArrayLike = (0.001, 0.001, 0.002, 0.002), radius: float = 0.0,
        period: float = 5.5, interval: float = 0.01, limit: int = 500, stage: int = N_STAGES - 1,
        render_mode: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(np.zeros(places.SIZE), 4, N_OBSERVATION, locals(), render_mode)
        require("limit", limit, limit >= 1, "1 or more")
        self.world[places.LIMIT] = limit
        largest = np.finfo(np.float32).max  # checkers do not like infinity
        high = np.repeat(np.array([2.0 * FARTHEST, 2.0, largest], np.float32), [3, 9, 6])
        self.observation_space = gym.spaces.Box(-high, high)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._at_rest = False
        self.set_stage(stage)

    def _compile(self) -> None:
        super()._compile()
        self._observe = entry(observe, self.world, self._seen)

    def agree(self, world: Floats) -> None:
        """Rotors no faster than a step."""
        require(
            "lag",
            world[places.LAG],
            world[places.LAG] >= world[places.INTERVAL],
            f"at least interval, {world[places.INTERVAL]:g}",
        )

    def set_stage(self, stage: int) -> None:
        """Set the reward's weights to those of a stage of the curriculum, 0 to 5, from the next step on.

        Raises
        ------
        ValueError
            There is no such stage.
        """
        require("stage", stage, stage in range(N_STAGES), f"0 to {N_STAGES - 1}")
        way = stage / (N_STAGES - 1)
        self.world[places.ALIVE], self.world[places.LEVEL] = 1.0, 0.25
        self.world[places.NEAR], self.world[places.SLOW], self.world[places.CALM] = (
            1.0 + 2.5 * way,
            0.01 + 0.09 * way,
            0.14 + 0.36 * way,
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin a flight; see the class for the option."""
        self._at_rest = bool((options or {}).get("at_rest", False))
        return super().reset(seed=seed)

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """At rest at the origin, or thrown somewhere near."""
        world = self.world
        world[: places.STEPS + 1] = 0.0
        world[places.ATTITUDE], world[places.ROTORS : places.ROTORS + 4] = 1.0, 0.5
        if rng.random() >= 0.1 and not self._at_rest:
            world[places.POSITION : places.POSITION + 3] = rng.uniform(-0.2, 0.2, 3)
            world[places.ATTITUDE : places.ATTITUDE + 4] = tilted(rng)
            world[places.VELOCITY : places.VELOCITY + 6] = rng.uniform(-1.0, 1.0, 6)
        world[places.FORCE : places.FORCE + 3] = world[places.FORCES] * rng.normal(size=3)
        world[places.TORQUE : places.TORQUE + 3] = world[places.TORQUES] * rng.normal(size=3)
        world[places.DRAW : places.DRAW + 2] = first_state(rng)
        self._observe(world, seen)

    def draw(self, axes: Any) -> None:
        """Draw the craft, three times its size, its trail of the last second and its target."""
        from threefactor.pictures import BLUE, GREY, LIGHT, RED

        world, seen = self.world, np.zeros(N_OBSERVATION)
        show(world, seen)
        place = world[places.POSITION : places.POSITION + 3]
        aim = place - seen[:3]
        axes.plot(*self.trail[:, :3].T, color=LIGHT, linewidth=1)
        axes.plot(*aim[:, None], "+", color=RED, markersize=12)
        rotors = 3.0 * world[places.ARM] * np.array([[1, -1, 0], [-1, -1, 0], [-1, 1, 0], [1, 1, 0]])
        corners = place + rotors @ seen[3:12].reshape(3, 3).T
        for pair in (corners[::2], corners[1::2]):
            axes.plot(*pair.T, color=GREY, linewidth=2)
        axes.plot(*corners.T, "o", color=BLUE, markersize=6)
        for axis, middle in zip("xyz", aim, strict=True):
            getattr(axes, f"set_{axis}lim")(middle - FARTHEST, middle + FARTHEST)
        axes.set_box_aspect(None, zoom=0.85)  # room for the label of z
        axes.set(
            xlabel="x [m]",
            ylabel="y [m]",
            zlabel="z [m]",
            title=f"{world[places.STEPS] * world[places.INTERVAL]:.2f} s",
        )
