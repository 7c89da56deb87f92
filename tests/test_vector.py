"""One learner, many copies: each learns as it would alone but for the weights, however the world begins anew."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from controllers import ActorCritic, VectorActorCritic, places
from tests.checks import assert_same, snapshot
from threefactor import CheckpointError
from threefactor import layout as at

SPACES = {
    "discrete": Discrete(3, start=1), "several": MultiDiscrete([2, 3]), "box": Box(-2.0, 1.0, (2,), dtype=np.float64)
}  # fmt: skip
SMALL: dict[str, Any] = {"n_hidden": 16, "n_fields": 3}
MEMORY = {"recurrent": True, "adaptive_share": 0.5}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {}, "memory": MEMORY, "obgd": {"optimiser": "obgd", "actor_rate": 0.01, "critic_rate": 0.02},
    "adam": {"optimiser": "adam", "actor_rate": 0.001, "critic_rate": 0.001}, "kept": {**MEMORY, "keep_state": True},
    "differences": {"differences": True},
}  # fmt: skip


class Script(gym.Env[Any, Any]):
    """A world that ignores actions: episodes of 3 to 6 steps, every other one truncated; it notes what it showed."""

    observation_space = Box(-100.0, 100.0, (4,), dtype=np.float64)
    action_space = Discrete(3, start=1)

    def __init__(self, which: int) -> None:
        self.which, self.episode = which, 0

    def _show(self) -> Any:
        return np.random.default_rng([self.which, self.episode, self.t]).normal(1.0, 2.0, 4)

    def reset(self, **_: Any) -> Any:
        """The first observation of the next episode."""
        self.episode, self.t = self.episode + 1, 0
        return self._show(), {}

    def step(self, action: Any) -> Any:
        """The next observation; the reward is of the step alone."""
        assert self.action_space.contains(int(action))
        self.t += 1
        over = self.t == 3 + (self.which + self.episode) % 4
        truncates = self.episode % 2 == 0
        return self._show(), math.cos(self.t + self.which), over and not truncates, over and truncates, {}


def vector(n: int, mode: AutoresetMode) -> SyncVectorEnv:
    """Copies of the script."""
    return SyncVectorEnv([lambda which=which: Script(which) for which in range(n)], autoreset_mode=mode)  # type: ignore[misc]


def run(agent: VectorActorCritic, envs: SyncVectorEnv, steps: int) -> None:
    """The loop that users write, for any mode, until the agent has learnt from so many transitions."""
    actions = agent.begin(envs.reset(seed=0)[0])
    while agent.steps < steps:
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        actions = agent.step(observations, rewards, terminated, truncated, infos)
        ends = terminated | truncated
        if agent.autoreset_mode == AutoresetMode.DISABLED and ends.any():
            actions = agent.begin(envs.reset(options={"reset_mask": ends})[0], ends)


def weights_of(agent: Any) -> dict[str, Any]:
    """Copies of all weights."""
    nets = {"actor": agent.actor, "critic": agent.critic}
    return {f"{part}.{name}": w.copy() for part, net in nets.items() for name, w in net.weights.items()}


@pytest.mark.parametrize("mode", AutoresetMode)
def test_one_copy_learns_as_an_agent_alone(mode: AutoresetMode) -> None:
    """Whatever the mode, the same transitions give the same weights and statistics as `ActorCritic`, to the bit."""
    alone, env, steps = ActorCritic(4, Script.action_space, 0, **SMALL), Script(0), 100
    alone._bound(-100.0, 100.0)
    while alone.steps < steps:
        action, over = alone.begin(env.reset()[0]), False
        while not over and alone.steps < steps:
            observation, reward, terminated, truncated, _ = env.step(action)
            action, over = alone.step(observation, reward, terminated, truncated), terminated or truncated
    envs = vector(1, mode)
    agent = VectorActorCritic.for_envs(envs, seed=0, **SMALL)
    assert agent.autoreset_mode == mode
    run(agent, envs, steps)
    ours, theirs = snapshot(agent), snapshot(alone)
    for name, value in ours.items():
        if "own" not in name and name in theirs:
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    assert len(set(ours) & set(theirs)) > 20


class Alone:
    """Agents with one copy each that hand weights and statistics round, and so equal the copies of one learner."""

    def __init__(self, agent: VectorActorCritic) -> None:
        self.agents = [pickle.loads(pickle.dumps(agent)) for _ in range(agent.n_copies)]
        for copy, one in enumerate(self.agents):  # each plays its part with its first copy
            one._own[0] = agent._own[copy]

    def begin(self, copy: int, x: Any, draws: Any) -> None:
        """A copy's episode begins; `draws` are the random numbers of its first action."""
        self.agents[copy]._noise[0][:] = draws
        self.agents[copy]._begin(0, x)
        self._hand_round(copy)

    def step(self, copy: int, x: Any, reward: float, over: bool, draws: Any) -> Any:
        """A copy learns; its next action."""
        self.agents[copy]._noise[0][:] = draws
        self.agents[copy]._step(0, x, reward, over, False)
        self._hand_round(copy)
        return self.agents[copy]._action(0)

    def _hand_round(self, giver: int) -> None:
        given = self.agents[giver]
        for taker in self.agents:
            taker._memory[:] = given._memory
            for net, theirs in ((taker.actor, given.actor), (taker.critic, given.critic)):
                own = [getattr(net._layout, name).of(net.state) for name in ("fast", "traces", "tags")]
                kept = [part.copy() for part in own]
                net.state[:] = theirs.state
                for part, values in zip(own, kept, strict=True):
                    part[:] = values
                at.hand_over(net.table, theirs.table)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_copies_share_weights_and_nothing_else(space: gym.Space[Any], settings: dict[str, Any]) -> None:
    """Three copies equal three agents of their own that hand weights and statistics round after each turn."""
    n, rng = 3, np.random.default_rng(1)
    agent = VectorActorCritic(n, 4, space, 0, AutoresetMode.DISABLED, **SMALL, **settings)
    alone, first = Alone(agent), weights_of(agent)
    fresh = np.ones(n, bool)
    for t in range(40):
        x, rewards, ends = rng.normal(0.0, 2.0, (2, n, 4)), rng.normal(size=n), (t + np.arange(n)) % 7 == 6
        if fresh.any():
            draws = [noise.copy() for noise in agent._noise]
            agent.begin(x[0], fresh)
            for copy in np.flatnonzero(fresh).tolist():
                alone.begin(copy, x[0, copy], draws[copy])
        draws = [noise.copy() for noise in agent._noise]
        actions = agent.step(x[1], rewards, ends, np.zeros(n, bool))
        for copy in range(n):
            action = alone.step(copy, x[1, copy], rewards[copy], bool(ends[copy]), draws[copy])
            np.testing.assert_array_equal(actions[copy], action)
        assert agent.td_error == alone.agents[-1].td_error
        fresh = ends
    assert all((w != first[name]).any() for name, w in weights_of(agent).items() if "rec" not in name)
    for copy, one in enumerate(alone.agents):
        assert_same(weights_of(agent), weights_of(one))
        for ours, theirs in ((agent.actor, one.actor), (agent.critic, one.critic)):
            for field in (at.TAG, at.EBAR, at.V, at.ZBAR):
                values = at.view(ours.state, ours.tables[copy], 0, field)
                np.testing.assert_array_equal(values, at.view(theirs.state, theirs.table, 0, field))
                assert values.any()


