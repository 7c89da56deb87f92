"""Worlds whose step is a kernel: parameters by name, copies, many at once, windows; and the cart and its pole."""

from __future__ import annotations

import copy
import functools
import pickle
import re
from collections.abc import Callable

import gymnasium as gym
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from envs import Arm, CartPole, Cursor, Quadrotor
from envs.compiled import CompiledEnv

MUSCLES = functools.partial(Arm, "muscle")
COMPILED = {"cart": CartPole, "quadrotor": Quadrotor, "arm": Arm, "muscles": MUSCLES, "cursor": Cursor}
EACH = pytest.mark.parametrize("make", COMPILED.values(), ids=COMPILED)


@pytest.mark.parametrize("physics", [{}, {"gravity": 3.0, "length": 1.5, "force": 5.0}], ids=["usual", "other"])
def test_cart_pole_is_gymnasiums(physics: dict[str, float]) -> None:
    """From the same first state, the same observations, rewards and ends, with changed physics too."""
    theirs, ours = gym.make("CartPole-v1").unwrapped, CartPole(**physics)
    for name, value in physics.items():
        setattr(theirs, {"force": "force_mag"}.get(name, name), value)
    theirs.polemass_length = theirs.masspole * theirs.length  # type: ignore[attr-defined]
    rng, ends = np.random.default_rng(0), 0
    for episode in range(20):
        theirs.reset(seed=episode)
        ours.reset(seed=episode)
        ours.world[:4] = theirs.state  # type: ignore[attr-defined]
        for _ in range(200):
            action = int(rng.integers(2))
            shown, reward, terminated, _, _ = theirs.step(action)
            seen, given, ended, _, _ = ours.step(action)
            np.testing.assert_allclose(seen, shown, rtol=1e-6)
            np.testing.assert_allclose(ours.world[:4], theirs.state, rtol=1e-12, atol=1e-14)  # type: ignore[attr-defined]
            assert (given, ended) == (reward, terminated)
            if terminated:
                ends += 1
                break
    assert ends == 20


@EACH
def test_a_compiled_world_can_be_copied(make: Callable[[], CompiledEnv]) -> None:
    """By pickle and by copy, amid an episode, its random numbers included."""
    env = make()
    env.reset(seed=4)
    env.action_space.seed(4)
    env.step(env.action_space.sample())
    action = env.action_space.sample()
    others = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    shown = [(each.step(action)[0], each.world.copy(), each.reset()[0]) for each in (env, *others)]
    for other, seen in zip(others, shown[1:], strict=True):
        assert all(map(np.array_equal, seen, shown[0])) and env.world is not other.world


@EACH
def test_many_worlds_at_once_are_those_one_by_one(make: Callable[[], CompiledEnv]) -> None:
    """Bit by bit: rows, observations, rewards and ends."""
    envs_, n = [make() for _ in range(4)], 4
    envs_[0].action_space.seed(0)
    for i, env in enumerate(envs_):
        env.reset(seed=i)
    worlds, observations = np.array([env.world for env in envs_]), np.zeros((n, envs_[0]._seen.size))
    rewards, ends = np.zeros(n), np.zeros((n, 2), np.bool_)
    for _ in range(40):
        actions = [np.reshape(envs_[0].action_space.sample(), -1) for _ in range(n)]
        envs_[0].step_all(worlds, np.array(actions, np.float64), observations, rewards, ends)
        for i, env in enumerate(envs_):
            _, reward, terminated, truncated, _ = env.step(actions[i])
            assert np.array_equal(env.world, worlds[i]) and np.array_equal(env._seen, observations[i])
            assert (reward, terminated, truncated) == (rewards[i], *ends[i])
            if terminated or truncated:
                env.reset()
                worlds[i] = env.world


@pytest.mark.parametrize("name", ["Arm", "Cursor", "Quadrotor"])
def test_a_window_follows_the_world(name: str) -> None:
    """One figure, drawn anew on each step, closed at the end; the display here is none. A copy has no window."""
    with mpl.rc_context({"backend": "agg"}):
        env = gym.make(f"envs:threefactor/{name}-v0", render_mode="human").unwrapped
        assert isinstance(env, CompiledEnv) and env.trail.shape == (0, env.world.size)
        env.reset(seed=0)
        figure, shown = env._figure, []
        for _ in range(2):
            env.step(np.zeros(env.command.size))
            shown.append(figure.axes[0].get_title())
        assert shown[0].startswith("0.0") and shown[0] != shown[1] and env._figure is figure and env.render() is None
        assert env.trail.shape == (3, env.world.size) and copy.deepcopy(env)._figure is None
        env.close()
        env.close()
        assert not plt.get_fignums()


