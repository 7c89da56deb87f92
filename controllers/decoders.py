"""Linear decoders: from the spike counts of many neurons to an intended velocity, one time bin at a time.

See `controllers.kalman` for those that know how velocities move.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve

from controllers.frozen import Fixed, Floats, numbers, require

LEAST_RIDGE = 1e-10  # keeps what is to be inverted away from singular


def recording(counts: npt.ArrayLike, velocity: npt.ArrayLike, least: int = 3) -> tuple[Floats, Floats]:
    """Counts (T, N) and velocities (T, D) in double precision.

    Raises
    ------
    ValueError
        Other shapes, fewer than `least` bins, numbers that are not finite.
    """
    z, x = np.asarray(counts, np.float64), np.asarray(velocity, np.float64)
    if z.ndim != 2 or x.ndim != 2 or len(z) != len(x) or len(z) < least:
        wanted = f"(T, units) and (T, directions), T at least {least}"
        raise ValueError(f"counts have shape {z.shape} and velocities {x.shape}; they must be {wanted}.")
    if not (np.isfinite(z).all() and np.isfinite(x).all()):
        raise ValueError("counts or velocities hold a value that is not finite.")
    return z, x


class LinearDecoder(Fixed):
    """What linear decoders share: `act` and `step` take the counts of a bin, (N,), and give the velocity, (D,).

    Attributes
    ----------
    n_units : int or None
        N; None before anything was fitted.
    """

    def __init__(self) -> None:
        self.n_units: int | None = None

    def fit(self, counts: npt.ArrayLike, velocity: npt.ArrayLike) -> Self:
        """Learn from a recording, (T, N) and (T, D)."""
        raise NotImplementedError

    def _look(self, counts: npt.ArrayLike) -> Floats:
        if self.n_units is None:
            raise RuntimeError("nothing is fitted; call fit(counts, velocity) first.")
        return numbers("counts", counts, self.n_units)


class WienerDecoder(LinearDecoder):
    """Linear regression on the counts of the last bins, with a ridge.

    Parameters
    ----------
    lags : int
        Bins looked at, the present one included, 1 or more.
    ridge : float
        Weight of the squared weights, 0 or more, in units of the mean squared deviation of the counts times T.

    Attributes
    ----------
    weights : array, float64, shape (lags x N, D)
        The present bin's come first.
    offset : array, float64, shape (D,)

    References
    ----------
    Carmena et al. 2003, PLoS Biology 1:e42.

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(3.0, (200, 4))
    >>> velocity = counts[:, :2] - counts[:, 2:]
    >>> decoder = WienerDecoder(lags=2, ridge=0.0).fit(counts, velocity)
    >>> decoder.step(counts[0]).round(6).tolist() == velocity[0].tolist()
    True
    """

    def __init__(self, lags: int = 10, ridge: float = 1e-2) -> None:
        super().__init__()
        require("lags", lags, lags == int(lags) and lags >= 1, "a whole number, 1 or more")
        require("ridge", ridge, 0.0 <= ridge < np.inf, "finite and 0 or more")
        self.lags, self.ridge = int(lags), float(ridge)

    def fit(self, counts: npt.ArrayLike, velocity: npt.ArrayLike) -> Self:
        """As `KalmanDecoder.fit`; bins before the first are taken as average ones."""
        z, x = recording(counts, velocity)
        self._mean, self.offset, self.n_units = z.mean(0), x.mean(0), z.shape[1]
        centred = z - self._mean
        padded = np.vstack([np.zeros((self.lags - 1, z.shape[1])), centred])
        inputs = np.hstack([padded[self.lags - 1 - k : self.lags - 1 - k + len(z)] for k in range(self.lags)])
        square, scale = inputs.T @ inputs, max(float(np.square(centred).sum()) / z.shape[1], LEAST_RIDGE)
        square[np.diag_indices_from(square)] += max(self.ridge, LEAST_RIDGE) * scale
        self.weights: Floats = solve(square, inputs.T @ (x - self.offset), assume_a="pos")
        self.reset()
        return self

    def reset(self) -> None:
        """Take the bins before the next one as average ones."""
        if self.n_units is not None:
            self._last = np.zeros((self.lags, self.n_units))

    def act(self, observation: npt.ArrayLike) -> Any:
        """Velocity from the counts of the next bin, shape (N,); raises as `KalmanDecoder.act`."""
        z = self._look(observation)
        self._last[1:] = self._last[:-1]
        self._last[0] = z - self._mean
        return self.offset + self._last.reshape(-1) @ self.weights


class RecursiveLeastSquares(LinearDecoder):
    """Linear regression that goes on learning and forgets: for whoever is told the velocity while decoding.

    `learn` moves the weights to those that make the sum of squared errors smallest, in which an error of k bins ago
    counts `forgetting` to the power of k. The cost of a bin grows with the square of the units.

    Parameters
    ----------
    n_units, n_out : int
        Units whose spikes are counted, and numbers to decode.
    forgetting : float
        Above 0, at most 1.
    ridge : float
        Weight of the squared weights at first, above 0.

    Attributes
    ----------
    weights : array, float64, shape (n_units + 1, n_out)
        The last row is the offset.

    References
    ----------
    Haykin 2002, Adaptive Filter Theory, Prentice Hall, chapter 9.

    Examples
    --------
    >>> import numpy as np
    >>> decoder = RecursiveLeastSquares(4, 2, forgetting=0.99)
    >>> for counts in np.random.default_rng(0).poisson(3.0, (400, 4)):
    ...     decoded = decoder.step(counts)
    ...     decoder.learn(counts[:2] - counts[2:])
    >>> decoder.step([1, 2, 3, 4]).round(2).tolist()
    [-2.0, -2.0]
    """

    def __init__(self, n_units: int, n_out: int = 2, forgetting: float = 0.999, ridge: float = 1.0) -> None:
        super().__init__()
        for name, value in {"n_units": n_units, "n_out": n_out}.items():
            require(name, value, value == int(value) and value >= 1, "a whole number, 1 or more")
        require("forgetting", forgetting, 0.0 < forgetting <= 1.0, "above 0 and at most 1")
        require("ridge", ridge, 0.0 < ridge < np.inf, "finite and above 0")
        self.forgetting, self.ridge = float(forgetting), float(ridge)
        self.n_units, self.n_out = int(n_units), int(n_out)
        self.weights = np.zeros((self.n_units + 1, self.n_out))
        self._inverse = np.eye(self.n_units + 1) / self.ridge
        self._seen: Floats | None = None

    def fit(self, counts: npt.ArrayLike, velocity: npt.ArrayLike) -> Self:
        """As if nothing but these bins had been learnt, one after the other.

        Parameters
        ----------
        counts : array_like, shape (T, n_units)
        velocity : array_like, shape (T, n_out)

        Raises
        ------
        ValueError
            Other shapes, or numbers that are not finite. Nothing was changed.
        """
        z, x = recording(counts, velocity, least=1)
        if (z.shape[1], x.shape[1]) != (self.n_units, self.n_out):
            wanted = f"(T, {self.n_units}) and (T, {self.n_out})"
            raise ValueError(f"counts have shape {z.shape} and velocities {x.shape}; they must be {wanted}.")
        age = self.forgetting ** np.arange(len(z) - 1, -1, -1.0)
        inputs = np.column_stack([z, np.ones(len(z))])
        heavy = inputs * age[:, None]
        square = heavy.T @ inputs + self.ridge * self.forgetting ** len(z) * np.eye(inputs.shape[1])
        self._inverse[...] = np.linalg.inv(square)
        self.weights[...] = np.linalg.solve(square, heavy.T @ x)
        self._seen = None
        return self

    def act(self, observation: npt.ArrayLike) -> Any:
        """Velocity from the counts of the next bin, shape (n_units,); raises as `KalmanDecoder.act`."""
        self._seen = np.append(self._look(observation), 1.0)
        return self._seen @ self.weights

    def learn(self, wanted: npt.ArrayLike) -> None:
        """Learn what the last bin should have been decoded as, (n_out,). Bins without a call are not learnt from.

        Raises
        ------
        ValueError
            Another number of entries, or one that is not finite. Nothing was learnt.
        RuntimeError
            No `step` since the last call: each bin can be learnt from once.
        """
        x, z = numbers("wanted", wanted, self.n_out), self._seen
        if z is None:
            raise RuntimeError("this bin was already learnt from, or none was decoded; call step first.")
        known = self._inverse @ z
        size = self.forgetting + z @ known
        self.weights += np.outer(known / size, x - z @ self.weights)
        # symmetric to the last bit: what is not grows with each division by `forgetting`
        self._inverse -= np.outer(known, known) / size
        # what is never shown would be forgotten without end, and its next showing shake all weights
        if np.trace(self._inverse) < len(z) / self.ridge:
            self._inverse /= self.forgetting
        self._seen = None
