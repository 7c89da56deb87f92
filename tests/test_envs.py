"""Worlds: Gymnasium's own checks, twin rollouts, and what each promises."""

from __future__ import annotations

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import DelayedCue, EvidenceAccumulation, PatternGeneration, SequenceTracking
from envs.sequences import SequenceWorld

EVIDENCE = {"n_cues": 3, "silence": 4.0, "cue": 6.0, "delay": 5.0, "recall": 4.0, "n_group": 2}
SEQUENCES: dict[str, dict[str, Any]] = {
    "threefactor/DelayedCue-v0": {"delay": 3},
    "threefactor/EvidenceAccumulation-v0": EVIDENCE,
    "threefactor/PatternGeneration-v0": {"duration": 60.0, "n_in": 7, "n_out": 2, "task_seed": 3, "dt": 2.0},
    "threefactor/SequenceTracking-v0": {"duration": 60.0, "n_in": 9, "lag": 5, "dt": 0.5},
}
WORLDS = SEQUENCES | {
    "threefactor/Arm-v0": {"actuation": "muscle", "n_targets": 0, "limit": 20},
    "threefactor/Cursor-v0": {"n_units": 5, "n_targets": 0, "recentre": False, "drift": 1.0, "limit": 20},
    "threefactor/CartPole-v0": {"length": 1.5, "limit": 20},
    "threefactor/Quadrotor-v0": {"radius": 0.3, "limit": 20},
}


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
    classes = [getattr(envs, name) for name in envs.__all__]
    worlds = [each for each in classes if issubclass(each, gym.Env) and not issubclass(each, gym.Wrapper)]
    assert len(worlds) == len(WORLDS)


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


@pytest.mark.parametrize("name", SEQUENCES)
def test_an_episode_plays_the_sequence_that_draw_gives(name: str) -> None:
    """Tick by tick, with target and mask beside it, in two episodes after one seed; then zeros, and a refusal."""
    world, rng = gym.make(name, **WORLDS[name]).unwrapped, np.random.default_rng(11)
    assert isinstance(world, SequenceWorld)
    for seed in (11, None):
        inputs, targets, mask = world.draw(rng)
        observation, info = world.reset(seed=seed)
        for tick in range(len(mask)):
            assert np.array_equal(observation, inputs[tick]) and np.array_equal(info["target"], targets[tick])
            assert info["learn"] is bool(mask[tick])
            observation, _, terminated, truncated, info = world.step(world.action_space.sample())
            assert terminated == (tick == len(mask) - 1) and not truncated
        assert not observation.any() and not info["target"].any() and info["learn"] is False
        with pytest.raises(gym.error.ResetNeeded, match="call reset"):
            world.step(world.action_space.sample())


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_is_handed_out_may_be_overwritten(name: str) -> None:
    """Neither the rest of the episode nor the rewards nor the next trial change."""

    def play(spoil: float) -> list[Any]:
        world, played = gym.make(name, **WORLDS[name]).unwrapped, []
        world.action_space.seed(0)
        action = world.action_space.sample()
        for seed in (3, 4):
            observation, info = world.reset(seed=seed)
            over = False
            while not over:
                played.append((observation.tolist(), info["target"].tolist()))
                observation *= spoil
                info["target"] *= spoil
                observation, reward, over, _, info = world.step(action)
                played.append(reward)
        return played

    assert play(1.0) == play(0.0)


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


@pytest.mark.parametrize(("right", "reward"), [(0, -1.0), (1, -1.0), (2, 0.0), (3, 1.0), (4, 1.0)])
def test_evidence_pays_for_the_majority_of_the_recall_window(right: int, reward: float) -> None:
    """On the last step alone, and whatever was named before the window."""
    world = EvidenceAccumulation(**EVIDENCE)
    for seed in range(6):
        world.reset(seed=seed)
        _, targets, mask = world.draw(np.random.default_rng(seed))
        side, start = int(targets[-1].argmax()), int(mask.argmax())
        assert len(mask) - start == 4
        for tick in range(len(mask)):
            named = seed % 2 if tick < start else side if tick - start < right else 1 - side
            paid = world.step(np.int64(named))[1]
            assert paid == (reward if tick == len(mask) - 1 else 0.0)


