"""Many steps of agent and world in one crossing into compiled code, with the numbers of single steps.

A world takes part if its step is a kernel (`CompiledWorld`). Within an episode nothing is left to Python; between
episodes the world is reset and the agent begins anew as in any loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from controllers import places
from controllers import transition as compiled
from controllers.learner import Learner
from controllers.policies import CATEGORICAL
from controllers.training import Episode, Loop
from threefactor._jit import address, call, entry, kernel
from threefactor.arrays import Array, Ints
from threefactor.forward import copy

MOST_AT_ONCE = 1024  # steps for which random numbers are drawn ahead
STATUS, REWARD, OVER, N_TOLD = range(4)  # places in `told`


class CompiledWorld(Protocol):
    """What the loop asks of a world, beside what every Gymnasium environment has."""

    kernel: Any  #: (world, command, observation) -> (reward, terminated, truncated), writes the observation
    world: Array  #: (n,), float64: all that changes from step to step, and the constants
    command: Array  #: (entries of an action,), float64

    observation_space: Any
    action_space: Any

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""


@kernel
def decode(command: Array, chosen: Array, scales: Array, categorical: bool, single: bool) -> None:
    """From the policy's numbers to the world's; `scales`: middle, reach, lower and upper bound of each entry."""
    n = chosen.size
    for k in range(n):
        if categorical:
            command[k] = chosen[k] + scales[k]
        else:
            value = scales[k] + scales[n + k] * min(max(chosen[k], -1.0), 1.0)
            value = np.float64(np.float32(value)) if single else value
            command[k] = min(max(value, scales[2 * n + k]), scales[3 * n + k])


@kernel
def run_steps(
    drive_at: int, step_at: int, actor: Array, actor_table: Ints, critic: Array, critic_table: Ints, memory: Array,
    own: Array, sizes: Ints, given: Array, world: Array, command: Array, scales: Array, noise: Array, told: Array,
    single_action: bool, single_observation: bool,
) -> int:  # fmt: skip
    """Act and learn to the end of the episode, or of the random numbers; how many steps that were.

    `told` says with which answer `drive` refused the last step and at which reward, and whether the episode is over.
    """
    chosen, fresh = places.action_of(own, sizes), places.noise_of(own, sizes, 1)
    categorical, n = sizes[places.KIND] == CATEGORICAL, fresh.size
    told[OVER] = 0.0
    for step in range(noise.size // n):
        decode(command, chosen, scales, categorical, single_action)
        reward, terminated, truncated = call(step_at, (0.0, False, False), world, command, given)
        if single_observation:
            for i in range(given.size):
                given[i] = np.float64(np.float32(given[i]))
        told[REWARD] = reward
        told[STATUS] = call(
            drive_at, 0, actor, actor_table, critic, critic_table, memory, own, sizes, given, compiled.STEP, reward,
            terminated, truncated,
        )  # fmt: skip
        if told[STATUS] != compiled.DONE:
            return step
        copy(fresh, noise[step * n : (step + 1) * n])
        if terminated or truncated:
            told[OVER] = 1.0
            return step + 1
    return noise.size // n


class CompiledLoop(Loop):
    """Drives an actor-critic through a compiled world, up to 1024 steps in one crossing into compiled code.

    Parameters
    ----------
    agent : ActorCritic
    env : CompiledWorld
        Without wrappers: a wrapper's `step` would not be called.
    seed, steps, episodes : int
        As of `Loop`.

    Attributes
    ----------
    agent_seconds : float
        Time spent, the world's part included.

    Raises
    ------
    TypeError
        `env` is no compiled world.
    """

    def __init__(self, agent: Learner, env: Any, seed: int, steps: int = 0, episodes: int = 0) -> None:
        super().__init__(agent, env, seed, steps, episodes)  # type: ignore[arg-type]
        missing = [name for name in ("kernel", "world", "command") if name not in dir(type(env)) + list(vars(env))]
        if missing:
            raise TypeError(f"{env} has no {' and no '.join(missing)}: it is no compiled world, or wrapped. Use Loop.")
        self._learner, (scales, single) = agent, agent.actions.scales()
        held = agent._held[0]
        self._given = (
            address(compiled.drive, *held, compiled.STEP, 0.0, False, False),
            address(env.kernel, env.world, env.command, agent._given), *held, env.world, env.command, scales,
        )  # fmt: skip
        self._told, self._single = np.zeros(N_TOLD), (single, env.observation_space.dtype == np.float32)
        self._enter = entry(run_steps, *self._given, np.zeros(0), self._told, *self._single)

    def run(self, until: int, on_step: Callable[[], bool] | None = None) -> Iterator[Episode]:
        """As `Loop.run`; `on_step` is not to be had, as there is no Python between steps.

        Raises
        ------
        ValueError
            As of `ActorCritic.step`; or `on_step` was given.
        """
        if on_step is not None:
            raise ValueError("on_step is given; it would have to be called between steps. Use Loop.")
        seed: int | None = self._seed
        while self.steps < until:
            observation, _ = self.env.reset(seed=seed)
            seed = None
            self._timed(self._learner._begin, 0, observation)
            start, self._told[OVER] = self.steps, 0.0
            while not self._told[OVER]:
                if self.steps >= until:
                    return
                self.steps += self._timed(self._stretch, min(until - self.steps, MOST_AT_ONCE))
            self.episodes += 1
            total = float(self._learner._own[0, places.EPISODE_RETURN])
            yield Episode(self.episodes, self.steps, self.steps - start, total)

    def _stretch(self, most: int) -> int:
        """Go on for `most` steps, or to the end of the episode; how many steps that were."""
        agent = self._learner
        rng, each = agent._draws.generator(), agent.actions.n_noise
        before = rng.bit_generator.state
        count = self._enter(*self._given, rng.standard_normal(most * each), self._told, *self._single)
        if count < most:  # draw again what was needed, and no more
            rng.bit_generator.state = before
            rng.standard_normal(count * each)
        if self._told[STATUS] != compiled.DONE:
            agent._refuse(int(self._told[STATUS]), self._told[REWARD])
        if self._told[OVER]:
            agent._begun[0] = False
            agent._follow(float(agent._own[0, places.EPISODE_RETURN]))
        return count
