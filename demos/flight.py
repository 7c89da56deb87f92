"""What the demos of the quadrotor share: rotors whose speeds are commanded, and the classical pilot of these."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from controllers import QuadrotorController
from envs import Quadrotor
from envs.quadrotor import LEARNING_TO_FLY
from threefactor.arrays import Array


class Rotors(gym.Wrapper[Any, Any, Any, Any]):
    """A quadrotor whose rotors' speeds are controlled: actions are the speeds wanted after the step.

    The rotors' lag is known, and so are their speeds from what was commanded; these are seen beside all else (18 + 4
    numbers). Speeds, wanted and seen, are -1 at rest and 1 at the top.
    """

    def __init__(self, env: Quadrotor) -> None:
        super().__init__(env)
        self._way = 1.0 - math.exp(-float(env.parameter("interval")) / float(env.parameter("lag")))
        space = env.observation_space
        assert isinstance(space, gym.spaces.Box)
        high = np.append(space.high, np.ones(4, np.float32))
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float32)
        self.speeds = np.zeros(4)

    def reset(self, **given: Any) -> tuple[Array, dict[str, Any]]:
        """Begin a flight, with rotors at half their top speed."""
        seen, info = self.env.reset(**given)
        self.speeds[:] = 0.0
        return self._with_speeds(seen), info

    def step(self, action: npt.ArrayLike) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Command what brings the rotors to the wanted speeds, or as near as they get in a step."""
        wanted = np.asarray(action, np.float64)
        command = np.clip(self.speeds + (wanted - self.speeds) / self._way, -1.0, 1.0)
        self.speeds += self._way * (command - self.speeds)
        seen, reward, terminated, truncated, info = self.env.step(command)
        return self._with_speeds(seen), float(reward), terminated, truncated, info

    def _with_speeds(self, seen: Array) -> Array:
        return np.append(seen, self.speeds).astype(np.float32)


class Pilot:
    """The geometric controller, commanding speeds; it is told the rotors' speeds, less what others added to them.

    Parameters
    ----------
    mass : float
        That it was made for [kg].
    """

    def __init__(self, mass: float = LEARNING_TO_FLY["mass"]) -> None:
        self._craft = {**LEARNING_TO_FLY, "mass": mass}
        self._controller = QuadrotorController(**self._craft)
        self.added = np.zeros(4)

    def reset(self) -> None:
        """Begin a flight."""
        self._controller.reset()
        self.added[:] = 0.0

    def act(self, observation: Any) -> Array:
        """Wanted speeds for what `Rotors` shows."""
        seen = np.asarray(observation, np.float64)
        self._controller.speeds = np.clip(0.5 * (seen[18:] - self.added + 1.0), 0.0, 1.0)
        self._controller.act(seen[:18])
        return 2.0 * self._controller.speeds - 1.0
