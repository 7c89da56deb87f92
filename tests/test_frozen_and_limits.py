"""Frozen copies of any agent, and limits of what it may do."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from controllers import ActorCritic, Frozen, Limited, Limits, Loop, QuadrotorController, StreamAC
from envs.quadrotor import LEARNING_TO_FLY
from tests.checks import assert_same, snapshot

# --- frozen copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ActorCritic, StreamAC])
def test_frozen_copies_act_and_leave_the_agent_alone(make: Any) -> None:
    """Greedy actions of the agent as it was; the agent learns on as a twin that nobody copied."""
    env = gym.make("CartPole-v1")
    agent, twin = (make.for_env(env, seed=1) for _ in range(2))
    for each in (agent, twin):
        list(Loop(each, gym.make("CartPole-v1"), seed=0).run(500))
    frozen, shown = Frozen(agent), list(np.random.default_rng(0).normal(0.0, 0.1, (20, 4)))
    agent.reset()
    expected = [agent.act(x) for x in shown]
    for _ in range(2):  # it does not learn
        first = frozen.begin(shown[0])
        assert [first, *(frozen.step(x, 1.0, False, False) for x in shown[1:])] == expected
    returns = [
        [e.episode_return for e in Loop(each, gym.make("CartPole-v1"), seed=3).run(500)] for each in (agent, twin)
    ]
    assert returns[0] == returns[1]
    agent.reset()
    if hasattr(agent, "save"):
        twin.reset()
        assert_same(snapshot(agent), snapshot(twin))


def test_frozen_controllers_are_theirs() -> None:
    """A controller that keeps something is copied with it, and moved on apart."""
    pilot = QuadrotorController(**LEARNING_TO_FLY)
    shown = np.random.default_rng(1).normal(0.0, 0.1, (10, 18))
    frozen = Frozen(pilot)
    moved = [frozen.step(x, 0.0, False, False) for x in shown]
    assert pilot.speeds.tolist() == [0.5] * 4
    assert_same([pilot.act(x) for x in shown], moved)


# --- limits ----------------------------------------------------------------------------------------------------------


def test_limits_bound_actions_and_their_change() -> None:
    """Entry by entry; the first action is free within the bounds."""
    limits = Limits([-1.0, 0.0], [1.0, 5.0], slew=[0.5, np.inf])
    given = [[5.0, 9.0], [-1.0, -1.0], [-1.0, 2.0], [np.inf, 3.0]]
    expected = [[1.0, 5.0], [0.5, 0.0], [0.0, 2.0], [0.5, 3.0]]
    assert [limits(np.array(x)).tolist() for x in given] == expected
    limits.reset()
    assert limits(np.array([-1.0, 0.0])).tolist() == [-1.0, 0.0]
    assert limits(np.array([0.0, 0.0], np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match=r"action is .*nan.* must be a number"):
        limits(np.array([np.nan, 0.0]))
    assert limits(np.array([1.0, 0.0])).tolist() == [0.0, 0.0]


def test_limited_agents_learn_and_keep_to_their_limits() -> None:
    """In flight and greedily, each against its own last action; the limits that were given stay as they are."""
    env, limits = gym.make("Pendulum-v1"), Limits(-1.5, 1.5, slew=0.2)
    agent = Limited(ActorCritic.for_env(env, seed=0), limits)
    action, last = agent.begin(env.reset(seed=0)[0]), None
    for _ in range(150):
        assert abs(action[0]) <= 1.5 and (last is None or abs(action[0] - last) <= 0.2 + 1e-6)
        last = action[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        agent.act(observation)
        action = agent.step(observation, float(reward), terminated, truncated)
    assert agent.agent.steps == 150
    env.observation_space.seed(0)
    greedy = [agent.act(env.observation_space.sample())[0] for _ in range(20)]
    assert np.abs(np.diff(greedy)).max() <= 0.2 + 1e-6
    agent.reset()
    assert limits(np.array([1.5])).tolist() == [1.5]
