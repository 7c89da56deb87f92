"""The work that every system of the benchmark does, and what a system is.

One tick of it: a forward step of `neurons` recurrent LIF neurons on 100 inputs of which 5 % spike, the eligibility
traces, the error of two leaky readouts against a slow sine, sent back through the readout weights, and plain descent on
input, recurrent and readout weights. Batch 1, one thread, float32. All systems start from the same weights::

    v    = alpha v + W [x, z_prev] - z_prev ;  z = 1 if v >= 1 ;  psi = 0.3 max(0, 1 - |v - 1|)
    y    = kappa y + (1 - kappa) W_out z ;  error = y - target ;  L = W_out^T error
    zbar = alpha zbar + [x, z_prev] ;  ebar = kappa ebar + (1 - kappa) psi zbar
    W   -= learning_rate L ebar, but for autapses, which stay 0
    zbar_out = kappa zbar_out + (1 - kappa) z ;  W_out -= learning_rate error zbar_out
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.network import Network

TAU = 20.0  # of membrane and readout, in ticks
DECAY = math.exp(-1.0 / TAU)  # alpha = kappa
PEAK = 0.3  # of psi
RATE = 1e-4  # of learning: slow enough for the neurons to go on spiking alike
W_IN_SCALE = 1.9  # lets about 5 % of the neurons spike, at all sizes
COUNT_EVERY = 10  # ticks
PERIODS = np.array([200.0, 300.0])  # of the targets


@dataclass(frozen=True)
class Work:
    """So many neurons and inputs, and the weights that learning begins with."""

    neurons: int
    recurrent: bool = True
    inputs: int = 100
    seed: int = 0
    learning_rate: float = RATE
    weights: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        given = self.network().weights
        object.__setattr__(self, "weights", {name: np.ascontiguousarray(w) for name, w in given.items()})

    def network(self) -> Network:
        """Our own network that does this work."""
        return Network(
            n_in=self.inputs, n_hidden=self.neurons, n_out=len(PERIODS), recurrent=self.recurrent, tau_m=TAU,
            tau_out=TAU, height=PEAK, learning_rate=self.learning_rate, w_in_scale=W_IN_SCALE, seed=self.seed,
        )  # fmt: skip

    @property
    def joined(self) -> Array:
        """Input and recurrent weights, [neurons, inputs + neurons]."""
        return np.concatenate([self.weights["w_in"], self.weights["w_rec"]], axis=1)

    @property
    def synapses(self) -> int:
        """Plastic synapses onto hidden neurons; autapses are counted, which dense rules keep as zeros."""
        return self.neurons * (self.inputs + self.neurons * self.recurrent)

    def draw(self, ticks: int, start: int = 0) -> tuple[Array, Array]:
        """Inputs and targets of `ticks` ticks from tick `start` on."""
        rng = np.random.default_rng([self.seed, start])
        inputs = (rng.random((ticks, self.inputs)) < 0.05).astype(np.float32)
        times = np.arange(start, start + ticks)[:, None]
        return inputs, (0.5 * np.sin(2.0 * np.pi * times / PERIODS)).astype(np.float32)


class System:
    """Something that can do the work: overrides `advance` or `block`, `spikes`, `weights` and `arrays`."""

    name: str
    package: str  # whose version counts
    window = 1  # ticks over which the cost of one is to be averaged

    def __init__(self, work: Work) -> None:
        raise NotImplementedError

    def advance(self, x: Array, target: Array) -> None:
        """Take a tick and learn from it."""
        raise NotImplementedError

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        raise NotImplementedError

    def weights(self) -> Mapping[str, Any]:
        """Present weights w_in, w_rec and w_out, [post, pre]."""
        raise NotImplementedError

    def arrays(self) -> Iterable[Any]:
        """All arrays that are kept from tick to tick."""
        raise NotImplementedError

    def state_bytes(self) -> int | None:
        """Memory of what is kept from tick to tick."""
        return sum(int(array.nbytes) for array in self.arrays())

    def tick(self, x: Array, target: Array) -> int:
        """Nanoseconds that one tick took."""
        start = time.perf_counter_ns()
        self.advance(x, target)
        return time.perf_counter_ns() - start

    def block(self, inputs: Array, targets: Array, spent: Array) -> float:
        """Take ticks, write the nanoseconds of each into `spent`, and return the share of neurons that spiked.

        Spikes are counted every tenth tick, for the counting takes longer than a tick, and its code drives the tick's
        out of the processor's memory.
        """
        spiking, counted = 0.0, range(0, len(inputs), COUNT_EVERY)
        for k in range(len(inputs)):
            spent[k] = self.tick(inputs[k], targets[k])
            if k in counted:
                spiking += float(np.mean(self.spikes()))
        return spiking / len(counted)


def split(w: Any, work: Work) -> dict[str, Array]:
    """Input and recurrent part of joined weights."""
    both = np.asarray(w)
    return {"w_in": both[:, : work.inputs], "w_rec": both[:, work.inputs :]}
