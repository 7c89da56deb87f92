"""A spiking actor-critic that learns from every transition as it happens, and keeps none of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import gymnasium as gym
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from controllers import transition as compiled
from controllers.policies import CATEGORICAL, GAUSSIAN
from threefactor import Network
from threefactor import layout as at
from threefactor import tick
from threefactor.arrays import Array
from threefactor.settings import Fraction, NonNegative, Positive, build


class ActorCriticSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the actor-critic; one set of defaults for every task.

    Parameters
    ----------
    n_hidden : int
        Neurons of the actor's, and as many of the critic's, population.
    discount, trace_decay : float
        gamma and lambda: what a tag keeps from one transition to the next is their product.
    learning_rate, actor_overshoot, critic_overshoot : float
        Largest step, and kappa of the overshooting bound of either network.
    entropy : float
        Weight of the entropy bonus.
    membrane_decay, readout_decay : float
        What membrane and readout keep from one environment step to the next; time is counted in such steps.
    slope, height, surrogate
        Of the surrogate derivative, see `threefactor.surrogates`; thresholds are 1.
    recurrent : bool
        Whether the populations are recurrent, for partially observed tasks.
    adaptive_share : float
        Share of neurons with adaptive thresholds.
    adaptation_decay, adaptation_strength : float
        rho and beta of these.
    normalise_observations, scale_rewards : bool
        Standardise observations, and divide rewards by the deviation of the discounted return, both running.
    keep_state : bool
        Keep the neurons' state from one episode to the next instead of putting them to rest.
    freeze_hidden : bool
        Only the readouts learn: the control of every learning claim.
    dtype : {"float32", "float64"}
        Precision of the networks.
    """

    n_hidden: Annotated[int, Meta(ge=1)] = 128
    discount: Fraction = 0.99
    trace_decay: Fraction = 0.9
    learning_rate: Positive = 1.0
    actor_overshoot: Positive = 3.0
    critic_overshoot: Positive = 2.0
    entropy: NonNegative = 0.003
    membrane_decay: Fraction = 0.5
    readout_decay: Fraction = 0.5
    surrogate: str = "piecewise_linear"
    slope: Positive = 0.5
    height: Positive = 1.0
    recurrent: bool = False
    adaptive_share: Fraction = 0.0
    adaptation_decay: Fraction = 0.9
    adaptation_strength: NonNegative = 0.5
    normalise_observations: bool = True
    scale_rewards: bool = True
    keep_state: bool = False
    freeze_hidden: bool = False
    dtype: Literal["float32", "float64"] = "float32"


