"""Regulation that is learnt while it goes on: a spiking population that does what a given controller has to correct.

Feedback-error learning: Kawato, Furukawa, Suzuki 1987, Biol. Cybern. 57:169; with another error, direct adaptive
control: Slotine, Li 1987, Int. J. Robot. Res. 6:49. The features that those adapt the weights of are spiking neurons
here, which adapt, too, by e-prop (Bellec et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import msgspec
import numpy as np
import numpy.typing as npt

from controllers.population import Population
from controllers.population_settings import PopulationSettings
from controllers.spaces import Actions
from threefactor.arrays import Array
from threefactor.checkpoints import Kept
from threefactor.settings import build

LARGEST_ERROR = 1.0  # of an entry of the action, whose box spans [-1, 1]
Error = Callable[[Any, Array], npt.ArrayLike]


class Base(Protocol):
    """A controller to work beside; a `reset`, where there is one, is called at the start of each episode."""

    def act(self, observation: Any) -> Any:
        """Action for an observation."""


def correction(observation: Any, command: Array) -> Array:
    """Minus the base's command: what the base has to do is what is not learnt yet."""
    return -command


class Regulator(Kept):
    """Spiking controller that learns from a supervised error, beside a given controller or in its place.

    The action is the base's plus the population's. At each step the population first learns from the error that its
    last action led to, then it looks at the new observation. All in units in which the box of actions is [-1, 1].

    Parameters
    ----------
    n_observation : int
        Entries of the flat observation, or of what `features` makes of it.
    action_space : gymnasium.spaces.Box
        With finite bounds.
    base : Base, optional
        The given controller. Without one the population acts alone.
    error : callable, optional
        ``error(observation, command)``, what the last action should have had less of, (n_action,); `command` is the
        base's action for the observation. Each entry counts up to 1. By default minus the command (feedback-error
        learning), which fits a base that does nothing where all is well.
    features : callable, optional
        From an observation to what the population sees of it; by default all of it.
    seed : int
        Of the initial weights.
    **settings
        Any field of `PopulationSettings`.

    Attributes
    ----------
    learning : bool
        Whether it learns; may be set at any time.

    Raises
    ------
    ValueError
        Actions that are no box with finite bounds; neither a base nor an error.

    Examples
    --------
    A spring that pulls by a half is held at the origin by a base that leaves an error, and by both together:

    >>> import gymnasium as gym
    >>> class Proportional:
    ...     def act(self, x):
    ...         return -0.5 * x
    >>> regulator = Regulator(1, gym.spaces.Box(-1, 1, (1,)), base=Proportional(), seed=1)
    >>> x = np.zeros(1)
    >>> action = regulator.begin(x)
    >>> for _ in range(300):
    ...     x = 0.9 * x + 0.1 * (action + 0.5)
    ...     action = regulator.step(x, 0.0, False, False)
    >>> bool(abs(x[0]) < 0.02)  # 0.33 with the base alone
    True
    """

    not_kept = ("base", "error", "features")

    def __init__(
        self, n_observation: int, action_space: gym.Space[Any], *, base: Base | None = None,
        error: Error | None = None, features: Callable[[Any], npt.ArrayLike] | None = None, seed: int = 0,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.settings = build(PopulationSettings, **settings)
        if not isinstance(action_space, gym.spaces.Box):
            raise ValueError(f"action space is {action_space}; a regulator takes a Box with finite bounds.")
        self.actions, self.n_observation, self.seed = Actions(action_space), int(n_observation), int(seed)
        if base is None and error is None:
            raise ValueError("there is neither a base nor an error to learn from; give one of them.")
        self.base, self.error, self.features = base, error or correction, features
        self.population = Population(self.n_observation, self.actions.n_action, self.seed, self.settings)
        self.learning = True
        self._rest = self.population.network.fast.copy()
        self._acting = self._rest.copy()
        self._begun = False

    @classmethod
    def for_env(cls, env: gym.Env[Any, Any], **given: Any) -> Regulator:
        """Regulator for the action space of an environment, and for what `features` makes of its observations."""
        seen = np.zeros(env.observation_space.shape or ())
        features = given.get("features")
        return cls(np.size(seen if features is None else features(seen)), env.action_space, **given)

    # --- in the loop ------------------------------------------------------------------------------------------------

    def begin(self, observation: Any) -> Array:
        """First action of an episode; the neurons are put to rest, and what they learnt stays."""
        row = self._seen(observation)
        self._reset_base()
        command = self._asked(observation)
        self.population.network.reset()
        self._begun = True
        return self._given(command, self.population.look(row, self.learning))

    def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> Array:
        """Learn from the error that the last action led to; the next action. Nothing is learnt from the reward."""
        if not self._begun:
            raise RuntimeError("no episode is under way; call begin with its first observation.")
        if not (isinstance(reward, SupportsFloat) and math.isfinite(reward)):
            raise ValueError(f"reward is {reward!r}; it must be a finite number. Nothing was learnt.")
        row = self._seen(observation)
        command = self._asked(observation)
        error = np.asarray(self.error(observation, command), np.float64).reshape(-1)
        if error.size != command.size or not np.isfinite(error).all():
            raise ValueError(f"error is {error}; it must be {command.size} finite numbers. Nothing was learnt.")
        if self.learning:
            self.population.learn(np.clip(error, -LARGEST_ERROR, LARGEST_ERROR))
        self._begun = not (terminated or truncated)
        return self._given(command, self.population.look(row, self.learning))

    def act(self, observation: Any) -> Array:
        """Action for an observation; learns nothing. `reset` starts a new such episode."""
        row, network = self._seen(observation), self.population.network
        state, table = network.state.copy(), network.table.copy()
        try:
            network.fast[:] = self._acting
            y = self.population.look(row, learns=False).copy()
            self._acting[:] = network.fast
            return self._given(self._asked(observation), y)
        finally:
            network.state[:], network.table[:] = state, table

    def reset(self) -> None:
        """Put the neurons that `act` uses to rest; what is being learnt goes on untouched."""
        self._acting[:] = self._rest
        self._reset_base()

    # --- keeping ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        about = {
            "n_observation": self.n_observation, "action_space": self.actions.about(), "seed": self.seed,
            "begun": self._begun, "learning": self.learning, "settings": msgspec.to_builtins(self.settings),
        }  # fmt: skip
        arrays = {**self.population.arrays(), **self.actions.arrays(), "acting": self._acting.copy()}
        return {
            "arrays": arrays, "about": about, "base": self.base, "error": self.error, "features": self.features,
        }  # fmt: skip

    def __setstate__(self, saved: dict[str, Any]) -> None:
        about, arrays = saved["about"], saved["arrays"]
        space = Actions.space_of(about["action_space"], arrays)
        given = {name: saved.get(name) for name in self.not_kept}
        Regulator.__init__(self, about["n_observation"], space, seed=about["seed"], **given, **about["settings"])
        self.population.put(arrays)
        self._acting[:] = arrays["acting"]
        self._begun, self.learning = bool(about["begun"]), bool(about["learning"])

    # --- inside -----------------------------------------------------------------------------------------------------

    def _seen(self, observation: Any) -> Array:
        return self.population.check(
            observation if self.features is None else self.features(observation), "observation"
        )  # fmt: skip

    def _reset_base(self) -> None:
        reset = getattr(self.base, "reset", None)
        if reset is not None:
            reset()

    def _asked(self, observation: Any) -> Array:
        """The base's action, in units in which the box is [-1, 1]; 0 without a base."""
        if self.base is None:
            return np.zeros(self.actions.n_action)
        return self.actions.encode(self.base.act(observation))

    def _given(self, command: Array, y: Array) -> Array:
        action: Array = self.actions.decode(command + y)
        return action
