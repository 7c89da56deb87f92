"""A spiking population that maps what it sees to numbers, and learns from the error of these: one tick a look."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from controllers.encoding import encode, n_inputs
from controllers.normalisation import observe
from controllers.population_settings import PopulationSettings
from controllers.settings import tau_of
from threefactor import Network
from threefactor._jit import entry
from threefactor.arrays import Array
from threefactor.checkpoints import restore

OBSERVATION_LIMIT = 10.0


def averaging(optimiser: str) -> dict[str, Any]:
    """Settings of a network that `descend` is to teach: the intentional step averages squares over 10,000 ticks."""
    return {"beta_2": 0.9999} if optimiser == "intentional" else {}


def descend(network: Network, error: Array) -> None:
    """Descend along the error of the last tick, (n_out,), with whatever optimiser the network has.

    The intentional step suits a direction: it is taken along that of the error, and as far as this is long.
    """
    if network.settings.optimiser != "intentional":
        network.learn(error)
        return
    length = float(np.sqrt(error @ error))
    if length > 0.0:
        network.tag(error / length)
        network.update(length)


class Population:
    """Encoder and network of the controllers that learn from a supervised error.

    Parameters
    ----------
    n_seen, n_out : int
        Numbers that it sees, and readouts.
    seed : int
        Of the initial weights.
    settings : PopulationSettings

    Attributes
    ----------
    network : threefactor.Network
    """

    def __init__(self, n_seen: int, n_out: int, seed: int, settings: PopulationSettings) -> None:
        s = self.settings = settings
        self.network = Network(
            n_inputs(n_seen, s.n_fields), s.n_hidden, n_out, recurrent=s.recurrent, bias=True,
            tau_m=tau_of(s.membrane_decay), tau_out=tau_of(s.readout_decay), normalise_current=True,
            surrogate=s.surrogate, slope=s.slope, height=s.height, optimiser=s.optimiser, tag_decay=0.0,
            learning_rate=s.learning_rate, freeze_hidden=s.freeze_hidden, w_in_scale=0.5, w_out_scale=0.0,
            dtype=s.dtype, seed=seed, **averaging(s.optimiser),
        )  # fmt: skip
        self.network.w_in[:, -1] = 0.0  # random biases would let some neurons fire always, and others never
        self._count, self._seen = np.zeros(1), np.zeros(n_seen)
        self._mean, self._squares = np.zeros(n_seen), np.zeros(n_seen)
        self._x = np.zeros(n_inputs(n_seen, s.n_fields), self.network.state.dtype)
        self._observe = entry(observe, self._mean, self._squares, 1.0, 1.0, self._seen)
        self._encode = entry(
            encode, self._x, self._seen, self._mean, self._squares, 1.0, OBSERVATION_LIMIT, s.n_fields
        )  # fmt: skip

    def check(self, seen: npt.ArrayLike, what: str) -> Array:
        """What is to be seen, as a flat row of numbers.

        Raises
        ------
        ValueError
            Another number of entries, or one that is not finite.
        """
        row = np.array(seen, dtype=np.float64).reshape(-1)
        if row.size != self._seen.size:
            raise ValueError(f"{what} has shape {np.shape(seen)}, this controller takes {self._seen.size} numbers.")
        if not np.isfinite(row).all():
            raise ValueError(f"{what} {row} holds a value that is not finite; nothing was learnt.")
        return row

    def look(self, row: Array, learns: bool) -> Array:
        """Take a tick; where it `learns`, what is seen counts for the statistics, too."""
        self._seen[:] = row
        if learns:
            self._count[0] += 1.0
            self._observe(self._mean, self._squares, self._count[0], 1.0, self._seen)
        count = self._count[0] if self.settings.normalise_observations else 0.0
        self._encode(
            self._x, self._seen, self._mean, self._squares, count, OBSERVATION_LIMIT, self.settings.n_fields
        )  # fmt: skip
        return self.network.step(self._x)

    def learn(self, error: Array) -> None:
        """Descend along the error of the last look, (n_out,)."""
        descend(self.network, error)

    def arrays(self) -> dict[str, Array]:
        """Copies of all that it keeps."""
        own = {"count": self._count, "mean": self._mean, "squares": self._squares}
        return {name: array.copy() for name, array in {**self.network.arrays(), **own}.items()}

    def put(self, arrays: dict[str, Any]) -> None:
        """Go on from what `arrays` gave."""
        self.network.put(arrays)
        for name, array in {"count": self._count, "mean": self._mean, "squares": self._squares}.items():
            restore(array, arrays, name)
