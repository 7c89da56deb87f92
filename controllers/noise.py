"""Standard normal numbers, drawn a block ahead: a call of the generator for each step would be a tenth of the step."""

from __future__ import annotations

from typing import Any

import numpy as np

from threefactor.arrays import Array

BLOCK = 256  # rows


class Noise:
    """Rows of standard normal numbers, the same ones as if each were drawn by itself.

    Parameters
    ----------
    seed : int
    n : int
        Numbers in a row.
    """

    def __init__(self, seed: int, n: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._before = self._rng.bit_generator.state  # the generator's, before it drew the block
        self._block = np.zeros((BLOCK, n))
        self._rows, self._taken = list(self._block), BLOCK

    def next(self) -> Array:
        """The next row, which a later call overwrites."""
        if self._taken == BLOCK:
            self._before = self._rng.bit_generator.state
            self._rng.standard_normal(out=self._block)
            self._taken = 0
        self._taken += 1
        return self._rows[self._taken - 1]

    def generator(self) -> np.random.Generator:
        """The generator, as it is after the rows taken so far; what it draws is taken."""
        if self._taken < BLOCK:
            self._rng.bit_generator.state = self._before
            self._rng.standard_normal(self._taken * self._block.shape[1])
            self._taken = BLOCK
        return self._rng

    @property
    def state(self) -> Any:
        """State of that generator, from which the same rows follow."""
        return self.generator().bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        self._taken = BLOCK
        self._rng.bit_generator.state = state
