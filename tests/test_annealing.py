"""Annealing by progress: the shares, and that step, exploration and the statistics of observations follow them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from controllers import ActorCritic, places
from controllers.annealing import Annealing


def clip(share: float, least: float) -> float:
    """The share, from the least one to 1."""
    return min(max(share, least), 1.0)


def shares(
    returns: list[float], step: float, width: float, sample: float, deviations: float
) -> tuple[float, float, float]:
    """The shares from the definition: of step, width and sample."""
    mean, square, means, within = returns[0], 0.0, [], []
    for n, value in enumerate(returns, 1):
        square = (1.0 - max(0.05, 1.0 / n)) * square + max(0.05, 1.0 / n) * (value - mean) ** 2
        mean += max(0.1, 1.0 / n) * (value - mean)
        means.append(mean)
        best = max(returns[:n])
        within.append(best if math.isinf(deviations) else min(best, mean + deviations * math.sqrt(square)))
    if len(returns) <= 20 or max(within) == min(means):
        return 1.0, 1.0, 1.0
    left = 1.0 - (mean - min(means)) / (max(within) - min(means))
    return clip(step * left, 0.005), clip(width * left, 0.1), clip((sample * left) ** 2, 0.01)


@pytest.mark.parametrize("deviations", [math.inf, 1.0, 0.3])
def test_shares_equal_the_definition(deviations: float) -> None:
    """After each of 300 returns that rise, stay and fall, at 1e-12; progress stays within 0 and 1."""
    rng, annealing, returns = np.random.default_rng(0), Annealing(5.0, 2.5, 2.0, deviations), []
    seen = set()
    for n in range(300):
        returns.append(float(rng.normal(min(n, 100) if n < 200 else 20, 5.0)))
        annealing.update(returns[-1])
        step, width, sample = shares(returns, 5.0, 2.5, 2.0, deviations)
        assert annealing.step_share == pytest.approx(step, rel=1e-12)
        assert annealing.width_share == pytest.approx(width, rel=1e-12)
        assert annealing.sample_weight == pytest.approx(sample, rel=1e-12)
        assert 0.0 <= annealing.progress <= 1.0
        seen |= {step < 1.0, width < 1.0, sample < 1.0, step == 1.0}
    assert seen == {True, False}


def test_one_lucky_return_is_not_within_reach_of_choices() -> None:
    """A single return far above the others holds a box's progress down, not that of choices."""
    rng = np.random.default_rng(1)
    choices, box = (ActorCritic(2, space, 0, n_hidden=4).annealing for space in (Discrete(2), Box(-1.0, 1.0, (1,))))
    for n in range(200):
        value = 1000.0 if n == 50 else float(rng.normal(0.0 if n < 60 else 100.0, 1.0))
        choices.update(value)
        box.update(value)
    assert box.progress < 0.15 and 0.3 < choices.progress < 1.0


@pytest.mark.parametrize("returns", [[0.0] * 50, [-3.0] * 50, [1.0]])
def test_returns_that_never_change_are_no_progress(returns: list[float]) -> None:
    """Where nothing was better than anything, nothing shrinks."""
    annealing = Annealing(5.0, 2.5, 2.5)
    for value in returns:
        annealing.update(value)
    assert annealing.progress == 0.0
    assert (annealing.step_share, annealing.width_share, annealing.sample_weight) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("space", [Discrete(2), Box(-1.0, 1.0, (1,))], ids=["discrete", "box"])
def test_success_quiets_the_agent_and_failure_wakes_it(space: Discrete | Box) -> None:
    """Good episodes shrink the step, exploration and what a sample counts; bad ones bring all back; 0: not."""
    for step, noise, sample in ((5.0, 2.5, 2.5), (0.0, 0.0, 0.0)):
        annealing = {"step_annealing": step, "noise_annealing": noise, "sample_annealing": sample}
        agent = ActorCritic(2, space, 0, n_hidden=8, n_fields=0, **annealing)
        rate, quiet = agent.actor.learning_rate, []
        for value in [0.0] * 10 + [1.0] * 80 + [0.0] * 40:
            agent.begin([0.0, 0.0])
            agent.step([0.0, 0.0], value, True, False)
            assert agent.actor.learning_rate == pytest.approx(rate * agent.annealing.step_share, rel=1e-6)
            assert agent._memory[places.WIDTH] == agent.annealing.width_share
            assert agent._memory[places.SAMPLE_WEIGHT] == agent.annealing.sample_weight
            quiet.append((agent.annealing.step_share, agent.annealing.width_share, agent.annealing.sample_weight))
        assert quiet[0] == quiet[-1] == (1.0, 1.0, 1.0)
        assert quiet[89] == (pytest.approx((0.005, 0.1, 0.01)) if step else (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("space", "steps", "best", "halfway"),
    [
        (MultiDiscrete([2, 3]), 400_000, 1.0, 1.0), (Box(-1.0, 1.0, (2,)), 0, 1.0, 1.0),
        (Box(-1.0, 1.0, (2,)), 240_000, 0.4, 0.5), (Box(-1.0, 1.0, (2,)), 400_000, 0.2, 0.5),
    ],
    ids=["multi-discrete", "box", "box-later", "box-at-last"],
)  # fmt: skip
def test_several_entries_quiet_their_noise_alone(
    space: MultiDiscrete | Box, steps: int, best: float, halfway: float
) -> None:
    """The step is that of one entry times the root of their number; of forces, the noise follows the returns, late."""
    agent = ActorCritic(2, space, 0, n_hidden=8, n_fields=0)
    memory, widths = agent._memory, []
    memory[places.STEPS] = steps
    for value in [0.0] * 10 + [1.0] * 60 + [0.5] * 60 + [0.0] * 60:
        agent.begin([0.0, 0.0])
        agent.step([0.0, 0.0], value, True, False)
        widths.append(memory[places.WIDTH])
    assert agent.actor.learning_rate == pytest.approx(np.sqrt(2.0) * agent.settings.actor_rate, rel=1e-6)
    assert (agent.annealing.step_share, memory[places.SAMPLE_WEIGHT]) == (1.0, 1.0)
    assert (widths[69], widths[129], widths[-1]) == pytest.approx((best, halfway, 1.0), rel=1e-2)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Discrete(1), (5.0, 2.5, 2.5, 0.8, 0.01)),
        (Discrete(2), (5.0, 2.5, 2.5, 0.8, 0.003)),
        (Discrete(3), (5.0, 2.5, 2.5, 0.8, 0.01)),
        (MultiDiscrete([2, 2]), (0.0, 0.0, 0.0, 0.8, 0.003)),
        (MultiDiscrete([2, 3]), (0.0, 0.0, 0.0, 0.8, 0.01)),
        (Box(-1.0, 1.0, (1,)), (5.0, 2.5, 2.5, 0.8, 0.01)),
        (Box(-1.0, 1.0, (2,)), (0.0, 1.0, 0.0, 0.9, 0.1)),
    ],
)
def test_factors_follow_from_the_actions(space: Discrete | MultiDiscrete | Box, expected: tuple[float, ...]) -> None:
    """Where they are left open; what is given stays."""
    names = ("step_annealing", "noise_annealing", "sample_annealing", "trace_decay", "entropy")
    settings = ActorCritic(2, space, 0, n_hidden=4, n_fields=0).settings
    assert tuple(getattr(settings, name) for name in names) == expected
    settings = ActorCritic(2, space, 0, n_hidden=4, n_fields=0, **dict.fromkeys(names, 0.5)).settings
    assert tuple(getattr(settings, name) for name in names) == (0.5,) * 5
