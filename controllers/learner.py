"""What `ActorCritic` and `VectorActorCritic` are inside: two networks, and what else learning keeps, for any copies."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import numpy.typing as npt

from controllers import places
from controllers import transition as compiled
from controllers.agent_networks import FIXED, MOST_TOGETHER, completed, networks_of
from controllers.annealing import Annealing
from controllers.noise import Noise
from controllers.settings import ActorCriticSettings
from controllers.spaces import Actions
from threefactor import SlopeSchedule
from threefactor import layout as at
from threefactor._jit import entry
from threefactor.arrays import Array
from threefactor.checkpoints import Kept, restore
from threefactor.settings import build

LARGEST = np.finfo(np.float64).max


class Learner(Kept):
    """Spiking actor and critic that any number of copies share, each acting in a world of its own.

    Parameters
    ----------
    n_observation : int
        Entries of the flat observation.
    action_space : gymnasium.spaces.Discrete, MultiDiscrete or Box
        What the actions are; a box must have finite bounds.
    seed : int
        Of initial weights and of exploration.
    n_copies : int
        How many there are.
    **settings
        Any field of `ActorCriticSettings`.
    """

    def __init__(
        self, n_observation: int, action_space: gym.Space[Any], seed: int, n_copies: int, **settings: Any
    ) -> None:
        self.n_observation, self.seed, self.actions = int(n_observation), int(seed), Actions(action_space)
        self.n_copies = int(n_copies)
        given = build(ActorCriticSettings, **settings)
        n_seen = self.n_observation * (2 if given.differences else 1)
        s = self.settings = completed(given, n_seen, self.actions)
        self.actor, self.critic = networks_of(s, n_seen, self.actions, self.seed, self.n_copies)
        self.schedule = SlopeSchedule(s.slope_schedule)
        actions = self.actions
        fixed = self._fixed = FIXED[actions.kind, actions.several]
        self.annealing = Annealing(
            s.step_annealing, s.noise_annealing, s.sample_annealing, fixed.within, fixed.least_width
        )
        self._actor_rate = self.actor.learning_rate
        self._draws = Noise(self.seed, actions.n_noise)
        sizes = (
            n_seen, actions.n_action, actions.n_readout, actions.n_noise, actions.kind, s.n_fields,
            int(s.joint_fields), s.warm_ticks, self.n_copies, *actions.starts,
        )  # fmt: skip
        self._sizes = np.array(sizes, dtype=np.int64)
        self._memory = np.zeros(places.memory_size(self._sizes))
        self._own = np.zeros((self.n_copies, places.own_size(self._sizes)))
        self._fill_memory()
        self._bound(-LARGEST, LARGEST)
        self._given = np.zeros(self.n_observation)
        self._begun = np.zeros(self.n_copies, dtype=bool)
        self._last = 0  # the copy whose turn it was
        self._rest = self.actor.fast.copy()
        self._acting, self._acting_ticks = self._rest.copy(), 0
        self._acted_on = np.zeros(n_seen)  # the last observation that `act` was asked about
        self._compile()
        self._chosen = [places.view(places.action_of, own, self._sizes) for own in self._own]
        self._noise = [places.view(places.noise_of, own, self._sizes, 1) for own in self._own]
        for copy, own in enumerate(self._own):
            places.view(places.noise_of, own, self._sizes, 0)[:] = self._draws.next()
            self._noise[copy][...] = self._draws.next()

    def _fill_memory(self) -> None:
        """Write what compiled code needs of the settings."""
        s, fixed = self.settings, self._fixed
        for place, value in {
            places.DISCOUNT: s.discount, places.TRACE_DECAY: s.trace_decay, places.ENTROPY: s.entropy,
            places.SIGMA_FLOOR: fixed.least_deviation,
            places.OBSERVATION_LIMIT: 10.0, places.SCALE_REWARDS: s.scale_rewards,
            places.NORMALISE: s.normalise_observations, places.KEEP_STATE: s.keep_state, places.REWARD_SCALE: 1.0,
            places.BASELINE_RATE: min(s.baseline_rate, MOST_TOGETHER / self.n_copies),
            places.NOISE_CORRELATION: s.noise_correlation,
            places.WIDTH: 1.0, places.NOVELTY: s.novelty,
            places.DEVIATION_BIAS: s.deviation_bias - fixed.narrower,
            places.WARM_UP: s.warm_up_steps, places.SAMPLE_WEIGHT: 1.0,
            places.NORMALISE_ERROR: s.optimiser == "intentional",
            places.LEAST_ERROR: fixed.least_error,
        }.items():  # fmt: skip
            self._memory[place] = value

    def _bound(self, low: npt.ArrayLike, high: npt.ArrayLike) -> None:
        """Have observations outside these bounds refused."""
        for kept, bound in zip(self._kept_bounds(), (low, high), strict=True):
            kept[:] = np.clip(np.ravel(bound), -LARGEST, LARGEST)

    def _kept_bounds(self) -> list[Array]:
        """Views of the lower and upper bounds that observations are held to."""
        return [
            places.view(places.statistics_of, self._memory, self._sizes, which)[: self.n_observation]
            for which in (places.LOW, places.HIGH)
        ]

    def _compile(self) -> None:
        """Have all kernels compiled, so that none is inside a live loop, and keep what each copy's calls hand over."""
        actor, critic = self.actor, self.critic
        self._held = [
            (actor.state, its, critic.state, hers, self._memory, own, self._sizes, self._given)
            for its, hers, own in zip(actor.tables, critic.tables, self._own, strict=True)
        ]
        self._enter = entry(compiled.drive, *self._held[0], compiled.STEP, 0.0, False, False)
        at.hand_over(actor.tables[0].copy(), actor.tables[0])

    # --- acting -----------------------------------------------------------------------------------------------------

    def act(self, observation: npt.ArrayLike) -> Any:
        """Greedy action; learns nothing. `reset` starts a new greedy episode."""
        kept, fast, table = self._own[0].copy(), self.actor.fast, self.actor.table
        seen = places.view(places.observation_of, self._own[0], self._sizes)
        pending, ticks, defers = table[at.PENDING], table[at.TICKS], table[at.DEFERS]
        saved = fast.copy()
        fast[:] = self._acting
        try:
            self._look(observation)
            seen[:] = self._acted_on
            table[at.PENDING], table[at.TICKS] = 0, self._acting_ticks
            table[at.DEFERS] = at.NOTHING  # rows of traces that wait are none of its business
            self._drive(0, compiled.ACT)
            self._acting[:], self._acting_ticks, self._acted_on[:] = fast, int(table[at.TICKS]), seen
            return self._action(0)
        finally:
            fast[:] = saved
            table[at.PENDING], table[at.TICKS], table[at.DEFERS] = pending, ticks, defers
            self._own[0] = kept

    def reset(self) -> None:
        """Put the neurons that `act` uses to rest; what is being learnt goes on untouched."""
        self._acting[:], self._acting_ticks, self._acted_on[:] = self._rest, 0, 0.0

    # --- what may be read -------------------------------------------------------------------------------------------

    @property
    def td_error(self) -> float:
        """TD error of the last transition, in units of the scaled reward."""
        return float(self._memory[places.TD_ERROR])

    @property
    def steps(self) -> int:
        """Transitions learnt from so far."""
        return int(self._memory[places.STEPS])

    @property
    def mean_td_error(self) -> float:
        """Low-passed size of the TD error, over about 100 steps."""
        return float(self._memory[places.MEAN_TD_ERROR])

    @property
    def firing_rate(self) -> float:
        """Low-passed share of the actor's neurons that spike in a tick, over about 100 steps."""
        return float(self._memory[places.MEAN_RATE])

    @property
    def slope(self) -> float:
        """Slope of the surrogate; may be set at any time."""
        return self.actor.slope

    @slope.setter
    def slope(self, value: float) -> None:
        self.actor.slope = value
        self.critic.slope = value

    # --- keeping ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"arrays": {name: array.copy() for name, array in self._arrays().items()}, "about": self._about()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        about, arrays = saved["about"], saved["arrays"]
        space = Actions.space_of(about["action_space"], arrays)
        Learner.__init__(
            self, about["n_observation"], space, about["seed"], about["n_copies"], **about["settings"]
        )  # fmt: skip
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            network.put({key: arrays[f"{name}.{key}"] for key in ("state", "table") if f"{name}.{key}" in arrays})
        for name, array in self._kept().items():
            restore(array, arrays, name)
        self._draws.state = about["random"]
        self._begun[:] = about["begun"]
        self._last, self._acting_ticks = int(about["last"]), int(about["acting_ticks"])

    def _kept(self) -> dict[str, Array]:
        kept = {
            "memory": self._memory, "own": self._own, "acting": self._acting, "schedule": self.schedule.state,
            "annealing": self.annealing.state,
        }  # fmt: skip
        return kept | ({"acted_on": self._acted_on} if self.settings.differences else {})

    def _arrays(self) -> dict[str, Array]:
        arrays = self._kept() | self.actions.arrays()
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            arrays |= {f"{name}.{key}": array for key, array in network.arrays().items()}
        return arrays

    def _about(self) -> dict[str, Any]:
        return {
            "n_observation": self.n_observation, "action_space": self.actions.about(), "seed": self.seed,
            "n_copies": self.n_copies, "begun": self._begun.tolist(), "last": self._last,
            "acting_ticks": self._acting_ticks, "settings": msgspec.to_builtins(self.settings),
            "random": self._draws.state,
        }  # fmt: skip

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin(self, copy: int, observation: npt.ArrayLike) -> None:
        """Begin a copy's episode, up to its first action."""
        self._look(observation)
        self._drive(copy, compiled.BEGIN)
        self._begun[copy] = True
        self._noise[copy][...] = self._draws.next()

    def _step(self, copy: int, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> None:
        """Have a copy learn from a transition, and choose its next action."""
        self._look(observation)
        self._drive(copy, compiled.STEP, reward, terminated, truncated)
        # random numbers are drawn ahead for the next action, so that a call that is refused draws none
        self._noise[copy][...] = self._draws.next()
        if terminated or truncated:
            self._begun[copy] = False
            self._follow(float(self._own[copy, places.EPISODE_RETURN]))

    def _follow(self, episode_return: float) -> None:
        """Let slope, step and exploration follow the return of an episode."""
        if self.settings.slope_schedule.rule != "fixed":
            self.slope = self.schedule.update(episode_return)
        self.annealing.update(episode_return)
        self.actor.learning_rate = self._actor_rate * self.annealing.step_share
        at_least = 1.0 - self.steps / self._fixed.noisy_steps if self._fixed.noisy_steps else 0.0
        self._memory[places.WIDTH] = max(self.annealing.width_share, at_least)
        self._memory[places.SAMPLE_WEIGHT] = self.annealing.sample_weight

    def _action(self, copy: int) -> Any:
        return self.actions.decode(self._chosen[copy])

    def _look(self, observation: npt.ArrayLike) -> None:
        x = observation if isinstance(observation, np.ndarray) else np.asarray(observation)
        if x.ndim == 1 and x.size == self.n_observation:
            self._given[...] = x
            return
        if x.size != self.n_observation:
            raise ValueError(
                f"observation has shape {x.shape}, this agent takes {self.n_observation} numbers; use for_env."
            )
        self._given[...] = x.reshape(-1)

    def _drive(
        self, copy: int, command: int, reward: float = 0.0, terminated: bool = False, truncated: bool = False
    ) -> None:
        if copy != self._last and command != compiled.CHECK:
            for network in (self.actor, self.critic):
                at.hand_over(network.tables[copy], network.tables[self._last])
            self._last = copy
        status = self._enter(*self._held[copy], command, reward, terminated, truncated)
        if status:
            self._refuse(status, reward)

    def _refuse(self, status: int, reward: float) -> None:
        """Say what was wrong with what the compiled code was given."""
        if status == compiled.BAD_REWARD:
            raise ValueError(f"reward is {reward}; it must be finite. Nothing was learnt from it.")
        if status == compiled.BAD_OBSERVATION:
            raise ValueError(f"observation {self._given} holds a value that is not finite; nothing was learnt.")
        low, high = self._kept_bounds()
        entry = int(np.argmax(np.maximum(low - self._given, self._given - high)))
        raise ValueError(
            f"entry {entry} of the observation is {self._given[entry]}, outside its space, which spans "
            f"[{low[entry]}, {high[entry]}]; nothing was learnt. Correct the environment, or the bounds of its space."
        )
