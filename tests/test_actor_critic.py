"""The actor-critic: the shared checks, the spaces it takes, and its whole step against plain NumPy."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from controllers import ActorCritic, ActorCriticSettings, VectorActorCritic, places
from controllers import transition as compiled
from tests.checks import CONTROLLER_CHECKS, Make, assert_same, ends_at, observation_at, play, snapshot
from tests.reference_agent import Twin, bonus_of
from threefactor import layout as at
from threefactor import tick
from threefactor.layout import vector

SEVERAL = MultiDiscrete([3, 2, 4], start=[0, 5, -1])
DISCRETE, BOX = Discrete(3), Box(np.array([-2.0, 0.5]), np.array([1.0, 0.75]), dtype=np.float64)
ONE = Box(-2.0, 2.0, (1,))
SMALL: dict[str, Any] = {"n_hidden": 24}
MEMORY = {"recurrent": True, "adaptive_share": 0.5}
VARIANTS: dict[str, tuple[gym.Space[Any], dict[str, Any]]] = {
    "discrete": (DISCRETE, {}), "box": (BOX, {}), "discrete_with_memory": (Discrete(2, start=4), MEMORY),
    "several": (SEVERAL, {}), "box_float64": (BOX, {"dtype": "float64"}),
    "keeping_state": (DISCRETE, {**MEMORY, "keep_state": True}), "differences": (BOX, {"differences": True}),
    "scheduled": (DISCRETE, {"slope_schedule": {"rule": "self_ranging", "slope_max": 20.0}}),
    "raw": (DISCRETE, {"normalise_observations": False, "scale_rewards": False}),
    "obgd": (BOX, {"optimiser": "obgd", "actor_rate": 0.01, "critic_rate": 0.02}),
    "sgd": (DISCRETE, {"optimiser": "sgd", "actor_rate": 0.001, "critic_rate": 0.002, "n_fields": 0, "warm_ticks": 4}),
}  # fmt: skip


def maker(name: str) -> Make:
    """What the checks build the variant's agents with."""
    space, settings = VARIANTS[name]
    return lambda seed: ActorCritic(4, space, seed, **SMALL, **settings)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", CONTROLLER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_shared_check(check: Callable[[Make], None], variant: str) -> None:
    """The actor-critic passes the checks that every controller must pass."""
    check(maker(variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_truncation_bootstraps_and_termination_does_not(variant: str) -> None:
    """At a reward of 0 the TD error is bonus - V at termination, else, at truncation too, bonus + discount V' - V."""
    agent = maker(variant)(0)
    play(agent, range(300))
    agent.begin(observation_at(agent, 0))
    baseline, s = agent._memory[places.BASELINE], agent.settings
    value, visits = (
        baseline + float(agent.critic.y[0]),
        places.view(places.visits_of, agent._memory, agent._sizes).copy(),
    )
    twins = terminated, truncated, going_on = [pickle.loads(pickle.dumps(agent)) for _ in range(3)]
    for twin, end in zip(twins, ((True, False), (False, True), (False, False)), strict=True):
        twin.step(observation_at(agent, 2), 0.0, *end)
    next_value = baseline + float(truncated.critic.y[0])
    assert min(abs(value), abs(next_value)) > 1e-6, "the values are too small to be missed"
    for twin, ahead in ((terminated, 0.0), (truncated, s.discount * next_value)):
        inputs = vector(twin.critic.state, twin.critic.table, 0, at.INPUT)
        bonus = s.novelty * bonus_of(visits.copy(), inputs.astype(np.float64))
        assert (bonus > 0.0) == (s.novelty > 0.0) == (s.n_fields > 0)
        assert twin.td_error == pytest.approx(bonus + ahead - value, rel=1e-12)
    assert going_on.td_error == truncated.td_error


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
    """At both ends of boxes of all sizes the action has the space's type and shape, and the space contains it."""
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


def test_several_discrete_actions_are_learnt_each() -> None:
    """Reward counts the entries that are right: all three are learnt; actions have the space's shape and type."""
    agent, right = ActorCritic(4, SEVERAL, 0, **SMALL), np.array([2, 5, 1])
    action, shares = agent.begin(np.zeros(4)), []
    for _ in range(6000):
        assert SEVERAL.contains(action) and action.dtype == SEVERAL.dtype
        shares.append(action == right)
        action = agent.step(np.zeros(4), float(np.sum(action == right)), False, False)
    assert np.mean(shares[:100], 0).max() < 0.75 and np.mean(shares[-200:], 0).min() > 0.9
    assert (agent.act(np.zeros(4)) == right).all()


def test_observations_outside_their_space_are_refused() -> None:
    """An agent made for an environment names the entry that lies outside; a bound that rounding missed is kept."""
    env = gym.make("Pendulum-v1")
    agent = ActorCritic.for_env(env, seed=0, **SMALL)
    agent.begin([1.0, 0.0, 8.0 * (1.0 + 1e-7)])
    before = snapshot(agent)
    with pytest.raises(ValueError, match=r"entry 2 .* 8.1, .*\[-8.0, 8.0\]"):
        agent.step([1.0, 0.0, 8.1], 0.0, False, False)
    assert_same(snapshot(agent), before)


@pytest.mark.parametrize("settings", [{}, {"gravity": -2.0}, {"continuous": True}], ids=str)
def test_a_lander_may_leave_the_space_that_it_states(settings: dict[str, Any]) -> None:
    """Nothing bounds a lander's height or angle; whoever flies it out of its space is not stopped."""
    pytest.importorskip("Box2D")
    env = gym.make("LunarLander-v3", **settings)
    agent = ActorCritic.for_env(gym.wrappers.TransformReward(env, float), seed=0, **SMALL)
    several = VectorActorCritic.for_envs(gym.make_vec("LunarLander-v3", num_envs=2, **settings), seed=0, **SMALL)
    far = np.full(8, 30.0)
    agent.begin(far)
    agent.step(far, 0.0, False, False)
    several.begin([far, far])
    assert agent.steps == 1


def test_box_actions_span_the_bounds() -> None:
    """The policy's -1, 0 and 1 are the lower bound, the middle and the upper bound."""
    actions = ActorCritic(2, BOX, 0, **SMALL).actions
    for unit, expected in ((-1.0, BOX.low), (0.0, [-0.5, 0.625]), (1.0, BOX.high), (9.0, BOX.high)):
        np.testing.assert_allclose(actions.decode(np.full(2, unit)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "space",
    [
        Tuple([Discrete(2), BOX]),
        MultiBinary(4),
        Dict({"a": Discrete(2)}),
        Box(-np.inf, 1.0, (2,)),
        Box(0.0, np.inf, (1,)),
    ],
    ids=str,
)
def test_unsupported_actions_are_refused(space: gym.Space[Any]) -> None:
    """Other action spaces, and boxes without bounds, are errors that say what is taken."""
    with pytest.raises(ValueError, match=r"action space is .*MultiDiscrete or Box"):
        ActorCritic(4, space)


@pytest.mark.parametrize("space", [Discrete(5), Dict({"a": Box(0, 1, (2,))}), MultiDiscrete([2, 2])], ids=str)
def test_unsupported_observations_are_refused(space: gym.Space[Any]) -> None:
    """Other observation spaces than a Box are errors that say what to do."""
    env = gym.Env()
    env.observation_space, env.action_space = space, DISCRETE
    with pytest.raises(ValueError, match=r"observation space is .*FlattenObservation"):
        ActorCritic.for_env(env)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "name",
    ["discount", "actor_rate", "critic_rate", "entropy", "novelty", "baseline_rate", "noise_correlation",
     "deviation_bias", "critic_overshoot", "slope", "height"],
)  # fmt: skip
def test_settings_that_are_not_finite_are_refused(name: str, value: float) -> None:
    """NaN and infinity, which TOML can write, are no settings."""
    with pytest.raises(ValueError, match=name.removeprefix("critic_")):
        ActorCritic(4, DISCRETE, **{name: value})


def test_unknown_settings_are_refused() -> None:
    """A misspelt setting is an error that lists the known ones."""
    with pytest.raises(ValueError, match=r"n_hiden.*n_hidden"):
        ActorCritic(4, DISCRETE, n_hiden=3)


@pytest.mark.parametrize(
    ("n", "space", "expected"),
    [
        (1, DISCRETE, (20, 20, 0.5, 0.4)),
        (2, BOX, (20, 2 * 20 + 20**2, 0.2, 0.2)),
        (2, ONE, (20, 2 * 20 + 20**2, 0.4, 0.3)),
        (3, SEVERAL, (12, 3 * 12 + 3 * 12**2, 0.5, 0.4)),
        (3, BOX, (12, 3 * 12 + 3 * 12**2, 0.2, 0.2)),
        (4, ONE, (12, 4 * 12, 0.4, 0.3)),
    ],
)
def test_what_is_left_open_follows_from_the_spaces(n: int, space: gym.Space[Any], expected: tuple[float, ...]) -> None:
    """Few entries have more and joint fields, boxes of several actions faster neurons; what is given stays."""
    agent = ActorCritic(n, space, n_hidden=4)
    s, bias = agent.settings, 1
    assert (s.n_fields, agent.actor.w_in.shape[1] - bias - n, s.membrane_decay, s.readout_decay) == expected
    for joint in (False, True):
        given = {"n_fields": 3, "joint_fields": joint, "membrane_decay": 0.1, "readout_decay": 0.0}
        agent = ActorCritic(n, space, n_hidden=4, **given)
        assert {name: getattr(agent.settings, name) for name in given} == given
        assert agent.critic.w_in.shape[1] - bias - n == 3 * n + joint * 9 * n * (n - 1) // 2


@pytest.mark.parametrize(
    ("space", "n_fields"),
    [
        (Discrete(16, start=3), 0),
        (MultiDiscrete([3, 4]), 0),
        (Tuple((Discrete(3), MultiBinary(4))), 0),
        (Box(0.0, 1.0, (16,)), 12),
        (Box(0, 255, (16,), np.uint8), 12),
    ],
)
def test_entries_of_0_or_1_have_no_fields(space: gym.Space[Any], n_fields: int) -> None:
    """What FlattenObservation makes of states has no receptive fields unless asked for, in both kinds of agent.

    Then neurons and noise keep nothing, novelty is rarity and nothing shrinks; of these, too, what is given stays.
    """
    flat = gym.spaces.flatten_space(space)
    env, envs = gym.Env(), gym.vector.VectorEnv()
    env.observation_space = envs.single_observation_space = flat
    env.action_space = envs.single_action_space = DISCRETE
    envs.num_envs = 2
    expected = (0, 0.0, 0.0, 1.0, 0.0) if n_fields == 0 else (n_fields, 0.5, 0.4, 0.4, 0.7)
    for left_open in ({}, msgspec.structs.asdict(ActorCriticSettings())):
        for agent in (ActorCritic.for_env(env, **left_open), VectorActorCritic.for_envs(envs, **left_open)):
            s = agent.settings
            assert (s.n_fields, s.membrane_decay, s.readout_decay, s.novelty, s.noise_correlation) == expected
    s = ActorCritic.for_env(env, n_fields=5).settings
    assert (s.n_fields, s.membrane_decay, s.readout_decay, s.novelty, s.noise_correlation) == (5, 0.5, 0.4, 0.4, 0.7)
    s = ActorCritic.for_env(env, novelty=0.2, readout_decay=0.1, noise_correlation=0.4).settings
    asked = (s.novelty, s.readout_decay, s.noise_correlation, s.step_annealing)
    assert asked == (0.2, 0.1, 0.4, 0.0 if n_fields == 0 else 5.0)


# --- the whole step --------------------------------------------------------------------------------------------------


# numbers far from those that switch a part off, whatever the defaults
# (adaptation twice as strong makes 1e-9 of one unit in the last place of the weights within these steps)
ALL_PARTS: dict[str, Any] = {
    "n_fields": 5, "novelty": 0.4, "baseline_rate": 0.3, "noise_correlation": 0.6, "deviation_bias": 0.7,
    "warm_ticks": 3, "entropy": 0.05, "actor_rate": 0.001, "critic_rate": 0.1, "optimiser": "intentional",
    "scale_rewards": False, "normalise_observations": True, "w_in_scale": 1.5, "dtype": "float64",
    "warm_up_steps": 70.0, "adaptation_strength": 1.0,
}  # fmt: skip
TWINS: dict[str, dict[str, Any]] = {
    "plain": {}, "memory": MEMORY, "kept": {**MEMORY, "keep_state": True},
    "obgd": {"optimiser": "obgd", "actor_rate": 0.01, "critic_rate": 0.02, "warm_up_steps": 0.0},
    "scaled": {"scale_rewards": True, "warm_up_steps": 20.0},
    "raw": {"normalise_observations": False}, "no_fields": {"n_fields": 0, "warm_ticks": 1, "noise_correlation": 0.0},
    "joint": {"joint_fields": True}, "differences": {**MEMORY, "differences": True, "joint_fields": False},
}  # fmt: skip


@pytest.mark.parametrize("settings", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("space", [Discrete(3, start=2), SEVERAL, BOX], ids=["discrete", "several", "box"])
def test_whole_step_equals_the_twin(space: gym.Space[Any], settings: dict[str, Any]) -> None:
    """Actions, TD errors, tags and weights are those of plain NumPy, over four episodes, at 1e-9; so is acting."""
    agent = ActorCritic(4, space, 6, **{**SMALL, **ALL_PARTS, **settings})
    twin = Twin(agent, places.view(places.noise_of, agent._own[0], agent._sizes, 0))
    if agent.settings.optimiser == "intentional":  # a past of small errors, so that the larger ones are clipped
        for _ in range(300):
            twin.errors.given.append(0.12)
            twin.errors.clipped.append(compiled.clipped(agent._memory, 0.12))
    agent.annealing.update = lambda _: None  # type: ignore[method-assign]  # tests/test_annealing.py
    for t in range(55):
        twin.width = 1.0 if t < 26 else 0.4  # changes between episodes
        twin.sample_weight = 1.0 if t < 26 else 0.36
        agent._memory[places.WIDTH] = agent.annealing.width = twin.width
        agent._memory[places.SAMPLE_WEIGHT] = twin.sample_weight
        if t == 0 or any(ends_at(t - 1)):
            x = observation_at(agent, t)
            twin.fresh = agent._noise[0].copy()
            np.testing.assert_allclose(agent.begin(x), twin.begin(x), rtol=1e-9)
        given = (observation_at(agent, t + 1), 20.0 * float(np.cos(t)), *ends_at(t))
        twin.fresh = agent._noise[0].copy()
        action, expected = agent.step(*given), twin.step(*given)
        if expected is not None:
            np.testing.assert_allclose(action, expected, rtol=1e-9)
        assert agent.td_error == pytest.approx(twin.td_error, rel=1e-9)
        for net, plain in ((agent.actor, twin.actor), (agent.critic, twin.critic)):
            np.testing.assert_array_equal(net.spikes(), plain.layers[0].z)
            for name, matrix in plain.matrices.items():
                for ours, theirs in ((net.tags[name], matrix.tag), (net.weights[name], matrix.w)):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max(), err_msg=name)
    clipped = np.array(twin.errors.given) != twin.errors.clipped
    assert clipped.any() == (agent.settings.optimiser == "intentional") and not clipped[-1:].any()
    shown = [observation_at(agent, t) for t in range(5)]
    for _ in range(2):
        agent.reset()
        acted = np.array([np.ravel(agent.act(x)) for x in shown])
        np.testing.assert_allclose(acted, twin.greedy(shown), rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [{}, {"normalise_observations": False, "scale_rewards": False}, TWINS["obgd"], {"differences": True}],
    ids=["default", "raw", "obgd", "differences"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "box"])
def test_state_stays_finite(space: gym.Space[Any], dtype: str, settings: dict[str, Any]) -> None:
    """Huge observations or rewards, once or always, no change and no reward leave every number finite."""
    for huge_x, reward, every in itertools.product((0.0, 1.0, 1e300, 1.7e308), (0.0, 1e300, 1.7e308), (1, 50)):
        agent, rng = ActorCritic(4, space, 0, n_hidden=8, dtype=dtype, **settings), np.random.default_rng(0)
        for t in range(100):
            signs = rng.choice([-1.0, 1.0], 5) if max(huge_x, reward) > 1.0 else np.ones(5)
            x = np.where(t % every == every - 1, huge_x, min(huge_x, 1.0)) * signs[:4]
            r = reward * float(signs[4]) if t % every == every - 1 else 0.0
            assert space.contains(agent.step(x, r, False, False) if t % 25 else agent.begin(x))
        kept = [agent._memory, agent._own]
        for net in (agent.actor, agent.critic):
            kept += [net.fast, *net.weights.values(), *net.tags.values(), *net.moments[1].values()]
        assert all(np.isfinite(array).all() for array in kept), (huge_x, reward, every)


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


@pytest.mark.skipif(not hasattr(compiled.drive, "signatures"), reason="numba is switched off")
def test_kernels_have_one_signature_per_precision() -> None:
    """Whatever is called with whatever types, loaded or unpickled, each kernel is compiled once for each precision."""
    for name in VARIANTS:
        for check in CONTROLLER_CHECKS[:7]:
            check(maker(name))
    for kernel in (compiled.drive, tick.run):
        dtypes = [str(signature[0].dtype) for signature in kernel.signatures]
        assert sorted(dtypes) == ["float32", "float64"], kernel
