"""The quadrotor as a world: rewards, starts, ends, noise, arguments, many at once, pictures."""

from __future__ import annotations

import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

from controllers import ActorCritic, CompiledLoop, Loop
from envs import Quadrotor
from envs import quadrotor_dynamics as places
from envs.quadrotor import RL_TOOLS
from tests.test_quadrotor import CALM, command, entries, hover, still


@pytest.mark.parametrize(("stage", "weights"), [(0, (1.0, 0.01, 0.14)), (2, (2.0, 0.046, 0.284)), (5, (3.5, 0.1, 0.5))])
def test_reward_follows_the_curriculum(stage: int, weights: tuple[float, float, float]) -> None:
    """By hand, at a place, speed, lean and command of one's own."""
    env = Quadrotor(stage=stage, gravity=0.0, thrust=(0.0, 0.0, 0.0), **CALM)
    world = still(env)
    world[:3], world[places.VELOCITY : places.VELOCITY + 3] = [0.1, -0.2, 0.3], [0.0, 0.5, 0.0]
    world[places.ATTITUDE : places.ATTITUDE + 4] = -math.cos(0.2), 0.0, -math.sin(0.2), 0.0
    reward = env.step(command(np.array([0.0, 0.5, 0.667, 1.0])))[1]
    away = (math.cos(0.2) - 1.0) ** 2 + math.sin(0.2) ** 2
    effort = 0.667**2 + 0.167**2 + 0.333**2
    near, slow, calm = weights
    expected = 1.0 - near * (0.01 + 0.195**2 + 0.09) - slow * 0.25 - 0.25 * away - calm * effort
    assert reward == pytest.approx(expected, rel=1e-12)


def test_the_stage_may_be_changed_and_stays() -> None:
    """Over a reset; there are six."""
    env = Quadrotor()
    env.set_stage(1)
    env.reset(seed=0)
    assert entries(env.world, places.ALIVE, 5) == pytest.approx([1.0, 1.5, 0.028, 0.25, 0.212])
    with pytest.raises(ValueError, match=r"stage is -1; it must be 0 to 5\."):
        env.set_stage(-1)


@pytest.mark.parametrize(
    ("place", "inside", "outside"),
    [(0, 0.599, 0.601), (2, -0.599, -0.601), (places.VELOCITY, 999.0, 1001.0), (places.TURN + 2, -999.0, -1001.0),
     (places.VELOCITY, 0.0, np.nan), (1, 0.0, np.nan)],
)  # fmt: skip
def test_termination(place: int, inside: float, outside: float) -> None:
    """Just inside it goes on; just outside, or with what is no number, it ends."""
    for value, over in ((inside, False), (outside, True)):
        env = Quadrotor(gravity=0.0, thrust=(0.0, 0.0, 0.0), **CALM)
        world = still(env)
        world[place], world[places.INTERVAL] = value, 1e-9
        assert env.step(command(0.0))[2:4] == (over, False)
        if over:
            with pytest.raises(gym.error.ResetNeeded, match="call reset"):
                env.step(command(0.0))


def test_the_target_flies_its_path() -> None:
    """A craft put on the path sees no error, neither of place nor of speed; at the start the target moves ahead."""
    env = Quadrotor(radius=0.4, period=2.0, gravity=0.0, thrust=(0.0, 0.0, 0.0), **CALM)
    world = still(env)
    for t in range(200):
        world[places.STEPS] = t
        angle = math.pi * 0.01 * (t + 1)
        velocity = np.array([0.4 * math.pi * math.cos(angle), 0.4 * math.pi * math.cos(2.0 * angle), 0.0])
        world[places.VELOCITY : places.VELOCITY + 3] = velocity
        world[:3] = [0.4 * math.sin(angle), 0.2 * math.sin(2.0 * angle), 0.0] - 0.01 * velocity
        seen = env.step(command(0.667))[0]
        assert np.abs(seen[:3]).max() < 1e-6 and np.abs(seen[12:15]).max() < 1e-6
    start = env.reset(seed=1)[0]
    assert start[12] - world[places.VELOCITY] == pytest.approx(-0.4 * math.pi, rel=1e-5)


