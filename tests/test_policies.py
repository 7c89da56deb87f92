"""Policies and running statistics of the actor-critic, against finite differences and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.spaces import Discrete

from controllers import ActorCritic, places, policies
from controllers import transition as compiled
from controllers.normalisation import LARGE, observe, standardise
from tests.checks import observation_at, play
from tests.reference_agent import Errors
from threefactor.readouts import softmax

Floats = npt.NDArray[np.float64]


# --- policies --------------------------------------------------------------------------------------------------------


def gradient(f: Callable[[Floats], float], y: Floats, step: float = 1e-5) -> Floats:
    """Central differences."""
    return np.array([(f(y + d) - f(y - d)) / (2 * step) for d in step * np.eye(y.size)])


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_categorical_error_is_a_finite_difference(weight: float) -> None:
    """Minus the gradient of log-probability less weighted cross entropy from uniform, numerically, at 1e-6."""
    rng = np.random.default_rng(0)
    for chosen in range(4):
        y, p, error = rng.normal(size=4), np.zeros(4), np.zeros(4)

        def goal(logits: Floats, chosen: int = chosen) -> float:
            log_p = logits - np.log(np.exp(logits).sum())
            return float(log_p[chosen] + weight * log_p.mean())

        softmax(p, y)
        policies.categorical_error(error, p, chosen, weight)
        np.testing.assert_allclose(error, -gradient(goal, y), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("width", [1.0, 0.2])
@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("bias", [0.0, -1.5, 1.0])
def test_gaussian_error_is_a_finite_difference(bias: float, weight: float, width: float) -> None:
    """The error is minus the gradient of log P(clipped action) plus the weighted bonus, numerically, at 1e-6."""
    rng, floor, outside = np.random.default_rng(0), 1e-3, 0
    for y in rng.normal(size=(20, 6)) * ([2.0] * 3 + [1.0] * 3):
        noise, action, error = rng.normal(size=3), np.zeros(3), np.zeros(6)
        policies.draw_gaussian(action, y, noise, floor, bias, width)
        np.testing.assert_allclose(action, (floor + np.exp(bias + y[3:])) * (y[:3] + width * noise), rtol=1e-12)
        outside += int((np.abs(action) > 1.0).sum())

        def goal(readout: Floats, action: Floats = action) -> float:
            total = 0.0
            for a, mean, raw in zip(action, *np.split(readout, 2), strict=True):
                sigma = floor + math.exp(bias + raw)
                mu, spread = sigma * mean, width * sigma
                density = math.log(NormalDist(mu, spread).pdf(a)) if abs(a) < 1.0 else 0.0
                tail = math.erfc((1.0 - math.copysign(mu, mu * a)) / spread / math.sqrt(2.0)) / 2.0
                total += density if abs(a) < 1.0 else math.log(tail)
                total += weight * math.log(sigma / (1.0 + sigma) ** 2)
            return total

        policies.gaussian_error(error, y, noise, floor, bias, width, weight)
        np.testing.assert_allclose(error, -gradient(goal, y), rtol=1e-6, atol=1e-8)
    assert 5 < outside < 55, "draws on both sides of the bounds"


def test_clipped_gradient_has_mean_zero() -> None:
    """The mean of the error over the policy's own draws is 0, wherever its mass lies: it is a score function."""
    noise = np.array([NormalDist().inv_cdf((i + 0.5) / 20_000) for i in range(20_000)])
    for y in (np.array([0.3, 0.0]), np.array([-1.5, 0.5]), np.array([0.0, 2.0]), np.array([2.0, -0.5])):
        errors = np.zeros((noise.size, 2))
        for row, u in zip(errors, noise, strict=True):
            policies.gaussian_error(row, y, np.array([u]), 1e-3, 0.0, 1.0, 0.0)
        np.testing.assert_allclose(errors.mean(0), 0.0, atol=2e-3)


def test_hazard_equals_density_over_tail() -> None:
    """phi / (1 - Phi) where that can be computed; far out it is z + 1 / z, and never infinite."""
    for z in np.linspace(-8.0, 5.0, 40):
        expected = NormalDist().pdf(z) / (1.0 - NormalDist().cdf(z))
        assert policies.hazard(z) == pytest.approx(expected, rel=1e-9)
    for z in (20.0, 37.0, 1e3, 1e300):
        assert policies.hazard(z) == pytest.approx(z + 1.0 / z, rel=1e-2)


@pytest.mark.parametrize("far", [-700.0, -40.0, 40.0, 700.0])
def test_policies_stay_finite_far_out(far: float) -> None:
    """Extreme readouts give finite probabilities, deviations and errors."""
    p, error, y = np.zeros(3), np.zeros(3), np.array([far, 0.0, -far])
    softmax(p, y)
    policies.categorical_error(error, p, 0, 0.1)
    assert np.isfinite(p).all() and p.sum() == pytest.approx(1.0) and np.isfinite(error).all()
    error = np.zeros(2)
    for bias in (-2.0, 0.0, 2.0):
        policies.gaussian_error(error, np.array([0.0, far]), np.array([1.5]), 1e-3, bias, 1.0, 0.1)
        assert policies.deviation(bias + far, 1e-3) >= 1e-3 and np.isfinite(error).all()


