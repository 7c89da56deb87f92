"""From a policy's numbers to the actions of a Gymnasium space, and what of it a checkpoint keeps."""

from __future__ import annotations

import math
from typing import Any, cast

import gymnasium as gym
import numpy as np

from controllers.policies import CATEGORICAL, GAUSSIAN
from threefactor.arrays import Array

# worlds of Gymnasium that leave the spaces they state in ordinary flight and fall: nothing bounds the lander's height
# and angle, nor the walker's angle (https://github.com/Farama-Foundation/Gymnasium/issues/752)
UNBOUND = ("LunarLander", "BipedalWalker")
# for entries of 0 or 1
SWITCHES = {
    "n_fields": 0, "membrane_decay": 0.0, "readout_decay": 0.0, "novelty": 1.0, "noise_correlation": 0.0,
    "step_annealing": 0.0, "noise_annealing": 0.0,
}  # fmt: skip


def flat_size(space: gym.Space[Any]) -> int:
    """Entries of a Box observation.

    Raises
    ------
    ValueError
        Any other space.
    """
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"observation space is {space}; wrap the environment with FlattenObservation to get a Box.")
    return math.prod(space.shape)


def settings_for(space: gym.Space[Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Settings for switches, if they leave `n_fields` open and the observation is whole numbers, 0 or 1.

    FlattenObservation makes such entries of Discrete, MultiDiscrete and MultiBinary. Fields say of each no more than it
    says itself, and of n entries that name one of n states all but two look the same from state to state. A state that
    is left is over: what neurons or noise keep of it would only be in the way in the next. To stand still is often the
    best that was seen, for long, and no reason to search less.
    """
    assert isinstance(space, gym.spaces.Box)
    switches = np.issubdtype(space.dtype, np.integer) and np.all(space.low == 0) and np.all(space.high == 1)
    if not switches or settings.get("n_fields") is not None:
        return settings
    return SWITCHES | {name: value for name, value in settings.items() if value is not None}


def bounds_of(env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any], space: gym.Space[Any]) -> Any:
    """Lower and upper bounds that the observations of an environment keep to, if it is to be believed."""
    assert isinstance(space, gym.spaces.Box)
    if env.spec is not None and env.spec.name.startswith(UNBOUND):
        return -np.inf, np.inf
    return space.low, space.high


class Actions:
    """The actions of a Discrete or MultiDiscrete space, or of a Box with finite bounds.

    A Gaussian policy's numbers are clipped to [-1, 1], which spans the bounds of the box.

    Parameters
    ----------
    space : gymnasium.spaces.Discrete, MultiDiscrete or Box

    Attributes
    ----------
    kind : int
        CATEGORICAL or GAUSSIAN.
    n_action, n_readout, n_noise : int
        Entries of an action; readouts of the policy; random numbers a draw.
    starts : list of int
        For each entry of a categorical policy, where its choices start among the readouts; behind them n_readout.

    Raises
    ------
    ValueError
        Any other space, or a box without finite bounds.
    """

    starts: list[int]

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space, self._single = space, False
        if isinstance(space, gym.spaces.Discrete):
            self.kind, self.n_action, self._start = CATEGORICAL, 1, int(space.start)
            self._single = True
            self.starts = [0, int(space.n)]
            self.n_readout, self.n_noise = self.starts[-1], 1
        elif isinstance(space, gym.spaces.MultiDiscrete):
            self.kind, self.n_action = CATEGORICAL, space.nvec.size
            self.starts = [0, *np.cumsum(space.nvec.reshape(-1)).tolist()]
            self.n_readout, self.n_noise = self.starts[-1], self.n_action
        elif isinstance(space, gym.spaces.Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all():
            self.kind, self.n_action = GAUSSIAN, math.prod(space.shape)
            self.n_readout, self.n_noise, self.starts = 2 * self.n_action, self.n_action, []
            low, high = space.low.astype(np.float64), space.high.astype(np.float64)
            self._middle, self._reach = low / 2.0 + high / 2.0, high / 2.0 - low / 2.0
        else:
            mixed = " of mixed kinds" if isinstance(space, gym.spaces.Tuple | gym.spaces.Dict) else ""
            raise ValueError(
                f"action space is {space}{mixed}; this agent takes Discrete, MultiDiscrete or Box with finite bounds: "
                "wrap the environment with TransformAction."
            )

    @property
    def several(self) -> bool:
        """Whether an action has more than one entry."""
        return self.n_action > 1

    @property
    def between_two(self) -> bool:
        """Whether an action is a choice between two things, or several choices, none of which is between more."""
        return bool(self.starts) and int(np.diff(self.starts).max()) == 2

    def draw(self, rng: np.random.Generator, noise: Array) -> None:
        """Fill `noise` with the standard normal numbers that the policy needs for one action."""
        rng.standard_normal(out=noise)

    def decode(self, action: Array) -> Any:
        """Action of the environment's space."""
        if self._single:
            return int(action[0]) + self._start
        if isinstance(self.space, gym.spaces.MultiDiscrete):
            return self.space.start + action.astype(self.space.dtype).reshape(self.space.shape)
        box = cast(gym.spaces.Box, self.space)
        unit = np.clip(action, -1.0, 1.0).reshape(box.shape)
        # rounding to the space's type may step over a bound
        return np.clip((self._middle + self._reach * unit).astype(box.dtype), box.low, box.high)

    def encode(self, action: Any) -> Array:
        """For a box: what of [-1, 1] stands for an action; beyond if the action is. Undoes `decode`.

        Raises
        ------
        ValueError
            Another number of entries than the space has, or one that is not finite.
        """
        given = np.asarray(action, dtype=np.float64).reshape(-1)
        if given.size != self.n_action or not np.isfinite(given).all():
            raise ValueError(f"action is {action!r}, which is not of {self.space}.")
        unit: Array = (given - self._middle.reshape(-1)) / np.maximum(self._reach.reshape(-1), 1e-300)
        return unit

    def scales(self) -> tuple[Array, bool]:
        """For compiled code: middle, reach, lower and upper bound of each entry, one row; whether it is float32."""
        if isinstance(self.space, gym.spaces.Discrete):
            return np.array([float(self._start)]), False
        if isinstance(self.space, gym.spaces.MultiDiscrete):
            return self.space.start.astype(np.float64).ravel(), False
        box = cast(gym.spaces.Box, self.space)
        rows = [np.broadcast_to(row, box.shape).ravel() for row in (self._middle, self._reach, box.low, box.high)]
        return np.concatenate(rows).astype(np.float64), box.dtype == np.float32

    def about(self) -> dict[str, Any]:
        """What a checkpoint's description keeps."""
        if isinstance(self.space, gym.spaces.Discrete):
            return {"n": self.n_readout, "start": self._start}
        return {"dtype": str(self.space.dtype)}

    def arrays(self) -> dict[str, Array]:
        """What a checkpoint's arrays keep."""
        if isinstance(self.space, gym.spaces.Discrete):
            return {}
        if isinstance(self.space, gym.spaces.MultiDiscrete):
            return {"action.choices": self.space.nvec, "action.start": self.space.start}
        box = cast(gym.spaces.Box, self.space)
        return {"action.low": box.low, "action.high": box.high}

    @staticmethod
    def space_of(about: dict[str, Any], arrays: dict[str, Array]) -> gym.Space[Any]:
        """The space that `about` and `arrays` came from."""
        if "n" in about:
            return gym.spaces.Discrete(about["n"], start=about["start"])
        dtype = np.dtype(about["dtype"]).type
        if "action.choices" in arrays:
            return gym.spaces.MultiDiscrete(arrays["action.choices"], dtype=dtype, start=arrays["action.start"])
        return gym.spaces.Box(arrays["action.low"], arrays["action.high"], dtype=dtype)
