"""Agents that act and do not learn: what classical controllers share, and a frozen copy of any agent."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Fixed:
    """An agent that acts alone: a subclass has `act`, and `reset` if it keeps anything between observations."""

    def act(self, observation: npt.ArrayLike) -> Any:
        """Action for an observation; what is kept between observations moves on."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget what was kept."""

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode, after `reset`."""
        self.reset()
        return self.act(observation)

    def step(
        self, observation: npt.ArrayLike, reward: float = 0.0, terminated: bool = False, truncated: bool = False
    ) -> Any:
        """Action for the next observation; the rest is not looked at."""
        return self.act(observation)


class Frozen(Fixed):
    """A copy of an agent that acts greedily and never learns nor explores; the agent itself goes on untouched.

    Parameters
    ----------
    agent : Agent
        Anything with `act` and `reset`.

    Attributes
    ----------
    agent : Agent
        The copy.

    Examples
    --------
    >>> import gymnasium as gym
    >>> from controllers import ActorCritic
    >>> env = gym.make("CartPole-v1")
    >>> agent = ActorCritic.for_env(env, seed=0)
    >>> frozen = Frozen(agent)
    >>> frozen.begin(env.reset(seed=0)[0]) == agent.act(env.reset(seed=0)[0])
    True
    """

    def __init__(self, agent: Any) -> None:
        self.agent = copy.deepcopy(agent)

    def act(self, observation: npt.ArrayLike) -> Any:
        """The copy's greedy action."""
        return self.agent.act(observation)

    def reset(self) -> None:
        """Begin a new greedy episode."""
        self.agent.reset()


def numbers(name: str, value: npt.ArrayLike, size: int | None = None) -> Floats:
    """A row of finite numbers, in double precision, of the caller's own.

    Raises
    ------
    ValueError
        Another number of entries than `size`, or an entry that is not finite.
    """
    row = np.array(value, np.float64).reshape(-1)
    if size is not None and row.size != size:
        raise ValueError(f"{name} has shape {np.shape(value)}; it must have {size} numbers.")
    if not np.isfinite(row).all():
        raise ValueError(f"{name} {row} holds a value that is not finite.")
    return row


def require(name: str, value: Any, holds: bool, wanted: str) -> None:
    """Refuse an argument: say what came and what is wanted."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {wanted}.")