def test_step_after_an_end_is_no_transition() -> None:
    """With NEXT_STEP the step after an end leaves TD error, weights, traces' tags and count of a copy as they were."""
    agent = VectorActorCritic(2, 4, Script.action_space, 0, **SMALL)
    rng, never = np.random.default_rng(0), np.zeros(2, bool)
    agent.begin(rng.normal(size=(2, 4)))
    agent.step(rng.normal(size=(2, 4)), [1.0, 2.0], never, never)
    agent.step(rng.normal(size=(2, 4)), [1.0, 2.0], np.ones(2, bool), never)
    before, steps, td_error = weights_of(agent), agent.steps, agent.td_error
    assert steps == 4 and agent.actor.tags["w_in"].any()
    agent.step(rng.normal(size=(2, 4)), [1e6, np.nan], never, never)  # what such a step says of rewards means nothing
    assert_same(weights_of(agent), before)
    assert (agent.steps, agent.td_error) == (steps, td_error)
    for table in agent.actor.tables:
        assert not at.view(agent.actor.state, table, 0, at.TAG).any()
    agent.step(rng.normal(size=(2, 4)), [1.0, 2.0], never, never)
    assert agent.steps == steps + 2


def test_same_step_learns_from_the_last_observation() -> None:
    """With SAME_STEP a truncated copy bootstraps from `final_obs`, not from the observation that begins the next."""
    errors = []
    for final in (1.0, 5.0):
        agent = VectorActorCritic(1, 4, Script.action_space, 0, AutoresetMode.SAME_STEP, **SMALL)
        agent.begin(np.ones((1, 4)))
        for t in range(20):
            agent.step(np.full((1, 4), math.cos(t)), [1.0], [False], [False])
        infos = {"final_obs": np.array([np.full(4, final)], dtype=object)}
        agent.step(np.zeros((1, 4)), [1.0], [False], [True], infos)
        errors.append(agent.td_error)
        assert agent._begun.all()
    assert errors[0] != errors[1]
    with pytest.raises(ValueError, match="final_obs"):
        agent.step(np.zeros((1, 4)), [1.0], [True], [False], {})


