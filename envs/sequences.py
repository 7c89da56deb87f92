"""What worlds share that play a drawn sequence: the supervised face, the episode, and the two ways to pay for it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, TypeVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Action = TypeVar("Action")


class Sequence(NamedTuple):
    """One trial. Targets are zero on the ticks at which the error does not count."""

    inputs: Floats  #: (T, n_in)
    targets: Floats  #: (T, n_out)
    mask: npt.NDArray[np.bool_]  #: (T,), the ticks at which the error counts


class SequenceWorld(gym.Env[Floats, Action], ABC):
    """A world whose episode plays one drawn sequence, and which is a supervised task by its `draw`.

    ``reset`` draws a sequence with the world's own generator and hands out ``inputs[0]``; step ``k``, counted from 1,
    takes the answer to ``inputs[k - 1]``, pays for it and hands out ``inputs[k]``. The step after the last tick
    terminates, with an observation of zeros. `info` of both holds ``"target"`` and ``"learn"``, the target and the mask
    that belong to the observation beside them; after the last tick they are zeros and ``False``.

    Examples
    --------
    >>> import numpy as np
    >>> from envs import DelayedCue
    >>> world = DelayedCue(delay=1)
    >>> inputs, targets, mask = world.draw(np.random.default_rng(0))
    >>> inputs.shape, targets.shape, mask.tolist()
    ((3, 3), (3, 2), [False, False, True])
    >>> observation, info = world.reset(seed=0)
    >>> bool((observation == inputs[0]).all()), info["learn"]
    (True, False)
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
    _sequence = Sequence(np.zeros((0, 1), np.float32), np.zeros((0, 1), np.float32), np.zeros(0, np.bool_))
    _tick = 0

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Sequence:
        """One trial, in arrays of its own."""

    @abstractmethod
    def _pay(self, action: Action) -> float:
        """Reward of the answer to the observation of this tick."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Draw a sequence and show its first tick."""
        super().reset(seed=seed)
        self._sequence, self._tick = self.draw(self.np_random), 0
        return self._show()

    def step(self, action: Action) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Take the answer to the tick last shown, and show the next one."""
        if self._tick >= len(self._sequence.mask):
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() first.")
        reward = self._pay(action)
        self._tick += 1
        observation, info = self._show()
        return observation, reward, self._tick == len(self._sequence.mask), False, info

    def _show(self) -> tuple[Floats, dict[str, Any]]:
        (inputs, targets, mask), tick = self._sequence, self._tick
        if tick == len(mask):
            return np.zeros_like(inputs[0]), {"target": np.zeros_like(targets[0]), "learn": False}
        return inputs[tick].copy(), {"target": targets[tick].copy(), "learn": bool(mask[tick])}


class ChoiceWorld(SequenceWorld[np.int64]):
    """Pays on the last step: 1 if most answers that count were right, -1 if most were wrong, 0 for a tie."""

    _votes = 0

    def _pay(self, action: np.int64) -> float:
        _, targets, mask = self._sequence
        if self._tick == 0:
            self._votes = 0
        if mask[self._tick]:
            self._votes += 1 if int(action) == int(targets[self._tick].argmax()) else -1
        return float(np.sign(self._votes)) if self._tick == len(mask) - 1 else 0.0


class SignalWorld(SequenceWorld[Floats]):
    """Pays minus the squared error, averaged over the outputs, on each tick that counts; else 0."""

    def _pay(self, action: Floats) -> float:
        target = self._sequence.targets[self._tick]
        if np.shape(action) != target.shape:
            raise ValueError(f"action has shape {np.shape(action)}; it must be {target.shape}.")
        error = action - target
        return -float(error @ error) / error.size if self._sequence.mask[self._tick] else 0.0


def require(name: str, value: float, holds: bool, wanted: str) -> None:
    """Refuse an argument: say what came and what is wanted."""
    if not holds:
        raise ValueError(f"{name} is {value}; it must be {wanted}.")


def ticks(name: str, duration: float, dt: float, least: int = 1) -> int:
    """Ticks of `dt` ms in `duration` ms."""
    require("dt", dt, 0.0 < dt < math.inf, "finite and above 0")
    require(name, duration, least * dt <= duration < math.inf, f"{least * dt:g} or more")
    count = round(duration / dt)
    require(name, duration, math.isclose(count * dt, duration, abs_tol=1e-9), f"a multiple of dt, {dt:g}")
    return count


def spike_probability(name: str, rate: float, dt: float) -> float:
    """Probability of a spike in a tick of `dt` ms at `rate` Hz."""
    require(name, rate, 0.0 <= rate * dt <= 1000.0, f"0 to {1000.0 / dt:g}")
    return rate * dt / 1000.0


def spikes(rng: np.random.Generator, probability: Floats) -> Floats:
    """One spike or none in each place, with the probability given there."""
    return (rng.random(probability.shape, np.float32) < probability).astype(np.float32)


def waves(rng: np.random.Generator, frequencies: npt.NDArray[np.float64], n_ticks: int, dt: float) -> Floats:
    """Signals (`n_ticks`, n), each a sum of sinusoids.

    Row i of `frequencies` (n, k) holds those of signal i in Hz; amplitudes are uniform in [0.5, 2], phases uniform.
    """
    amplitudes = rng.uniform(0.5, 2.0, frequencies.shape).astype(np.float32)
    phases = rng.uniform(0.0, 2.0 * np.pi, frequencies.shape)
    seconds = np.arange(n_ticks)[:, None, None] * (dt / 1000.0)
    angles = (2.0 * np.pi * frequencies * seconds + phases).astype(np.float32)
    summed: Floats = np.einsum("tnk,nk->tn", np.sin(angles), amplitudes)
    return summed


def to_unit_peak(signals: Floats) -> Floats:
    """Each column divided by its largest magnitude; a column of zeros stays one."""
    scaled: Floats = signals / np.maximum(np.abs(signals).max(0), np.float32(1e-9))
    return scaled
