"""Safe learning: a controller that is known to work stands by, and takes over when a cost leaves its band."""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from controllers.frozen import require
from controllers.noise import Noise

N_EVENTS = 1000  # the last ones that are kept


class Event(NamedTuple):
    """Something that the supervisor did."""

    step: int  #: after so many steps
    kind: Literal["snapshot", "take-over", "hand-back"]
    cost: float  #: the monitored cost then


class Supervisor:
    """An agent around a learning agent: when a cost leaves its band, a fallback acts, and what was learnt is undone.

    The cost is low-passed over `time` steps, c <- c + (cost - c) / time, across episodes. While it stays at or below
    `inside`, a snapshot of the agent is taken every `every` steps; it counts as good once the next one is due and the
    cost stayed inside all the while. Where the cost rises above `outside`, is no number, or the agent's action is none,
    the fallback takes over, and the agent is rolled back to the last good snapshot, or to what it was at first. It
    sleeps until the cost has been inside for `patience` steps in a row; then it begins anew.

    Random numbers go on: an agent that was rolled back explores otherwise than before.

    Parameters
    ----------
    agent : Agent
        Learns. What its `__getstate__` gives is what a snapshot keeps; without `__setstate__`, its attributes.
    fallback : Agent
        Acts when the agent may not; has `begin`, `step`, `act` and `reset`.
    cost : callable
        ``(observation, reward) -> float``, of each step.
    inside, outside : float
        The band: below `inside` all is well, above `outside` nothing is. Between them all stays as it is.
    time : float
        Steps over which the cost is low-passed, 1 or more; 1: not at all.
    every : int
        Steps from one snapshot to the next, 1 or more.
    patience : int
        Steps that the cost must have been inside before the agent gets control back, 1 or more.

    Attributes
    ----------
    agent, fallback : Agent
    cost : float
        The monitored cost, low-passed; 0 at first.
    in_control : bool
        Whether the agent acts.
    steps, steps_of_fallback : int
        Steps made, and how many of them the fallback made.
    counts : Counter of str
        How often each kind of event happened.
    events : deque of Event
        The last 1000 of them.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> import gymnasium as gym
    >>> from controllers import ActorCritic, Loop
    >>> from controllers.pid import PID
    >>> env = gym.make("CartPole-v1")
    >>> pid = PID(40.0, 0.0, 8.0, 0.02, measurement=[2], rate=[3], choices=[10.0, -10.0])
    >>> agent = Supervisor(
    ...     ActorCritic.for_env(env), pid, lambda seen, reward: abs(seen[2]), inside=0.05, outside=0.1, time=5
    ... )
    >>> episodes = list(Loop(agent, env, seed=0).run(300))
    >>> agent.counts["take-over"] > 0
    True
    """

    def __init__(
        self, agent: Any, fallback: Any, cost: Callable[[Any, float], float], *, inside: float, outside: float,
        time: float = 20.0, every: int = 1000, patience: int = 100,
    ) -> None:  # fmt: skip
        if not -np.inf < inside < outside < np.inf:
            raise ValueError(f"inside is {inside} and outside {outside}; they must be finite, inside below outside.")
        for name, value in {"time": time, "every": every, "patience": patience}.items():
            require(name, value, 1 <= value < np.inf, "finite and 1 or more")
        self.agent, self.fallback, self._cost_of = agent, fallback, cost
        self._acting = copy.deepcopy(fallback)  # for `act`: the fallback may keep what it needs in flight
        self._inside, self._outside, self._share = float(inside), float(outside), 1.0 / time
        self._every, self._patience = int(every), int(patience)
        self.cost, self.in_control, self.steps, self.steps_of_fallback = 0.0, True, 0, 0
        self.counts: Counter[str] = Counter()
        self.events: deque[Event] = deque(maxlen=N_EVENTS)
        self._good = self._newest = snapshot(agent)
        self._calm = 0  # steps in a row that the cost has been inside, since the last snapshot or take-over

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode."""
        if not self.in_control:
            return self.fallback.begin(observation)
        return self._if_finite(self.agent.begin(observation), observation)

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Watch the cost, have the agent learn if it is in control; the next action."""
        self.steps += 1
        self.steps_of_fallback += not self.in_control
        self._watch(float(self._cost_of(observation, reward)))
        over = terminated or truncated
        if not self.in_control:
            if self._calm >= self._patience and not over:
                return self._hand_back(observation)
            return self.fallback.step(observation, reward, terminated, truncated)
        if self.cost > self._outside:
            return self._take_over(observation)
        action = self.agent.step(observation, reward, terminated, truncated)
        if self._calm >= self._every:
            self._keep()
        return action if over else self._if_finite(action, observation)

    def act(self, observation: npt.ArrayLike) -> Any:
        """Greedy action of whoever is in control; learns nothing."""
        return (self.agent if self.in_control else self._acting).act(observation)

    def reset(self) -> None:
        """Begin a new greedy episode."""
        self.agent.reset()
        self._acting.reset()

    def _watch(self, cost: float) -> None:
        moved = self.cost + self._share * (cost - self.cost)
        if np.isnan(moved):  # a cost that is no number, or was infinite before
            moved = cost if np.isfinite(cost) else np.inf
        self.cost = moved
        if self.cost > self._inside:
            self._calm = 0
            self._newest = self._good  # what was learnt since is in doubt
        else:
            self._calm += 1

    def _keep(self) -> None:
        self._good, self._newest, self._calm = self._newest, snapshot(self.agent), 0
        self._note("snapshot")

    def _take_over(self, observation: npt.ArrayLike) -> Any:
        restore(self.agent, self._good)
        self.in_control, self._calm = False, 0
        self._note("take-over")
        return self.fallback.begin(observation)

    def _hand_back(self, observation: npt.ArrayLike) -> Any:
        self.in_control, self._calm, self._newest = True, 0, self._good
        self._note("hand-back")
        return self._if_finite(self.agent.begin(observation), observation)

    def _if_finite(self, action: Any, observation: npt.ArrayLike) -> Any:
        return action if np.isfinite(action).all() else self._take_over(observation)

    def _note(self, kind: Literal["snapshot", "take-over", "hand-back"]) -> None:
        self.counts[kind] += 1
        self.events.append(Event(self.steps, kind, self.cost))


def snapshot(agent: Any) -> Any:
    """All that an agent would keep, apart from it."""
    return copy.deepcopy(agent.__getstate__())


def restore(agent: Any, saved: Any) -> None:
    """Put an agent back to a snapshot, but for its random numbers, which go on."""
    before = {name: value for name, value in vars(agent).items() if isinstance(value, np.random.Generator | Noise)}
    state = copy.deepcopy(saved)
    if hasattr(agent, "__setstate__"):
        agent.__setstate__(state)
    else:
        vars(agent).update(state)
    vars(agent).update(before)
