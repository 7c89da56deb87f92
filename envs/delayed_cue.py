"""A cue to be remembered: the smallest task that needs memory."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from envs.sequences import ChoiceWorld, Sequence, require


class DelayedCue(ChoiceWorld):
    """Remember which of two cues was shown, and name it when asked.

    Description
    -----------
    At the first step one of two cues is shown. `delay` silent steps follow, then the go signal. The action taken on
    the go signal is the answer; all other actions are ignored. `draw` gives a trial as a supervised task: the target is
    one-hot (left, right) on the go signal, where alone the error counts.

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

    def __init__(self, delay: int = 10) -> None:
        require("delay", delay, delay >= 0, "0 or more")
        self.delay = int(delay)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def draw(self, rng: np.random.Generator) -> Sequence:
        """Draw a cue."""
        cue, n_ticks = int(rng.integers(2)), self.delay + 2
        inputs, targets = np.zeros((n_ticks, 3), np.float32), np.zeros((n_ticks, 2), np.float32)
        inputs[0, cue] = inputs[-1, 2] = targets[-1, cue] = 1.0
        return Sequence(inputs, targets, np.arange(n_ticks) == n_ticks - 1)
