"""The same network in snnTorch, taught through time: 100 ticks are stored, then all are learnt from at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.peers.work import DECAY, System, Work


class SnnTorchSystem(System):
    """Truncated backpropagation through time; one weight update a window, whose cost the last tick bears."""

    name, package = "snntorch", "snntorch"
    window = 100

    def __init__(self, work: Work) -> None:
        import snntorch
        import torch

        torch.set_num_threads(1)
        self._torch, self.work, n = torch, work, work.neurons
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced
            self._into, self._out = (torch.nn.Linear(*size, bias=False) for size in ((work.inputs, n), (n, 2)))
            self._lif = snntorch.RLeaky(
                DECAY, linear_features=n, spike_grad=snntorch.surrogate.fast_sigmoid(), reset_mechanism="subtract"
            )
            self._lif.recurrent = torch.nn.Linear(n, n, bias=False)
            self._readout = snntorch.Leaky(DECAY, reset_mechanism="none")
        self._learning = {"w_in": self._into.weight, "w_rec": self._lif.recurrent.weight, "w_out": self._out.weight}
        with torch.no_grad():
            for name, weight in self._learning.items():
                weight.copy_(torch.from_numpy(work.weights[name]))
        self._optimiser = torch.optim.SGD(self._learning.values(), lr=work.learning_rate)
        self._z, self._v = torch.zeros(n), torch.zeros(n)
        self._y, self._ticks = torch.zeros(2), 0
        self._loss: Any = torch.zeros(())

    def advance(self, x: Array, target: Array) -> None:
        """Take a tick; at the end of a window learn from all its ticks."""
        torch = self._torch
        self._z, self._v = self._lif(self._into(torch.from_numpy(x)), self._z, self._v)
        _, self._y = self._readout((1.0 - DECAY) * self._out(self._z), self._y)
        self._loss = self._loss + 0.5 * ((self._y - torch.from_numpy(target)) ** 2).sum()
        self._ticks += 1
        if self._ticks % self.window == 0:
            self._optimiser.zero_grad()
            self._loss.backward()
            self._optimiser.step()
            with torch.no_grad():
                self._learning["w_rec"].fill_diagonal_(0.0)
            self._z, self._v, self._y = self._z.detach(), self._v.detach(), self._y.detach()
            self._loss = torch.zeros(())

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        return np.asarray(self._z.detach())

    def weights(self) -> dict[str, Array]:
        """Present weights."""
        return {name: weight.detach().numpy() for name, weight in self._learning.items()}

    def arrays(self) -> Iterable[Any]:
        """Weights and gradients."""
        return (array for weight in self._learning.values() for array in (weight.data, weight.grad))

    def state_bytes(self) -> int:
        """Weights, gradients, and what a window stores for its way back; runs a window."""
        stored: dict[int, int] = {}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
            return tensor

        inputs, targets = self.work.draw(self.window)
        with self._torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.block(inputs, targets, np.zeros(self.window))
        own = {array.untyped_storage().data_ptr() for array in self.arrays()}
        kept = sum(size for place, size in stored.items() if place not in own)
        return kept + sum(int(array.nbytes) for array in self.arrays())
