"""The arm as a world: cue and go, rewards, targets, ends, arguments, pictures."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from envs import Arm
from envs import arm_dynamics as places
from envs.arm_dynamics import forward_kinematics, inverse_dynamics, inverse_kinematics, jacobian

Floats = npt.NDArray[np.float64]


def minimum_jerk(share: float) -> tuple[float, float, float]:
    """Way, speed and acceleration of Flash and Hogan's path of length 1 and duration 1."""
    s = min(share, 1.0)
    speed = 30.0 * s**2 * (1.0 - s) ** 2
    return s**3 * (10.0 - 15.0 * s + 6.0 * s * s), speed, 60.0 * s * (1.0 - s) * (1.0 - 2.0 * s)


def reach(env: Arm, body: Floats, **options: Any) -> tuple[Floats, dict[str, Any], float]:
    """One trial of a controller that knows an arm, half a second long: where the hand was from go on, the end, return.

    Torques that the known arm needs on a minimum jerk path, and joint stiffness and viscosity about it.
    """
    observation, info = env.reset(**options)
    path, total, after, over = [], 0.0, 0, False
    while not over:
        after += int(info["go"])
        way, speed, acceleration = minimum_jerk(after * 0.02)
        line = info["target"] - info["home"]
        q = np.array(inverse_kinematics(body, *(info["home"] + way * line)))
        to_hand = np.reshape(jacobian(body, *q), (2, 2))
        w = np.linalg.solve(to_hand, 2.0 * speed * line)
        turned = (np.reshape(jacobian(body, *(q + 1e-6 * w)), (2, 2)) - to_hand) / 1e-6
        spin = np.linalg.solve(to_hand, 4.0 * acceleration * line - turned @ w)
        stiffness, viscosity = np.array([[15.0, 6.0], [6.0, 16.0]]), np.array([[2.3, 0.9], [0.9, 2.4]])
        torque = inverse_dynamics(body, *q, *w, *spin) + stiffness @ (q - observation[:2])
        torque += viscosity @ (w - observation[2:4])
        observation, reward, terminated, truncated, info = env.step(torque / env.parameter("torque"))
        total, over = total + reward, terminated or truncated
        if info["go"]:
            path.append(info["hand"] - info["home"])
    return np.array(path), info, total


def test_a_controller_that_knows_the_arm_reaches_all_targets() -> None:
    """All eight, straight, well over the threshold that the world is registered with; a curl field bends the way."""
    env = Arm()
    body = env.world.copy()
    for target in range(8):
        path, info, total = reach(env, body, seed=target, options={"target": target})
        across = np.array([-math.sin(math.pi * target / 4.0), math.cos(math.pi * target / 4.0)])
        assert info["success"] and total > -30.0 and np.abs(path @ across).max() < 0.002
    env.change("curl", 13.0)
    path, info, _ = reach(env, body, seed=0, options={"target": 0})
    assert info["success"] and path[:, 1].min() < -0.01  # to the right, and so pushed down
    assert path[:, 1].max() < 0.01


def test_the_cue_says_go_after_the_delay() -> None:
    """Until then the goal is home; the first action that could know is paid for the target."""
    env = Arm(delay=(3, 3), friction=np.zeros((2, 2)))
    observation, info = env.reset(seed=1, options={"target": (0.0, -0.08)})
    for step in range(6):
        assert observation[10] == float(step >= 3) == float(info["go"])
        np.testing.assert_allclose(observation[8:10], [0.0, -0.08], atol=1e-7)
        observation, reward, _, _, info = env.step(np.zeros(2))
        assert reward == pytest.approx(0.0 if step < 3 else -0.8, abs=1e-9)
    assert Arm(delay=(0, 0)).reset(seed=0)[0][10] == 1.0


def test_reward_is_distance_speed_and_effort() -> None:
    """By hand; what is beyond the bounds costs no more than the bound."""
    env = Arm(delay=(0, 0), interval=1e-9, friction=np.zeros((2, 2)))
    env.reset(seed=0, options={"target": (0.03, 0.04)})
    to_hand = np.reshape(jacobian(env.world, *env.world[:2]), (2, 2))
    env.world[2:4] = np.linalg.solve(to_hand, [0.3, -0.4])
    assert env.step(np.array([0.5, -7.0]))[1] == pytest.approx(-0.5 - 0.025 - 0.0625, rel=1e-5)


def test_a_hit_is_a_stay() -> None:
    """`hold` steps on end within the radius after go; time before go and before a slip does not count."""
    env = Arm(delay=(5, 5), hold=4, friction=np.zeros((2, 2)))
    env.reset(seed=0, options={"target": (0.0, 0.0)})
    ends = []
    for step in range(12):
        if step == 7:
            env.world[0] += 0.1
        if step == 8:
            env.world[0] -= 0.1
        _, _, terminated, truncated, info = env.step(np.zeros(2))
        ends.append(terminated)
        assert info["success"] == terminated and not truncated
        if terminated:
            break
    assert ends == [False] * 11 + [True]
    env = Arm(limit=7, actuation="muscle")
    start = env.reset(seed=0)[0]
    assert [env.step(np.zeros(6))[3] for _ in range(7)] == [False] * 6 + [True]
    np.testing.assert_allclose(env._seen[:8], start[:8], atol=1e-7)  # muscles at rest leave the arm where it is


