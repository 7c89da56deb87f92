"""Where in a network's state the numbers lie that the page shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from threefactor import layout as at
from threefactor.arrays import Ints
from threefactor.buffer import Buffer
from threefactor.network import Network

MOST_NEURONS, MOST_ROWS, MOST_COLUMNS = 128, 96, 128  # that are shown: of more, some at equal distances
NOWHERE = -1


def network_of(target: Any) -> Network | None:
    """The network of a controller, or None: itself, its `network`, or that of its `actor` or `population`."""
    for each in (target, getattr(target, "network", None), getattr(target, "actor", None)):
        if isinstance(each, Network):
            return each
    inner = getattr(target, "population", None)
    return None if inner is None else network_of(inner)


class Views:
    """Places of what is shown.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    neurons, of_neurons : int
        That are shown, and that there are in all hidden layers.
    ring : array, int64, (2 neurons,)
        Of their spikes, and of their voltages.
    matrices : dict
        Rows and columns that are shown of each matrix of weights; sparse ones are left out.
    maps : array, int64, (2 cells,)
        Of the traces, -1 where a layer is frozen and has none, and of the weights.
    """

    def __init__(self, network: Network) -> None:
        twin = Buffer.__new__(Buffer)  # cut into the same views, it holds of each number where it is
        twin.__dict__.update(network.__dict__)
        twin.state = np.arange(network.state.size, dtype=np.float64)
        layers = range(len(network.settings.n_hidden))
        spikes, voltages = (np.concatenate([view(layer) for layer in layers]) for view in (twin.spikes, twin.voltage))
        shown = _spread(spikes.size, MOST_NEURONS)
        self.neurons, self.of_neurons = shown.size, spikes.size
        self.ring: Ints = np.concatenate([spikes[shown], voltages[shown]]).astype(np.int64)
        traces, cut = twin._matrices(at.EBAR), {}
        traces["w_out"] = twin._view(len(layers), at.ZBAR)[None, :]  # a readout's trace is what its neurons sent
        for name, weights in twin._matrices(at.W).items():
            if not scipy.sparse.issparse(weights):
                trace = np.broadcast_to(traces.get(name, NOWHERE), weights.shape)
                rows, columns = (
                    _spread(n, most) for n, most in zip(weights.shape, (MOST_ROWS, MOST_COLUMNS), strict=True)
                )
                cut[name] = [each[np.ix_(rows, columns)] for each in (trace, weights)]
        self.matrices: dict[str, tuple[int, int]] = {name: pair[0].shape for name, pair in cut.items()}
        flat = [pair[which].reshape(-1) for which in (0, 1) for pair in cut.values()]
        self.maps: Ints = np.concatenate([*flat, np.zeros(0)]).astype(np.int64)


def _spread(n: int, most: int) -> Ints:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
