"""The actor-critic: the shared checks, and each of its parts against plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from controllers import ActorCritic, policies
from tests.checks import CHECKS, Make, ends_at, observation_at, play

Floats = npt.NDArray[np.float64]
DISCRETE, BOX = Discrete(3), Box(np.array([-2.0, 0.5]), np.array([1.0, 0.75]), dtype=np.float64)
SMALL: dict[str, Any] = {"n_hidden": 24}
MEMORY = {"recurrent": True, "adaptive_share": 0.5}
VARIANTS: dict[str, tuple[gym.Space[Any], dict[str, Any]]] = {
    "discrete": (DISCRETE, {}), "box": (BOX, {}), "discrete_with_memory": (Discrete(2, start=4), MEMORY),
    "box_float64": (BOX, {"dtype": "float64"}), "keeping_state": (DISCRETE, {**MEMORY, "keep_state": True}),
    "scheduled": (DISCRETE, {"slope_schedule": {"rule": "self_ranging", "slope_max": 20.0}}),
    "raw": (DISCRETE, {"normalise_observations": False, "scale_rewards": False}),
}  # fmt: skip


def maker(name: str) -> Make:
    """What the checks build the variant's agents with."""
    space, settings = VARIANTS[name]
    return lambda seed: ActorCritic(4, space, seed, **SMALL, **settings)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_shared_check(check: Callable[[Make], None], variant: str) -> None:
    """The actor-critic passes the checks that every controller must pass."""
    check(maker(variant))


# --- environments and spaces -----------------------------------------------------------------------------------------


def test_loop_of_the_readme_works_as_written() -> None:
    """The loop that users copy runs through several episodes."""
    env = gym.make("CartPole-v1")
    agent = ActorCritic.for_env(env, seed=0)
    observation, _ = env.reset(seed=0)
    action = agent.begin(observation)
    episodes = 0
    for _ in range(400):
        observation, reward, terminated, truncated, _ = env.step(action)
        action = agent.step(observation, reward, terminated, truncated)
        if terminated or truncated:
            observation, _ = env.reset()
            action = agent.begin(observation)
            episodes += 1
    assert episodes > 3 and agent.steps == 400 and 0.0 < agent.firing_rate < 1.0


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0", "Acrobot-v1"])
def test_other_environments_take_its_actions(env_id: str) -> None:
    """Discrete and continuous environments run with the actions as they come."""
    env = gym.make(env_id)
    agent = ActorCritic.for_env(env, seed=1, **SMALL)
    action = agent.begin(env.reset(seed=1)[0])
    for _ in range(150):
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        action = agent.step(observation, float(reward), terminated, truncated)
    assert math.isfinite(agent.td_error)


