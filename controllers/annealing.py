"""Quieter as it succeeds: what moves shrinks as the returns near what is within reach, and grows again after.

Ours; on the way that the slope schedules go (`threefactor.schedules`), with the low-passed return as the guide.
"""

from __future__ import annotations

import math

import numpy as np

RATE, FIRST = 0.1, 20  # of the running mean of the returns; episodes before anything shrinks
SPREAD_RATE = 0.05  # of the running mean of their squared distances from it
LEAST_STEP, LEAST_WIDTH, LEAST_SAMPLE = 0.005, 0.1, 0.1
EPISODES, MEAN, LOWEST, BEST, SPREAD, REACH, N_STATE = range(7)  # places in `state`, and how many there are


class Annealing:
    """Shares of the actor's step, of its exploration, and of an observation in running statistics, by progress.

    Progress p = (mean - lowest) / (reach - lowest): a running mean of the returns, its lowest value, and the highest
    value so far of what was within reach, the mean plus `deviations` of the returns, but no more than the best single
    return, which may be luck with where it began. The shares are step (1 - p), width (1 - p) and (sample (1 - p))^2, at
    most 1.

    Parameters
    ----------
    step, width, sample : float
        Factors of the shares; 0 keeps the share at 1.
    deviations : float
        Of the returns, that what is within reach lies above their mean; infinity: it is the best single return.
    least_width : float
        What the share of exploration is at least.

    Attributes
    ----------
    state : array, float64
        All that is kept.
    """

    def __init__(
        self, step: float, width: float, sample: float, deviations: float = math.inf, least_width: float = LEAST_WIDTH
    ) -> None:
        self.step, self.width, self.sample, self.deviations = step, width, sample, deviations
        self.least_width = least_width
        self.state = np.zeros(N_STATE)

    def update(self, episode_return: float) -> None:
        """Take the return of one more episode."""
        s = self.state
        s[EPISODES] += 1.0
        if s[EPISODES] == 1.0:
            s[MEAN] = s[LOWEST] = s[BEST] = s[REACH] = episode_return
        off = episode_return - s[MEAN]
        s[MEAN] += max(RATE, 1.0 / s[EPISODES]) * off
        s[SPREAD] += max(SPREAD_RATE, 1.0 / s[EPISODES]) * (off * off - s[SPREAD])
        s[LOWEST], s[BEST] = min(s[LOWEST], s[MEAN]), max(s[BEST], episode_return)
        above = self.deviations * math.sqrt(s[SPREAD]) if math.isfinite(self.deviations) else math.inf
        s[REACH] = max(s[REACH], min(s[BEST], s[MEAN] + above))

    @property
    def progress(self) -> float:
        """p, from 0 to 1; 0 for the first 20 episodes."""
        s = self.state
        if s[EPISODES] <= FIRST or s[REACH] <= s[LOWEST]:
            return 0.0
        return float((s[MEAN] - s[LOWEST]) / (s[REACH] - s[LOWEST]))

    @property
    def step_share(self) -> float:
        """Share of the actor's learning rate, from 0.005 to 1."""
        return self._share(self.step, LEAST_STEP)

    @property
    def width_share(self) -> float:
        """Share of the deviation, or of the temperature of a softmax, from `least_width` to 1."""
        return self._share(self.width, self.least_width)

    @property
    def sample_weight(self) -> float:
        """What an observation counts in the statistics that it is standardised by, from 0.01 to 1."""
        return self._share(self.sample, LEAST_SAMPLE) ** 2

    def _share(self, factor: float, least: float) -> float:
        return float(np.clip(factor * (1.0 - self.progress), least, 1.0)) if factor else 1.0