def test_categorical_draws_have_the_probabilities() -> None:
    """Normal numbers on a grid of equal probability fall into each choice in proportion to its probability."""
    p, normal = np.array([0.2, 0.0, 0.5, 0.3]), NormalDist()
    drawn = [policies.draw_categorical(p, normal.inv_cdf((i + 0.5) / 1000)) for i in range(1000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 1000, p, atol=1e-3)
    assert drawn == sorted(drawn), "alike noise draws alike actions"
    assert [policies.draw_categorical(p, far) for far in (-40.0, 40.0)] == [0, 3]


# --- exploration noise -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_colour_equals_the_twin(correlation: float) -> None:
    """Noise keeps c of itself and takes sqrt(1 - c^2) of what is fresh, at 1e-12; without correlation it is fresh."""
    fresh = np.random.default_rng(0).normal(size=(20, 3))
    noise, expected = np.ones(3), np.ones(3)
    for new in fresh:
        before = new.copy()
        policies.colour(noise, new, correlation)
        expected = correlation * expected + np.sqrt(1.0 - correlation**2) * new
        np.testing.assert_allclose(noise, expected, rtol=1e-12)
        np.testing.assert_array_equal(new, before)
    assert correlation > 0.0 or np.array_equal(noise, fresh[-1])


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_correlated_noise_stays_standard_normal(correlation: float) -> None:
    """Each draw is standard normal, so that actions have the policy's probabilities; two in turn correlate by c."""
    rng, n = np.random.default_rng(3), 40_000
    p = np.array([0.1, 0.6, 0.3])
    noise = rng.standard_normal(n)
    for _ in range(20):
        before = noise.copy()
        policies.colour(noise, rng.standard_normal(n), correlation)
    five_sigma = 5.0 / math.sqrt(n)
    assert abs(noise.mean()) < five_sigma and abs(noise.var() - 1.0) < math.sqrt(2.0) * five_sigma
    assert abs(np.mean(noise**4) - 3.0) < math.sqrt(96.0) * five_sigma
    assert abs(np.corrcoef(before, noise)[0, 1] - correlation) < five_sigma
    shares = np.bincount([policies.draw_categorical(p, x) for x in noise], minlength=3) / n
    np.testing.assert_array_less(np.abs(shares - p), five_sigma * np.sqrt(p * (1.0 - p)))


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_agent_explores_with_correlated_noise(correlation: float) -> None:
    """An agent that does not learn takes each action as often as its policy says, and repeats itself accordingly."""
    agent = ActorCritic(4, Discrete(2), 0, n_hidden=8, noise_correlation=correlation, actor_rate=1e-12)
    agent.begin(observation_at(agent, 0))
    actions = [agent.step(observation_at(agent, t), float(np.cos(t)), False, False) for t in range(4000)]
    np.testing.assert_allclose(places.view(places.probabilities_of, agent._own[0], agent._sizes), 0.5, atol=1e-3)
    again = np.mean(np.diff(actions) == 0)
    # orthant probability of two normal numbers that correlate by c: 1 / 4 + arcsin(c) / (2 pi)
    assert again == pytest.approx(0.5 + math.asin(correlation) / math.pi, abs=0.04)
    assert np.mean(actions) == pytest.approx(0.5, abs=0.04 if correlation == 0.0 else 0.12)


# --- statistics ------------------------------------------------------------------------------------------------------


def test_welford_equals_numpy() -> None:
    """Running mean and deviation are numpy's over all samples so far; the bound holds; the first sample gives 0."""
    samples = np.random.default_rng(1).normal([0.0, 1e3, -5.0], [1.0, 0.1, 0.0], (200, 3))
    mean, squares, out = np.zeros(3), np.zeros(3), np.ones(3)
    for n, x in enumerate(samples, 1):
        observe(mean, squares, float(n), 1.0, x)
        standardise(out, x, mean, squares, float(n), 10.0)
        deviation = np.sqrt(np.var(samples[:n], axis=0, ddof=1) + 1e-8) if n > 1 else np.ones(3)
        np.testing.assert_allclose(out, (x - samples[:n].mean(0)) / deviation, rtol=1e-6, atol=1e-6)
    standardise(out, np.array([1e9, -1e9, -5.0]), mean, squares, 200.0, 10.0)
    np.testing.assert_allclose(out, [10.0, -10.0, 0.0], atol=1e-9)


def test_weighted_statistics_equal_weighted_numpy() -> None:
    """Mean and deviations are numpy's of samples that count .01 to 1, in any order, at 1e-10 and 1e-7."""
    rng = np.random.default_rng(1)
    samples = rng.normal([0.0, 1e3], [1.0, 0.1], (300, 2)) + np.linspace(0.0, 5.0, 300)[:, None]
    weights = rng.uniform(0.1, 1.0, 300) ** 2
    mean, squares, total = np.zeros(2), np.zeros(2), 0.0
    for weight, x in zip(weights, samples, strict=True):
        total += weight
        observe(mean, squares, total, weight, x)
    np.testing.assert_allclose(mean, np.average(samples, 0, weights), rtol=1e-10)
    np.testing.assert_allclose(squares, weights @ (samples - mean) ** 2, rtol=1e-7)


def test_agent_standardises_by_all_it_has_seen() -> None:
    """Its statistics are those of every observation but the ends of terminated episodes, which it never looks at."""
    agent = ActorCritic(4, Discrete(3), 0, n_hidden=24)
    play(agent, range(13))  # one episode; its last step terminates
    seen = np.array([observation_at(agent, t) for t in range(13)])
    mean, squares = (
        places.view(places.statistics_of, agent._memory, agent._sizes, which) for which in (places.MEAN, places.SQUARES)
    )
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(squares, 13 * seen.var(0), rtol=1e-12)


@pytest.mark.parametrize("scale_rewards", [True, False])
def test_reward_scaling_equals_a_plain_reference(scale_rewards: bool) -> None:
    """The reward in the TD error is over the deviation of all discounted returns so far; the first is as it came."""
    agent = ActorCritic(
        4, Discrete(3), 0, discount=0.9, scale_rewards=scale_rewards, dtype="float64", n_hidden=24, novelty=0.0,
        baseline_rate=0.0,
    )  # fmt: skip
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


@pytest.mark.parametrize("rewards", [(-100.0, -1.0, -1.0, -1.0), (1.0, 1.0, -1.0, 1.0)])
def test_equal_first_returns_do_not_blow_rewards_up(rewards: tuple[float, ...]) -> None:
    """Returns that happen to be alike (-100, -1 + .99 * -100), or steps that are episodes, leave errors in bounds."""
    agent = ActorCritic(4, Discrete(3), 0, n_hidden=8)
    alone = rewards[0] == rewards[1]
    for t, reward in enumerate(rewards):
        if alone or t == 0:
            agent.begin(observation_at(agent, t))
        agent.step(observation_at(agent, t + 1), reward, alone, False)
        assert t == 0 or agent._memory[places.REWARD_SCALE] * max(map(abs, rewards)) < 20.0


def test_clipping_of_td_errors_equals_a_plain_reference() -> None:
    """Errors stay within 20 times their usual size, that of what is left of those before: 1e-10."""
    plain, rng, memory = Errors(0.1), np.random.default_rng(4), np.zeros(places.N_NUMBERS)
    memory[places.LEAST_ERROR] = 0.1
    for n in range(16_000):
        error = rng.choice([-1.0, 1.0]) * (1e4 if n in (999, 1149, 15_500) else rng.random())
        if looked := n < 1200 or n > 15_490:
            left = plain.clip(error)
        else:
            plain.clipped.append(left := error)
        assert compiled.clipped(memory, error) == pytest.approx(left, rel=1e-10)
        if looked:
            assert compiled.usual_size(memory) == pytest.approx(plain.size(), rel=1e-10)
        assert (left != error) == (n in (999, 1149, 15_500))


def test_usual_size_of_normal_errors_is_their_mean_size() -> None:
    """Of normal numbers it is the mean of their sizes; if most are zero it hardly falls, where that mean does."""
    normal = np.random.default_rng(5).standard_normal(40_000)
    for silent, expected in ((0.0, math.sqrt(2.0 / math.pi)), (0.95, math.sqrt(2.0 / math.pi))):
        memory = np.zeros(places.N_NUMBERS)
        memory[places.LEAST_ERROR] = 0.1
        for n, error in enumerate(normal):
            compiled.clipped(memory, error if n % 100 >= 100 * silent else 0.0)
        assert compiled.usual_size(memory) == pytest.approx(expected, rel=0.15)


def test_usual_size_has_a_floor() -> None:
    """Tiny errors are not blown up: their usual size is at least the floor, that of errors of zero, too."""
    for error in (0.0, 1e-9, 0.099):
        memory = np.zeros(places.N_NUMBERS)
        memory[places.LEAST_ERROR] = 0.1
        assert [compiled.clipped(memory, error) for _ in range(10)] == [error] * 10
        assert compiled.usual_size(memory) == 0.1


def test_statistics_of_huge_samples_are_finite() -> None:
    """Mean and deviations stay finite whatever comes, and are then those of samples cut to LARGE."""
    mean, squares, out = np.zeros(2), np.zeros(2), np.zeros(2)
    for n, x in enumerate(([1.7e308, 1e300], [-1.7e308, -1e31], [1e300, 0.0]), 1):
        observe(mean, squares, float(n), 1.0, np.array(x))
        standardise(out, np.array(x), mean, squares, float(n), 10.0)
        assert np.isfinite([mean, squares, out]).all()
    np.testing.assert_allclose(mean, [LARGE / 3.0, 0.0], rtol=1e-12, atol=1e-12 * LARGE)
