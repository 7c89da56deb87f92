"""Many steps in one crossing into compiled code: the numbers of single steps, whatever the world and the actions."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from controllers import ActorCritic, CompiledLoop, Loop
from controllers.compiled_loop import MOST_AT_ONCE
from envs import CartPole
from envs.compiled import CompiledEnv
from tests.checks import assert_same, snapshot
from threefactor._jit import address, call, entry, kernel

Floats = npt.NDArray[np.float64]
SPACES: dict[str, gym.Space[Any]] = {
    "discrete": Discrete(3, start=4), "several": MultiDiscrete([2, 3], start=[1, -1]),
    "box": Box(np.array([-2.0, 0.5]), np.array([1.0, 0.75]), dtype=np.float64),
    "box_float32": Box(np.float32([[-0.3], [1.0]]), np.float32([[0.1], [7.0]])),
}  # fmt: skip
SMALL = {"n_hidden": 9, "n_fields": 3}


@kernel
def swing(world: Floats, command: Floats, observation: Floats) -> tuple[float, bool, bool]:
    """A driven pair of numbers; ends after some steps, in either way, and may pay nothing that is a number."""
    push = 0.0
    for k in range(command.size):
        push += 0.1 * command[k]
    world[0] = 0.9 * world[0] + 0.3 * world[1] + push
    world[1] = 0.8 * world[1] - 0.4 * world[0]
    world[2] += 1.0
    observation[0], observation[1] = world[0], world[1]
    reward = np.nan if world[2] == world[4] else world[0] - world[1]
    return reward, world[2] == world[3], world[2] == world[3] + 1.0


class Swing(CompiledEnv):
    """`world`: two numbers, steps, the step that ends the episode, that of a bad reward."""

    kernel = staticmethod(swing)

    def __init__(self, space: gym.Space[Any], lengths: list[float], dtype: Any, bad: float = -1.0) -> None:
        self.observation_space, self.action_space = Box(-np.inf, np.inf, (2,), dtype), space
        self.lengths = itertools.cycle(lengths)
        super().__init__(np.array([0.0, 0.0, 0.0, 0.0, bad]), int(np.prod(space.shape or ())), 2)

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """Two random numbers."""
        self.world[:4] = *rng.normal(size=2), 0.0, next(self.lengths)
        seen[:] = self.world[:2]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_same_numbers_as_step_by_step(space: gym.Space[Any]) -> None:
    """Episodes, weights, traces, statistics and random numbers, bit by bit; in one run and in several; so goes on."""
    found = []
    for loop_of, stops in ((Loop, (2600, 2700)), (CompiledLoop, (2600, 2700))):
        agent = ActorCritic(2, space, 3, **SMALL)
        loop = loop_of(agent, Swing(space, [5.0, 1.0, 40.0, float(2 * MOST_AT_ONCE + 70)], np.float32), 7)
        episodes = [list(loop.run(stop)) for stop in stops]
        found.append((episodes, loop.steps, loop.episodes, snapshot(agent)))
        assert agent.actor.spikes().any()
    (episodes, *counts, ours), (theirs, *their_counts, other) = found
    assert episodes == theirs and counts == their_counts
    assert_same(ours, other)
    assert len(episodes[0]) >= 4 and sum(e.length for e in episodes[0]) > 2 * MOST_AT_ONCE


def test_adapting_slope_and_annealing_follow_the_episodes() -> None:
    """On a task that is learnt, with all that happens between episodes."""
    found = []
    for loop_of in (Loop, CompiledLoop):
        env = CartPole()
        agent = ActorCritic.for_env(env, 1, n_hidden=16, slope_schedule={"rule": "self_ranging"})
        episodes = list(loop_of(agent, env, 1).run(4000))
        found.append((episodes, agent.slope, agent.actor.learning_rate, snapshot(agent)))
    assert found[0][:3] == found[1][:3] and found[0][1] != 1.0
    assert_same(found[0][3], found[1][3])


def test_a_bad_sample_stops_the_loop_and_changes_nothing() -> None:
    """The error of `step`, with the weights before it; the random numbers drawn ahead are given back."""
    found = []
    for loop_of in (Loop, CompiledLoop):
        agent = ActorCritic(2, SPACES["discrete"], 3, **SMALL)
        with pytest.raises(ValueError, match="reward is nan; it must be finite"):
            list(loop_of(agent, Swing(SPACES["discrete"], [50.0], np.float32, bad=30.0), 7).run(100))
        found.append(snapshot(agent))
    assert_same(*found)


def test_what_cannot_be_compiled_is_refused() -> None:
    """A world without a kernel, a wrapped one, and a callback."""
    agent = ActorCritic(4, Discrete(2), 0, **SMALL)
    for env in (gym.make("CartPole-v1"), gym.wrappers.TimeLimit(CartPole(), 10)):
        with pytest.raises(TypeError, match=r"has no kernel.*Use Loop"):
            CompiledLoop(agent, env, 0)
    with pytest.raises(ValueError, match="on_step is given"):
        next(CompiledLoop(agent, CartPole(), 0).run(10, lambda: True))


def test_seeds_side_by_side_in_threads() -> None:
    """The interpreter is let go of: four seeds in two threads at once give what they give one by one."""

    def train(seed: int) -> tuple[list[Any], dict[str, Any]]:
        env = CartPole()
        agent = ActorCritic.for_env(env, seed, n_hidden=16)
        return list(CompiledLoop(agent, env, seed).run(2000)), snapshot(agent)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, range(4)))
    for seed, (episodes, kept) in enumerate(together):
        alone, expected = train(seed)
        assert episodes == alone
        assert_same(kept, expected)


@kernel
def answer_with(at: int, row: Floats, number: float) -> float:
    """What the kernel at this place says, and one."""
    return call(at, 0.0, row, number) + 1.0


@kernel
def weigh(row: Floats, number: float) -> float:
    """A kernel to be called."""
    return row[0] * number


def test_a_kernel_is_called_by_its_address() -> None:
    """From compiled code, and from Python where numba is switched off."""
    row = np.array([3.0, 1.0])
    at = address(weigh, row, 2.0)
    assert entry(answer_with, at, row, 2.0)(at, row, 2.0) == 7.0
    assert call(weigh, 0.0, row, 2.0) == 6.0
