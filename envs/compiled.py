"""Worlds whose step is a kernel: cheap one step at a time, and ready for loops that are compiled themselves."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from threefactor._jit import entry

Floats = npt.NDArray[np.float64]


class CompiledEnv(gym.Env[npt.NDArray[np.float32], Any]):
    """What compiled worlds have in common.

    A subclass names its `kernel`, ``(world, command, observation) -> (reward, terminated, truncated)``, which moves
    `world` on and writes the observation; `begin` writes a first state and its observation.

    Attributes
    ----------
    world : array, float64
        State and parameters. Whoever changes a parameter in here changes the world at once.
    command : array, float64, shape (entries of an action,)
        The last action.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    kernel: ClassVar[Any]

    def __init__(self, world: Floats, n_command: int, n_observation: int) -> None:
        self.world, self.command, self._seen = world, np.zeros(n_command), np.zeros(n_observation)
        self._compile()
        self._over = True

    def _compile(self) -> None:
        """Have all machine code made that the world calls; after a copy, too, which takes none along."""
        self._enter = entry(type(self).kernel, self.world, self.command, self._seen)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: all but the machine code."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, type(self._enter))}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Go on as the one that was copied."""
        vars(self).update(saved)
        self._compile()

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """Write the first state of an episode into `world`, and its observation into `seen`."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.begin(self.np_random, self._seen)
        self._over = False
        return self._seen.astype(np.float32), {}

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move on by one step.

        Raises
        ------
        gymnasium.error.ResetNeeded
            No episode is under way.
        ValueError
            An action of another shape, or not finite.
        """
        if self._over:
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() first.")
        given = np.asarray(action, dtype=np.float64)
        if given.shape not in (self.action_space.shape, self.command.shape) or not np.isfinite(given).all():
            raise ValueError(f"action is {action!r}; it must be finite, of shape {self.action_space.shape}.")
        self.command[:] = given.reshape(-1)
        reward, terminated, truncated = self._enter(self.world, self.command, self._seen)
        self._over = bool(terminated or truncated)
        return self._seen.astype(np.float32), float(reward), bool(terminated), bool(truncated), {}
