"""The work in NumPy, in place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from threefactor.arrays import Array
from threefactor.peers.work import DECAY, PEAK, System, Work, split


class NumpySystem(System):
    """Whole matrices every tick; the equations are those of `threefactor.peers.work`."""

    name, package = "numpy", "numpy"

    def __init__(self, work: Work) -> None:
        self.work, n = work, work.neurons
        self.w, self.w_out = work.joined, work.weights["w_out"].copy()
        width = self.w.shape[1]
        self.autapses = self.w.reshape(-1)[work.inputs :: width + 1]
        self.ebar, self.room = np.zeros((2, n, width), np.float32)
        self.pre, self.zbar = np.zeros((2, width), np.float32)
        self.v, self.psi, self.zbar_out = np.zeros((3, n), np.float32)
        self.y = np.zeros(len(self.w_out), np.float32)
        self.z = self.pre[work.inputs :]

    def advance(self, x: Array, target: Array) -> None:
        """Take a tick and learn from it."""
        v, z, psi, y, rate = self.v, self.z, self.psi, self.y, self.work.learning_rate
        self.pre[: self.work.inputs] = x
        v *= DECAY
        v += self.w @ self.pre
        v -= z
        self.zbar *= DECAY
        self.zbar += self.pre
        np.abs(v - 1.0, out=psi)
        np.maximum(1.0 - psi, 0.0, out=psi)
        np.greater_equal(v, 1.0, out=z, casting="unsafe")
        y *= DECAY
        y += (1.0 - DECAY) * (self.w_out @ z)
        error = y - target
        self.zbar_out *= DECAY
        self.zbar_out += (1.0 - DECAY) * z
        np.multiply(((1.0 - DECAY) * PEAK * psi)[:, None], self.zbar, out=self.room)
        self.ebar *= DECAY
        self.ebar += self.room
        np.multiply((rate * (error @ self.w_out))[:, None], self.ebar, out=self.room)
        self.w -= self.room
        self.autapses[:] = 0.0
        self.w_out -= rate * error[:, None] * self.zbar_out

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        return self.z

    def weights(self) -> dict[str, Array]:
        """Present weights."""
        return split(self.w, self.work) | {"w_out": self.w_out}

    def arrays(self) -> Iterable[Array]:
        """All arrays that are kept from tick to tick."""
        return (self.w, self.w_out, self.ebar, self.room, self.pre, self.zbar, self.v, self.psi, self.zbar_out, self.y)
