"""Stream AC(lambda): gradients against autodiff, whole steps against a twin in plain NumPy, bad inputs, learning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

from controllers import Loop, stream_ac
from controllers.perceptron import LAST, LAYERS, Perceptron, forward, layer_of, perceptron, trace
from controllers.stream_ac import StreamAC

Floats = npt.NDArray[Any]
DISCRETE, BOX = gym.spaces.Discrete(3, start=2), gym.spaces.Box(np.float32([-1.0, 0.0]), np.float32([1.0, 5.0]))


def weights_of(net: Perceptron) -> list[Floats]:
    """Views of them."""
    return [layer_of(net, k).weights for k in range(LAYERS)]


def scatter(net: Perceptron, rng: np.random.Generator) -> None:
    """Leave no weight at zero, biases included."""
    for w in weights_of(net):
        w += 0.3 * rng.standard_normal(w.shape)


def small(space: gym.Space[Any], **settings: Any) -> StreamAC:
    """Agent with five inputs."""
    agent, rng = StreamAC(5, space, n_hidden=14, **settings), np.random.default_rng(0)
    scatter(agent.actor, rng)
    scatter(agent.critic, rng)
    return agent


def arrays(agent: StreamAC) -> list[Floats]:
    """All that a refused call, or a greedy action, must leave alone."""
    return [agent.actor.state, agent.critic.state, *agent.memory, agent._action]


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["value", "categorical", "gaussian"])
@pytest.mark.parametrize("entropy", [0.0, 0.3, -0.3])
def test_gradients_equal_automatic_differentiation(policy: str, entropy: float) -> None:
    """Of a value, and of log-probability and entropy of an action."""
    torch = pytest.importorskip("torch", reason="needs the extra `bptt`")
    functional, rng = torch.nn.functional, np.random.default_rng(1)
    net, x, noise, action = (
        perceptron(rng, (5, 14, 14, 4), 1, "float64"),
        rng.normal(size=5),
        rng.normal(size=2),
        np.zeros(2),
    )
    scatter(net, rng)
    layer_of(net, 0).inputs[:-1] = x
    forward(net)
    weights, h = [torch.tensor(w, requires_grad=True) for w in weights_of(net)], torch.tensor(x)
    for k, w in enumerate(weights):
        h = torch.cat([h, torch.ones(1, dtype=torch.float64)]) @ w
        if k < LAST:
            h = functional.leaky_relu(functional.layer_norm(h, h.shape), 0.01)
    error, y = layer_of(net, LAST).errors, layer_of(net, LAST).outputs
    np.testing.assert_allclose(y, h.detach(), rtol=1e-12)
    if policy == "value":
        error[:] = [-1.0, 0.0, 0.0, 0.0]
        h[0].backward()
    else:
        discrete = policy == "categorical"
        stream_ac.choose(action, y, error, noise, discrete, False)
        stream_ac.blame(error, y, action, noise, discrete, entropy)
        normal = torch.distributions.Normal(h[:2], functional.softplus(h[2:]) + 1e-6)
        pi = torch.distributions.Categorical(logits=h) if discrete else normal
        drawn = torch.tensor(action[0] if discrete else action)
        (pi.log_prob(drawn).sum() + entropy * pi.entropy().sum()).backward()
    trace(net, 0.0)
    for k, w in enumerate(weights):
        layer = layer_of(net, k)
        assert abs(layer.traces).max() > 1e-3
        np.testing.assert_allclose(-layer.traces, w.grad, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.sizes, abs(layer.traces).sum(axis=0), rtol=1e-12)


# --- a twin ---------------------------------------------------------------------------------------------------------


class Twin:
    """The agent in plain NumPy, from the equations; it takes its first weights and its noise from an agent."""

    def __init__(self, agent: StreamAC) -> None:
        self.actor = [w.astype(float) for w in weights_of(agent.actor)]
        self.critic = [w.astype(float) for w in weights_of(agent.critic)]
        self.discrete, self.bootstrap = agent.actions.space is DISCRETE, agent.bootstrap
        self.observations: list[Floats] = []
        self.returns: list[float] = []

    def standardised(self, x: Floats) -> Floats:
        """By the mean and the variance of all observations so far."""
        deviation = np.std(self.observations, axis=0, ddof=1) if len(self.observations) > 1 else 1.0
        return np.asarray((x - np.mean(self.observations, axis=0)) / np.sqrt(deviation**2 + 1e-8))

    @staticmethod
    def layers(weights: list[Floats], x: Floats) -> list[tuple[Floats, Floats, float]]:
        """Input, weighted sums (standardised in hidden layers) and their deviation, of each layer."""
        seen, h = [], x
        for layer, w in enumerate(weights):
            h, deviation = np.append(h, 1.0), 1.0
            out = h @ w
            if layer < 2:
                deviation = math.sqrt(out.var() + 1e-5)
                out = (out - out.mean()) / deviation
            seen.append((h, out, deviation))
            h = np.where(out > 0, out, 0.01 * out)
        return seen

    @classmethod
    def gradient(cls, weights: list[Floats], x: Floats, g: Floats) -> list[Floats]:
        """Of g y with respect to the weights."""
        found, seen = [], cls.layers(weights, x)
        for layer in (2, 1, 0):
            h, out, deviation = seen[layer]
            if layer < 2:
                n = out.size
                g = g * np.where(out > 0, 1.0, 0.01)
                g = (np.eye(n) - np.ones((n, n)) / n - np.outer(out, out) / n) @ g / deviation
            found.insert(0, np.outer(h, g))
            g = (weights[layer] @ g)[:-1]
        return found

    def begin(self, x: Floats, noise: Floats) -> Any:
        """First action of an episode."""
        self.observations.append(x)
        self.traces = [[np.zeros_like(w) for w in net] for net in (self.actor, self.critic)]
        self.discounted = 0.0
        return self.choose(self.standardised(x), noise)

    def choose(self, s: Floats, noise: Floats) -> Any:
        """Action at a standardised observation."""
        self.s, self.noise = s, noise.copy()
        y = self.layers(self.actor, s)[-1][1]
        if self.discrete:
            p = np.exp(y) / np.exp(y).sum()
            self.chosen = int(np.searchsorted(np.cumsum(p), 0.5 * (1.0 + math.erf(noise[0] / math.sqrt(2.0)))))
            return self.chosen + 2
        unit = y[:2] + (np.log1p(np.exp(y[2:])) + 1e-6) * noise
        return BOX.low + (BOX.high - BOX.low) * (np.clip(unit, -1.0, 1.0) + 1.0) / 2.0

    def preference(self, entropy: float) -> Floats:
        """Gradient of log pi + entropy x H with respect to the actor's outputs."""
        y = self.layers(self.actor, self.s)[-1][1]
        if self.discrete:
            p = np.exp(y) / np.exp(y).sum()
            return np.asarray(np.eye(3)[self.chosen] - p - entropy * p * (np.log(p) - p @ np.log(p)))
        sigma, slope = np.log1p(np.exp(y[2:])) + 1e-6, 1.0 / (1.0 + np.exp(-y[2:]))
        return np.append(self.noise / sigma, (self.noise**2 - 1.0 + entropy) * slope / sigma)

    def step(self, x: Floats, reward: float, terminated: bool, truncated: bool, noise: Floats) -> Any:
        """Learn, and choose the next action."""
        self.observations.append(x)
        self.discounted = 0.99 * self.discounted + reward
        self.returns.append(self.discounted)
        deviation = np.std(self.returns, ddof=1) if len(self.returns) > 1 else 1.0
        s, ended = self.standardised(x), terminated or (truncated and not self.bootstrap)
        value_after = 0.0 if ended else self.layers(self.critic, s)[-1][1][0]
        scaled = reward / math.sqrt(deviation**2 + 1e-8)
        delta = scaled + 0.99 * value_after - self.layers(self.critic, self.s)[-1][1][0]
        gradients = (
            self.gradient(self.actor, self.s, self.preference(0.01 * np.sign(delta))),
            self.gradient(self.critic, self.s, np.ones(1)),
        )
        for net, traces, fresh, kappa in zip(
            (self.actor, self.critic), self.traces, gradients, (3.0, 2.0), strict=True
        ):
            for z, g in zip(traces, fresh, strict=True):
                z *= 0.99 * 0.8
                z += g
            bound = kappa * max(abs(delta), 1.0) * sum(abs(z).sum() for z in traces)
            for w, z in zip(net, traces, strict=True):
                w += min(1.0, 1.0 / bound) * delta * z
        return None if terminated or truncated else self.choose(s, noise)


