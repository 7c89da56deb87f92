"""The cursor's kernels: an independent twin of its step, tuning, spikes, the user, drift."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from envs import Cursor
from envs import cursor_dynamics as places

Floats = npt.NDArray[np.float64]


def entries(row: Floats, place: int, count: int) -> Floats:
    """Some entries of a row, apart from it."""
    return row[place : place + count].copy()


class Twin:
    """The step once more, in plain Python; parameters from the row, by name."""

    def __init__(self, env: Cursor) -> None:
        self.env, row = env, env.world
        self.p = {name: env.parameter(name) for name in env.ranges}
        self.cursor, self.target, self.held, self.steps = entries(row, 0, 2), entries(row, places.TARGET, 2), 0, 0
        self.words = [int(word) for word in entries(row, places.DRAW, 2)]
        self.been = [self.cursor] * (int(row[places.DELAY]) + 1)

    def word(self) -> int:
        """32 random bits."""
        low, carry = self.words
        product = 4294883355 * low + carry
        self.words = [product % 2**32, product // 2**32]
        return low ^ carry

    def normal(self) -> list[float]:
        """Two normal numbers."""
        while True:
            x, y = self.word() / 2**31 - 1.0, self.word() / 2**31 - 1.0
            square = x * x + y * y
            if 0.0 < square < 1.0:
                return [c * math.sqrt(-2.0 * math.log(square) / square) for c in (x, y)]

    def poisson(self, mean: float) -> int:
        """A Poisson number, by inversion of the distribution, of means of up to 16."""
        left, k = (self.word() + 0.5) / 2**32, 0
        while left > math.exp(-mean) * sum(mean**i / math.factorial(i) for i in range(k + 1)):
            k += 1
        return k

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool]:
        """What `env.step` gives."""
        row, p, n = self.env.world, self.p, self.env.n_units
        moved = self.cursor + p["interval"] * p["top_speed"] * np.clip(action, -1.0, 1.0)
        self.cursor = np.clip(moved, -1.0, 1.0)
        self.been.append(self.cursor)
        self.steps += 1
        if p["drift"] > 0.0:
            drawn = np.concatenate([self.normal() for _ in range((n + 1) // 2)])[:n]
            p["preferred"] = p["preferred"] + p["drift"] * np.sqrt(p["interval"] / 60.0) * drawn
        way = self.target - self.been[-1 - int(row[places.DELAY])]
        self.intention = way / max(np.linalg.norm(way), p["slowing"])
        preferred = np.stack([np.cos(p["preferred"]), np.sin(p["preferred"])], 1)
        rates = p["gain"] * np.maximum(0.0, p["baseline"] + p["depth"] * (preferred @ self.intention))
        counts = [self.poisson(mean) if mean > 0.0 else 0 for mean in rates * p["interval"]]
        away = float(np.linalg.norm(self.cursor - self.target))
        self.held = self.held + 1 if away <= row[places.RADIUS] else 0
        hit = self.held >= row[places.HOLD]
        return np.array(counts), 10.0 * hit - away, hit, self.steps >= row[places.LIMIT]


CHANGED: dict[str, Any] = {
    "n_units": 7, "preferred": np.arange(7.0), "baseline": np.linspace(0.0, 40.0, 7), "depth": 30.0, "gain": 3.0,
    "drift": 2.0, "top_speed": 1.5, "slowing": 0.5, "interval": 0.05, "delay": 0, "n_targets": 0, "recentre": False,
}  # fmt: skip


@pytest.mark.parametrize("arguments", [{}, CHANGED], ids=["usual", "changed"])
def test_same_as_the_twin(arguments: dict[str, Any]) -> None:
    """State, counts, reward and end, over several trials, to 1e-12."""
    env, rng, ends = Cursor(**{"limit": 60, "hold": 4, **arguments}), np.random.default_rng(1), [0, 0]
    for trial in range(6):
        env.reset(seed=2 if trial == 0 else None)
        twin, over, intention = Twin(env), False, env.info()["intention"]
        while not over:
            action = rng.normal(size=2) if trial % 2 else 1.3 * intention
            seen, reward, hit, miss = twin.step(action)
            shown, paid, terminated, truncated, info = env.step(action)
            intention, over = info["intention"], terminated or truncated
            assert np.array_equal(shown, seen) and (terminated, truncated) == (hit, miss)
            assert paid == pytest.approx(reward, rel=1e-12) and info["hit"] == hit
            np.testing.assert_allclose(info["cursor"], twin.cursor, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(intention, twin.intention, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(env.parameter("preferred"), twin.p["preferred"], rtol=1e-12)
        ends[int(terminated)] += 1
    assert min(ends) > 0


def test_rates_follow_the_cosine() -> None:
    """Baseline and depth, cut at 0, times the gain, in mean and in variance, as in a Poisson process."""
    env = Cursor(8, preferred=np.arange(8) * math.pi / 4.0, baseline=10.0, depth=30.0, gain=2.0, limit=10**6)
    env.reset(seed=0)
    env.world[places.TARGET : places.TARGET + 2] = [0.0, 0.9]
    counts = np.array([env.step(np.zeros(2))[0] for _ in range(20_000)])
    rates = 2.0 * np.maximum(0.0, 10.0 + 30.0 * np.sin(np.arange(8) * math.pi / 4.0))
    means = 0.02 * rates
    assert np.abs((counts.mean(0) - means)[means > 0.0] / np.sqrt(means[means > 0.0] / 20_000)).max() < 4.0
    np.testing.assert_allclose(counts.var(0), means, rtol=0.05, atol=1e-12)
    assert (counts[:, 5:] == 0.0).all() and counts.max() >= 5.0
    assert np.abs(np.corrcoef(counts[:, :5].T) - np.eye(5)).max() < 4.0 / math.sqrt(20_000)


@pytest.mark.parametrize("mean", [0.003, 0.2, 1.0, 7.0, 16.0, 40.0, 400.0])
def test_poisson_numbers_are_distributed_as_such(mean: float) -> None:
    """By a chi-square test over all counts that are to be expected, and by mean and variance."""
    env = Cursor(200, baseline=1000.0, depth=0.0, gain=mean / 100.0, interval=0.1, limit=10**6)
    env.reset(seed=3)
    counts = np.concatenate([env.step(np.zeros(2))[0] for _ in range(500)])
    n = counts.size
    assert abs(counts.mean() - mean) < 4.0 * math.sqrt(mean / n)
    assert counts.var() == pytest.approx(mean, rel=4.0 * math.sqrt((2.0 + 1.0 / mean) / n))
    low, high = stats.poisson.ppf([10.0 / n, 1.0 - 10.0 / n], mean)
    values = np.arange(low, high + 1.0)
    found = np.array([(counts == value).sum() for value in values])
    expected = n * stats.poisson.pmf(values, mean)
    found, expected = np.append(found, n - found.sum()), np.append(expected, n - expected.sum())
    kept = expected > 1.0
    assert stats.chi2.sf(((found - expected)[kept] ** 2 / expected[kept]).sum(), max(kept.sum() - 1, 1)) > 1e-3


def test_the_user_aims_at_the_target_as_seen() -> None:
    """With the speed falling under `slowing`, and the cursor of some steps before; at once without a delay."""
    for delay in (0, 3):
        env, been = Cursor(delay=delay, slowing=0.4), []
        _, info = env.reset(seed=1)
        been.append(info["cursor"])
        assert np.linalg.norm(info["intention"]) == pytest.approx(1.0)
        for _ in range(30):
            _, _, _, _, info = env.step(2.0 * info["target"])
            been.append(info["cursor"])
            way = info["target"] - been[max(len(been) - 1 - delay, 0)]
            np.testing.assert_allclose(info["intention"], way / max(np.linalg.norm(way), 0.4), atol=1e-12)
        assert np.linalg.norm(info["intention"]) < 0.5


def test_drift_is_a_random_walk() -> None:
    """Of the named deviation after a minute, independent among units and over time; it stays over resets."""
    env = Cursor(2001, drift=0.5, interval=0.1, limit=10**6)
    start = env.parameter("preferred")
    env.reset(seed=0)
    after = []
    for _ in range(2):
        for _ in range(300):
            env.step(np.zeros(2))
        after.append(env.parameter("preferred"))
        env.reset()
        assert np.array_equal(env.parameter("preferred"), after[-1])
    first, second = after[0] - start, after[1] - after[0]
    for way, spread in ((first, 0.5 / math.sqrt(2.0)), (second, 0.5 / math.sqrt(2.0)), (first + second, 0.5)):
        assert way.std() == pytest.approx(spread, rel=0.06) and abs(way.mean()) < 4.0 * spread / math.sqrt(2001)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08 and abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.08
    env.change("drift", 0.0)
    env.step(np.zeros(2))
    assert np.array_equal(env.parameter("preferred"), after[1])
