"""Kalman filters that decode an intended velocity from the spike counts of many neurons."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_discrete_are

from controllers.decoders import LinearDecoder, recording
from controllers.frozen import Floats

LEAST_VARIANCE = 1e-3  # added to each neuron's, in units of their mean: silent neurons have none


def least_squares(inputs: Floats, outputs: Floats) -> tuple[Floats, Floats]:
    """M that makes |outputs - inputs M^T|^2 smallest, and the covariance of what is left."""
    fitted = np.asarray(np.linalg.lstsq(inputs, outputs, rcond=None)[0], np.float64)
    left = outputs - inputs @ fitted
    return fitted.T, left.T @ left / len(left)


class KalmanDecoder(LinearDecoder):
    """Kalman filter of the velocity.

    The velocity x moves as x[k+1] = A x[k] + w, neurons fire as z[k] = b + H x[k] + q, with normal w and q of the
    covariances W and Q. `fit` finds all by least squares. A step costs as many multiplications as there are neurons
    times directions: the gain is P H^T Q^-1, and H^T Q^-1 is known beforehand.

    Parameters
    ----------
    steady : bool
        Use the gain that the filter settles to, from the Riccati equation, from the start on. False: the gain is
        worked out in each step, from a velocity that is unknown at first.

    Attributes
    ----------
    a, w : array, float64, shape (D, D)
        How the velocity moves.
    h, q, b : array, float64, shapes (N, D), (N, N), (N,)
        How the neurons fire.
    velocity : array, float64, shape (D,)
        Of the last bin.
    covariance : array, float64, shape (D, D)
        Of its error, P.

    References
    ----------
    Wu, Gao, Bienenstock, Donoghue, Black 2006, Neural Computation 18:80; here without position and acceleration.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> velocity = np.sin(np.outer(np.arange(500), [0.1, 0.07]))
    >>> counts = rng.poisson(np.exp(velocity @ rng.normal(size=(2, 30))))
    >>> decoder = KalmanDecoder().fit(counts, velocity)
    >>> decoder.reset()
    >>> decoded = [decoder.step(row) for row in counts]
    >>> bool(np.corrcoef(np.ravel(decoded), velocity.ravel())[0, 1] > 0.9)
    True
    """

    def __init__(self, steady: bool = True) -> None:
        super().__init__()
        self.steady = bool(steady)

    def fit(self, counts: npt.ArrayLike, velocity: npt.ArrayLike) -> Self:
        """Find the model of a recording, and reset.

        Parameters
        ----------
        counts : array_like, shape (T, N)
            Spikes of each neuron in each bin.
        velocity : array_like, shape (T, D)
            Any unit.

        Raises
        ------
        ValueError
            Shapes that do not fit, or numbers that are not finite. Nothing was changed.
        """
        z, x = recording(counts, velocity)
        if not np.ptp(x, axis=0).all():
            raise ValueError("velocities do not change along one direction; there is nothing to decode.")
        self.a, self.w = least_squares(x[:-1], x[1:])
        self._spread = np.cov(x.T).reshape(x.shape[1], -1)
        self._observe(z, x)
        return self

    def _observe(self, z: Floats, x: Floats) -> None:
        """Find how the neurons fire, and the gain."""
        model, self.q = least_squares(np.column_stack([x, np.ones(len(x))]), z)
        self.h, self.b, self.n_units = model[:, :-1], model[:, -1], z.shape[1]
        self.q[np.diag_indices_from(self.q)] += LEAST_VARIANCE * max(float(np.trace(self.q)) / len(self.q), 1e-12)
        self._weights = cho_solve(cho_factor(self.q), self.h).T  # H^T Q^-1
        self._known = self._weights @ self.h  # H^T Q^-1 H
        if self.steady:
            values, vectors = np.linalg.eigh(self._known)
            root = vectors * np.sqrt(np.maximum(values, 0.0))  # as good as H^T, with errors of variance 1
            predicted = solve_discrete_are(self.a.T, root, self.w, np.eye(len(self.w)))
            self._settled = self._corrected(predicted)
        self.reset()

    def _corrected(self, predicted: Floats) -> Floats:
        """Covariance after an observation: (P^-1 + H^T Q^-1 H)^-1."""
        corrected: Floats = np.linalg.solve(np.eye(len(predicted)) + predicted @ self._known, predicted)
        return corrected

    def reset(self) -> None:
        """Know nothing of the velocity."""
        if self.n_units is not None:
            self.velocity, self.covariance = np.zeros(len(self.a)), self._settled if self.steady else self._spread

    def act(self, observation: npt.ArrayLike) -> Any:
        """Velocity from the counts of the next bin, shape (N,).

        Raises
        ------
        ValueError, RuntimeError
            Counts of another shape or not finite; nothing fitted. Nothing was changed.
        """
        z = self._look(observation)
        predicted = self.a @ self.velocity
        if not self.steady:
            self.covariance = self._corrected(self.a @ self.covariance @ self.a.T + self.w)
        news = self._weights @ (z - self.b) - self._known @ predicted
        self.velocity = predicted + self.covariance @ news
        return self.velocity.copy()


class ReFITDecoder(KalmanDecoder):
    """Kalman filter that is fitted again to what its user meant while using it.

    Whoever steers a cursor to a target wants to go straight there, and to stand still once there: whatever the decoder
    made of it, velocities are turned towards the target, with their size, and set to zero on it. `refit` finds from
    them anew how the neurons fire; how the velocity moves stays as it was.

    References
    ----------
    Gilja et al. 2012, Nature Neuroscience 15:1752; here without the position, which their filter knows exactly.

    Examples
    --------
    >>> import numpy as np
    >>> meant = ReFITDecoder.intended([[3.0, 4.0], [1.0, 0.0]], [[0.0, 0.0], [9.9, 0.0]], [10.0, 0.0], radius=0.5)
    >>> meant.tolist()
    [[5.0, 0.0], [0.0, 0.0]]
    """

    def refit(
        self, counts: npt.ArrayLike, velocity: npt.ArrayLike, position: npt.ArrayLike, target: npt.ArrayLike,
        radius: float,
    ) -> Self:  # fmt: skip
        """Fit the neurons' model again, and reset.

        Parameters
        ----------
        counts : array_like, shape (T, N)
        velocity, position : array_like, shape (T, D)
            Of the cursor, as it was decoded.
        target : array_like, shape (T, D) or (D,)
        radius : float
            Of the target, 0 or more.

        Raises
        ------
        ValueError
            Shapes that do not fit, or numbers that are not finite. Nothing was changed.
        RuntimeError
            Nothing is fitted.
        """
        z, x = recording(counts, velocity)
        if self.n_units is None:
            raise RuntimeError("nothing is fitted; call fit(counts, velocity) first.")
        if x.shape[1] != len(self.a):
            raise ValueError(f"velocities have shape {x.shape}; the fitted ones have {len(self.a)} directions.")
        self._observe(z, self.intended(x, position, target, radius))
        return self

    @staticmethod
    def intended(
        velocity: npt.ArrayLike, position: npt.ArrayLike, target: npt.ArrayLike, radius: float
    ) -> Floats:  # fmt: skip
        """Velocities, shape (T, D), turned towards the target; zero within its radius."""
        x, place = np.asarray(velocity, np.float64), np.asarray(position, np.float64)
        if place.shape != x.shape or np.shape(target) not in (x.shape, x.shape[1:]):
            shapes = f"velocity {x.shape}, position {place.shape} and target {np.shape(target)}"
            raise ValueError(f"shapes of {shapes} do not fit; they must be (T, D), the target's (T, D) or (D,).")
        way = np.asarray(target, np.float64) - place
        if not (np.isfinite(way).all() and radius >= 0.0):
            raise ValueError(f"position or target is not finite, or radius {radius} below 0.")
        far = np.linalg.norm(way, axis=1, keepdims=True)
        speed = np.where(far > radius, np.linalg.norm(x, axis=1, keepdims=True), 0.0)
        meant: Floats = speed * way / np.maximum(far, np.finfo(np.float64).tiny)
        return meant
