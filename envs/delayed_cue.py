"""A cue to be remembered: the smallest task that needs memory."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Observation = npt.NDArray[np.float32]


class DelayedCue(gym.Env[Observation, np.int64]):
    """Remember which of two cues was shown, and name it when asked.

    Description
    -----------
    At the first step one of two cues is shown. `delay` silent steps follow, then the go signal. The action taken on
    the go signal is the answer; all other actions are ignored.

    Action Space
    ------------
    ``Discrete(2)``: 0 names the left cue, 1 the right one.

    Observation Space
    -----------------
    ``Box(0, 1, (3,), float32)``:

    === ============== === ===
    Num Observation    Min Max
    === ============== === ===
    0   left cue       0   1
    1   right cue      0   1
    2   go signal      0   1
    === ============== === ===

    Rewards
    -------
    1 for the right answer and -1 for the wrong one, on the last step; else 0.

    Starting State
    --------------
    Either cue with probability 1/2.

    Episode End
    -----------
    Termination with the answer, after `delay` + 2 steps. No truncation.

    Arguments
    ---------
    delay : int
        Silent steps between cue and go signal, at least 0; 10 by default.

    Version History
    ---------------
    v0: first version.

    Raises
    ------
    ValueError
        `delay` is negative.

    References
    ----------
    The reward-based form of the delayed-cue tasks of Bellec et al. 2020, Nat. Commun. 11:3625.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, delay: int = 10) -> None:
        if delay < 0:
            raise ValueError(f"delay is {delay}; it must be 0 or more.")
        self.delay = int(delay)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self._cue, self._step = 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a cue and show it."""
        super().reset(seed=seed)
        self._cue, self._step = int(self.np_random.integers(2)), 0
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one step; the action counts on the go signal alone."""
        asked = self._step == self.delay + 1
        reward = (1.0 if int(action) == self._cue else -1.0) if asked else 0.0
        self._step += 1
        return self._observe(), reward, asked, False, {}

    def _observe(self) -> Observation:
        observation = np.zeros(3, np.float32)
        if self._step == 0:
            observation[self._cue] = 1.0
        elif self._step == self.delay + 1:
            observation[2] = 1.0
        return observation
