"""How a live loop drives what decides: an agent with `begin` and `step`, a decoder with `step`, or a function."""

from __future__ import annotations

import copy
import math
from typing import Any

from threefactor.live.sources import Sample

WARM_STEPS = 3


class Driven:
    """One face for all that a loop can drive.

    Parameters
    ----------
    target : object
        With `begin` and `step` as agents have them; with `step` and perhaps `learn`, as decoders; or a function of the
        observation.

    Raises
    ------
    TypeError
        Neither of these.
    """

    def __init__(self, target: Any) -> None:
        self.target, self._begun, self._learning = target, False, True
        self._begins, self._steps = hasattr(target, "begin"), hasattr(target, "step")
        if not (self._steps or callable(target)):
            raise TypeError(f"{target!r} has no step and cannot be called; give an agent, a decoder or a function.")

    def respond(self, sample: Sample) -> Any:
        """Action or decoded numbers for a sample; an agent learns from the transition that led to it."""
        target = self.target
        if not self._steps:
            return target(sample.observation)
        if not self._begins:
            return target.step(sample.observation)
        if not self._learning and not hasattr(target, "learning"):
            return target.act(sample.observation)
        if not self._begun:
            action, self._begun = target.begin(sample.observation), True
            return action
        action = target.step(sample.observation, sample.reward, sample.terminated, sample.truncated)
        self._begun = not (sample.terminated or sample.truncated)
        return action

    def begin(self, observation: Any) -> Any:
        """First action of an episode of an agent."""
        self._begun = False
        if not self._learning and hasattr(self.target, "reset"):
            self.target.reset()
        return self.respond(Sample(observation))

    def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> Any:
        """Next action of an agent."""
        return self.respond(Sample(observation, reward, terminated, truncated))

    def learn(self, sample: Sample) -> None:
        """Have a decoder learn from the labels of a sample."""
        for wanted, late in sample.labels:
            self.target.learn(wanted, late) if late else self.target.learn(wanted)

    def interrupt(self) -> None:
        """After a gap the next sample begins a new episode, or meets neurons at rest."""
        self._begun = False
        if self._steps and hasattr(self.target, "reset"):
            self.target.reset()

    # --- what may be asked for while it runs -------------------------------------------------------------------------

    def check(self, learning: bool | None, slope: float | None) -> None:
        """Refuse what cannot be had.

        Raises
        ------
        ValueError
            A slope that is not positive and finite; a target that has none, or whose learning cannot be switched.
        """
        if slope is not None:
            if not hasattr(self.target, "slope"):
                raise ValueError(f"{type(self.target).__name__} has no slope.")
            if not 0.0 < slope < math.inf:
                raise ValueError(f"slope is {slope}; it must be positive and finite.")
        if learning is not None and not self.switchable:
            raise ValueError(f"learning of {type(self.target).__name__} cannot be switched.")

    def apply(self, learning: bool | None, slope: float | None) -> None:
        """Do what was asked for, and checked."""
        if slope is not None:
            self.target.slope = slope
        if learning is not None and learning != self.learning:
            if hasattr(self.target, "learning"):
                self.target.learning = learning
            else:
                self.interrupt()  # greedy actions are no transitions to learn from
            self._learning = learning

    @property
    def switchable(self) -> bool:
        """Whether its learning can be switched off and on."""
        return hasattr(self.target, "learning") or (self._begins and hasattr(self.target, "act"))

    @property
    def learning(self) -> bool:
        """Whether it learns, as far as that can be switched."""
        return bool(getattr(self.target, "learning", self._learning))

    def warm_up(self, example: Any) -> None:
        """Take a copy through all that it does, so that everything is compiled and loaded; a function is called."""
        driven = Driven(copy.deepcopy(self.target))
        for k in range(WARM_STEPS):
            answer = driven.respond(Sample(example))
            if not self._begins and hasattr(self.target, "learn"):
                driven.learn(Sample(example, labels=((answer, 0),)))
            if k == 0 and self._begins and hasattr(self.target, "act"):
                driven.target.act(example)
