"""Quieter as it succeeds: steps and exploration shrink as the returns near the best ones seen, and grow again after.

Ours; on the way that the slope schedules go (`threefactor.schedules`), with the low-passed return as the guide.
"""

from __future__ import annotations

import numpy as np

RATE, FIRST = 0.1, 20  # of the running mean of the returns; episodes before anything shrinks
LEAST_STEP, LEAST_WIDTH = 0.005, 0.1
EPISODES, MEAN, LOWEST, BEST = range(4)  # places in `state`


class Annealing:
    """Shares of the actor's step and of its exploration, by progress.

    Progress p = (mean - lowest) / (best - lowest): a running mean of the returns, its lowest value, and the best
    single return so far. The shares are step (1 - p) and width (1 - p), at most 1.

    Parameters
    ----------
    step, width : float
        Factors of both shares; 0 keeps the share at 1.

    Attributes
    ----------
    state : array, float64
        All that is kept.
    """

    def __init__(self, step: float, width: float) -> None:
        self.step, self.width = step, width
        self.state = np.zeros(4)

    def update(self, episode_return: float) -> None:
        """Take the return of one more episode."""
        s = self.state
        s[EPISODES] += 1.0
        if s[EPISODES] == 1.0:
            s[MEAN] = s[LOWEST] = s[BEST] = episode_return
        s[MEAN] += max(RATE, 1.0 / s[EPISODES]) * (episode_return - s[MEAN])
        s[LOWEST], s[BEST] = min(s[LOWEST], s[MEAN]), max(s[BEST], episode_return)

    @property
    def progress(self) -> float:
        """p, from 0 to 1; 0 for the first 20 episodes."""
        s = self.state
        if s[EPISODES] <= FIRST or s[BEST] <= s[LOWEST]:
            return 0.0
        return float((s[MEAN] - s[LOWEST]) / (s[BEST] - s[LOWEST]))

    @property
    def step_share(self) -> float:
        """Share of the actor's learning rate, from 0.005 to 1."""
        return float(np.clip(self.step * (1.0 - self.progress), LEAST_STEP, 1.0)) if self.step else 1.0

    @property
    def width_share(self) -> float:
        """Share of the deviation, or of the temperature of a softmax, from 0.1 to 1."""
        return float(np.clip(self.width * (1.0 - self.progress), LEAST_WIDTH, 1.0)) if self.width else 1.0
