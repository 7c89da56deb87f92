"""The work in PyTorch, in place: each operation by itself, or compiled where there is a C++ compiler."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.peers.work import DECAY, PEAK, System, Work, split


class TorchSystem(System):
    """Whole matrices every tick; the equations are those of `threefactor.peers.work`."""

    name, package, compiled = "torch", "torch", True

    def __init__(self, work: Work) -> None:
        import torch

        torch.set_num_threads(1)
        self.work, n, rate = work, work.neurons, work.learning_rate
        width = work.inputs + n
        w, w_out = torch.from_numpy(work.joined), torch.from_numpy(work.weights["w_out"].copy())
        ebar, zbar, z = torch.zeros(n, width), torch.zeros(width), torch.zeros(n)
        v, zbar_out, y = torch.zeros(n), torch.zeros(n), torch.zeros(2)
        autapses = w.view(-1)[work.inputs :: width + 1]

        def forward(x: Any, target: Any) -> tuple[Any, Any, Any]:
            pre = torch.cat([x, z])
            v.mul_(DECAY).add_(w @ pre).sub_(z)
            zbar.mul_(DECAY).add_(pre)
            psi = (1.0 - (v - 1.0).abs()).clamp_(min=0.0).mul_(PEAK)
            z.copy_(v >= 1.0)
            y.mul_(DECAY).add_(w_out @ z, alpha=1.0 - DECAY)
            error = y - target
            zbar_out.mul_(DECAY).add_(z, alpha=1.0 - DECAY)
            signal = error @ w_out
            w_out.addcmul_(error[:, None], zbar_out[None, :], value=-rate)
            return psi, zbar, signal

        def learn(psi: Any, zbar: Any, signal: Any) -> None:
            ebar.mul_(DECAY).addcmul_(psi[:, None], zbar[None, :], value=1.0 - DECAY)
            w.addcmul_(signal[:, None], ebar, value=-rate)

        if self.compiled and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            raise ImportError("torch.compile needs a C++ compiler")
        # compiled as one, the whole forward step would be repeated inside the loop over synapses
        self._forward: Any = torch.compile(forward, fullgraph=True) if self.compiled else forward
        self._learn: Any = torch.compile(learn, fullgraph=True) if self.compiled else learn
        self._torch, self._kept = torch, (w, w_out, ebar, zbar, z, v, zbar_out, y)
        self._z, self._autapses = z, autapses

    def advance(self, x: Array, target: Array) -> None:
        """Take a tick and learn from it."""
        torch = self._torch
        with torch.inference_mode():
            self._learn(*self._forward(torch.from_numpy(x), torch.from_numpy(target)))
            self._autapses.zero_()  # not above, where the compiler would copy the matrix for it

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        return np.asarray(self._z)

    def weights(self) -> dict[str, Array]:
        """Present weights."""
        return split(self._kept[0], self.work) | {"w_out": np.asarray(self._kept[1])}

    def arrays(self) -> Iterable[Any]:
        """All arrays that are kept from tick to tick."""
        return self._kept


class EagerTorchSystem(TorchSystem):
    """The same without a compiler."""

    name, compiled = "torch_eager", False