@pytest.mark.parametrize("space", [DISCRETE, BOX])
@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-4), pytest.param("float64", 1e-10, marks=pytest.mark.slow)]
)
def test_steps_equal_the_twin(space: gym.Space[Any], bootstrap: bool, dtype: str, tolerance: float) -> None:
    """Actions, and what changed in the weights, through episodes that terminate and that are truncated."""
    agent, rng = small(space, bootstrap=bootstrap, dtype=dtype), np.random.default_rng(3)
    twin, first, over = Twin(agent), Twin(agent), True
    for t in range(60):
        x, noise = 3.0 + 2.0 * rng.standard_normal(5), agent.memory.noise[1].copy()
        if over:
            action, expected = agent.begin(x), twin.begin(x, noise)
            over = False
        else:
            terminated, truncated = t % 13 == 12, t % 17 == 16
            over, reward = terminated or truncated, float(rng.normal(1.0, 5.0))
            action = agent.step(x, reward, terminated, truncated)
            expected = twin.step(x, reward, terminated, truncated, noise)
        if not over:
            np.testing.assert_allclose(action, expected, atol=10.0 * tolerance + 1e-6)  # a box is in single precision
    for net, weights, before in ((agent.actor, twin.actor, first.actor), (agent.critic, twin.critic, first.critic)):
        assert net.state.dtype == dtype
        for w, expected, old in zip(weights_of(net), weights, before, strict=True):
            changes = abs(expected - old).max()
            assert changes > 1e-3
            np.testing.assert_allclose(w, expected, rtol=0.0, atol=tolerance * changes)