def test_starts() -> None:
    """A tenth upright at the origin; else within the bounds and spread over them, at most 90 degrees from upright."""
    env, rows = Quadrotor(), []
    env.reset(seed=4)
    for _ in range(4000):
        env.reset()
        rows.append(env.world.copy())
    found = np.array(rows)
    upright = found[:, places.ATTITUDE] == 1.0
    assert not found[upright, :3].any() and not found[upright, places.VELOCITY : places.ROTORS].any()
    assert upright.mean() == pytest.approx(0.1, abs=0.02)
    assert (found[:, places.ROTORS : places.ROTORS + 4] == 0.5).all()
    thrown = found[~upright]
    for place, reach in ((places.POSITION, 0.2), (places.VELOCITY, 1.0), (places.TURN, 1.0)):
        values = thrown[:, place : place + 3]
        assert np.abs(values).max() <= reach
        np.testing.assert_allclose(values.std(0), reach / math.sqrt(3.0), rtol=0.05)
    angles = 2.0 * np.arccos(thrown[:, places.ATTITUDE])
    assert angles.max() <= math.pi / 2.0
    # the density of the angle of a uniform rotation goes as 1 - cos
    assert np.mean(angles < 1.0) == pytest.approx((1.0 - math.sin(1.0)) / (math.pi / 2.0 - 1.0), abs=0.03)
    for place, spread in ((places.FORCE, 0.01324), (places.TORQUE, 2.65e-5)):
        values = found[:, place : place + 3] / spread
        assert np.abs(values.mean()) < 0.04 and values.std() == pytest.approx(1.0, abs=0.03)


def test_noise() -> None:
    """Normal, independent, of the named deviations, over entries and time; none where it is 0."""
    env = Quadrotor(
        thrust=(0.0, 0.0, 0.0), gravity=0.0, force=0.0, torque=0.0, noise=(0.01, 0.02, 0.05, 0.1), limit=10**6
    )
    world, count = still(env), 20_000
    clean = np.array([0.0] * 3 + [1, 0, 0, 0, 1, 0, 0, 0, 1] + [0] * 6)
    rows = []
    for _ in range(count):
        env.step(command(0.0))
        rows.append(env._seen - clean)
    noise = np.array(rows) / np.repeat([0.01, 0.02, 0.05, 0.1], [3, 9, 3, 3])
    assert np.abs(noise.mean(0)).max() < 5.0 / math.sqrt(count)
    np.testing.assert_allclose(noise.std(0), 1.0, atol=5.0 / math.sqrt(2.0 * count))
    assert np.abs(np.corrcoef(noise.T) - np.eye(18)).max() < 5.0 / math.sqrt(count)
    assert np.abs(np.mean(noise[1:] * noise[:-1], 0)).max() < 5.0 / math.sqrt(count)
    flat = noise.reshape(-1)
    for beyond, share in ((1.0, 0.31731), (2.0, 0.045500), (3.0, 0.0026998), (4.0, 6.3342e-5)):
        assert np.mean(np.abs(flat) > beyond) == pytest.approx(share, abs=5.0 * math.sqrt(share / flat.size))
    world[places.NOISE : places.NOISE + 4] = 0.0
    assert np.array_equal(env.step(command(0.0))[0], clean)


def test_many_worlds_at_once_are_those_one_by_one() -> None:
    """Bit by bit: rows, observations, rewards and ends, of unlike worlds."""
    rng, n = np.random.default_rng(5), 9
    envs = [Quadrotor(**(RL_TOOLS if i % 2 else {}), radius=0.05 * i, limit=30 + i) for i in range(n)]
    for i, env in enumerate(envs):
        env.reset(seed=i)
    worlds = np.array([env.world for env in envs])
    observations, rewards, ends = np.zeros((n, 18)), np.zeros(n), np.zeros((n, 2), np.bool_)
    kinds = set()
    for _ in range(60):
        commands = rng.uniform(-1.1, 1.1, (n, 4))
        envs[0].step_all(worlds, commands, observations, rewards, ends)
        for i, env in enumerate(envs):
            observation, reward, terminated, truncated, _ = env.step(commands[i])
            assert np.array_equal(env.world, worlds[i]) and np.array_equal(env._seen, observations[i])
            assert np.array_equal(observation, observations[i].astype(np.float32))
            assert (reward, terminated, truncated) == (rewards[i], *ends[i])
            kinds.add((terminated, truncated))
            if terminated or truncated:
                env.reset()
                worlds[i] = env.world
    assert {(True, False), (False, True)} <= kinds


def test_a_compiled_loop_flies_as_step_by_step() -> None:
    """The kernel is the whole step: the same episodes either way."""
    flown = []
    for loop in (Loop, CompiledLoop):
        env = Quadrotor()
        flown.append(list(loop(ActorCritic.for_env(env, 3, n_hidden=8), env, 3).run(1500)))
    assert flown[0] == flown[1] and len(flown[0]) > 3


