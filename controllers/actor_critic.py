"""A spiking actor-critic that learns from every transition as it happens, and keeps none of them."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import numpy.typing as npt

from controllers import transition as compiled
from controllers.settings import ActorCriticSettings, tau_of
from controllers.spaces import Actions, flat_size
from threefactor import Network, SlopeSchedule
from threefactor import layout as at
from threefactor.arrays import Array
from threefactor.checkpoints import describing, load_checkpoint, restore, save_checkpoint
from threefactor.settings import build


class ActorCritic:
    """Spiking actor and critic, learning online by reward-based e-prop.

    Parameters
    ----------
    n_observation : int
        Entries of the flat observation.
    action_space : gymnasium.spaces.Discrete or gymnasium.spaces.Box
        What the actions are; a box must be flat.
    seed : int
        Of initial weights and of exploration.
    **settings
        Any field of `ActorCriticSettings`.

    Examples
    --------
    >>> import gymnasium as gym
    >>> env = gym.make("CartPole-v1")
    >>> agent = ActorCritic.for_env(env, seed=0)
    >>> observation, _ = env.reset(seed=0)
    >>> action = agent.begin(observation)
    >>> for _ in range(100):
    ...     observation, reward, terminated, truncated, _ = env.step(action)
    ...     action = agent.step(observation, reward, terminated, truncated)
    ...     if terminated or truncated:
    ...         observation, _ = env.reset()
    ...         action = agent.begin(observation)
    >>> agent.act(observation) in (0, 1)
    True
    """

    def __init__(self, n_observation: int, action_space: gym.Space[Any], seed: int = 0, **settings: Any) -> None:
        s = self.settings = build(ActorCriticSettings, **settings)
        self.n_observation, self.seed, self.actions = int(n_observation), int(seed), Actions(action_space)
        shared: dict[str, Any] = {
            "n_in": self.n_observation * (1 + s.n_fields), "n_hidden": s.n_hidden,
            "n_adaptive": round(s.adaptive_share * s.n_hidden),
            "recurrent": s.recurrent, "bias": True, "tau_m": tau_of(s.membrane_decay),
            "tau_out": tau_of(s.readout_decay), "tau_adaptation": tau_of(s.adaptation_decay),
            "adaptation_strength": s.adaptation_strength,
            "normalise_current": True, "surrogate": s.surrogate, "slope": s.slope, "height": s.height,
            "normalisation": s.normalisation,
            "optimiser": s.optimiser, "beta_2": 0.9999, "freeze_hidden": s.freeze_hidden,
            "w_out_scale": 0.0, "dtype": s.dtype,
        }  # fmt: skip
        self.actor = Network(
            n_out=self.actions.n_readout, learning_rate=s.actor_rate, overshoot=s.actor_overshoot, seed=2 * self.seed,
            **shared,
        )  # fmt: skip
        self.critic = Network(
            n_out=1, learning_rate=s.critic_rate, overshoot=s.critic_overshoot, seed=2 * self.seed + 1, **shared
        )
        for network in (self.actor, self.critic):
            network.w_in[:, -1] = 0.0  # random biases would let some neurons fire always, and others never
        self.schedule = SlopeSchedule(s.slope_schedule)
        self._rng = np.random.default_rng(self.seed)
        actions = self.actions
        sizes = (self.n_observation, actions.n_action, actions.n_noise, actions.kind, s.n_fields, s.warm_ticks)
        self._sizes = np.array(sizes, dtype=np.int64)
        self._memory = np.zeros(compiled.memory_size(self._sizes))
        for place, value in {
            compiled.DISCOUNT: s.discount, compiled.TRACE_DECAY: s.trace_decay, compiled.ENTROPY: s.entropy,
            compiled.SIGMA_FLOOR: 1e-3, compiled.OBSERVATION_LIMIT: 10.0, compiled.SCALE_REWARDS: s.scale_rewards,
            compiled.NORMALISE: s.normalise_observations, compiled.KEEP_STATE: s.keep_state, compiled.REWARD_SCALE: 1.0,
            compiled.BASELINE_RATE: s.baseline_rate, compiled.NOISE_CORRELATION: s.noise_correlation,
            compiled.NOVELTY: s.novelty, compiled.DEVIATION_BIAS: s.deviation_bias,
            compiled.NORMALISE_ERROR: s.optimiser == "intentional",
        }.items():  # fmt: skip
            self._memory[place] = value
        self._cut_views()
        self._compile()
        self.actions.draw(self._rng, compiled.noise_of(self._memory, self._sizes, 0))
        self.actions.draw(self._rng, self._noise)  # random numbers are drawn ahead, so that a refused call draws none

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], seed: int = 0, **settings: Any) -> ActorCritic:
        """Agent for the spaces of an environment.

        Raises
        ------
        ValueError
            Observations that are no flat Box, or actions neither Discrete nor a flat Box with finite bounds.
        """
        return cls(flat_size(env.observation_space), env.action_space, seed, **settings)

    def _compile(self) -> None:
        """Run each kernel once on copies, so that none is compiled inside a live loop."""
        actor, actor_table, critic, critic_table = (array.copy() for array in self._nets)
        memory = self._memory.copy()
        for command in (compiled.BEGIN, compiled.STEP, compiled.ACT):
            compiled.drive(
                actor, actor_table, critic, critic_table, memory, self._sizes, self._given, command, 0.0, False, False
            )

    def _cut_views(self) -> None:
        self._given = np.zeros(self.n_observation)
        self._action = compiled.action_of(self._memory, self._sizes)
        self._noise = compiled.noise_of(self._memory, self._sizes, 1)
        self._nets = (self.actor.state, self.actor.table, self.critic.state, self.critic.table)
        self._rest = self.actor.fast.copy()
        self._acting, self._acting_ticks = self._rest.copy(), 0
        self._begun = False

    # --- in the loop ------------------------------------------------------------------------------------------------

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode."""
        self._look(observation)
        self._drive(compiled.BEGIN)
        self._begun = True
        self.actions.draw(self._rng, self._noise)
        return self.actions.decode(self._action)

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn from the transition that the last action led to; the next action.

        After an end (`terminated` or `truncated`) the action means nothing: go on with `begin`.
        """
        if not self._begun:
            raise RuntimeError("no episode is under way; call begin with its first observation.")
        self._look(observation)
        try:
            reward = float(reward)
        except (TypeError, ValueError):
            raise ValueError(f"reward is {reward!r}; it must be a number. Nothing was learnt from it.") from None
        self._drive(compiled.STEP, reward, bool(terminated), bool(truncated))
        self.actions.draw(self._rng, self._noise)
        if terminated or truncated:
            self._begun = False
            if self.settings.slope_schedule.rule != "fixed":
                self.slope = self.schedule.update(float(self._memory[compiled.EPISODE_RETURN]))
        return self.actions.decode(self._action)

    def act(self, observation: npt.ArrayLike) -> Any:
        """Greedy action; learns nothing. `reset` starts a new greedy episode."""
        kept = self._memory.copy()
        fast, table = self.actor.fast, self.actor.table
        pending, ticks, defers = table[at.PENDING], table[at.TICKS], table[at.DEFERS]
        saved = fast.copy()
        fast[:] = self._acting
        try:
            self._look(observation)
            table[at.PENDING], table[at.TICKS] = 0, self._acting_ticks
            table[at.DEFERS] = at.NOTHING  # rows of traces that wait are none of its business
            self._drive(compiled.ACT)
            self._acting[:], self._acting_ticks = fast, int(table[at.TICKS])
            return self.actions.decode(self._action)
        finally:
            fast[:] = saved
            table[at.PENDING], table[at.TICKS], table[at.DEFERS] = pending, ticks, defers
            self._memory[:] = kept

    def reset(self) -> None:
        """Put the neurons that `act` uses to rest; what is being learnt goes on untouched."""
        self._acting[:], self._acting_ticks = self._rest, 0

    # --- what may be read -------------------------------------------------------------------------------------------

    @property
    def td_error(self) -> float:
        """TD error of the last transition, in units of the scaled reward."""
        return float(self._memory[compiled.TD_ERROR])

    @property
    def steps(self) -> int:
        """Transitions learnt from so far."""
        return int(self._memory[compiled.STEPS])

    @property
    def mean_td_error(self) -> float:
        """Low-passed size of the TD error, over about 100 steps."""
        return float(self._memory[compiled.MEAN_TD_ERROR])

    @property
    def firing_rate(self) -> float:
        """Low-passed share of the actor's neurons that spike in a tick, over about 100 steps."""
        return float(self._memory[compiled.MEAN_RATE])

    @property
    def slope(self) -> float:
        """Slope of the surrogate; may be set at any time."""
        return self.actor.slope

    @slope.setter
    def slope(self, value: float) -> None:
        self.actor.slope = value
        self.critic.slope = value

    # --- keeping ----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint from which `load` goes on exactly here: weights, traces, statistics, random numbers."""
        save_checkpoint(path, "ActorCritic", self._arrays(), self._about())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ActorCritic:
        """Agent from a checkpoint.

        Raises
        ------
        FileNotFoundError, CheckpointError
            No such file; not an agent's checkpoint, or a damaged one.
        """
        arrays, about = load_checkpoint(path, "ActorCritic")
        with describing(path):
            space = Actions.space_of(about["action_space"], arrays)
            agent = cls(about["n_observation"], space, about["seed"], **about["settings"])
            agent._put(arrays, about)
        return agent

    def __getstate__(self) -> dict[str, Any]:
        return {"arrays": {name: array.copy() for name, array in self._arrays().items()}, "about": self._about()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        about, arrays = saved["about"], saved["arrays"]
        space = Actions.space_of(about["action_space"], arrays)
        self.__init__(about["n_observation"], space, about["seed"], **about["settings"])  # type: ignore[misc]
        self._put(arrays, about)

    def _arrays(self) -> dict[str, Array]:
        arrays = {"memory": self._memory, "acting": self._acting, "schedule": self.schedule.state}
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            arrays |= {f"{name}.state": network.state, f"{name}.table": network.table}
        return arrays | self.actions.arrays()

    def _about(self) -> dict[str, Any]:
        return {
            "n_observation": self.n_observation, "action_space": self.actions.about(), "seed": self.seed,
            "begun": self._begun, "acting_ticks": self._acting_ticks, "settings": msgspec.to_builtins(self.settings),
            "random": self._rng.bit_generator.state,
        }  # fmt: skip

    def _put(self, arrays: dict[str, Array], about: dict[str, Any]) -> None:
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            network.put({key: arrays[f"{name}.{key}"] for key in ("state", "table") if f"{name}.{key}" in arrays})
        for name, array in (("memory", self._memory), ("acting", self._acting), ("schedule", self.schedule.state)):
            restore(array, arrays, name)
        self._rng.bit_generator.state = about["random"]
        self._begun, self._acting_ticks = bool(about["begun"]), int(about["acting_ticks"])

    # --- inside -----------------------------------------------------------------------------------------------------

    def _look(self, observation: npt.ArrayLike) -> None:
        x = observation if isinstance(observation, np.ndarray) else np.asarray(observation)
        if x.size != self.n_observation:
            raise ValueError(
                f"observation has shape {x.shape}, this agent takes {self.n_observation} numbers; use for_env."
            )
        self._given[...] = x.reshape(-1)

    def _drive(self, command: int, reward: float = 0.0, terminated: bool = False, truncated: bool = False) -> None:
        actor, actor_table, critic, critic_table = self._nets
        status = compiled.drive(
            actor, actor_table, critic, critic_table, self._memory, self._sizes, self._given, command, reward,
            terminated, truncated,
        )  # fmt: skip
        if status == compiled.BAD_OBSERVATION:
            raise ValueError(f"observation {self._given} holds a value that is not finite; nothing was learnt.")
        if status == compiled.BAD_REWARD:
            raise ValueError(f"reward is {reward}; it must be finite. Nothing was learnt from it.")