# --- the face -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 9, 10, 17, 128])
@pytest.mark.parametrize("least_inputs", [0, 1])
def test_first_weights(n: int, least_inputs: int) -> None:
    """Nine in ten are zero, rounded up, but for those that must stay; the rest are within +-1 / sqrt(inputs)."""
    net = perceptron(np.random.default_rng(0), (n, 40, 50, 2), least_inputs, "float64")
    for w, inputs in zip(weights_of(net), (n, 40, 50), strict=True):
        assert set((w != 0).sum(axis=0)) == {max(inputs // 10, least_inputs)}
        assert not w[-1].any() and abs(w).max() <= inputs**-0.5
    w = weights_of(net)[1] * 40**0.5
    assert w.max() > 0.9 and w.min() < -0.9


@pytest.mark.parametrize(
    ("observation", "reward", "message"),
    [
        ([0.0, math.nan, 0.0, 0.0, 0.0], 1.0, "observation"), ([0.0, math.inf, 0.0, 0.0, 0.0], 1.0, "observation"),
        ([0.0], 1.0, "shape"), (np.zeros(5), math.nan, "reward"), (np.zeros(5), -math.inf, "reward"),
    ],
)  # fmt: skip
def test_bad_inputs_change_nothing(observation: Any, reward: float, message: str) -> None:
    """They are refused, and the run goes on as if they had not been."""
    agent = small(BOX)
    agent.begin(np.ones(5))
    agent.step(np.zeros(5), 1.0, False, False)
    before = copy.deepcopy(arrays(agent))
    with pytest.raises(ValueError, match=message):
        agent.step(observation, reward, False, False)
    if message != "reward":
        with pytest.raises(ValueError, match=message):
            agent.begin(observation)
        with pytest.raises(ValueError, match=message):
            agent.act(observation)
    for found, expected in zip(arrays(agent), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_huge_inputs_stay_finite() -> None:
    """Whatever is finite may come."""
    agent = small(BOX)
    agent.begin(np.full(5, 1e300))
    for k in range(20):
        agent.step(np.full(5, (-1.0) ** k * 1e308), (-1.0) ** k * 1.7e308, False, False)
    assert all(np.isfinite(array).all() for array in arrays(agent))


def test_wrong_use() -> None:
    """A step needs an episode; other spaces are refused."""
    agent = small(DISCRETE)
    with pytest.raises(RuntimeError, match="begin"):
        agent.step(np.zeros(5), 0.0, False, False)
    agent.begin(np.zeros(5))
    agent.step(np.zeros(5), 0.0, True, False)
    with pytest.raises(RuntimeError, match="begin"):
        agent.step(np.zeros(5), 0.0, False, False)
    for space in (gym.spaces.MultiDiscrete([2, 3]), gym.spaces.Text(3), gym.spaces.Box(-np.inf, np.inf, (2,))):
        with pytest.raises(ValueError, match="action space"):
            StreamAC(5, space)


def peeping(agent: StreamAC) -> Callable[[], bool]:
    """What asks for a greedy action at each step, and lets the loop go on."""
    return lambda: agent.act(np.full(agent.n_observation, 0.1)) is not None


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_same_seed_same_run(name: str) -> None:
    """Also when greedy actions are asked for in between; another seed gives another run."""
    runs = []
    for seed, peeps in ((0, False), (0, True), (1, False)):
        env = gym.make(name)
        agent = StreamAC.for_env(env, seed=seed)
        runs.append((list(Loop(agent, env, 0).run(500, peeping(agent) if peeps else None)), agent.actor.state))
    assert runs[0][0] == runs[1][0] and len(runs[0][0]) >= 2
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert abs(runs[0][1] - runs[2][1]).max() > 1e-3


def test_learns() -> None:
    """The pole is balanced five times as long as by chance within 8,000 steps."""
    env = gym.make("CartPole-v1")
    agent = StreamAC.for_env(env, seed=0)
    returns = [episode.episode_return for episode in Loop(agent, env, 0).run(8000)]
    assert np.mean(returns[-10:]) > 110.0 > 5.0 * np.mean(returns[:5])