def test_targets_and_delays_are_drawn() -> None:
    """All eight of the circle, and the whole range of delays; else from anywhere between half and the whole way."""
    env, targets, delays = Arm(delay=(2, 6)), [], set()
    env.reset(seed=0)
    for _ in range(200):
        info = env.reset()[1]
        targets.append(info["target"] - info["home"])
        delays.add(int(env.world[places.DELAY]))
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 0.1)
    angles = np.round(np.arctan2(*np.transpose(targets)[::-1]) / (math.pi / 4.0), 9) % 8.0
    assert set(angles) == set(range(8)) and delays == {2, 3, 4, 5, 6}
    env = Arm(n_targets=0, distance=0.16)
    drawn = np.array([(info := env.reset(seed=seed)[1])["target"] - info["home"] for seed in range(300)])
    far = np.linalg.norm(drawn, axis=1)
    assert 0.08 <= far.min() < 0.085 and 0.155 < far.max() <= 0.16
    assert np.abs(drawn.mean(0)).max() < 0.02


def test_info_and_observation_say_the_same() -> None:
    """Places from the shoulder there, from home here."""
    env = Arm("muscle")
    env.reset(seed=3)
    for _ in range(20):
        observation, _, _, _, info = env.step(np.array([1.0, 0.0, 0.0, 0.3, 0.5, 0.0]))
    np.testing.assert_allclose(info["hand"], forward_kinematics(env.world, *env.world[:2]))
    np.testing.assert_allclose(info["home"], forward_kinematics(env.world, *np.radians([45.0, 90.0])))
    parts = [info["hand"] - info["home"], info["velocity"], info["target"] - info["home"]]
    np.testing.assert_allclose(observation[4:10], np.concatenate(parts), rtol=1e-5, atol=1e-7)
    assert np.linalg.norm(info["velocity"]) > 0.01


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"actuation": "hydraulic"}, "actuation is 'hydraulic'; it must be \"torque\" or \"muscle\"."),
    ({"mass": (1.0, 0.0)}, "mass is 0.0; it must be finite and above 0."),
    ({"mass": 1.0}, "mass has shape (); it must be (2,)."),
    ({"friction": (0.05, 0.05)}, "friction has shape (2,); it must be (2, 2)."),
    ({"friction": -np.eye(2)}, "friction is -1.0; it must be finite and 0 or more."),
    ({"curl": math.nan}, "curl is nan; it must be finite."),
    ({"interval": 0.02}, "interval is 0.02; it must be above 0 and at most 0.01."),
    ({"n_targets": -1}, "n_targets is -1; it must be 0 or more."),
    ({"hold": 0}, "hold is 0; it must be 1 or more."),
    ({"limit": 0}, "limit is 0; it must be 1 or more."),
    ({"distance": math.inf}, "distance is inf; it must be finite and above 0."),
    ({"radius": 0.0}, "radius is 0.0; it must be finite and above 0."),
    ({"delay": (5, 4)}, "delay is (5, 4); it must be two numbers of steps, 0 or more, the least first."),
    ({"delay": 5}, "delay is 5; it must be two numbers of steps"),
    ({"delay": (-1, 4)}, "delay is (-1, 4); it must be two numbers of steps"),
    ({"distance": 0.4}, "distance is 0.4; it must be within the hand's reach, to each target."),
    ({"render_mode": "ansi"}, "render_mode is 'ansi'; it must be None,"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The error says what was given and what is wanted."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Arm(**arguments)


@pytest.mark.parametrize("target", [8, -1, 1.5, (0.5, 0.0), (math.nan, 0.0), (0.1, 0.1, 0.1), (0.0, -0.42)])
def test_targets_out_of_reach_are_refused(target: Any) -> None:
    """Before anything is begun; the episode under way goes on."""
    env = Arm()
    env.reset(seed=0)
    before = env.world.copy()
    with pytest.raises(ValueError, match=r"^target is .*; it must be "):
        env.reset(options={"target": target})
    assert np.array_equal(env.world, before)
    env.step(np.zeros(2))


@pytest.mark.parametrize("actuation", ["torque", "muscle"])
def test_actions_that_are_none_change_nothing(actuation: str) -> None:
    """Of another shape or not finite."""
    env = Arm(actuation)
    env.reset(seed=0)
    before, n = env.world.copy(), env.command.size
    for action in (np.zeros(n + 1), np.zeros((n, 2)), 0.0, np.full(n, np.nan)):
        with pytest.raises(ValueError, match="must be finite, of shape"):
            env.step(action)
    assert np.array_equal(env.world, before)


def test_pictures_show_the_hand_and_the_target() -> None:
    """The hand's blue is left of the target's red for a target on the right, and right of it else; filled from go."""
    env, reds = Arm(render_mode="rgb_array", delay=(1, 1)), []
    for target, side in ((0, 1.0), (4, -1.0)):
        env.reset(seed=0, options={"target": target})
        for _ in range(2):
            picture = env.render().astype(int)
            env.step(np.zeros(2))
            assert picture.shape == (400, 400, 3)
            blue, red = (np.abs(picture - colour).max(2) < 30 for colour in ((31, 78, 121), (181, 72, 42)))
            assert side * (np.nonzero(red)[1].mean() - np.nonzero(blue)[1].mean()) > 10.0
            reds.append(red.sum())
    assert reds[1] > reds[0] and reds[3] > reds[2]