def test_actions_that_are_none_change_nothing() -> None:
    """Of another shape or not finite; and no step before a reset."""
    env = Quadrotor()
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(command(0.5))
    env.reset(seed=0)
    before = env.world.copy()
    for action in (np.zeros(3), np.zeros((4, 2)), 0.0, np.array([0.0, np.nan, 0.0, 0.0]), np.full(4, np.inf)):
        with pytest.raises(ValueError, match="must be finite, of shape"):
            env.step(action)
    assert np.array_equal(env.world, before)


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(({name: 0.0}, f"{name} is 0.0; it must be finite and above 0.")
      for name in ("mass", "lag", "period", "interval")),
    *(({name: -1.0}, f"{name} is -1.0; it must be finite and 0 or more.")
      for name in ("arm", "drag", "gravity", "force", "torque", "radius")),
    *(({name: math.inf}, f"{name} is inf; it must be finite and") for name in ("mass", "arm", "lag", "radius")),
    ({"mass": math.nan}, "mass is nan; it must be finite and above 0."),
    ({"inertia": (1.0, 0.0, 1.0)}, "inertia is 0.0; it must be finite and above 0."),
    ({"inertia": (1.0, 1.0)}, "inertia has shape (2,); it must be (3,)."),
    ({"thrust": (0.0, math.inf, 0.0)}, "thrust is inf; it must be finite."),
    ({"thrust": 1.0}, "thrust has shape (); it must be (3,)."),
    ({"motors": (1.0, 1.0, 1.0, -0.1)}, "motors is -0.1; it must be finite and 0 or more."),
    ({"motors": (1.0,) * 5}, "motors has shape (5,); it must be (4,)."),
    ({"wind": (math.nan, 0.0, 0.0)}, "wind is nan; it must be finite."),
    ({"noise": (0.0, 0.2, 0.0, 0.0)}, "noise is 0.2; it must be 0 to 0.1."),
    ({"lag": 0.005}, "lag is 0.005; it must be at least interval, 0.01."),
    ({"limit": 0}, "limit is 0; it must be 1 or more."),
    ({"stage": 6}, "stage is 6; it must be 0 to 5."),
    ({"render_mode": "ansi"}, "render_mode is 'ansi'; it must be None,"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The error says what was given and what is wanted."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Quadrotor(**arguments)


def test_every_argument_stands_at_its_place() -> None:
    """Each parameter's own numbers, and nothing else, change in the row."""
    usual = Quadrotor().world
    for name, known in Quadrotor.ranges.items():
        given = 0.05 + 0.01 * np.arange(math.prod(known.shape)).reshape(known.shape) if name != "lag" else 0.5
        arguments: dict[str, Any] = {name: given}
        world = Quadrotor(**arguments).world
        assert np.array_equal(world[known.entries], np.reshape(given, -1)), name
        world[known.entries] = usual[known.entries]
        assert np.array_equal(world, usual), name


def test_pictures_show_the_craft_where_it_is() -> None:
    """A picture is no blank, and has the craft's blue above the target's red while it is above, else below."""
    env = Quadrotor(render_mode="rgb_array", **CALM)
    shown = {}
    for height in (0.4, -0.4):
        world = still(env, hover(env))
        world[2] = height
        env.step(command(hover(env)))
        shown[height] = picture = env.render()
        assert picture.shape == (400, 400, 3) and picture.dtype == np.uint8
        assert 0.001 < np.mean((picture != 255).any(2)) < 0.5

    def row(picture: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> float:
        near = np.abs(picture.astype(int) - colour).max(2) < 30
        assert near.any()
        return float(np.nonzero(near)[0].mean())

    blue, red = (31, 78, 121), (181, 72, 42)
    assert row(shown[0.4], blue) < row(shown[0.4], red) - 20
    assert row(shown[-0.4], blue) > row(shown[-0.4], red) + 20
    with pytest.warns(UserWarning, match="no picture without a render_mode"):
        assert Quadrotor().render() is None


def test_begins_at_rest_if_asked() -> None:
    """With the option at the origin, upright; the next reset draws its start again."""
    env = Quadrotor(noise=(0.0, 0.0, 0.0, 0.0))
    upright = np.append(np.zeros(3), np.append(np.eye(3), np.zeros(6)))
    for seed in range(5):
        np.testing.assert_array_equal(env.reset(seed=seed, options={"at_rest": True})[0], upright)
    assert any(np.abs(env.reset()[0] - upright).max() > 0.1 for _ in range(5))
