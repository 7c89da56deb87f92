"""The cart and its pole, compiled, with every parameter within reach."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np

from envs.compiled import MOST, TINY, CompiledEnv, Floats, Range
from envs.sequences import require
from threefactor._jit import kernel

POSITION, VELOCITY, ANGLE, TURN, STEPS, GRAVITY, CART, POLE, LENGTH, FORCE, INTERVAL, LIMIT = range(12)
FARTHEST, STEEPEST = 2.4, 12.0 * math.pi / 180.0  # [m], [rad]
NAMES = {"gravity": GRAVITY, "cart": CART, "pole": POLE, "length": LENGTH, "force": FORCE, "interval": INTERVAL}
RANGES = {name: Range(place, (), -MOST if name == "force" else TINY, MOST) for name, place in NAMES.items()}


@kernel
def step(world: Floats, command: Floats, observation: Floats) -> tuple[float, bool, bool]:
    """One Euler step of the equations of Barto, Sutton & Anderson 1983."""
    x, v, angle, turn = world[POSITION], world[VELOCITY], world[ANGLE], world[TURN]
    force = world[FORCE] if command[0] == 1.0 else -world[FORCE]
    mass, c, s = world[CART] + world[POLE], math.cos(angle), math.sin(angle)
    push = (force + world[POLE] * world[LENGTH] * turn * turn * s) / mass
    spin = (world[GRAVITY] * s - c * push) / (world[LENGTH] * (4.0 / 3.0 - world[POLE] * c * c / mass))
    acceleration = push - world[POLE] * world[LENGTH] * spin * c / mass
    world[POSITION] = x + world[INTERVAL] * v
    world[VELOCITY] = v + world[INTERVAL] * acceleration
    world[ANGLE] = angle + world[INTERVAL] * turn
    world[TURN] = turn + world[INTERVAL] * spin
    world[STEPS] += 1.0
    for k in range(4):
        observation[k] = world[k]
    fallen = abs(world[POSITION]) > FARTHEST or abs(world[ANGLE]) > STEEPEST
    return 1.0, fallen, world[STEPS] >= world[LIMIT]


class CartPole(CompiledEnv):
    """Balance a pole on a cart.

    Description
    -----------
    A cart moves along a track, pushed to the left or to the right; a pole stands on it, hinged without friction. It is
    Gymnasium's CartPole-v1, with its numbers, compiled and with all parameters free: those from `gravity` to `interval`
    may be changed amid an episode by `change`, and stay as they are over a reset.

    Action Space
    ------------
    ``Discrete(2)``: 0 pushes to the left, 1 to the right.

    Observation Space
    -----------------
    ``Box((4,), float32)``:

    === ===================== ======= =======
    Num Observation           Min     Max
    === ===================== ======= =======
    0   cart position [m]     -4.8    4.8
    1   cart velocity [m/s]   none    none
    2   pole angle [rad]      -0.419  0.419
    3   pole's turn [rad/s]   none    none
    === ===================== ======= =======

    Rewards
    -------
    1 for each step, the last included.

    Starting State
    --------------
    All four uniform in [-0.05, 0.05].

    Episode End
    -----------
    Termination once the cart is farther than 2.4 m from the middle or the pole leans by more than 12 degrees;
    truncation after `limit` steps.

    Arguments
    ---------
    gravity : float
        [m/s^2], above 0.
    cart, pole : float
        Masses [kg], above 0.
    length : float
        Half the pole's length [m], above 0.
    force : float
        Of a push [N]; below 0 it goes the other way.
    interval : float
        Of a step [s], above 0.
    limit : int
        Steps of an episode.

    Version History
    ---------------
    v0: first version.

    Raises
    ------
    ValueError
        An argument outside its range.

    References
    ----------
    Barto, Sutton, Anderson 1983, IEEE Trans. Syst. Man Cybern. 13:834; constants: Gymnasium's CartPole-v1.
    """

    kernel = staticmethod(step)
    ranges = RANGES

    def __init__(
        self, gravity: float = 9.8, cart: float = 1.0, pole: float = 0.1, length: float = 0.5, force: float = 10.0,
        interval: float = 0.02, limit: int = 500,
    ) -> None:  # fmt: skip
        super().__init__(np.zeros(LIMIT + 1), 1, 4, locals())
        require("limit", limit, limit >= 1, "1 or more")
        self.world[LIMIT] = limit
        largest = np.finfo(np.float32).max  # checkers do not like infinity
        high = np.array([2.0 * FARTHEST, largest, 2.0 * STEEPEST, largest], dtype=np.float32)
        self.observation_space, self.action_space = gym.spaces.Box(-high, high), gym.spaces.Discrete(2)

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """A cart near the middle, a pole nearly upright."""
        self.world[:4] = rng.uniform(-0.05, 0.05, 4)
        self.world[STEPS] = 0.0
        seen[:] = self.world[:4]
