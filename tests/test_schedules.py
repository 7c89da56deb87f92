"""Slope schedules: each rule against a plain sequence, bounds, constant memory, bad scores."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from threefactor import SCHEDULES, ScheduleSettings, SlopeSchedule
from threefactor.settings import build

SCORES = [10.0, 12.0, 9.0, 30.0, 28.0, 60.0, 55.0, 80.0, 120.0, 90.0, 150.0, 20.0, 0.0, -40.0, 10.0, 200.0]


def schedule(rule: str, **settings: Any) -> SlopeSchedule:
    """A schedule of this rule."""
    return SlopeSchedule(build(ScheduleSettings, rule=rule, **settings))


def clip(value: float, low: float = 1.0, high: float = 100.0) -> float:
    """Bounded value."""
    return min(max(value, low), high)


def test_fixed_stays() -> None:
    """The slope is that of the settings, whatever the scores, inside the bounds or not."""
    for slope in (0.5, 2.0, 500.0):
        fixed = schedule("fixed", slope=slope)
        assert fixed.slope == slope and {fixed.update(score) for score in SCORES} == {slope}


def test_interval_goes_up_in_twenty_equal_steps() -> None:
    """From the least to the largest slope in 20 levels of equal length, and no further."""
    interval = schedule("interval", slope_min=1.0, slope_max=39.0, scores=100)
    slopes = [interval.update(0.0) for _ in range(140)]
    levels = [1.0 + 2.0 * i for i in range(20)]
    np.testing.assert_allclose(sorted(set(slopes)), levels, rtol=1e-12)
    np.testing.assert_allclose(slopes[4:99:5], levels[1:], rtol=1e-12)  # step i begins with score 5 i
    assert slopes == sorted(slopes) and slopes[-1] == 39.0


def test_interval_with_fewer_scores_than_steps_ends_at_the_top() -> None:
    """With three scores the last slope is the largest."""
    interval = schedule("interval", scores=3)
    assert [interval.update(s) for s in (0.0, 0.0, 0.0)][-1] == 100.0


def test_adaptive_is_the_papers_rule() -> None:
    """K is the clipped mean of the last ten (r + r') / 2, by hand; the first difference counts as 0."""
    adaptive = schedule("adaptive")
    found = [adaptive.update(score) for score in SCORES]
    halves = [0.5 * (r + d) for r, d in zip(SCORES, np.diff(SCORES, prepend=SCORES[0]), strict=True)]
    expected = [clip(float(np.mean(halves[max(0, t - 9) : t + 1]))) for t in range(len(SCORES))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[0] == 5.0 and found[1] == pytest.approx((5.0 + 7.0) / 2)


def test_adaptive_code_is_the_rule_of_the_published_code() -> None:
    """K <- clip(.2 (2 + 100 n) + .8 (k + 100 (tanh(2 mean diff) - .05))), by hand, from the slope it starts with."""
    code = schedule("adaptive_code", slope=40.0, score_min=-50.0, score_max=250.0)
    found, n, slope, expected = [code.update(score) for score in SCORES], [], 40.0, []
    for score in SCORES:
        n.append((score + 50.0) / 300.0)
        trend = np.mean(np.diff(n, prepend=n[0])[-10:])
        slope = clip(0.2 * (2.0 + 100.0 * n[-1]) + 0.8 * (slope + 100.0 * (math.tanh(2.0 * trend) - 0.05)))
        expected.append(slope)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(found)) > 10, "the rule sits at a bound"


def test_self_ranging_is_its_rule() -> None:
    """The low-passed score, led by its derivative, in the range that it has had itself, by hand."""
    ranging = schedule("self_ranging", slope_max=50.0, smoothing=0.2, forgetting=0.05)
    found, expected = [ranging.update(score) for score in SCORES], []
    smooth = low = high = SCORES[0]
    speed = 0.0
    for score in SCORES:
        before, smooth = smooth, 0.8 * smooth + 0.2 * score
        speed = 0.8 * speed + 0.2 * (smooth - before)
        low, high = min(smooth, 0.95 * low + 0.05 * smooth), max(smooth, 0.95 * high + 0.05 * smooth)
        place = clip((smooth + 5.0 * speed - low) / (high - low), 0.0, 1.0) if high > low else 0.0
        expected.append(50.0**place)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert min(found) < 3.0 and max(found) > 30.0


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, -5000.0)])
def test_self_ranging_knows_no_scale(scale: float, shift: float) -> None:
    """Scores of another unit or origin give the same slopes."""
    plain, other = schedule("self_ranging"), schedule("self_ranging")
    for score in SCORES:
        assert other.update(scale * score + shift) == pytest.approx(plain.update(score), rel=1e-5)


def test_self_ranging_stays_low_on_equal_scores() -> None:
    """Without a range there is nothing to be in: the least slope."""
    ranging = schedule("self_ranging", slope_min=2.0)
    assert {ranging.update(7.0) for _ in range(30)} == {2.0}


@pytest.mark.parametrize("rule", SCHEDULES)
def test_slopes_are_bounded_and_memory_is_constant(rule: str) -> None:
    """Over 5,000 wild scores no slope leaves its bounds, and the state keeps its size."""
    wild = schedule(rule, slope=3.0, slope_min=2.0, slope_max=20.0)
    size = wild.state.nbytes
    rng = np.random.default_rng(0)
    for score in rng.normal(size=5000) * 10.0 ** rng.uniform(-8, 8, 5000):
        assert 2.0 <= wild.update(float(score)) <= 20.0
    assert wild.state.nbytes == size and set(vars(wild)) == {"settings", "state"}


@pytest.mark.parametrize("rule", SCHEDULES)
def test_bad_scores_are_refused_and_change_nothing(rule: str) -> None:
    """NaN and infinity raise, the state is as before, and the schedule goes on as if nothing had been."""
    plain, disturbed = schedule(rule), schedule(rule)
    for score in SCORES:
        for bad in (math.nan, math.inf, -math.inf):
            before = disturbed.state.copy()
            with pytest.raises(ValueError, match=r"score is .*finite"):
                disturbed.update(bad)
            np.testing.assert_array_equal(disturbed.state, before)
        assert plain.update(score) == disturbed.update(score)


@pytest.mark.parametrize("rule", SCHEDULES)
def test_state_is_all_there_is(rule: str) -> None:
    """A schedule whose state is copied into another goes on identically."""
    first, second = schedule(rule), schedule(rule)
    for score in SCORES[:7]:
        first.update(score)
    second.state[:] = first.state
    assert [first.update(s) for s in SCORES] == [second.update(s) for s in SCORES]


def test_settings_know_every_rule() -> None:
    """The rules that may be named are those of the table."""
    hints = msgspec.inspect.type_info(ScheduleSettings)
    rules = next(field.type.values for field in hints.fields if field.name == "rule")
    assert set(rules) == set(SCHEDULES)


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": "steep"}, {"slope_min": 5.0, "slope_max": 4.0}, {"score_min": 1.0, "score_max": 1.0}, {"slope": 0.0},
        {"slope_min": -1.0}, {"scores": 0}, {"smoothing": 0.0}, {"forgetting": 1.0}, {"slopes": 3.0},
        {"slope_max": math.inf}, {"slope": math.nan}, {"score_max": math.inf}, {"score_min": math.nan},
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    """Unknown rules and names, bounds that cross, and numbers out of range or not finite are errors."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        build(ScheduleSettings, **settings)
