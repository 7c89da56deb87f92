"""Policies and running statistics of the actor-critic, against finite differences and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.spaces import Discrete

from controllers import ActorCritic, policies
from controllers import transition as compiled
from controllers.normalisation import observe, standardise
from tests.checks import observation_at, play
from threefactor.readouts import softmax

Floats = npt.NDArray[np.float64]


# --- policies --------------------------------------------------------------------------------------------------------


def gradient(f: Callable[[Floats], float], y: Floats, step: float = 1e-5) -> Floats:
    """Central differences."""
    return np.array([(f(y + d) - f(y - d)) / (2 * step) for d in step * np.eye(y.size)])


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_categorical_error_is_a_finite_difference(weight: float) -> None:
    """The error is minus the gradient of log-probability plus weighted entropy, numerically, at 1e-6."""
    rng = np.random.default_rng(0)
    for chosen in range(4):
        y, p, error = rng.normal(size=4), np.zeros(4), np.zeros(4)

        def goal(logits: Floats, chosen: int = chosen) -> float:
            log_p = logits - np.log(np.exp(logits).sum())
            return float(log_p[chosen] - weight * np.exp(log_p) @ log_p)

        softmax(p, y)
        policies.categorical_error(error, p, chosen, weight)
        np.testing.assert_allclose(error, -gradient(goal, y), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_gaussian_error_is_a_finite_difference(weight: float) -> None:
    """The error is minus the gradient of log N(action; mu, sigma) plus weighted entropy, numerically, at 1e-6."""
    rng, floor = np.random.default_rng(0), 1e-3
    for y in rng.normal(size=(5, 6)):
        noise, action, error = rng.normal(size=3), np.zeros(3), np.zeros(6)
        policies.draw_gaussian(action, y, noise, floor)
        np.testing.assert_allclose(action, y[:3] + (floor + np.logaddexp(0.0, y[3:])) * noise, rtol=1e-12)

        def goal(readout: Floats, action: Floats = action) -> float:
            sigma = floor + np.logaddexp(0.0, readout[3:])
            log_density = -0.5 * ((action - readout[:3]) / sigma) ** 2 - np.log(sigma)
            return float((log_density + weight * np.log(sigma)).sum())

        policies.gaussian_error(error, y, noise, floor, weight)
        np.testing.assert_allclose(error, -gradient(goal, y), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("far", [-700.0, -40.0, 40.0, 700.0])
def test_policies_stay_finite_far_out(far: float) -> None:
    """Extreme readouts give finite probabilities, deviations and errors."""
    p, error, y = np.zeros(3), np.zeros(3), np.array([far, 0.0, -far])
    softmax(p, y)
    policies.categorical_error(error, p, 0, 0.1)
    assert np.isfinite(p).all() and p.sum() == pytest.approx(1.0) and np.isfinite(error).all()
    error = np.zeros(2)
    policies.gaussian_error(error, np.array([0.0, far]), np.array([1.5]), 1e-3, 0.1)
    assert policies.deviation(far, 1e-3) >= 1e-3 and np.isfinite(error).all()


def test_categorical_draws_have_the_probabilities() -> None:
    """Uniform numbers on a grid fall into each choice in proportion to its probability."""
    p = np.array([0.2, 0.0, 0.5, 0.3])
    drawn = [policies.draw_categorical(p, (i + 0.5) / 1000) for i in range(1000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 1000, p, atol=1e-3)


# --- statistics ------------------------------------------------------------------------------------------------------


def test_welford_equals_numpy() -> None:
    """Running mean and deviation are numpy's over all samples so far; the bound holds; the first sample gives 0."""
    samples = np.random.default_rng(1).normal([0.0, 1e3, -5.0], [1.0, 0.1, 0.0], (200, 3))
    mean, squares, out = np.zeros(3), np.zeros(3), np.ones(3)
    for n, x in enumerate(samples, 1):
        observe(mean, squares, float(n), x)
        standardise(out, x, mean, squares, float(n), 10.0)
        deviation = np.sqrt(np.var(samples[:n], axis=0, ddof=1) + 1e-8) if n > 1 else np.ones(3)
        np.testing.assert_allclose(out, (x - samples[:n].mean(0)) / deviation, rtol=1e-6, atol=1e-6)
    standardise(out, np.array([1e9, -1e9, -5.0]), mean, squares, 200.0, 10.0)
    np.testing.assert_allclose(out, [10.0, -10.0, 0.0], atol=1e-9)


def test_agent_standardises_by_all_it_has_seen() -> None:
    """Its statistics are those of every observation but the ends of terminated episodes, which it never looks at."""
    agent = ActorCritic(4, Discrete(3), 0, n_hidden=24)
    play(agent, range(13))  # one episode; its last step terminates
    seen = np.array([observation_at(agent, t) for t in range(13)])
    mean, squares = (compiled.observation_of(agent._memory, agent._sizes, which) for which in (1, 2))
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(squares, 13 * seen.var(0), rtol=1e-12)


@pytest.mark.parametrize("scale_rewards", [True, False])
def test_reward_scaling_equals_a_plain_reference(scale_rewards: bool) -> None:
    """The reward in the TD error is over the deviation of all discounted returns so far; the first is as it came."""
    agent = ActorCritic(4, Discrete(3), 0, discount=0.9, scale_rewards=scale_rewards, dtype="float64", n_hidden=24)
    total, returns = 0.0, []
    for t, reward in enumerate(np.random.default_rng(2).normal(3.0, 50.0, 60)):
        if t % 20 == 0:
            total = float(agent.begin(observation_at(agent, 0)) * 0)
        before = float(agent.critic.y[0])
        agent.step(observation_at(agent, t), reward, t % 20 == 19, False)
        total = reward + 0.9 * total
        returns.append(total)
        after = 0.0 if t % 20 == 19 else float(agent.critic.y[0])
        scale = math.sqrt(np.var(returns, ddof=1) + 1e-8) if scale_rewards and t else 1.0
        assert agent.td_error - 0.9 * after + before == pytest.approx(reward / scale, rel=1e-9, abs=1e-12)
