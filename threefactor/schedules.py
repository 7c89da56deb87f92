"""Slope schedules: how steep the surrogate is, from the score so far.

A shallow surrogate passes gradient to many neurons and biases it; a steep one is nearly unbiased and passes little.
The schedules make it steeper as the score rises. Source of the first four: Van den Berghe, Stroobants, Reddi, de Croon
2025, arXiv:2510.24461 (its text and its published code state two different adaptive rules).

A new schedule is a function in `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from threefactor.arrays import Array
from threefactor.settings import Positive, check_finite

WINDOW = 10
# Places in a schedule's state
SCORES, SLOPE, SCORE, DERIVATIVE, LOW, HIGH, RING = 0, 1, 2, 3, 4, 5, 6


class ScheduleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a slope schedule.

    Parameters
    ----------
    rule : str
        ``fixed``: `slope` throughout. ``interval``: from `slope_min` to `slope_max` in 20 equal steps over `scores`
        scores. ``adaptive``: mean of the last ten (score + its first difference) / 2, as the paper states it.
        ``adaptive_code``: the rule of the paper's published code, on the score normalised by `score_min` and
        `score_max`. ``self_ranging``: on the low-passed score, normalised by the range it has had itself.
    slope : float
        Slope before the first score, and of the fixed schedule [1/voltage].
    slope_min, slope_max : float
        Bounds [1/voltage].
    scores : int
        How many scores the interval schedule spreads its steps over.
    score_min, score_max : float
        Range of the score for ``adaptive_code``.
    smoothing : float
        Share of a new score in the low-passed one, for ``self_ranging``.
    forgetting : float
        Share of the range's distance to the score that is forgotten with each score, for ``self_ranging``.
    """

    rule: Literal["fixed", "interval", "adaptive", "adaptive_code", "self_ranging"] = "fixed"
    slope: Positive = 1.0
    slope_min: Positive = 1.0
    slope_max: Positive = 100.0
    scores: Annotated[int, Meta(ge=1)] = 1000
    score_min: float = 0.0
    score_max: float = 1.0
    smoothing: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1
    forgetting: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.01

    def __post_init__(self) -> None:
        check_finite(self)
        if self.slope_min > self.slope_max:
            raise ValueError(f"slope_min {self.slope_min} is above slope_max {self.slope_max}; swap them.")
        if not self.score_min < self.score_max:
            raise ValueError(f"score_min {self.score_min} must be below score_max {self.score_max}.")


def _ring_mean(state: Array, value: float) -> float:
    """Put `value` into the ring of the last ten and return their mean."""
    seen = int(state[SCORES])
    state[RING + seen % WINDOW] = value
    return float(state[RING : RING + min(seen + 1, WINDOW)].mean())


def fixed(state: Array, s: ScheduleSettings, score: float) -> float:
    """The same slope throughout."""
    return s.slope


def interval(state: Array, s: ScheduleSettings, score: float) -> float:
    """From slope_min to slope_max in 20 equal steps; the score only counts the time."""
    step = min(int(20.0 * (state[SCORES] + 1.0) / s.scores), 19)
    return s.slope_min + (s.slope_max - s.slope_min) * step / 19.0


def adaptive(state: Array, s: ScheduleSettings, score: float) -> float:
    """K = mean over the last ten of (r + r') / 2, r' the first difference of the score r (0 for the first score)."""
    difference = score - state[SCORE] if state[SCORES] else 0.0
    return _ring_mean(state, 0.5 * (score + difference))


def adaptive_code(state: Array, s: ScheduleSettings, score: float) -> float:
    """Slope k <- .2 (2 + 100 n) + .8 (k + 100 (tanh(2 d) - .05)), n the score in [0, 1], d its mean difference."""
    n = (score - s.score_min) / (s.score_max - s.score_min)
    before = (state[SCORE] - s.score_min) / (s.score_max - s.score_min)
    trend = _ring_mean(state, n - before if state[SCORES] else 0.0)
    return 0.2 * (2.0 + 100.0 * n) + 0.8 * (float(state[SLOPE]) + 100.0 * (math.tanh(2.0 * trend) - 0.05))


def self_ranging(state: Array, s: ScheduleSettings, score: float) -> float:
    """Geometric between the bounds, by where the low-passed score, led by its derivative, stands in its own range.

    The range widens at once and shrinks slowly towards the score, so that a scale that was wrong is forgotten.
    """
    if not state[SCORES]:
        state[LOW] = state[HIGH] = state[SCORE] = score
    before = state[SCORE]
    smooth = before + s.smoothing * (score - before)
    state[DERIVATIVE] += s.smoothing * (smooth - before - state[DERIVATIVE])
    for bound, outer in ((LOW, min), (HIGH, max)):
        state[bound] = outer(smooth, state[bound] + s.forgetting * (smooth - state[bound]))
    state[SCORE] = smooth
    width = state[HIGH] - state[LOW]
    if width <= 1e-9 * max(abs(state[HIGH]), abs(state[LOW]), 1e-300):
        return s.slope_min
    lead = state[DERIVATIVE] / s.smoothing  # where the low-passed score will be one time constant from now
    n = min(max((smooth + lead - state[LOW]) / width, 0.0), 1.0)
    return float(s.slope_min * (s.slope_max / s.slope_min) ** n)


SCHEDULES: dict[str, Callable[[Array, ScheduleSettings, float], float]] = {
    "fixed": fixed,
    "interval": interval,
    "adaptive": adaptive,
    "adaptive_code": adaptive_code,
    "self_ranging": self_ranging,
}


class SlopeSchedule:
    """A slope that follows the score; constant memory, one call a score.

    Parameters
    ----------
    settings : ScheduleSettings

    Examples
    --------
    >>> schedule = SlopeSchedule(ScheduleSettings(rule="self_ranging"))
    >>> slopes = [schedule.update(score) for score in (10.0, 20.0, 40.0, 80.0)]
    >>> slopes[0], slopes[-1]
    (1.0, 100.0)
    """

    def __init__(self, settings: ScheduleSettings) -> None:
        self.settings = settings
        self.state = np.zeros(RING + WINDOW)
        self.state[SLOPE] = settings.slope

    @property
    def slope(self) -> float:
        """Present slope [1/voltage]."""
        return float(self.state[SLOPE])

    def update(self, score: float) -> float:
        """Take one score, say an episode's return, and return the slope to use from now on.

        Raises
        ------
        ValueError
            The score is not finite; the schedule has not changed.
        """
        if not math.isfinite(score):
            raise ValueError(f"score is {score}; it must be finite. The schedule has not changed.")
        s, state = self.settings, self.state
        slope = SCHEDULES[s.rule](state, s, float(score))
        if s.rule != "self_ranging":
            state[SCORE] = score
        state[SLOPE] = slope if s.rule == "fixed" else min(max(slope, s.slope_min), s.slope_max)
        state[SCORES] += 1
        return self.slope