@EACH
def test_parameters_are_read_and_changed_by_name(make: Callable[[], CompiledEnv]) -> None:
    """Each is what the row holds, is handed out in an array of its own, and stays over a reset; nothing else moves."""
    env = make()
    env.reset(seed=0)
    for name, known in env.ranges.items():
        before, value = env.world.copy(), env.parameter(name)
        assert value.shape == known.shape and value.dtype == np.float64
        wanted = 0.9 * value if value.any() else value + 0.05
        value += 1.0
        assert np.array_equal(env.world, before)
        env.change(name, wanted)
        assert np.array_equal(env.parameter(name), wanted)
        env.world[known.entries] = before[known.entries]
        assert np.array_equal(env.world, before)
        env.change(name, wanted.tolist())
        env.reset()
        assert np.array_equal(env.parameter(name), wanted)


@EACH
def test_changes_out_of_range_are_refused(make: Callable[[], CompiledEnv]) -> None:
    """Unknown names, other shapes, what is no number; the error says what is wanted, and nothing has changed."""
    env = make()
    env.reset(seed=0)
    before = env.world.copy()
    with pytest.raises(ValueError, match=f"^there is no parameter 'mas'; this world has .*{list(env.ranges)[-1]}"):
        env.change("mas", 1.0)
    with pytest.raises(ValueError, match=r"^there is no parameter 'limit'"):
        env.parameter("limit")
    for name, known in env.ranges.items():
        with pytest.raises(
            ValueError, match=rf"^{name} has shape \(7, 1\); it must be {re.escape(str(known.shape))}\.$"
        ):
            env.change(name, np.ones((7, 1)))
        with pytest.raises(ValueError, match=f"^{name} is nan; it must be "):
            env.change(name, np.full(known.shape, np.nan))
        if known.least > -1e300:
            with pytest.raises(ValueError, match=f"^{name} is .*; it must be "):
                env.change(name, np.full(known.shape, known.least - 1.0))
    assert np.array_equal(env.world, before)


def test_parameters_that_do_not_go_together_are_refused() -> None:
    """Rotors faster than a step, from either side."""
    env = Quadrotor()
    for name, value in (("lag", 0.005), ("interval", 0.2)):
        with pytest.raises(ValueError, match=r"lag is .*; it must be at least interval, "):
            env.change(name, value)
    assert np.array_equal(env.world, Quadrotor().world)


def test_a_change_acts_amid_an_episode() -> None:
    """The next step already falls under the new gravity."""
    fallen = []
    for gravity in (9.81, 20.0):
        env = Quadrotor(thrust=(0.0, 0.0, 0.0), force=0.0)
        env.reset(seed=0)
        env.step(np.zeros(4))
        before = env.world[9]
        env.change("gravity", gravity)
        env.step(np.zeros(4))
        fallen.append(env.world[9] - before)
    assert fallen == pytest.approx([-0.0981, -0.2], rel=1e-9)


def test_many_at_once_refuse_other_arrays() -> None:
    """Of another type or shape, or with gaps; nothing is written."""
    env = CartPole()
    env.reset(seed=0)
    given = [np.array([env.world] * 3), np.zeros((3, 1)), np.zeros((3, 4)), np.zeros(3), np.zeros((3, 2), np.bool_)]
    before = [array.copy() for array in given]
    names = ("worlds", "commands", "observations", "rewards", "ends")
    for k, name in enumerate(names):
        for wrong in (given[k].astype(np.float32), given[k][..., None], np.repeat(given[k], 2, -1)[..., ::2]):
            with pytest.raises(ValueError, match=f"^{name} is .*; it must be .* contiguous"):
                env.step_all(*given[:k], wrong, *given[k + 1 :])
    assert all(np.array_equal(a, b) for a, b in zip(before, given, strict=True))
    env.step_all(*given)
    assert np.array_equal(given[0][0], given[0][2]) and (given[3] == 1.0).all() and not given[4].any()


def test_compiled_worlds_refuse_what_they_cannot_do() -> None:
    """A step before a reset or after an end, an action of another shape or not finite, parameters out of range."""
    env = CartPole(limit=3)
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    before = env.world.copy()
    for action in ([0, 1], np.nan):
        with pytest.raises(ValueError, match="must be finite, of shape"):
            env.step(action)
    assert np.array_equal(env.world, before)
    assert [env.step(t % 2)[3] for t in range(3)] == [False, False, True]
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(0)
    for wrong in ({"gravity": 0.0}, {"length": -1.0}, {"pole": np.inf}, {"limit": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CartPole(**wrong)