def test_discrete_actions_count_from_the_start_of_the_space() -> None:
    """With start 5 the actions are 5, 6 and 7, ints, all of them tried; the greedy one too."""
    agent = ActorCritic(4, Discrete(3, start=5), 0, **SMALL)
    actions = play(agent, range(200))
    assert set(actions) == {5, 6, 7} and all(type(action) is int for action in actions)
    assert agent.act(observation_at(agent, 0)) in (5, 6, 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_box_actions_are_inside_whatever_the_bounds(dtype: type) -> None:
    """At both ends of boxes of all sizes the action has the space's type and shape and is contained, to the last bit."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        low = (rng.normal(size=(2, 3)) * 10.0 ** rng.uniform(-6, 6, (2, 3))).astype(dtype)
        high = (low + np.abs(low) * rng.uniform(0.01, 3.0, (2, 3))).astype(dtype)
        space = Box(low, high, dtype=dtype)
        actions = ActorCritic(2, space, 0, n_hidden=2).actions
        for far in (np.full(6, -30.0), np.full(6, 30.0), np.full(6, -1.0), np.ones(6), rng.normal(size=6)):
            action = actions.decode(far)
            assert action.dtype == dtype and action.shape == (2, 3)
            assert space.contains(action), (low, high, action)


def test_box_actions_span_the_bounds() -> None:
    """The policy's -1, 0 and 1 are the lower bound, the middle and the upper bound."""
    actions = ActorCritic(2, BOX, 0, **SMALL).actions
    for unit, expected in ((-1.0, BOX.low), (0.0, [-0.5, 0.625]), (1.0, BOX.high), (9.0, BOX.high)):
        np.testing.assert_allclose(actions.decode(np.full(2, unit)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "space",
    [MultiDiscrete([2, 3]), MultiBinary(4), Dict({"a": Discrete(2)}), Box(-np.inf, 1.0, (2,)), Box(0.0, np.inf, (1,))],
    ids=str,
)
def test_unsupported_actions_are_refused(space: gym.Space[Any]) -> None:
    """Other action spaces, and boxes without bounds, are errors that say what is taken."""
    with pytest.raises(ValueError, match=r"action space is .*Discrete or Box"):
        ActorCritic(4, space)


@pytest.mark.parametrize("space", [Discrete(5), Dict({"a": Box(0, 1, (2,))}), MultiDiscrete([2, 2])], ids=str)
def test_unsupported_observations_are_refused(space: gym.Space[Any]) -> None:
    """Other observation spaces than a Box are errors that say what to do."""
    env = gym.Env()
    env.observation_space, env.action_space = space, DISCRETE
    with pytest.raises(ValueError, match=r"observation space is .*FlattenObservation"):
        ActorCritic.for_env(env)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["discount", "learning_rate", "entropy", "critic_overshoot", "slope", "height"])
def test_settings_that_are_not_finite_are_refused(name: str, value: float) -> None:
    """NaN and infinity, which TOML can write, are no settings."""
    with pytest.raises(ValueError, match=name.removeprefix("critic_")):
        ActorCritic(4, DISCRETE, **{name: value})


def test_unknown_settings_are_refused() -> None:
    """A misspelt setting is an error that lists the known ones."""
    with pytest.raises(ValueError, match=r"n_hiden.*n_hidden"):
        ActorCritic(4, DISCRETE, n_hiden=3)


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

        policies.softmax(p, y)
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
    policies.softmax(p, y)
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
    agent = ActorCritic(4, DISCRETE, 0, **SMALL)
    play(agent, range(13))  # one episode; its last step terminates
    seen = np.array([observation_at(agent, t) for t in range(13)])
    mean, squares = (compiled.observation_of(agent._memory, agent._sizes, which) for which in (1, 2))
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(squares, 13 * seen.var(0), rtol=1e-12)


@pytest.mark.parametrize("scale_rewards", [True, False])
def test_reward_scaling_equals_a_plain_reference(scale_rewards: bool) -> None:
    """The reward in the TD error is over the deviation of all discounted returns so far; the first is as it came."""
    agent = ActorCritic(4, DISCRETE, 0, discount=0.9, scale_rewards=scale_rewards, dtype="float64", **SMALL)
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


# --- the whole step --------------------------------------------------------------------------------------------------


class Twin:
    """The actor-critic from the equations: td = r + discount V' - V, w <- w - step td tag, tags laid before it."""

    def __init__(self, agent: ActorCritic) -> None:
        self.s, self.actions, self.rng = agent.settings, agent.actions, np.random.default_rng(agent.seed)
        keep = self.s.discount * self.s.trace_decay
        self.actor, self.critic = (
            ReferenceNetwork(msgspec.structs.replace(net.settings, tag_decay=keep), net.weights, net.feedback)
            for net in (agent.actor, agent.critic)
        )
        self.seen: list[Floats] = []

    def begin(self, x: Floats) -> Floats | int:
        """Rest, and the first action."""
        for net in (self.actor, self.critic):
            net.clear()
            if not self.s.keep_state:
                net.reset()
        self._see(x)
        return self._take_action()

    def step(self, x: Floats, reward: float, terminated: bool, truncated: bool) -> Floats | int | None:
        """Learn, without reward scaling, and the next action."""
        value, self.td_error = float(self.critic.y[0]), reward
        if not terminated:
            self._see(x)
            self.td_error += self.s.discount * float(self.critic.y[0])
        self.td_error -= value
        self.actor.update(self.td_error)
        self.critic.update(self.td_error)
        return None if terminated or truncated else self._take_action()

    def _see(self, x: Floats) -> None:
        self.seen.append(x)
        seen = np.array(self.seen)
        deviation = np.sqrt(seen.var(0, ddof=1) + 1e-8) if len(seen) > 1 else 1.0
        for net in (self.actor, self.critic):
            net.step(np.clip((x - seen.mean(0)) / deviation, -10.0, 10.0))

    def _take_action(self) -> Floats | int:
        y, weight = self.actor.y, self.s.entropy
        self.critic.tag([-1.0])
        if isinstance(self.actions.space, Discrete):
            p = np.exp(y - y.max()) / np.exp(y - y.max()).sum()
            action = int(np.searchsorted(np.cumsum(p), self.rng.random(), side="right"))
            self.actor.tag(p - np.eye(p.size)[action] + weight * p * (np.log(p) - p @ np.log(p)))
            return action + int(self.actions.space.start)
        mu, raw = np.split(y, 2)
        sigma, noise = 1e-3 + np.logaddexp(0.0, raw), self.rng.standard_normal(mu.size)
        slope = 1.0 / (1.0 + np.exp(-raw))
        self.actor.tag(np.concatenate([-noise / sigma, -(noise**2 - 1.0 + weight) * slope / sigma]))
        low, high = self.actions.space.low, self.actions.space.high
        return low + (high - low) * (1.0 + np.clip(mu + sigma * noise, -1.0, 1.0)) / 2.0


@pytest.mark.parametrize("settings", [{}, MEMORY, {**MEMORY, "keep_state": True}], ids=["plain", "memory", "kept"])
@pytest.mark.parametrize("space", [Discrete(3, start=2), BOX], ids=["discrete", "box"])
def test_whole_step_equals_the_twin(space: gym.Space[Any], settings: dict[str, Any]) -> None:
    """Actions, TD errors, tags and weights are those of plain NumPy, over four episodes, at 1e-10."""
    agent = ActorCritic(4, space, 6, scale_rewards=False, dtype="float64", entropy=0.05, **SMALL, **settings)
    twin = Twin(agent)
    for t in range(55):
        if t == 0 or any(ends_at(t - 1)):
            x = observation_at(agent, t)
            np.testing.assert_allclose(agent.begin(x), twin.begin(x), rtol=1e-10)
        given = (observation_at(agent, t + 1), float(np.cos(t)), *ends_at(t))
        action, expected = agent.step(*given), twin.step(*given)
        if expected is not None:
            np.testing.assert_allclose(action, expected, rtol=1e-10)
        assert agent.td_error == pytest.approx(twin.td_error, rel=1e-10)
        for net, plain in ((agent.actor, twin.actor), (agent.critic, twin.critic)):
            np.testing.assert_array_equal(net.spikes(), plain.layers[0].z)
            for name, matrix in plain.matrices.items():
                for ours, theirs in ((net.tags[name], matrix.tag), (net.weights[name], matrix.w)):
                    np.testing.assert_allclose(
                        ours, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max(), err_msg=name
                    )


def test_frozen_hidden_layer_changes_only_readouts() -> None:
    """With `freeze_hidden` the readouts learn and nothing else does; without it all learn."""
    for frozen in (True, False):
        agent = ActorCritic(4, DISCRETE, 0, freeze_hidden=frozen, recurrent=True, **SMALL)
        before = [{name: w.copy() for name, w in net.weights.items()} for net in (agent.actor, agent.critic)]
        play(agent, range(100))
        for net, old in zip((agent.actor, agent.critic), before, strict=True):
            changed = {name for name, w in net.weights.items() if not np.array_equal(w, old[name])}
            assert changed == ({"w_out"} if frozen else {"w_in", "w_rec", "w_out"})


def test_precision_is_that_asked_for() -> None:
    """All of a network's numbers are of the asked type, and float32 starts out as float64 does."""
    single, double = (ActorCritic(4, DISCRETE, 0, dtype=dtype, **SMALL) for dtype in ("float32", "float64"))
    assert play(single, range(12)) == play(double, range(12))
    assert single.td_error == pytest.approx(double.td_error, rel=1e-3)
    for agent, dtype in ((single, np.float32), (double, np.float64)):
        assert all(w.dtype == dtype for net in (agent.actor, agent.critic) for w in net.weights.values())


@pytest.mark.skipif(not hasattr(compiled.transition, "signatures"), reason="numba is switched off")
def test_kernels_have_one_signature_per_precision() -> None:
    """Whatever is called with whatever types, loaded or unpickled, each kernel is compiled once for each precision."""
    for name in VARIANTS:
        for check in CHECKS[:5] + CHECKS[8:10]:
            check(maker(name))
    for kernel in (compiled.begin, compiled.transition, compiled.show, compiled.choose):
        dtypes = [str(signature[0].dtype) for signature in kernel.signatures]
        assert sorted(dtypes) == ["float32", "float64"], kernel
