"""A page to watch any agent in any Gymnasium loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym

from threefactor.live import Clock, Driven, Histogram
from threefactor.live.timing import NANO
from threefactor.watch import Watch, watch_agent


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose loop can be watched, and paused, on a page in the browser. Needs the extra `watch`.

    Parameters
    ----------
    env : gymnasium.Env
    agent : object
        Agent or decoder that acts in it; or a `Driven`, stepped in its place, which can have any agent's learning
        switched off.
    title : str, optional
        By default the environment's id.
    save : callable, optional
        Saves, and says where; the page has a button for it.
    ended : callable, optional
        Asked during a pause whether the loop is to end.
    rate : float, optional
        Steps a second, at most; by default as fast as it goes.

    Attributes
    ----------
    watch : Watch
        Its `url` is the address of the page; `close` of the environment ends it.

    Examples
    --------
    >>> import gymnasium as gym
    >>> from controllers import ActorCritic, Loop
    >>> env = gym.make("CartPole-v1")
    >>> agent = ActorCritic.for_env(env)
    >>> env = Watched(env, agent)  # doctest: +SKIP
    >>> print(env.watch.url)  # doctest: +SKIP
    >>> for episode in Loop(agent, env, seed=0).run(100_000):  # doctest: +SKIP
    ...     pass
    """

    def __init__(
        self, env: gym.Env[Any, Any], agent: Any, title: str | None = None, save: Callable[[], str] | None = None,
        ended: Callable[[], bool] = lambda: False, rate: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(env)
        if rate is not None and not 0.0 < rate < math.inf:
            raise ValueError(f"rate is {rate}; it must be positive and finite, or None.")
        self._ended, self._period, self._clock, self._due = ended, NANO / rate if rate else 0.0, Clock(), 0.0
        self._agent_times, self._env_times = Histogram(), Histogram()
        self._left: int | None = None  # when the loop was last given something to answer
        driven = agent if isinstance(agent, Driven) else Driven(agent)
        named = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        self.watch: Watch = watch_agent(
            driven, title or named, save, durations={"agent": self._agent_times, "environment": self._env_times}
        )

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """As the environment's own; stands still while the page asks for a pause."""
        if self._left is not None:
            self._agent_times.add(time.perf_counter_ns() - self._left)
        if self._period:
            self._keep_pace()
        watch, begun = self.watch, time.perf_counter_ns()
        answer = self.env.step(action)
        self._env_times.add(time.perf_counter_ns() - begun)
        _, reward, terminated, truncated, _ = answer
        watch.tick(float(reward), terminated or truncated)
        if watch.paused:
            watch.wait(self._ended)
        self._left = time.perf_counter_ns()
        return answer

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's own."""
        answer = self.env.reset(**given)
        self._left = time.perf_counter_ns()
        return answer

    def _keep_pace(self) -> None:
        """Wait until the next step is due; a late one does not make the others hurry."""
        self._due = max(self._due + self._period, float(self._clock.now()))
        self._clock.wait_until(int(self._due))

    def close(self) -> None:
        """End the page, and close the environment."""
        self.watch.close()
        self.env.close()
