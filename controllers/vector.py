"""The actor-critic in a vector environment: one learner, many copies of a world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from controllers import transition as compiled
from controllers.learner import Learner
from controllers.spaces import bounds_of, flat_size, settings_for
from threefactor.arrays import Array


class VectorActorCritic(Learner):
    """Spiking actor and critic that learn in many copies of a world at once.

    Each copy has neurons, traces, tags and exploration of its own; all share the weights, and the statistics of
    observations and rewards. At each step the copies learn one after the other, each from its own transition.

    Parameters
    ----------
    n_copies : int
        Copies of the world.
    n_observation : int
        Entries of the flat observation of one.
    action_space : gymnasium.spaces.Discrete, MultiDiscrete or Box
        What the actions in one are; a box must have finite bounds.
    seed : int
        Of initial weights and of exploration.
    autoreset_mode : gymnasium.vector.AutoresetMode
        What the environment does when an episode of one copy ends. NEXT_STEP: its next step ignores the action and
        returns a first observation, which is no transition. SAME_STEP: it returns the first observation at once and the
        last one in `infos`. DISABLED: the caller resets it and calls `begin` with a mask.
    **settings
        Any field of `ActorCriticSettings`.

    Examples
    --------
    >>> import gymnasium as gym
    >>> envs = gym.make_vec("CartPole-v1", num_envs=3)
    >>> agent = VectorActorCritic.for_envs(envs, seed=0)
    >>> observations, _ = envs.reset(seed=0)
    >>> actions = agent.begin(observations)
    >>> for _ in range(100):
    ...     actions = agent.step(*envs.step(actions))
    >>> actions.shape
    (3,)
    """

    def __init__(
        self, n_copies: int, n_observation: int, action_space: gym.Space[Any], seed: int = 0,
        autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP, **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(n_observation, action_space, seed, n_copies, **settings)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self._over = np.zeros(n_copies, dtype=bool)  # an episode ended, and the world begins another by itself

    @classmethod
    def for_envs(cls, envs: gym.vector.VectorEnv[Any, Any, Any], seed: int = 0, **settings: Any) -> Self:
        """Agent for a vector environment; it refuses observations outside their space.

        Raises
        ------
        ValueError
            Observations that are no Box, or actions that are neither Discrete, MultiDiscrete nor a Box with finite
            bounds.
        """
        space = envs.single_observation_space
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        agent = cls(
            envs.num_envs, flat_size(space), envs.single_action_space, seed, mode, **settings_for(space, settings)
        )
        agent._bound(*bounds_of(envs, space))
        return agent

    def begin(self, observations: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> Any:
        """First actions of the episodes of all copies, or of those that `mask` names.

        Parameters
        ----------
        observations : array_like, shape (n_copies, ...)
            First observations; what stands for a copy outside the mask is not looked at.
        mask : array_like of bool, shape (n_copies,), optional
            Copies whose episode begins; what the others were about to do stays.
        """
        chosen = np.ones(self.n_copies, dtype=bool) if mask is None else self._row(mask, "mask").astype(bool)
        x = self._rows(observations)
        for copy in np.flatnonzero(chosen).tolist():
            self._check(copy, x[copy])
        for copy in np.flatnonzero(chosen).tolist():
            self._begin(copy, x[copy])
            self._over[copy] = False
        return self._actions()

    def step(
        self, observations: npt.ArrayLike, rewards: npt.ArrayLike, terminated: npt.ArrayLike, truncated: npt.ArrayLike,
        infos: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Learn from the transitions that the last actions led to; the next actions.

        Parameters
        ----------
        observations, rewards, terminated, truncated, infos
            As the environment's `step` returns them; `infos` is needed for SAME_STEP alone.

        Raises
        ------
        ValueError
            An observation or a reward that is not finite, of another shape or outside its space: says of which copy,
            and no copy has learnt.
        RuntimeError
            A copy without an episode under way, where the caller has to begin it.
        """
        given, rewards = self._rows(observations), self._row(rewards, "rewards")
        terminated, truncated = self._row(terminated, "terminated"), self._row(truncated, "truncated")
        going_on, ends = self._begun.copy(), terminated.astype(bool) | truncated.astype(bool)
        for copy in np.flatnonzero(~(going_on | self._over)).tolist():
            raise RuntimeError(f"copy {copy} has no episode under way; call begin with its first observation.")
        last = given.copy()
        same_step = self.autoreset_mode == AutoresetMode.SAME_STEP
        for copy in np.flatnonzero(ends & same_step).tolist():
            if infos is None or "final_obs" not in infos:
                raise ValueError("an episode ended but infos holds no final_obs; pass on all that the world returned.")
            last[copy] = np.ravel(infos["final_obs"][copy])
        for copy in range(self.n_copies):
            self._check(copy, last[copy], rewards[copy] if going_on[copy] else 0.0)
            self._check(copy, given[copy])
        for copy in range(self.n_copies):
            if going_on[copy]:
                self._step(copy, last[copy], rewards[copy], bool(terminated[copy]), bool(truncated[copy]))
            if self._over[copy] or (same_step and ends[copy]):
                self._begin(copy, given[copy])
        self._over[:] = going_on & ends & (self.autoreset_mode == AutoresetMode.NEXT_STEP)
        return self._actions()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _actions(self) -> Any:
        return np.stack([self._action(copy) for copy in range(self.n_copies)])

    def _rows(self, observations: npt.ArrayLike) -> Array:
        x = np.asarray(observations, dtype=np.float64)
        if x.size != self.n_copies * self.n_observation or x.shape[:1] != (self.n_copies,):
            raise ValueError(
                f"observations have shape {x.shape}; this agent takes {self.n_observation} numbers for each of "
                f"{self.n_copies} copies; use for_envs."
            )
        return x.reshape(self.n_copies, self.n_observation)

    def _row(self, values: npt.ArrayLike, what: str) -> Array:
        row = np.asarray(values, dtype=np.float64)
        if row.shape != (self.n_copies,):
            raise ValueError(f"{what} has shape {row.shape}; give one for each of {self.n_copies} copies.")
        return row

    def _check(self, copy: int, observation: Array, reward: float = 0.0) -> None:
        """Refuse a bad sample before any copy learns."""
        self._look(observation)
        try:
            self._drive(copy, compiled.CHECK, reward)
        except ValueError as error:
            raise ValueError(f"copy {copy}: {error}") from None

    def _about(self) -> dict[str, Any]:
        return super()._about() | {"autoreset_mode": self.autoreset_mode.value, "over": self._over.tolist()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        super().__setstate__(saved)
        self.autoreset_mode = AutoresetMode(saved["about"]["autoreset_mode"])
        self._over = np.array(saved["about"]["over"], dtype=bool)
