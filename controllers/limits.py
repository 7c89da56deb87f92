"""Limits of actions: bounds, and how fast they may change; and the nearest of several actions."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from controllers.frozen import Floats


class Limits:
    """Bounds of actions and of their change from one step to the next.

    Parameters
    ----------
    low, high : float or array_like
        Bounds of each entry; they may be infinite.
    slew : float or array_like
        Change of an entry from one action to the next, at most; above 0, and may be infinite. The first action after
        `reset` may be any within the bounds.

    Raises
    ------
    ValueError
        A bound above the other, a slew that is not above 0.

    Examples
    --------
    >>> limits = Limits(-1.0, 1.0, slew=0.5)
    >>> [float(limits(action)) for action in (0.2, 3.0, 3.0, -3.0)]
    [0.2, 0.7, 1.0, 0.5]
    """

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike, slew: npt.ArrayLike = np.inf) -> None:
        self._low, self._high, self._slew = (np.array(value, np.float64) for value in (low, high, slew))
        if not np.all(self._low <= self._high):
            raise ValueError(f"low is {low!r} and high {high!r}; low must not be above high.")
        if not np.all(self._slew > 0.0):
            raise ValueError(f"slew is {slew!r}; it must be above 0.")
        self._last: Floats | None = None

    def __call__(self, action: npt.ArrayLike) -> Any:
        """The nearest action that is allowed, of the type that came.

        Raises
        ------
        ValueError
            An action that is not a number. Nothing was changed.
        """
        wanted = np.asarray(action)
        if np.isnan(wanted).any():
            raise ValueError(f"action is {action!r}; it must be a number.")
        low, high = self._low, self._high
        if self._last is not None:
            low, high = np.maximum(low, self._last - self._slew), np.minimum(high, self._last + self._slew)
        allowed = np.clip(wanted, low, high)
        self._last = np.array(allowed, np.float64)
        return allowed.astype(wanted.dtype) if np.issubdtype(wanted.dtype, np.floating) else allowed

    def reset(self) -> None:
        """Forget the last action."""
        self._last = None


class Limited:
    """An agent whose actions keep to limits; it learns as if they were its own.

    Parameters
    ----------
    agent : Agent
        Its actions are arrays.
    limits : Limits
        A copy of it is used.

    Examples
    --------
    >>> import gymnasium as gym
    >>> from controllers import ActorCritic
    >>> env = gym.make("Pendulum-v1")
    >>> agent = Limited(ActorCritic.for_env(env), Limits(-1.0, 1.0, slew=0.1))
    >>> abs(float(agent.begin(env.reset(seed=0)[0])[0])) <= 1.0
    True
    """

    def __init__(self, agent: Any, limits: Limits) -> None:
        self.agent = agent
        self._limits, self._acting = copy.deepcopy(limits), copy.deepcopy(limits)
        self._limits.reset()
        self._acting.reset()

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode."""
        action = self.agent.begin(observation)
        self._limits.reset()
        return self._limits(action)

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Have the agent learn from a transition; the next action."""
        return self._limits(self.agent.step(observation, reward, terminated, truncated))

    def act(self, observation: npt.ArrayLike) -> Any:
        """Greedy action, limited against the last greedy one."""
        return self._acting(self.agent.act(observation))

    def reset(self) -> None:
        """Begin a new greedy episode."""
        self.agent.reset()
        self._acting.reset()


class Output:
    """How a controller's numbers become an action: within bounds as float32, or as the nearest of several choices.

    Parameters
    ----------
    low, high : float or array_like
        Bounds of the numbers.
    choices : array_like, shape (actions, numbers) or (actions,), optional
        What each action of a Discrete space stands for.

    Raises
    ------
    ValueError
        A bound above the other; choices that are none or not finite.
    """

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike, choices: npt.ArrayLike | None) -> None:
        self._low, self._high = np.array(low, np.float64), np.array(high, np.float64)
        if not np.all(self._low <= self._high):
            raise ValueError(f"low is {low!r} and high {high!r}; low must not be above high.")
        self._choices: Floats | None = None
        if choices is not None:
            given = np.atleast_1d(np.array(choices, np.float64))
            if not given.size or not np.isfinite(given).all():
                raise ValueError(f"choices are {choices!r}; they must be finite numbers, one row for each action.")
            self._choices = given.reshape(len(given), -1)

    def bound(self, wanted: Floats) -> Floats:
        """The nearest numbers within the bounds."""
        return np.clip(wanted, self._low, self._high)

    def action(self, bounded: Floats) -> Any:
        """The action: an array, float32, or an int."""
        if self._choices is None:
            return bounded.astype(np.float32)
        return int(np.argmin(np.square(self._choices - bounded).sum(axis=1)))
