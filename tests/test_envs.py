"""Worlds: Gymnasium's own checks, twin rollouts, and what each promises."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import DelayedCue

WORLDS: dict[str, dict[str, Any]] = {"threefactor/DelayedCue-v0": {"delay": 3}}


def rollout(env: gym.Env[Any, Any], seed: int, steps: int = 200) -> list[Any]:
    """Everything that a rollout of random actions shows."""
    env.action_space.seed(seed)
    shown: list[Any] = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        shown.append((observation.copy(), reward, terminated, truncated))
        if terminated or truncated:
            shown.append(env.reset()[0].copy())
    return shown


def test_every_world_is_registered_and_tested() -> None:
    """Each class of the package has an id, and each id stands in the list of this file."""
    registered = {name for name in gym.registry if name.startswith("threefactor/")}
    assert registered == set(WORLDS)
    assert len(envs.__all__) == len(WORLDS)


@pytest.mark.parametrize("name", WORLDS)
def test_gymnasium_finds_no_fault(name: str) -> None:
    """`check_env` passes without a warning, with default arguments and with others."""
    for arguments in ({}, WORLDS[name]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(gym.make(name, **arguments).unwrapped)


@pytest.mark.parametrize("name", WORLDS)
def test_same_seed_same_rollout(name: str) -> None:
    """Two worlds of one seed show the same, bit by bit; one of another seed does not."""
    first, twin, other = (rollout(gym.make(name, **WORLDS[name]), seed) for seed in (5, 5, 6))
    assert repr(first) == repr(twin) != repr(other)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_delayed_cue_shows_a_cue_then_silence_then_asks(delay: int) -> None:
    """One cue at first, nothing for `delay` steps, the go signal once, and the end after `delay` + 2 steps."""
    env, cues = DelayedCue(delay), []
    for seed in range(20):
        shown, _ = env.reset(seed=seed)
        cues.append(int(shown[1]))
        assert shown.tolist() in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
        for step in range(delay + 2):
            shown, _, terminated, truncated, _ = env.step(np.int64(0))
            assert shown.tolist() == ([0.0, 0.0, 1.0] if step == delay else [0.0, 0.0, 0.0])
            assert terminated == (step == delay + 1) and not truncated
    assert 0 < sum(cues) < 20


@pytest.mark.parametrize("delay", [0, 4])
def test_delayed_cue_rewards_the_answer_alone(delay: int) -> None:
    """1 for naming the cue on the go signal, -1 for naming the other; whatever was done before earns 0."""
    env = DelayedCue(delay)
    for seed in range(10):
        for right in (True, False):
            cue = int(env.reset(seed=seed)[0][1])
            for step in range(delay + 1):
                assert env.step(np.int64((cue + step) % 2))[1] == 0.0
            assert env.step(np.int64(cue if right else 1 - cue))[1] == (1.0 if right else -1.0)


def test_negative_delay_is_refused() -> None:
    """It is an error that says what was given."""
    with pytest.raises(ValueError, match="delay is -1"):
        DelayedCue(-1)
