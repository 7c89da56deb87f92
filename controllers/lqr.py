"""The linear-quadratic regulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_discrete_are

from controllers.frozen import Fixed, Floats, numbers, require
from controllers.limits import Output

# of position [1/m^2], velocity, angle [1/rad^2], turn; and of force [1/N^2]: dearer force, more robust a regulator
CART_POLE_COSTS, CART_POLE_EFFORT = (1.0, 0.1, 10.0, 0.1), 0.1


class LQR(Fixed):
    """Linear-quadratic regulator of a linear system in discrete time, about a point of rest.

    For x[k+1] - x0 = A (x[k] - x0) + B (u[k] - u0) it minimises the sum of (x - x0)^T Q (x - x0) + (u - u0)^T R (u -
    u0) over all time::

        u = u0 - K (x - x0),   K = (R + B^T P B)^-1 B^T P A,   P = A^T P A - A^T P B K + Q

    Parameters
    ----------
    a, b : array_like, shapes (n, n) and (n, m)
        The system; `linearise` finds them.
    q, r : array_like, shapes (n, n) and (m, m), or (n,) and (m,)
        Costs of state and command, or their diagonals.
    x0, u0 : array_like, shapes (n,) and (m,), optional
        Point of rest; zeros.
    state : callable, optional
        From the flat observation to x; without it the observation is x.
    low, high : float or array_like, shape (m,)
        Bounds of u.
    choices : array_like, shape (actions, m) or (actions,), optional
        For a Discrete space: what u each action stands for; the nearest is chosen.

    Attributes
    ----------
    gain : array, float64, shape (m, n)
        K.
    riccati : array, float64, shape (n, n)
        P: (x - x0)^T P (x - x0) is the cost to come.

    Raises
    ------
    ValueError
        Shapes that do not fit, numbers that are not finite, or no solution: what Q sees of the system cannot be held
        by u.

    References
    ----------
    Anderson, Moore 1990, Optimal Control: Linear Quadratic Methods, Prentice Hall, chapter 2.

    Examples
    --------
    A mass that is pushed, at 10 Hz:

    >>> import numpy as np
    >>> regulator = LQR([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]], q=[1.0, 0.1], r=[0.1])
    >>> x = np.array([1.0, 0.0])
    >>> for _ in range(100):
    ...     x = np.array([[1.0, 0.1], [0.0, 1.0]]) @ x + np.array([0.005, 0.1]) * regulator.act(x)
    >>> bool(np.abs(x).max() < 1e-3)
    True
    """

    def __init__(
        self, a: npt.ArrayLike, b: npt.ArrayLike, q: npt.ArrayLike, r: npt.ArrayLike, *,
        x0: npt.ArrayLike | None = None, u0: npt.ArrayLike | None = None,
        state: Callable[[Floats], npt.ArrayLike] | None = None, low: npt.ArrayLike = -np.inf,
        high: npt.ArrayLike = np.inf, choices: npt.ArrayLike | None = None,
    ) -> None:  # fmt: skip
        system, drive = np.array(a, np.float64), np.array(b, np.float64)
        n, m = drive.shape if drive.ndim == 2 else (0, 0)
        if not n or system.shape != (n, n):
            raise ValueError(f"a has shape {system.shape} and b {drive.shape}; they must be (n, n) and (n, m).")
        costs = _square("q", q, n), _square("r", r, m)
        self._x0, self._u0 = (
            np.zeros(k) if at is None else numbers(name, at, k) for name, at, k in (("x0", x0, n), ("u0", u0, m))
        )
        try:
            self.riccati: Floats = solve_discrete_are(system, drive, *costs)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"there is no regulator for this system and these costs: {error}") from None
        push = drive.T @ self.riccati
        self.gain: Floats = np.linalg.solve(costs[1] + push @ drive, push @ system)
        self._state, self._output = state, Output(low, high, choices)

    @classmethod
    def for_cart_pole(cls, world: Any) -> LQR:
        """Regulator that balances a cart's pole, made for a world as it is now, with the costs of this module.

        Parameters
        ----------
        world : CompiledEnv
            `envs.CartPole`, or another with its ``parameter(name)``.
        """
        gravity, cart, pole, length, force, interval = (
            float(world.parameter(name)) for name in ("gravity", "cart", "pole", "length", "force", "interval")
        )
        mass = cart + pole
        moment = length * (4.0 / 3.0 - pole / mass)
        swing, kick = gravity / moment, -1.0 / (moment * mass)  # the pole's acceleration for an angle, for a force
        drag = -pole * length / mass  # the cart's for the pole's
        rates = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, drag * swing, 0.0], [0.0, 0.0, 0.0, 1.0], [0, 0, swing, 0]])
        pushes = np.array([[0.0], [1.0 / mass + drag * kick], [0.0], [kick]])
        a, b = np.eye(4) + interval * rates, interval * pushes
        return cls(a, b, CART_POLE_COSTS, [CART_POLE_EFFORT], choices=[-force, force])

    @staticmethod
    def linearise(
        f: Callable[[Floats, Floats], npt.ArrayLike], x0: npt.ArrayLike, u0: npt.ArrayLike, step: float = 1e-5
    ) -> tuple[Floats, Floats]:
        """Derivatives of the next state, f(x, u), by central differences.

        Parameters
        ----------
        f : callable
            From x, shape (n,), and u, shape (m,), to the next x.
        x0, u0 : array_like
            Where.
        step : float
            Half the difference, above 0.

        Returns
        -------
        a, b : array, float64, shapes (n, n) and (n, m)
        """
        x, u = numbers("x0", x0), numbers("u0", u0)
        require("step", step, 0.0 < step < np.inf, "finite and above 0")

        def shifted(by: Floats) -> Floats:
            return np.array(f(x + by[: x.size], u + by[x.size :]), np.float64)

        columns = [(shifted(by) - shifted(-by)) / (2.0 * step) for by in step * np.eye(x.size + u.size)]
        return np.stack(columns[: x.size], axis=1), np.stack(columns[x.size :], axis=1)

    def act(self, observation: npt.ArrayLike) -> Any:
        """Action for an observation.

        Raises
        ------
        ValueError
            An observation that is not finite, or of another size.
        """
        shown = numbers("observation", observation)
        x = numbers("observation", shown if self._state is None else self._state(shown), self._x0.size)
        return self._output.action(self._output.bound(self._u0 - self.gain @ (x - self._x0)))


def _square(name: str, value: npt.ArrayLike, n: int) -> Floats:
    given = np.array(value, np.float64)
    given = np.diag(given) if given.ndim == 1 else given
    if given.shape != (n, n) or not np.isfinite(given).all():
        raise ValueError(f"{name} is {value!r}; it must be finite, of shape ({n}, {n}) or ({n},).")
    return given
