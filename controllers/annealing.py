"""Quieter as it succeeds: what moves shrinks as the returns near the best ones seen, and grows again after.

Ours; on the way that the slope schedules go (`threefactor.schedules`), with the low-passed return as the guide.
"""

from __future__ import annotations

import numpy as np

RATE, FIRST = 0.1, 20  # of the running mean of the returns; episodes before anything shrinks
LEAST_STEP, LEAST_WIDTH, LEAST_SAMPLE = 0.005, 0.1, 0.1
EPISODES, MEAN, LOWEST, BEST = range(4)  # places in `state`


class Annealing:
    """Shares of the actor's step, of its exploration, and of an observation in running statistics, by progress.

    Progress p = (mean - lowest) / (best - lowest): a running mean of the returns, its lowest value, and the best
    single return so far. The shares are step (1 - p), width (1 - p) and (sample (1 - p))^2, at most 1.

    Parameters
    ----------
    step, width, sample : float
        Factors of the shares; 0 keeps the share at 1.

    Attributes
    ----------
    state : array, float64
        All that is kept.
    """

    def __init__(self, step: float, width: float, sample: float) -> None:
        self.step, self.width, self.sample = step, width, sample
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
        return self._share(self.step, LEAST_STEP)

    @property
    def width_share(self) -> float:
        """Share of the deviation, or of the temperature of a softmax, from 0.1 to 1."""
        return self._share(self.width, LEAST_WIDTH)

    @property
    def sample_weight(self) -> float:
        """What an observation counts in the statistics that it is standardised by, from 0.01 to 1."""
        return self._share(self.sample, LEAST_SAMPLE) ** 2

    def _share(self, factor: float, least: float) -> float:
        return float(np.clip(factor * (1.0 - self.progress), least, 1.0)) if factor else 1.0
