"""What the studies of control put around worlds, beside the wrappers of `envs` and of Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box


class Differences(gym.ObservationWrapper[Any, Any, Any]):
    """What the setting of this name does for the spiking agent, for agents that know of none: entries and changes."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = Box(-np.inf, np.inf, (2 * np.prod(env.observation_space.shape or 1),), np.float64)

    def reset(self, **options: Any) -> Any:
        """The first observation; nothing changed yet."""
        self._last: Any = None
        return super().reset(**options)

    def observation(self, observation: Any) -> Any:
        """The observation, and behind it by how much it differs from the last."""
        x = np.ravel(observation).astype(np.float64)
        change, self._last = x - (x if self._last is None else self._last), x
        return np.concatenate([x, change])


class Irrelevant(gym.ObservationWrapper[Any, Any, Any]):
    """Behind what is observed stand `n` standard normal numbers, drawn anew each time, which mean nothing."""

    def __init__(self, env: gym.Env[Any, Any], n: int) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, Box)
        low, high = (
            np.concatenate([bound, np.full(n, end)]) for bound, end in ((space.low, -np.inf), (space.high, np.inf))
        )
        self.observation_space, self._n = Box(low, high, dtype=np.float64), n

    def observation(self, observation: Any) -> Any:
        """The observation and what means nothing."""
        return np.concatenate([observation, self.np_random.standard_normal(self._n)])


class Sparse(gym.Wrapper[Any, Any, Any, Any]):
    """The only reward is one at the end, if the world ends by itself: a return is whether it did."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's step, but for the reward."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float(terminated), terminated, truncated, info
