"""What a controller sees of a world: entries hidden, observations lost, sensors that are noisy.

They go around any environment whose observations are a Box, around each other, and around Gymnasium's own wrappers,
such as `gymnasium.wrappers.DelayObservation` for observations that come late. Random numbers are those of the
environment: one seed, one run.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import TransformObservation

FARTHEST = 10.0  # standard deviations; normal numbers beyond are as good as never


def _box(env: gym.Env[Any, Any]) -> gym.spaces.Box:
    if not isinstance(env.observation_space, gym.spaces.Box):
        raise ValueError(f"observation space is {env.observation_space}; wrap it with FlattenObservation to get a Box.")
    return env.observation_space


class MaskObservation(TransformObservation[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Entries of the observation are hidden: taken out of it, and out of its space.

    Parameters
    ----------
    env : gymnasium.Env
        Its observations are a Box with one axis.
    hidden : sequence of int
        Which entries; those of velocities, for instance: [1, 3] of a CartPole, [2] of a Pendulum.

    Raises
    ------
    ValueError
        Observations that are no such Box; an entry that there is not, or twice; none left.

    Examples
    --------
    >>> env = MaskObservation(gym.make("CartPole-v1"), hidden=[1, 3])
    >>> env.observation_space.shape, env.reset(seed=0)[0].shape
    ((2,), (2,))
    """

    def __init__(self, env: gym.Env[Any, Any], hidden: Sequence[int]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, hidden=list(hidden))
        space, taken = _box(env), [int(k) for k in hidden]
        if len(space.shape) != 1:
            raise ValueError(f"observation has shape {space.shape}; it must have one axis: use FlattenObservation.")
        n = space.shape[0]
        if not all(0 <= k < n for k in taken) or len({*taken}) < len(taken) or not 0 < len(taken) < n:
            raise ValueError(f"hidden is {list(hidden)}; it must be some, not all, of the entries 0 to {n - 1}, once.")
        seen = np.delete(np.arange(n), taken)
        shown = gym.spaces.Box(space.low[seen], space.high[seen], dtype=space.dtype.type)
        super().__init__(env, functools.partial(np.take, indices=seen), shown)  # unlike a lambda, it can be pickled


class DropObservation(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observations are lost at random; the first one of an episode never is.

    Parameters
    ----------
    env : gymnasium.Env
        Its observations are a Box.
    probability : float
        Of each observation to be lost, 0 to 1.
    shown : {"last", "zeros"}
        What is seen in its place: the last one that came through, or zeros.

    Raises
    ------
    ValueError
        Observations that are no Box; an argument outside its range; zeros that are not in the observation's space.

    Examples
    --------
    >>> env = DropObservation(gym.make("CartPole-v1"), probability=1.0)
    >>> first, _ = env.reset(seed=0)
    >>> bool((env.step(0)[0] == first).all())
    True
    """

    def __init__(
        self, env: gym.Env[Any, Any], probability: float, shown: Literal["last", "zeros"] = "last"
    ) -> None:  # fmt: skip
        gym.utils.RecordConstructorArgs.__init__(self, probability=probability, shown=shown)
        super().__init__(env)
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability is {probability}; it must be 0 to 1.")
        if shown not in ("last", "zeros"):
            raise ValueError(f'shown is {shown!r}; it must be "last" or "zeros".')
        space = _box(env)
        self._probability, self._zeros = float(probability), shown == "zeros"
        self._instead = np.zeros(space.shape, space.dtype)
        if self._zeros and not space.contains(self._instead):
            raise ValueError(f'shown is "zeros", which is not in {space}; use "last".')

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = super().reset(seed=seed, options=options)
        self._take(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's step, with an observation that may not have come through."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.np_random.random() < self._probability:
            return self._instead.copy(), reward, terminated, truncated, info
        self._take(observation)
        return observation, reward, terminated, truncated, info

    def _take(self, observation: Any) -> None:
        if not self._zeros:
            self._instead[...] = observation


class NoisyObservation(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Normal noise is added to each observation, drawn anew each time.

    The bounds of the space are wider by 10 standard deviations.

    Parameters
    ----------
    env : gymnasium.Env
        Its observations are a Box of floats.
    deviation : float or array_like
        Standard deviation, 0 or more: a number for all entries, or as many as there are.

    Raises
    ------
    ValueError
        Observations that are no Box of floats; a deviation of another shape, negative or not finite.

    Examples
    --------
    >>> env = NoisyObservation(gym.make("Pendulum-v1"), deviation=[0.01, 0.01, 0.1])
    """

    def __init__(self, env: gym.Env[Any, Any], deviation: npt.ArrayLike) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, deviation=deviation)
        super().__init__(env)
        space, each = _box(env), np.asarray(deviation, np.float64)
        if not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"observation space is {space}; it must be of floats.")
        if each.shape not in ((), space.shape) or not (np.isfinite(each) & (each >= 0.0)).all():
            raise ValueError(
                f"deviation is {deviation!r}; it must be finite, 0 or more, of shape {space.shape} or one."
            )
        self._deviation, self._dtype = np.broadcast_to(each, space.shape), space.dtype
        most = float(np.finfo(str(space.dtype)).max)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        with np.errstate(over="ignore"):  # a bound may be the largest number there is
            reach = FARTHEST * self._deviation
            low = np.where(np.isinf(low), low, np.maximum(low - reach, -most))
            high = np.where(np.isinf(high), high, np.minimum(high + reach, most))
        bounds = low.astype(self._dtype), high.astype(self._dtype)
        self.observation_space = gym.spaces.Box(*bounds, dtype=self._dtype.type)

    def observation(self, observation: Any) -> Any:
        """The observation and its noise."""
        blurred = observation + self._deviation * self.np_random.standard_normal(self._deviation.shape)
        space = self.observation_space
        assert isinstance(space, gym.spaces.Box)
        return np.clip(blurred.astype(self._dtype), space.low, space.high)
