"""The PID controller, of any number of loops side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from controllers.frozen import Fixed, Floats, numbers, require
from controllers.limits import Output

Pick = Callable[[Floats], npt.ArrayLike] | Sequence[int]


class PID(Fixed):
    """Proportional, integral and derivative control, one loop for each measured number.

    With the measurement y and the error e = target - y::

        u = kp e + I - kd d,   I' = ki e,   d = dy/dt through a low-pass filter

    The derivative is that of the measurement: a jump of the target does not kick. Where u leaves its bounds the
    integral does not wind up.

    Parameters
    ----------
    kp, ki, kd : float or array_like, shape (n,)
        Gains: units of u for one of the error, of its integral over time [s], of its rate [1/s].
    interval : float
        Of a step [s], above 0.
    measurement : sequence of int, or callable
        Which entries of the flat observation y is, or a function from it to y, shape (n,).
    rate : sequence of int, or callable, optional
        The same for dy/dt, where the observation shows it. Else it is taken from one step to the next.
    target : float or array_like, shape (n,)
        What y is to be.
    low, high : float or array_like, shape (n,)
        Bounds of u.
    filter_time : float
        Time constant of the derivative's filter [s], 0 or more; 0: none.
    tracking_time : float, optional
        Time constant [s], above 0, with which the integral follows the part of u that is cut off: back-calculation.
        None: the integral waits while it would push u further out: clamping.
    choices : array_like, optional
        For a Discrete space: what u each action stands for; the nearest is chosen.

    Attributes
    ----------
    target : array, float64
        May be set at any time.

    Raises
    ------
    ValueError
        An argument outside its range.

    References
    ----------
    Astrom, Hagglund 2006, Advanced PID Control, ISA, chapter 3.

    Examples
    --------
    A cart and its pole, held by the angle alone:

    >>> import gymnasium as gym
    >>> env = gym.make("CartPole-v1")
    >>> pid = PID(40.0, 0.0, 8.0, 0.02, measurement=[2], rate=[3], low=-10, high=10, choices=[10.0, -10.0])
    >>> pid.begin(env.reset(seed=0)[0]) in (0, 1)
    True
    """

    def __init__(
        self, kp: npt.ArrayLike, ki: npt.ArrayLike, kd: npt.ArrayLike, interval: float, measurement: Pick, *,
        rate: Pick | None = None, target: npt.ArrayLike = 0.0, low: npt.ArrayLike = -np.inf,
        high: npt.ArrayLike = np.inf, filter_time: float = 0.0, tracking_time: float | None = None,
        choices: npt.ArrayLike | None = None,
    ) -> None:  # fmt: skip
        self._kp, self._ki, self._kd = numbers("kp", kp), numbers("ki", ki), numbers("kd", kd)
        require("interval", interval, 0.0 < interval < np.inf, "finite and above 0")
        require("filter_time", filter_time, 0.0 <= filter_time < np.inf, "finite and 0 or more")
        if tracking_time is not None:
            require("tracking_time", tracking_time, 0.0 < tracking_time < np.inf, "finite and above 0")
        self._measure, self._rate = _picker(measurement), None if rate is None else _picker(rate)
        self._interval, self._share = float(interval), interval / (filter_time + interval)
        self._tracking_time, self._output = tracking_time, Output(low, high, choices)
        self.target = numbers("target", target)
        self.reset()

    def reset(self) -> None:
        """Forget integral and derivative."""
        self._integral, self._slope = np.zeros(1), np.zeros(1)
        self._last: Floats | None = None

    def act(self, observation: npt.ArrayLike) -> Any:
        """Action for an observation.

        Raises
        ------
        ValueError
            An observation that is not finite. Nothing was changed.
        """
        shown = numbers("observation", observation)
        y = np.asarray(self._measure(shown), np.float64).reshape(-1)
        if self._rate is not None:
            slope = np.asarray(self._rate(shown), np.float64).reshape(-1)
        else:
            slope = np.zeros(1) if self._last is None else (y - self._last) / self._interval
        self._last, error = y, self.target - y
        self._slope = self._slope + self._share * (slope - self._slope)
        wanted = self._kp * error + self._integral - self._kd * self._slope
        bounded = self._output.bound(wanted)
        self._integrate(self._ki * error, bounded - wanted)
        return self._output.action(bounded)

    def _integrate(self, push: Floats, cut: Floats) -> None:
        """Move the integral on; `cut` is what the bounds changed u by."""
        if self._tracking_time is None:
            push = np.where(push * cut < 0.0, 0.0, push)
        else:
            push = push + cut / self._tracking_time
        self._integral = self._integral + self._interval * push


def _picker(pick: Pick) -> Callable[[Floats], npt.ArrayLike]:
    if callable(pick):
        return pick
    return functools.partial(np.take, indices=np.array(pick, np.intp))  # unlike a lambda, it can be pickled
