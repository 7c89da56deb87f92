"""Schedules of values that change, and the places where such values stand; `envs.changes` puts them together."""

from __future__ import annotations

import functools
import math
import numbers
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from envs.compiled import CompiledEnv
from envs.sequences import require

Floats = npt.NDArray[np.float64]
NAME = re.compile(r"(\w+(?:\.\w+)*)(?:\[(\d+(?:\s*,\s*\d+)*)\])?")


@dataclass(frozen=True, eq=False)
class Schedule(ABC):
    """How a value goes on from step `at`, counted from 0: `at` steps are made with the old value."""

    at: int

    def __post_init__(self) -> None:
        require("at", self.at, self.at == int(self.at) and self.at >= 0, "a whole number, 0 or more")

    @property
    @abstractmethod
    def lasts(self) -> float:
        """Steps for which the value goes on changing."""

    @property
    @abstractmethod
    def extremes(self) -> list[npt.ArrayLike]:
        """Values that it may reach."""

    @abstractmethod
    def next(self, elapsed: int, start: Floats, value: Floats, rng: np.random.Generator) -> Floats:
        """Value for the step that comes `elapsed` steps after `at`, from that at `at` and the present one."""


@dataclass(frozen=True, eq=False)
class StepChange(Schedule):
    """The value jumps.

    Parameters
    ----------
    at : int
        Steps made with the old value, 0 or more.
    to : float or array_like
        New value: a number for all entries, or as many as there are.
    """

    to: npt.ArrayLike

    @property
    def lasts(self) -> float:
        """One step."""
        return 1

    @property
    def extremes(self) -> list[npt.ArrayLike]:
        """The new value."""
        return [self.to]

    def next(self, elapsed: int, start: Floats, value: Floats, rng: np.random.Generator) -> Floats:
        """The new value."""
        return np.broadcast_to(np.asarray(self.to, np.float64), start.shape)


@dataclass(frozen=True, eq=False)
class Ramp(StepChange):
    """The value goes evenly from what it is at step `at` to `to`, which it has after `over` steps.

    Parameters
    ----------
    at, to
        As of `StepChange`.
    over : int
        Steps that it takes, 1 or more.
    """

    over: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require("over", self.over, self.over == int(self.over) and self.over >= 1, "a whole number, 1 or more")

    @property
    def lasts(self) -> float:
        """`over` steps."""
        return self.over

    def next(self, elapsed: int, start: Floats, value: Floats, rng: np.random.Generator) -> Floats:
        """Its share of the way, and on the last step the very end."""
        end, share = super().next(elapsed, start, value, rng), (elapsed + 1) / self.over
        return end if share == 1.0 else start + share * (end - start)


@dataclass(frozen=True, eq=False)
class RandomWalk(Schedule):
    """The value takes a normal step before each step of the world, and stays within bounds.

    Parameters
    ----------
    at : int
        Steps made with the old value, 0 or more.
    deviation : float or array_like
        Standard deviation of a step, 0 or more.
    low, high : float or array_like
        Bounds, at which the walk stops; they may be infinite.
    """

    deviation: npt.ArrayLike
    low: npt.ArrayLike = -math.inf
    high: npt.ArrayLike = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("deviation", self.deviation, lambda x: np.isfinite(x) & (x >= 0.0), "finite and 0 or more")
        _require("low", self.low, lambda x: x < np.asarray(self.high), f"below high, {self.high}")

    @property
    def lasts(self) -> float:
        """For ever."""
        return math.inf

    @property
    def extremes(self) -> list[npt.ArrayLike]:
        """The bounds that are finite."""
        return [bound for bound in (self.low, self.high) if np.isfinite(bound).all()]

    def next(self, elapsed: int, start: Floats, value: Floats, rng: np.random.Generator) -> Floats:
        """One step on."""
        moved = value + np.asarray(self.deviation) * rng.standard_normal(value.shape)
        return np.clip(moved, self.low, self.high)


class Place(Protocol):
    """Where a value stands."""

    def read(self) -> Floats:
        """A copy of it."""

    def write(self, value: Floats) -> None:
        """Put another one there."""


class Parameter:
    """A number or an array of numbers in a world, by name.

    Parameters
    ----------
    world : gymnasium.Env
        Without wrappers.
    name : str
        Of a compiled world one of its parameters, of any other an attribute; dots lead into attributes, and brackets
        take an entry: ``"motors[2]"``, ``"model.opt.gravity[2]"``, ``"model.geom_friction[1, 0]"``.

    Raises
    ------
    ValueError
        There is no such number.
    """

    def __init__(self, world: Any, name: str) -> None:
        parts = NAME.fullmatch(name)
        if parts is None:
            raise ValueError(
                f'parameter is {name!r}; it must be a name, such as "motors[2]" or "model.opt.gravity[2]".'
            )
        self._world, self._name, self._compiled = world, name, isinstance(world, CompiledEnv)
        self._path = parts[1]
        self._entry = tuple(int(k) for k in parts[2].split(",")) if parts[2] else ...
        self.read()

    def read(self) -> Floats:
        """A copy of the value."""
        whole = self._whole()
        try:
            return np.array(whole[self._entry])
        except IndexError:
            shape = whole.shape
            raise ValueError(f"parameter is {self._name!r}, but {self._path} has shape {shape}.") from None

    def write(self, value: npt.ArrayLike) -> None:
        """Set the value, in place if it stands in an array."""
        whole = self._whole()
        whole[self._entry] = value
        if self._compiled:
            self._world.change(self._path, whole)
        elif isinstance(there := self._there(), np.ndarray):
            there[...] = whole
        else:
            *way, last = self._path.split(".")
            setattr(functools.reduce(getattr, way, self._world), last, float(whole))

    def _there(self) -> Any:
        try:
            return functools.reduce(getattr, self._path.split("."), self._world)
        except AttributeError as missing:
            raise ValueError(f"{self._world} has no parameter {self._path!r}: {missing}.") from None

    def _whole(self) -> Floats:
        """Copy of all entries."""
        if self._compiled:
            whole: Floats = self._world.parameter(self._path)
            return whole
        there = self._there()
        number = isinstance(there, numbers.Real) and not isinstance(there, bool)
        if not number and not (isinstance(there, np.ndarray) and np.issubdtype(there.dtype, np.floating)):
            raise ValueError(f"{self._path} is {there!r}; only a number or an array of floats can be changed.")
        return np.array(there, np.float64)


class Applied:
    """A value that a function puts into the world; the world cannot tell it."""

    def __init__(self, world: Any, apply: Callable[[Any, Any], None], start: npt.ArrayLike) -> None:
        self._world, self._apply, self._value = world, apply, np.array(start, np.float64)

    def read(self) -> Floats:
        """What was put there last."""
        return self._value.copy()

    def write(self, value: Floats) -> None:
        """Have the function put it there."""
        self._apply(self._world, value.copy() if value.ndim else float(value))
        self._value[...] = value


class Held:
    """A value of a wrapper's own."""

    def __init__(self, value: Floats) -> None:
        self.value = value

    def read(self) -> Floats:
        """A copy of it."""
        return self.value.copy()

    def write(self, value: Floats) -> None:
        """Put another one there."""
        self.value[...] = value


def _require(name: str, value: npt.ArrayLike, holds: Callable[[Floats], Any], wanted: str) -> None:
    """As `require`, for arrays."""
    if not np.all(holds(np.asarray(value, np.float64))):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}.")
