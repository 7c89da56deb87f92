"""Behavioural cloning online: a spiking student learns from a teacher's action at every observation, and keeps none.

The student acts and the teacher labels what the student sees: Ross, Gordon, Bagnell 2011, AISTATS (DAgger), here
without the data set. Each label is learnt from once, when it comes, by e-prop (Bellec et al. 2020).
"""

from __future__ import annotations

import math
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import msgspec
import numpy as np
import numpy.typing as npt

from controllers.cloner_settings import ClonerSettings
from controllers.normalisation import LARGE, observe, standardise
from controllers.policies import CATEGORICAL
from controllers.population import averaging, descend
from controllers.settings import tau_of
from controllers.spaces import Actions, flat_size
from threefactor import Network, SlopeSchedule
from threefactor.arrays import Array
from threefactor.checkpoints import Kept, restore
from threefactor.settings import build

OBSERVATION_LIMIT = 10.0
# Places in `_numbers`
COUNT, EPISODE_RETURN, STEPS, LOSS, RATE, N_NUMBERS = range(6)


class Teacher(Protocol):
    """Who knows what to do; a `reset`, where there is one, is called at the start of each episode."""

    def act(self, observation: Any) -> Any:
        """Action for an observation."""


class Cloner(Kept):
    """Spiking student of a teacher, learning from one observation at a time.

    At each observation the readout is compared with the teacher's action and the weights change at once: squared error
    for box actions, in units in which the box is [-1, 1]; cross entropy of a softmax for discrete ones. The student is
    the `Network` `network`.

    Parameters
    ----------
    n_observation : int
        Entries of the flat observation.
    action_space : gymnasium.spaces.Discrete or gymnasium.spaces.Box
        What the actions are; a box must have finite bounds.
    teacher : Teacher or None
        Anything with `act(observation)`. Without one the student can `act` and not learn.
    seed : int
        Of initial weights and of who acts.
    **settings
        Any field of `ClonerSettings`.

    Examples
    --------
    >>> import gymnasium as gym
    >>> from controllers import Loop
    >>> class Upright:
    ...     def act(self, observation):
    ...         return int(observation[2] + observation[3] > 0)
    >>> env = gym.make("CartPole-v1")
    >>> student = Cloner.for_env(env, Upright(), seed=0)
    >>> for episode in Loop(student, env, seed=0).run(100):  # `begin` and `step`, as of any controller
    ...     assert episode.length > 0
    >>> student.act([0.0, 0.0, 0.1, 0.0]) in (0, 1)
    True
    """

    not_kept = ("teacher",)

    def __init__(
        self, n_observation: int, action_space: gym.Space[Any], teacher: Teacher | None, seed: int = 0, **settings: Any
    ) -> None:
        s = self.settings = build(ClonerSettings, **settings)
        self.n_observation, self.seed, self.actions = int(n_observation), int(seed), Actions(action_space)
        if isinstance(action_space, gym.spaces.MultiDiscrete):
            raise ValueError(f"action space is {action_space}; a student takes Discrete or Box with finite bounds.")
        self.teacher = teacher
        categorical = self.actions.kind == CATEGORICAL
        n_out = self.actions.n_readout if categorical else self.actions.n_action
        sizes = [s.n_hidden] if isinstance(s.n_hidden, int) else s.n_hidden
        self.network = Network(
            self.n_observation, sizes, n_out, n_adaptive=[round(s.adaptive_share * n) for n in sizes],
            recurrent=s.recurrent, bias=True, tau_m=tau_of(s.membrane_decay), tau_out=tau_of(s.readout_decay),
            tau_adaptation=tau_of(s.adaptation_decay), adaptation_strength=s.adaptation_strength,
            normalise_current=True, surrogate=s.surrogate, slope=s.slope, height=s.height,
            normalisation=s.normalisation, optimiser=s.optimiser, learning_rate=s.learning_rate,
            freeze_hidden=s.freeze_hidden, w_out_scale=0.0, dtype=s.dtype,
            readout="softmax" if categorical else "linear", seed=self.seed, tag_decay=0.0, **averaging(s.optimiser),
        )  # fmt: skip
        self.schedule = SlopeSchedule(s.slope_schedule)
        self._rng = np.random.default_rng(self.seed)
        self._numbers = np.zeros(N_NUMBERS)
        self._mean, self._squares, x = (np.zeros(self.n_observation) for _ in range(3))
        self._chosen = np.zeros(self.actions.n_action)
        self._rest = self.network.fast.copy()
        self._acting = self._rest.copy()
        self._begun = False
        observe(x, x, 1.0, 1.0, x)  # compiled now, not inside a live loop
        standardise(x, x, x, x, 1.0, OBSERVATION_LIMIT)

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], teacher: Teacher | None, seed: int = 0, **settings: Any) -> Cloner:
        """Student for the spaces of an environment.

        Raises
        ------
        ValueError
            Observations that are no flat Box, or actions neither Discrete nor a Box with finite bounds.
        """
        return cls(flat_size(env.observation_space), env.action_space, teacher, seed, **settings)

    # --- in the loop ------------------------------------------------------------------------------------------------

    def begin(self, observation: npt.ArrayLike) -> Any:
        """Learn from the first observation of an episode; the first action."""
        x = self._checked(observation)
        if self.teacher is not None and hasattr(self.teacher, "reset"):
            self.teacher.reset()
        wanted = self._asked(observation)
        if self.settings.rest != "never":
            self.network.reset()
        self._numbers[EPISODE_RETURN] = 0.0
        self._begun = True
        return self._learn(x, wanted, self.settings.rest == "episode")

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn from the observation that the last action led to; the next action.

        After an end (`terminated` or `truncated`) nothing is learnt, since nobody acts there, and the action means
        nothing: go on with `begin`. The reward only counts for the slope schedule.
        """
        if not self._begun:
            raise RuntimeError("no episode is under way; call begin with its first observation.")
        x = self._checked(observation)
        if not (isinstance(reward, SupportsFloat) and math.isfinite(reward)):
            raise ValueError(f"reward is {reward!r}; it must be a finite number. Nothing was learnt.")
        over = bool(terminated or truncated)
        wanted = self._chosen if over else self._asked(observation)
        self._numbers[STEPS] += 1
        self._numbers[EPISODE_RETURN] += reward
        if not over:
            return self._learn(x, wanted)
        self._begun = False
        if self.settings.slope_schedule.rule != "fixed":
            self.slope = self.schedule.update(float(self._numbers[EPISODE_RETURN]))
        return self.actions.decode(self._chosen)

    def act(self, observation: npt.ArrayLike) -> Any:
        """Action of the student; learns nothing. `reset` starts a new such episode."""
        network, x = self.network, self._checked(observation)
        state, table = network.state.copy(), network.table.copy()
        try:
            at_rest = self.settings.rest == "episode" and np.array_equal(self._acting, self._rest)
            network.fast[:] = self._acting
            y = self._present(x, at_rest)
            self._acting[:] = network.fast
            return self.actions.decode(self._choice(y))
        finally:
            network.state[:], network.table[:] = state, table

    def reset(self) -> None:
        """Put the neurons that `act` uses to rest; what is being learnt goes on untouched."""
        self._acting[:] = self._rest

    # --- what may be read -------------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Transitions seen so far."""
        return int(self._numbers[STEPS])

    @property
    def loss(self) -> float:
        """Low-passed loss, over about 100 observations: half the squared error, or the cross entropy."""
        return float(self._numbers[LOSS])

    @property
    def firing_rate(self) -> float:
        """Low-passed share of the hidden neurons that spike in a tick, over about 100 ticks."""
        return float(self._numbers[RATE])

    @property
    def slope(self) -> float:
        """Slope of the surrogate; may be set at any time."""
        return self.network.slope

    @slope.setter
    def slope(self, value: float) -> None:
        self.network.slope = value

    # --- keeping ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        about = {
            "n_observation": self.n_observation, "action_space": self.actions.about(), "seed": self.seed,
            "begun": self._begun, "settings": msgspec.to_builtins(self.settings),
            "random": self._rng.bit_generator.state,
        }  # fmt: skip
        arrays = {**self.network.arrays(), **self._own(), **self.actions.arrays()}
        copies = {name: array.copy() for name, array in arrays.items()}
        return {"arrays": copies, "about": about, "teacher": self.teacher}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        about, arrays = saved["about"], saved["arrays"]
        space = Actions.space_of(about["action_space"], arrays)
        Cloner.__init__(self, about["n_observation"], space, saved.get("teacher"), about["seed"], **about["settings"])
        self.network.put(arrays)
        for name, array in self._own().items():
            restore(array, arrays, name)
        self._rng.bit_generator.state = about["random"]
        self._begun = bool(about["begun"])

    def _own(self) -> dict[str, Array]:
        return {
            "numbers": self._numbers, "mean": self._mean, "squares": self._squares, "chosen": self._chosen,
            "acting": self._acting, "schedule": self.schedule.state,
        }  # fmt: skip

    # --- inside -----------------------------------------------------------------------------------------------------

    def _checked(self, observation: npt.ArrayLike) -> Array:
        x = np.array(observation, dtype=np.float64)
        if x.size != self.n_observation:
            raise ValueError(
                f"observation has shape {x.shape}, this student takes {self.n_observation} numbers; use for_env."
            )
        if not np.isfinite(x).all():
            raise ValueError(f"observation {x} holds a value that is not finite; nothing was learnt.")
        return x.reshape(-1)

    def _asked(self, observation: npt.ArrayLike) -> Array:
        """The teacher's action: the index of a choice, or what of [-1, 1] stands for an action of the box."""
        if self.teacher is None:
            raise RuntimeError("there is no teacher to learn from; set `teacher`, or call act.")
        space, given = self.actions.space, self.teacher.act(observation)
        action = np.asarray(given, dtype=np.float64).reshape(-1)
        if action.size == self._chosen.size and np.isfinite(action).all():
            if isinstance(space, gym.spaces.Box):
                unit: Array = np.clip(self.actions.encode(action), -1.0, 1.0)
                return unit
            if action[0] == int(action[0]) and space.contains(int(action[0])):
                return action - float(self.actions.about()["start"])
        raise ValueError(f"the teacher's action is {given!r}, which is not of {space}; nothing was learnt.")

    def _learn(self, x: Array, wanted: Array, at_rest: bool = False) -> Any:
        """Look, learn, and say what to do; the student's own action is that of before it learnt."""
        numbers = self._numbers
        numbers[COUNT] += 1
        observe(self._mean, self._squares, float(numbers[COUNT]), 1.0, x)
        y = self._present(x, at_rest)
        own = self._choice(y)
        if self.actions.kind == CATEGORICAL:
            right = int(wanted[0])
            error, loss = y - (np.arange(y.size) == right), -math.log(y[right] + 1e-12)
        else:
            error = y - wanted
            loss = 0.5 * float(error @ error)
        numbers[LOSS] += 0.01 * (loss - numbers[LOSS])
        numbers[RATE] += 0.01 * (float(self.network.spikes().mean()) - numbers[RATE])
        descend(self.network, error)
        self._chosen[:] = own if self._rng.random() < self.settings.student_acts else wanted
        return self.actions.decode(self._chosen)

    def _present(self, x: Array, at_rest: bool) -> Array:
        """Show an observation to the network, longer if its neurons are at rest; its readout."""
        if self.settings.rest == "observation":
            self.network.reset()
        if self.settings.normalise_observations:
            standardise(x, x, self._mean, self._squares, float(self._numbers[COUNT]), OBSERVATION_LIMIT)
        ticks = max(self.settings.ticks, self.settings.warm_ticks if at_rest else 1)
        for _ in range(ticks):
            y = self.network.step(np.clip(x, -LARGE, LARGE))
        return y

    def _choice(self, y: Array) -> Array:
        return np.array([y.argmax()], float) if self.actions.kind == CATEGORICAL else y.astype(float)