def _tau(decay: float) -> float:
    """Time constant in ticks whose decay this is."""
    return -1.0 / np.log(min(max(decay, 1e-6), 1.0 - 1e-9))


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
        self.n_observation, self.action_space, self.seed = int(n_observation), action_space, int(seed)
        discrete = isinstance(action_space, gym.spaces.Discrete)
        n_action = int(action_space.n) if discrete else int(np.prod(action_space.shape))
        shared: dict[str, Any] = {
            "n_in": self.n_observation, "n_hidden": s.n_hidden, "n_adaptive": round(s.adaptive_share * s.n_hidden),
            "recurrent": s.recurrent, "bias": True, "tau_m": _tau(s.membrane_decay), "tau_out": _tau(s.readout_decay),
            "tau_adaptation": _tau(s.adaptation_decay), "adaptation_strength": s.adaptation_strength,
            "normalise_current": True, "surrogate": s.surrogate, "slope": s.slope, "height": s.height,
            "optimiser": "obgd", "learning_rate": s.learning_rate, "freeze_hidden": s.freeze_hidden,
            "w_out_scale": 0.0, "dtype": s.dtype,
        }  # fmt: skip
        self.actor = Network(
            n_out=n_action if discrete else 2 * n_action, overshoot=s.actor_overshoot, seed=2 * self.seed, **shared
        )
        self.critic = Network(n_out=1, overshoot=s.critic_overshoot, seed=2 * self.seed + 1, **shared)
        self._rng = np.random.default_rng(self.seed)
        n_noise = 1 if discrete else n_action
        self._sizes = np.array(
            [self.n_observation, n_action, n_noise, CATEGORICAL if discrete else GAUSSIAN], dtype=np.int64
        )
        self._memory = np.zeros(compiled.N_NUMBERS + 3 * self.n_observation + 2 * n_action + n_noise)
        for place, value in {
            compiled.DISCOUNT: s.discount, compiled.TRACE_DECAY: s.trace_decay, compiled.ENTROPY: s.entropy,
            compiled.SIGMA_FLOOR: 1e-3, compiled.OBSERVATION_LIMIT: 10.0, compiled.SCALE_REWARDS: s.scale_rewards,
            compiled.NORMALISE: s.normalise_observations, compiled.KEEP_STATE: s.keep_state, compiled.REWARD_SCALE: 1.0,
        }.items():  # fmt: skip
            self._memory[place] = value
        self._cut_views()

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], seed: int = 0, **settings: Any) -> ActorCritic:
        """Agent for the spaces of an environment.

        Raises
        ------
        ValueError
            Observations that are no flat Box, or actions neither Discrete nor a flat Box with finite bounds.
        """
        return cls(_flat_size(env.observation_space), _known_action(env.action_space), seed, **settings)

    def _cut_views(self) -> None:
        self._observation = compiled.observation_of(self._memory, self._sizes, 0)
        self._action = compiled.action_of(self._memory, self._sizes)
        self._noise = compiled.noise_of(self._memory, self._sizes)
        self._nets = (self.actor.state, self.actor.table, self.critic.state, self.critic.table)
        self._discrete = int(self._sizes[compiled.KIND]) == CATEGORICAL
        if not self._discrete:
            self._middle = (self.action_space.high + self.action_space.low) / 2.0
            self._reach = (self.action_space.high - self.action_space.low) / 2.0
        self._rest = self.actor.fast.copy()
        self._acting = self._rest.copy()
        self._begun = False

    # --- in the loop ------------------------------------------------------------------------------------------------

    def begin(self, observation: npt.ArrayLike) -> Any:
        """First action of an episode."""
        self._look(observation)
        self._draw()
        self._report(compiled.begin(*self._nets, self._memory, self._sizes), 0.0)
        self._begun = True
        return self._to_action()

    def step(self, observation: npt.ArrayLike, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn from the transition that the last action led to; the next action.

        After an end (`terminated` or `truncated`) the action means nothing: go on with `begin`.
        """
        if not self._begun:
            raise RuntimeError("no episode is under way; call begin with its first observation.")
        self._look(observation)
        self._draw()
        status = compiled.transition(
            *self._nets, self._memory, self._sizes, float(reward), bool(terminated), bool(truncated)
        )
        self._report(status, reward)
        if terminated or truncated:
            self._begun = False
        return self._to_action()

    def act(self, observation: npt.ArrayLike) -> Any:
        """Greedy action; learns nothing. `reset` starts a new greedy episode."""
        kept = self._memory.copy()
        fast, table = self.actor.fast, self.actor.table
        pending, ticks = table[at.PENDING], table[at.TICKS]
        saved = fast.copy()
        fast[:] = self._acting
        try:
            self._look(observation)
            if not tick.all_finite(self._observation):
                self._report(compiled.BAD_OBSERVATION, 0.0)
            table[at.PENDING] = 0
            compiled.show(self.actor.state, table, self._memory, self._sizes)
            compiled.choose(self.actor.state, table, self._memory, self._sizes, True)
            self._acting[:] = fast
            return self._to_action()
        finally:
            fast[:] = saved
            table[at.PENDING], table[at.TICKS] = pending, ticks
            self._memory[:] = kept

    def reset(self) -> None:
        """Put the neurons that `act` uses to rest; what is being learnt goes on untouched."""
        self._acting[:] = self._rest

    # --- what may be read -------------------------------------------------------------------------------------------

    @property
    def td_error(self) -> float:
        """TD error of the last transition, in units of the scaled reward."""
        return float(self._memory[compiled.TD_ERROR])

    @property
    def slope(self) -> float:
        """Slope of the surrogate; may be set at any time."""
        return self.actor.slope

    @slope.setter
    def slope(self, value: float) -> None:
        self.actor.slope = value
        self.critic.slope = value

    # --- inside -----------------------------------------------------------------------------------------------------

    def _look(self, observation: npt.ArrayLike) -> None:
        x = observation if isinstance(observation, np.ndarray) else np.asarray(observation)
        if x.size != self.n_observation:
            raise ValueError(
                f"observation has shape {x.shape}, this agent takes {self.n_observation} numbers; build it with for_env."
            )
        self._observation[:] = x.reshape(-1)

    def _draw(self) -> None:
        if self._discrete:
            self._noise[0] = self._rng.random()
        else:
            self._rng.standard_normal(out=self._noise)

    def _report(self, status: int, reward: float) -> None:
        if status == compiled.BAD_OBSERVATION:
            raise ValueError(f"observation {self._observation} holds a value that is not finite; nothing was learnt.")
        if status == compiled.BAD_REWARD:
            raise ValueError(f"reward is {reward}; it must be finite. Nothing was learnt from it.")

    def _to_action(self) -> Any:
        if self._discrete:
            return int(self._action[0]) + int(self.action_space.start)
        return np.clip(self._action, -1.0, 1.0).reshape(self._reach.shape).astype(self._reach.dtype) * self._reach + self._middle


def _flat_size(space: gym.Space[Any]) -> int:
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"observation space is {space}; wrap the environment with FlattenObservation to get a Box.")
    return int(np.prod(space.shape))


def _known_action(space: gym.Space[Any]) -> gym.Space[Any]:
    if isinstance(space, gym.spaces.Discrete):
        return space
    if isinstance(space, gym.spaces.Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all():
        return space
    raise ValueError(f"action space is {space}; this agent takes Discrete or Box with finite bounds.")
