"""The one training loop: any agent with `begin` and `step`, any Gymnasium environment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np


class Agent(Protocol):
    """What the loop asks of an agent."""

    def begin(self, observation: Any) -> Any:
        """First action of an episode."""

    def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn from a transition; the next action."""


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes
    ----------
    number, end : int
        Count of episodes, and of steps when it ended, from 1.
    length : int
        Its steps.
    episode_return : float
        Sum of its rewards.
    """

    number: int
    end: int
    length: int
    episode_return: float


class Loop:
    """Drives an agent through an environment, one step at a time.

    Parameters
    ----------
    agent : Agent
    env : gymnasium.Env
    seed : int
        Of the environment's first reset.
    steps, episodes : int
        What was done before, when a run goes on.

    Attributes
    ----------
    steps, episodes : int
        What has been done.
    agent_seconds : float
        Time spent in the agent, without the environment.
    """

    def __init__(self, agent: Agent, env: gym.Env[Any, Any], seed: int, steps: int = 0, episodes: int = 0) -> None:
        self.agent, self.env, self._seed = agent, env, seed
        self.steps, self.episodes, self.agent_seconds, self._first = steps, episodes, 0.0, steps

    @property
    def microseconds_per_step(self) -> float:
        """Mean time of the agent's part of a step [us], or NaN before the first."""
        done = self.steps - self._first
        return 1e6 * self.agent_seconds / done if done else float("nan")

    def run(self, until: int, on_step: Callable[[], bool] | None = None) -> Iterator[Episode]:
        """Go on until `until` steps are done, yielding each episode as it ends.

        `on_step` is called after each step; the loop ends when it returns False. An episode that is cut off by the end
        of the run is not yielded.
        """
        seed: int | None = self._seed
        while self.steps < until:
            observation, _ = self.env.reset(seed=seed)
            seed = None
            action = self._timed(self.agent.begin, observation)
            start, total, over = self.steps, 0.0, False
            while not over:
                if self.steps >= until:
                    return
                observation, reward, terminated, truncated, _ = self.env.step(action)
                action = self._timed(self.agent.step, observation, float(reward), terminated, truncated)
                self.steps += 1
                total += float(reward)
                over = terminated or truncated
                if on_step is not None and not on_step() and not over:
                    return
            self.episodes += 1
            yield Episode(self.episodes, self.steps, self.steps - start, total)

    def _timed(self, call: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter_ns()
        answer = call(*given)
        self.agent_seconds += 1e-9 * (time.perf_counter_ns() - start)
        return answer


def solved(ends: Any, returns: Any, threshold: float | None, window: int = 100) -> tuple[int | None, int | None]:
    """When a run reached a threshold.

    Parameters
    ----------
    ends, returns : array_like, shape (episodes,)
        Step at which each episode ended, and its return.
    threshold : float or None
        Mean return over `window` episodes to reach; None: the environment names none.

    Returns
    -------
    solved_at, solved_from : int or None
        Step at which the first window that reaches it ended, and the step at which it began.
    """
    ends, returns = np.asarray(ends, int), np.asarray(returns, float)
    if threshold is None or len(returns) < window:
        return None, None
    means = np.convolve(returns, np.full(window, 1.0 / window), "valid")
    reached = np.flatnonzero(means >= threshold - 1e-9)
    if not reached.size:
        return None, None
    first = int(reached[0])
    return int(ends[first + window - 1]), int(ends[first - 1]) if first else 0


def evaluate(agent: Any, env: gym.Env[Any, Any], episodes: int, seed: int = 0) -> list[float]:
    """Returns of greedy episodes; the agent's `act` and `reset` are called, nothing is learnt."""
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        agent.reset()
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
    return returns
