"""Stream AC(lambda): actor-critic of two multilayer perceptrons that learns from each transition once, without replay.

The peer that the spiking agent is compared with, from Elsayed, Vasan, Mahmood 2024, Streaming deep reinforcement
learning finally works, arXiv:2410.14606, whose numbers are the constants here and in `controllers.perceptron`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from controllers.normalisation import LARGE, observe, standard, standardise
from controllers.perceptron import LAST, Perceptron, cut, forget, forward, perceptron, trace, update
from controllers.policies import CATEGORICAL, draw_categorical, likeliest
from controllers.spaces import Actions, flat_size
from threefactor._jit import entry, kernel
from threefactor.arrays import Array
from threefactor.forward import all_finite, copy
from threefactor.readouts import softmax

DISCOUNT, TRACE_DECAY, ENTROPY = 0.99, 0.8, 0.01
ACTOR_OVERSHOOT, CRITIC_OVERSHOOT = 3.0, 2.0  # kappa
LEAST_DEVIATION = 1e-6  # added to the policy's, that no error be infinite
LIMIT = 1e4  # no observation is so many deviations off once the statistics hold it; finite in any case
VALUE, OBSERVATIONS, REWARDS, DISCRETE, N_NUMBERS = range(5)  # places in `numbers`
MEAN, SQUARES, NOW = range(3)  # rows of running statistics
USED, FRESH = range(2)  # rows of the noise
BEGIN, STEP, ACT = range(3)  # commands
DONE, BAD_OBSERVATION, BAD_REWARD = range(3)  # answers; unless DONE nothing was changed


class Memory(NamedTuple):
    """What is kept beside the networks, in double precision."""

    numbers: Array  #: (N_NUMBERS,)
    seen: Array  #: (2, observation), running mean and summed squared deviations
    returns: Array  #: (3, 1), the same of the discounted return, and it itself
    noise: Array  #: (2, normal numbers an action), of the last action and of the next one


@kernel
def look(net: Perceptron, given: Array, seen: Array, count: float) -> float:
    """Pass an observation, standardised, through a network; its first output."""
    standardise(cut(net, 0).inputs, given, seen[MEAN], seen[SQUARES], count, LIMIT)
    forward(net)
    return cut(net, LAST).outputs[0]  # type: ignore[no-any-return]


@kernel
def deviation(x: float) -> float:
    """softplus(x), and a little."""
    return LEAST_DEVIATION + max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@kernel
def choose(action: Array, y: Array, p: Array, noise: Array, discrete: bool, greedy: bool) -> None:
    """Draw from softmax(y), or from Gaussians with the means y[:n] and deviations softplus(y[n:]); or the likeliest."""
    if discrete:
        softmax(p, y)
        action[0] = likeliest(p) if greedy else draw_categorical(p, noise[0])
    elif greedy:
        copy(action, y)
    else:
        for k in range(action.size):
            action[k] = y[k] + deviation(y[action.size + k]) * noise[k]


@kernel
def blame(error: Array, y: Array, action: Array, noise: Array, discrete: bool, entropy: float) -> None:
    """Write minus the gradient of log pi(action) + entropy x H; for softmax p - 1[action] + entropy p (log p + H)."""
    if discrete:
        softmax(error, y)
        h = 0.0
        for k in range(y.size):
            h -= error[k] * math.log(max(error[k], 1e-30))
        for k in range(y.size):
            error[k] += entropy * error[k] * (math.log(max(error[k], 1e-30)) + h)
        error[int(action[0])] -= 1
    else:
        for k in range(action.size):
            u, spread = noise[k], y[action.size + k]
            error[k] = -u / deviation(spread)
            error[action.size + k] = -(u * u - 1.0 + entropy) / ((1.0 + math.exp(-spread)) * deviation(spread))


@kernel
def scaled(reward: float, returns: Array, count: float) -> float:
    """Reward over the running deviation of the discounted return; `count` includes it."""
    returns[NOW, 0] = DISCOUNT * returns[NOW, 0] + min(max(reward, -LARGE), LARGE)
    observe(returns[MEAN], returns[SQUARES], count, 1.0, returns[NOW])
    return standard(reward, 0.0, returns[SQUARES, 0], count, LARGE)


@kernel
def drive(
    actor: Perceptron, critic: Perceptron, memory: Memory, given: Array, action: Array, command: int, reward: float,
    worthless: bool, over: bool,
) -> int:  # fmt: skip
    """BEGIN an episode, STEP from an observation to the next, worthless or not, or ACT greedily; choose unless over.

    In a step both networks still hold what they made of the observation before. The critic's trace takes its gradient
    before the critic sees the new one; then both go along their traces, by delta = r + gamma V' - V.

    Returns
    -------
    int
        DONE; or BAD_OBSERVATION, BAD_REWARD, and then nothing was changed.
    """
    numbers, seen, returns, noise = memory
    error, y, discrete = cut(actor, LAST).errors, cut(actor, LAST).outputs, numbers[DISCRETE] > 0.0
    if not math.isfinite(reward):
        return BAD_REWARD
    if not all_finite(given):
        return BAD_OBSERVATION
    if command != ACT:
        numbers[OBSERVATIONS] += 1.0
        observe(seen[MEAN], seen[SQUARES], numbers[OBSERVATIONS], 1.0, given)
    if command == BEGIN:
        forget(actor)
        forget(critic)
        returns[NOW, 0] = 0.0
    if command == STEP:
        cut(critic, LAST).errors[0] = -1
        trace(critic, DISCOUNT * TRACE_DECAY)
        numbers[REWARDS] += 1.0
        delta = scaled(reward, returns, numbers[REWARDS]) - numbers[VALUE]
        if not worthless:
            delta += DISCOUNT * look(critic, given, seen, numbers[OBSERVATIONS])
        blame(error, y, action, noise[USED], discrete, math.copysign(ENTROPY, delta))
        trace(actor, DISCOUNT * TRACE_DECAY)
        update(actor, delta, ACTOR_OVERSHOOT)
        update(critic, delta, CRITIC_OVERSHOOT)
    if over:
        return DONE
    if command != ACT:
        numbers[VALUE] = look(critic, given, seen, numbers[OBSERVATIONS])
        copy(noise[USED], noise[FRESH])
    look(actor, given, seen, numbers[OBSERVATIONS])
    choose(action, y, error, noise[USED], discrete, command == ACT)
    return DONE


class StreamAC:
    """Stream AC(lambda) for Discrete actions (softmax policy) and for a Box with finite bounds (independent Gaussians).

    Observations are standardised and rewards scaled as they come. The draws of the Gaussians are clipped to [-1, 1],
    which spans the bounds of the box. The paper appends the time in the episode to the observation and lets no
    truncated episode bootstrap; who wants that wraps the environment and sets `bootstrap` to False.

    Parameters
    ----------
    n_observation : int
        Entries of the flat observation.
    action_space : gymnasium.spaces.Discrete or gymnasium.spaces.Box
    seed : int
        Of initial weights and of exploration.
    bootstrap : bool
        Whether the last state of a truncated episode has a value.
    least_inputs : int
        Weights of a unit that are not zero at first, at least. With 0, as in the paper, nine in ten are zero, rounded
        up: of fewer than ten inputs all. Such a layer starts at zero and learns fast, because it is normalised.
    n_hidden : int
        Units of a hidden layer.
    dtype : {"float32", "float64"}
        Precision of the networks.

    Examples
    --------
    >>> import gymnasium as gym
    >>> from controllers import Loop
    >>> env = gym.make("CartPole-v1")
    >>> agent = StreamAC.for_env(env, seed=0)
    >>> episodes = list(Loop(agent, env, seed=0).run(100))
    >>> agent.act(env.reset(seed=1)[0]) in (0, 1)
    True
    """

    def __init__(
        self, n_observation: int, action_space: gym.Space[Any], seed: int = 0, *, bootstrap: bool = True,
        least_inputs: int = 0, n_hidden: int = 128, dtype: npt.DTypeLike = "float32",
    ) -> None:  # fmt: skip
        self.n_observation, self.bootstrap, self.actions = int(n_observation), bool(bootstrap), Actions(action_space)
        n, discrete = self.actions.n_action, self.actions.kind == CATEGORICAL
        if discrete and n > 1:
            raise ValueError(f"action space is {action_space}; this agent takes Discrete or Box with finite bounds.")
        self._rng, hidden = np.random.default_rng(seed), (self.n_observation, n_hidden, n_hidden)
        self.actor = perceptron(self._rng, (*hidden, self.actions.n_readout), least_inputs, dtype)
        self.critic = perceptron(self._rng, (*hidden, 1), least_inputs, dtype)
        numbers, noise = np.zeros(N_NUMBERS), np.zeros((2, self.actions.n_noise))
        self.memory, numbers[DISCRETE] = (
            Memory(numbers, np.zeros((2, n_observation)), np.zeros((3, 1)), noise),
            discrete,
        )
        self._given, self._action, self._begun = np.zeros(self.n_observation), np.zeros(n), False
        self._held = (self.actor, self.critic, self.memory, self._given)
        self._drive = entry(drive, *self._held, self._action, STEP, 0.0, False, False)  # none compiles in a live loop
        self._draw()

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], seed: int = 0, **settings: Any) -> StreamAC:
        """Agent for the spaces of an environment."""
        return cls(flat_size(env.observation_space), env.action_space, seed, **settings)

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode."""
        self._look(observation)
        self._check(self._drive(*self._held, self._action, BEGIN, 0.0, False, False))
        self._begun = True
        self._draw()
        return self.actions.decode(self._action)

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn from the transition that the last action led to; the next action, which after an end means nothing."""
        if not self._begun:
            raise RuntimeError("no episode is under way; call begin with its first observation.")
        self._look(observation)
        over = bool(terminated or truncated)
        worthless = bool(terminated) or (over and not self.bootstrap)
        self._check(self._drive(*self._held, self._action, STEP, float(reward), worthless, over), reward)
        self._begun = not over
        self._draw()
        return self.actions.decode(self._action)

    def act(self, observation: npt.ArrayLike) -> Any:
        """Greedy action; learns nothing."""
        self._look(observation)
        kept, action = self.actor.state.copy(), self._action.copy()
        self._check(self._drive(*self._held, action, ACT, 0.0, False, False))
        self.actor.state[:] = kept  # with what it made of the observation that it is learning about
        return self.actions.decode(action)

    def reset(self) -> None:
        """Nothing: `act` keeps nothing from one observation to the next."""

    def _draw(self) -> None:  # ahead, so that a refused call draws none
        self.actions.draw(self._rng, self.memory.noise[FRESH])

    def _look(self, observation: npt.ArrayLike) -> None:
        x = np.asarray(observation)
        if x.size != self.n_observation:
            raise ValueError(f"observation has shape {x.shape}, this agent takes {self.n_observation} numbers.")
        self._given[...] = x.reshape(-1)

    def _check(self, answer: int, reward: float = 0.0) -> None:
        if answer == BAD_OBSERVATION:
            raise ValueError(f"observation {self._given} holds a value that is not finite; nothing was learnt.")
        if answer == BAD_REWARD:
            raise ValueError(f"reward is {reward}; it must be finite. Nothing was learnt from it.")