@pytest.mark.parametrize("mode", AutoresetMode)
def test_goes_on_after_loading(mode: AutoresetMode, tmp_path: Path) -> None:
    """A run saved amid episodes, and one pickled, go on exactly as the one that went on."""
    envs = vector(3, mode)
    agent = VectorActorCritic.for_envs(envs, seed=0, **SMALL)
    run(agent, envs, 31)
    agent.save(tmp_path / "agent.safetensors")
    loaded = VectorActorCritic.load(tmp_path / "agent.safetensors")
    for other in (loaded, pickle.loads(pickle.dumps(agent))):
        twin = pickle.loads(pickle.dumps(agent))
        for one in (twin, other):
            run(one, vector(3, mode), 70)
        assert_same(snapshot(twin), snapshot(other))
    with pytest.raises(CheckpointError, match="VectorActorCritic"):
        ActorCritic.load(tmp_path / "agent.safetensors")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nan_observation": ({"observations": [[0.0] * 4, [0.0, np.nan, 0.0, 0.0]]}, r"copy 1: .*not finite"),
    "outside": ({"observations": [[0.0] * 4, [0.0, 0.0, -101.0, 0.0]]}, r"copy 1: entry 2 .*-101.*\[-100.0, 100.0\]"),
    "nan_reward": ({"rewards": [0.0, np.nan]}, r"copy 1: reward is nan"),
    "shape": ({"observations": np.zeros((3, 4))}, r"shape \(3, 4\).*2 copies"),
    "scalar": ({"rewards": 1.0}, r"rewards has shape \(\)"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), BAD.values(), ids=BAD)
def test_bad_samples_are_refused_by_all(changed: dict[str, Any], message: str) -> None:
    """A bad sample of one copy is named, and no copy has learnt from anything."""
    envs = vector(2, AutoresetMode.NEXT_STEP)
    agent = VectorActorCritic.for_envs(envs, seed=0, **SMALL)
    run(agent, envs, 4)
    given = {"observations": np.zeros((2, 4)), "rewards": np.zeros(2), "terminated": np.zeros(2, bool)}
    given["truncated"] = given["terminated"]
    before = snapshot(agent)
    with pytest.raises(ValueError, match=message):
        agent.step(**(given | changed))
    assert_same(snapshot(agent), before)
    agent.step(**given)


def test_step_needs_a_beginning() -> None:
    """Before `begin`, and after an end that nobody began anew, step says which copy waits."""
    agent = VectorActorCritic(2, 4, Script.action_space, 0, AutoresetMode.DISABLED, **SMALL)
    given = np.zeros((2, 4)), [0.0, 0.0], [False, True], [False, False]
    with pytest.raises(RuntimeError, match="copy 0"):
        agent.step(*given)
    agent.begin(np.zeros((2, 4)))
    agent.step(*given)
    with pytest.raises(RuntimeError, match="copy 1"):
        agent.step(*given)


def test_first_returns_of_many_copies_are_no_measure_of_their_spread() -> None:
    """Equal first rewards, as all copies of a world give, do not scale rewards up; TD errors stay of their size."""
    agent = VectorActorCritic(8, 4, Discrete(2), 0, **SMALL)
    agent.begin(np.zeros((8, 4)))
    for _ in range(30):
        agent.step(np.zeros((8, 4)), np.ones(8), np.zeros(8, bool), np.zeros(8, bool))
        assert abs(agent.td_error) < 10.0
    assert 0.1 < agent._memory[places.REWARD_SCALE] < 5.0


@pytest.mark.parametrize("n", [4, 16])
def test_copies_learn_together(n: int) -> None:
    """CartPole: return of the last ten episodes is above 100 after 700 steps of 16 copies, or 2,000 of 4."""
    envs = gym.make_vec("CartPole-v1", num_envs=n)
    agent = VectorActorCritic.for_envs(envs, seed=0)
    actions, returns, done = agent.begin(envs.reset(seed=0)[0]), np.zeros(n), []
    for _ in range(700 if n == 16 else 2000):
        result = envs.step(actions)
        actions = agent.step(*result)
        assert envs.action_space.contains(actions)
        returns += result[1]
        for copy in np.flatnonzero(result[2] | result[3]):
            done.append(returns[copy])
            returns[copy] = 0.0
    assert np.mean(done[-10:]) > 100.0 > 50.0 > np.mean(done[:10])
