"""Learning, seen from outside: returns rise and losses fall."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.wrappers import FlattenObservation, TimeLimit

import envs  # noqa: F401  (registers the worlds)
from controllers import ActorCritic, Loop, evaluate, solved
from threefactor import Network, tick

Floats = npt.NDArray[np.float64]
pytestmark = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
ADAM = {"optimiser": "adam", "learning_rate": 0.01, "tag_decay": 1.0}


def returns_of(env_id: str, seed: int, steps: int, env: dict[str, Any] | None = None, **settings: Any) -> list[float]:
    """Returns of the episodes of a run."""
    world = gym.make(env_id, **(env or {}))
    agent = ActorCritic.for_env(world, seed=seed, **settings)
    return [episode.episode_return for episode in Loop(agent, world, seed).run(steps)]


@pytest.mark.parametrize("seed", [0, 1])
def test_cartpole_is_learnt_within_8000_steps(seed: int) -> None:
    """The mean return of the last 20 episodes is over 90, and over 2.5 times that of the first 20 (a random 22)."""
    returns = returns_of("CartPole-v1", seed, 8000)
    assert np.mean(returns[-20:]) > max(90.0, 2.5 * np.mean(returns[:20]))


def test_greedy_actions_have_learnt_too() -> None:
    """After 8,000 steps greedy episodes return over 90 on average, and the second evaluation equals the first."""
    env = gym.make("CartPole-v1")
    agent = ActorCritic.for_env(env, seed=0)
    for _ in Loop(agent, env, 0).run(8000):
        pass
    returns = evaluate(agent, env, 10, seed=1)
    assert np.mean(returns) > 90.0
    assert evaluate(agent, env, 10, seed=1) == returns


@pytest.mark.parametrize("seed", [0, 1])
def test_one_of_n_states_is_acted_in(seed: int) -> None:
    """Along the cliff, where a fall costs 100 and to stand still 1 a step, episodes end at -20 or better."""
    env = TimeLimit(FlattenObservation(gym.make("CliffWalking-v1")), 200)
    agent = ActorCritic.for_env(env, seed=seed)
    returns = [episode.episode_return for episode in Loop(agent, env, seed).run(60_000)]
    assert np.mean(returns[-50:]) > -20.0 > np.mean(returns[:5])


@pytest.mark.parametrize("settings", [{}, {"adaptive_share": 0.5}], ids=["lif", "alif"])
def test_a_cue_is_remembered_over_silent_steps(settings: dict[str, Any]) -> None:
    """Of a cue shown three steps before, at least 7 answers in 10 are right, where 5 would be chance."""
    returns = returns_of("threefactor/DelayedCue-v0", 0, 20_000, {"delay": 2}, **settings)
    assert np.mean(returns[-1000:]) > 0.4
    assert abs(np.mean(returns[:100])) < 0.4


def one_pass(network: Network, spikes: Floats, targets: Floats, how: str) -> float:
    """Mean loss of one presentation, during which the network learns every tick, after the last one, or not at all."""
    network.reset()
    loss = 0.0
    for x, target in zip(spikes, targets, strict=True):
        error = network.step(x) - target
        loss += 0.5 * float(error @ error) / len(spikes)
        if how == "online":
            network.learn(error)
        elif how == "sequence":
            network.tag(error)
    if how == "sequence":
        network.update(1.0 / len(spikes))
        network.clear()
    return loss


@pytest.mark.parametrize("how", ["online", "sequence"])
@pytest.mark.parametrize("feedback", ["symmetric", "random", "adaptive"])
def test_regression_loss_falls(feedback: str, how: str) -> None:
    """Frozen noise is turned into two waves: played back without learning, below a third of the loss is left."""
    rng, ticks = np.random.default_rng(0), 200
    spikes, phase = (rng.random((ticks, 20)) < 0.1).astype(float), 2.0 * np.pi * np.arange(ticks) / ticks
    targets = np.stack([np.sin(phase), np.cos(2.0 * phase)], axis=1)
    settings: dict[str, Any] = {"learning_rate": 0.0005} if how == "online" else ADAM
    network = Network(20, 60, 2, n_adaptive=20, feedback=feedback, w_in_scale=2.0, **settings)
    before = one_pass(network, spikes, targets, "not")
    for _ in range(300 if how == "online" else 150):
        one_pass(network, spikes, targets, how)
    assert one_pass(network, spikes, targets, "not") < before / 3.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cartpole_is_solved_within_80000_steps(seed: int) -> None:
    """The mean return of 100 episodes reaches the environment's threshold of 475."""
    env = gym.make("CartPole-v1")
    agent = ActorCritic.for_env(env, seed=seed)
    episodes = list(Loop(agent, env, seed).run(80_000))
    solved_at, solved_from = solved([e.end for e in episodes], [e.episode_return for e in episodes], 475.0)
    assert solved_at is not None and solved_from is not None and solved_from < solved_at <= 80_000


def test_solved_counts_windows_of_100_episodes() -> None:
    """`solved` names the end and the beginning of the first window whose mean reaches the threshold, by hand."""
    ends = np.arange(1, 151) * 10
    returns = np.where(np.arange(150) < 30, 0.0, 1.0)
    assert solved(ends, returns, 0.9) == (1200, 200)
    assert solved(ends, returns, 0.7) == (1000, 0)
    assert solved(ends, returns, 1.1) == (None, None)
    assert solved(ends, returns, None) == (None, None)
    assert solved(ends[:99], np.ones(99), 0.5) == (None, None)
