"""The replay baseline: TD3 of stable-baselines3 with a spiking actor."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from controllers import evaluate

torch = pytest.importorskip("torch", reason="needs the extra `replay`")
pytest.importorskip("stable_baselines3", reason="needs the extra `replay`")
td3 = importlib.import_module("controllers.td3")

SMALL: dict[str, Any] = {"hidden": (12, 10), "history": 3, "passes": 2, "learning_starts": 50, "batch_size": 32}


def small(**settings: Any) -> Any:
    """A small agent for the pendulum."""
    return td3.spiking_td3(gym.make("Pendulum-v1"), **{**SMALL, **settings})


@pytest.mark.parametrize("slope", [1.0, 25.0, 100.0])
def test_surrogate_has_peak_one(slope: float) -> None:
    """One tick: spikes at the threshold, gradient 1 / (1 + k |v - 1|)^2."""
    v = torch.linspace(0.0, 2.0, 21, dtype=torch.float64).reshape(1, 1, -1).requires_grad_()
    z = td3.Lif.apply(v, torch.tensor(slope), 0.5)
    z.sum().backward()
    torch.testing.assert_close(z, (v >= 1.0).double())
    torch.testing.assert_close(v.grad, 1.0 / (1.0 + slope * (v.detach() - 1.0).abs()) ** 2)
    assert float(v.grad.max()) == pytest.approx(1.0)


def test_neurons_equal_automatic_differentiation() -> None:
    """Spikes and gradient of many ticks are those of the equations, step by step, with the reset detached."""
    torch.manual_seed(0)
    slope, weights = torch.tensor(5.0), torch.randn(9, 4, 6, dtype=torch.float64)
    currents = (1.5 * torch.rand(9, 4, 6, dtype=torch.float64)).requires_grad_()
    z = td3.Lif.apply(currents, slope, 0.7)
    (weights * z).sum().backward()
    found, currents.grad = currents.grad, None
    v, before, loss = torch.zeros(4, 6), torch.zeros(4, 6), torch.zeros(())
    for t in range(9):
        v = 0.7 * v + currents[t] - before
        before = (v >= 1.0).double().detach()
        torch.testing.assert_close(z[t], before)
        linear = (v - v.detach()) / (1.0 + slope * (v.detach() - 1.0).abs()) ** 2  # 0, with the surrogate as gradient
        loss = loss + (weights[t] * linear).sum()
    loss.backward()
    torch.testing.assert_close(found, currents.grad)
    assert 0.1 < float(z.detach().mean()) < 0.9


def test_state_is_reset_and_the_newest_frame_counts_most() -> None:
    """The same history gives the same action; another newest frame another one."""
    net = td3.SpikingNet(3, (16, 16), 2, passes=4, slope=2.0, decay=0.5)
    frames = torch.randn(5, 4, 3)
    other = torch.cat([frames[:, :-1], -frames[:, -1:]], 1)
    with torch.no_grad():
        torch.testing.assert_close(net(frames), net(frames))
        torch.testing.assert_close(net(frames)[2:3], net(frames[2:3]))
        assert (net(frames) - net(other)).abs().max() > 0.01
        assert net(frames).abs().max() <= 1.0


def test_learning_changes_every_layer() -> None:
    """After 300 steps of the pendulum the weights of actor and critics have changed, and its actions are valid."""
    agent = small()
    before = {name: w.clone() for name, w in agent.policy.state_dict().items()}
    assert agent.learn(300) is agent
    same = {name for name, w in agent.policy.state_dict().items() if torch.equal(w, before[name])}
    assert same == {"actor.mu.slope", "actor_target.mu.slope"}
    env = gym.make("Pendulum-v1")
    returns = evaluate(agent, env, 2, seed=1)
    assert returns == evaluate(agent, env, 2, seed=1)
    assert env.action_space.contains(agent.act(env.reset(seed=0)[0]))


def test_act_stacks_what_it_sees() -> None:
    """The action of `act` is that of `predict` for the stack, which begins filled with the first observation."""
    agent, rng = small(), np.random.default_rng(0)
    seen = [rng.normal(size=3).astype(np.float32) for _ in range(5)]
    agent.reset()
    actions = [agent.act(x) for x in seen]
    for t, frames in ((0, [0, 0, 0]), (1, [0, 0, 1]), (4, [2, 3, 4])):
        np.testing.assert_array_equal(actions[t], agent.predict(np.stack([seen[k] for k in frames]))[0])


def test_seed_decides_the_run() -> None:
    """Same seed, same weights after learning; another seed, others."""
    runs = [small(seed=seed).learn(80).actor.mu.readout.weight.detach().clone() for seed in (3, 3, 4)]
    torch.testing.assert_close(runs[0], runs[1], rtol=0.0, atol=0.0)
    assert not torch.equal(runs[0], runs[2])


def test_slope_follows_the_returns() -> None:
    """At each end of an episode the schedule gives the slope; besides, it may be set, and alters the gradient alone."""
    schedule = {"rule": "interval", "scores": 2, "slope_max": 20.0}
    agent = small(schedule=schedule, slope=3.0)
    assert agent.slope == 3.0
    agent.learn(199)
    assert agent.slope == 3.0
    agent.learn(200, reset_num_timesteps=False)
    assert agent.slope == pytest.approx(11.0)
    fixed = small(slope=50.0).learn(210)
    assert fixed.slope == 50.0
    frames, gradients, actions = torch.randn(8, 3, 3), [], []
    for slope in (2.0, 100.0):
        agent.slope = slope
        agent.actor.zero_grad()
        actions.append(agent.actor(frames))
        actions[-1].sum().backward()
        gradients.append(agent.actor.mu.layers[0].weight.grad.abs().mean())
    torch.testing.assert_close(actions[0], actions[1])
    assert gradients[0] > 2.0 * gradients[1] > 0.0
    with pytest.raises(ValueError, match="slope is -1"):
        agent.slope = -1.0


def test_saved_agents_come_back(tmp_path: Path) -> None:
    """`load` of stable-baselines3 restores weights, slope and schedule."""
    agent = small(schedule={"rule": "adaptive"})
    agent.learn(60)
    agent.slope = 7.0
    agent.save(tmp_path / "agent")
    loaded = td3.SpikingTD3.load(tmp_path / "agent")
    assert loaded.slope == 7.0 and loaded.schedule.settings.rule == "adaptive"
    np.testing.assert_array_equal(agent.act([1.0, 0.0, 0.5]), loaded.act([1.0, 0.0, 0.5]))


def test_bad_input_is_refused() -> None:
    """Errors say what was wrong."""
    with pytest.raises(ValueError, match=r"action space is Discrete\(2\); TD3 takes a Box"):
        td3.spiking_td3(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="must be at least 1"):
        small(history=0)
    with pytest.raises(ValueError, match="decay is 1"):
        small(decay=1.0)
    with pytest.raises(ValueError, match="ScheduleSettings"):
        small(schedule={"rule": "none"})
    with pytest.raises(ValueError, match=r"observation has shape \(2,\), this agent takes \(3,\)"):
        small().act([0.0, 1.0])


def test_error_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module can be imported without the extra; its use says what to install."""
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.delitem(sys.modules, "controllers.td3")
    without = importlib.import_module("controllers.td3")
    with pytest.raises(ImportError, match=r'stable.baselines3.*pip install "threefactor\[replay\]"'):
        without.spiking_td3(gym.make("Pendulum-v1"))
