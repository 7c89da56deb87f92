"""Running mean and deviation that forget, for numbers of any unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.checkpoints import restore


class Scale:
    """Running mean and deviation of the entries of a row: exponential averages, at first plain ones.

    Parameters
    ----------
    n : int
        Entries.
    window : float
        Rows that the averages reach back; infinite: all.
    least : float
        What is added to the deviation of each entry, in squares, in units of the root mean square of all deviations.

    Attributes
    ----------
    mean, deviation : array, (n,)
        The deviation is 1 before it is known, and of entries that never changed.
    """

    def __init__(self, n: int, window: float = np.inf, least: float = 0.0) -> None:
        self._window, self._least = window, least
        self._count, self.mean, self._variance = np.zeros(1), np.zeros(n), np.zeros(n)
        self._measure()

    def take(self, row: Array) -> None:
        """Take one more row into the averages."""
        self._count += 1.0
        share = max(1.0 / self._count[0], 1.0 / self._window)
        off = row - self.mean
        self.mean += share * off
        self._variance += share * ((1.0 - share) * off * off - self._variance)
        self._measure()

    def _measure(self) -> None:
        squares = self._variance + self._least**2 * self._variance.mean()
        self.deviation = np.sqrt(np.where(squares > 0.0, squares, 1.0))

    def standard(self, row: Array) -> Array:
        """(row - mean) / deviation."""
        return (row - self.mean) / self.deviation

    def arrays(self, name: str) -> dict[str, Array]:
        """What it keeps, not copied."""
        return {f"{name}_count": self._count, f"{name}_mean": self.mean, f"{name}_variance": self._variance}

    def put(self, arrays: dict[str, Any], name: str) -> None:
        """Go on from what `arrays` gave."""
        for key, array in self.arrays(name).items():
            restore(array, arrays, key)
        self._measure()