@pytest.mark.parametrize("world", [PatternGeneration(duration=50.0), SequenceTracking(duration=50.0, lag=7)])
def test_signals_pay_minus_the_squared_error(world: PatternGeneration | SequenceTracking) -> None:
    """Averaged over the outputs, on the ticks that count; an action of another shape is refused."""
    world.reset(seed=1)
    world.action_space.seed(1)
    _, targets, mask = world.draw(np.random.default_rng(1))
    for target, counts in zip(targets, mask, strict=True):
        action = world.action_space.sample()
        expected = -float(np.mean((action - target) ** 2)) if counts else 0.0
        assert world.step(action)[1] == pytest.approx(expected, rel=1e-5)
    world.reset()
    with pytest.raises(ValueError, match=r"action has shape \(2,\); it must be \("):
        world.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("world", [PatternGeneration(duration=50.0), SequenceTracking(duration=50.0, lag=7)])
def test_answering_with_the_target_loses_nothing(world: PatternGeneration | SequenceTracking) -> None:
    """An agent that answers with the target of `info` loses nothing."""
    info, over, total = world.reset(seed=2)[1], False, 0.0
    while not over:
        _, reward, over, _, info = world.step(info["target"])
        total += reward
    assert total == 0.0


REFUSED: list[tuple[type[gym.Env[Any, Any]], dict[str, Any], str]] = [
    (DelayedCue, {"delay": -1}, "delay is -1; it must be 0 or more."),
    (EvidenceAccumulation, {"n_cues": 4}, "n_cues is 4; it must be odd and 1 or more."),
    (EvidenceAccumulation, {"n_cues": -1}, "n_cues is -1; it must be odd and 1 or more."),
    (EvidenceAccumulation, {"delay": -1}, "delay is -1; it must be 0 or more."),
    (EvidenceAccumulation, {"cue": 0}, "cue is 0; it must be 1 or more."),
    (EvidenceAccumulation, {"recall": 10.5}, "recall is 10.5; it must be a multiple of dt, 1."),
    (EvidenceAccumulation, {"n_group": 0}, "n_group is 0; it must be 1 or more."),
    (EvidenceAccumulation, {"bias": 0.3}, "bias is 0.3; it must be 0.5 to 1."),
    (EvidenceAccumulation, {"cue_rate": 501.0, "dt": 2.0}, "cue_rate is 501.0; it must be 0 to 500."),
    (EvidenceAccumulation, {"noise_rate": -1.0}, "noise_rate is -1.0; it must be 0 to 1000."),
    (EvidenceAccumulation, {"dt": 0.0}, "dt is 0.0; it must be finite and above 0."),
    (PatternGeneration, {"duration": float("inf")}, "duration is inf; it must be 1 or more."),
    (PatternGeneration, {"n_in": 0}, "n_in is 0; it must be 1 or more."),
    (PatternGeneration, {"n_out": 0}, "n_out is 0; it must be 1 or more."),
    (PatternGeneration, {"rate": float("nan")}, "rate is nan; it must be 0 to 1000."),
    (PatternGeneration, {"task_seed": -1}, "task_seed is -1; it must be 0 or more."),
    (SequenceTracking, {"n_in": 1}, "n_in is 1; it must be 2 or more."),
    (SequenceTracking, {"width": 0.0}, "width is 0.0; it must be above 0."),
    (SequenceTracking, {"cutoff": 0.0}, "cutoff is 0.0; it must be above 0 and at most 500."),
    (SequenceTracking, {"lag": 1000}, "lag is 1000; it must be 0 to 999."),
]


@pytest.mark.parametrize(("world", "arguments", "message"), REFUSED)
def test_arguments_out_of_range_are_refused(
    world: type[gym.Env[Any, Any]], arguments: dict[str, Any], message: str
) -> None:
    """The error says what was given and what is wanted."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        world(**arguments)
