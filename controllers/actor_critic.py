"""A spiking actor-critic that learns from every transition as it happens, and keeps none of them."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
import numpy.typing as npt

from controllers.learner import Learner
from controllers.spaces import bounds_of, flat_size, settings_for


class ActorCritic(Learner):
    """Spiking actor and critic, learning online by reward-based e-prop.

    Parameters
    ----------
    n_observation : int
        Entries of the flat observation.
    action_space : gymnasium.spaces.Discrete, MultiDiscrete or Box
        What the actions are; a box must have finite bounds.
    seed : int
        Of initial weights and of exploration.
    **settings
        Any field of `ActorCriticSettings`.

    Examples
    --------
    >>> import gymnasium as gym
    >>> env = gym.make("CartPole-v1")
    >>> agent = ActorCritic.for_env(env, seed=0)
    >>> observation, _ = env.reset(seed=0)
    >>> action = agent.begin(observation)
    >>> for _ in range(100):
    ...     observation, reward, terminated, truncated, _ = env.step(action)
    ...     action = agent.step(observation, reward, terminated, truncated)
    ...     if terminated or truncated:
    ...         observation, _ = env.reset()
    ...         action = agent.begin(observation)
    >>> agent.act(observation) in (0, 1)
    True
    """

    def __init__(self, n_observation: int, action_space: gym.Space[Any], seed: int = 0, **settings: Any) -> None:
        super().__init__(n_observation, action_space, seed, 1, **settings)

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], seed: int = 0, **settings: Any) -> Self:
        """Agent for the spaces of an environment; it refuses observations outside theirs.

        Raises
        ------
        ValueError
            Observations that are no Box, or actions that are neither Discrete, MultiDiscrete nor a Box with finite
            bounds.
        """
        space = env.observation_space
        agent = cls(flat_size(space), env.action_space, seed, **settings_for(space, settings))
        agent._bound(*bounds_of(env, space))
        return agent

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode."""
        self._begin(0, observation)
        return self._action(0)

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn from the transition that the last action led to; the next action.

        After an end (`terminated` or `truncated`) the action means nothing: go on with `begin`.

        Raises
        ------
        ValueError
            An observation of another size, not finite or outside its space; a reward that is no finite number. Nothing
            was learnt.
        RuntimeError
            No episode is under way.
        """
        if not self._begun[0]:
            raise RuntimeError("no episode is under way; call begin with its first observation.")
        self._step(0, observation, _number(reward), bool(terminated), bool(truncated))
        return self._action(0)


def _number(reward: Any) -> float:
    try:
        return float(reward)
    except (TypeError, ValueError):
        raise ValueError(f"reward is {reward!r}; it must be a number. Nothing was learnt from it.") from None
