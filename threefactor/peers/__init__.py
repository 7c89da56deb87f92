"""Other systems that do the work of the benchmark, for comparison; each needs its library only when it is built.

They come with the extra `peers`, and are written for this benchmark from the equations and the libraries' manuals.
"""

from __future__ import annotations

from importlib.util import find_spec

from threefactor.peers.by_braintrace import BrainTraceSystem, FactorisedBrainTraceSystem
from threefactor.peers.by_jax import JaxSystem
from threefactor.peers.by_nest import NestSystem
from threefactor.peers.by_numpy import NumpySystem
from threefactor.peers.by_snntorch import SnnTorchSystem
from threefactor.peers.by_torch import EagerTorchSystem, TorchSystem
from threefactor.peers.work import System, Work

PEERS: tuple[type[System], ...] = (
    NumpySystem, JaxSystem, TorchSystem, EagerTorchSystem, BrainTraceSystem, FactorisedBrainTraceSystem,
    SnnTorchSystem, NestSystem,
)  # fmt: skip
HINT = 'pip install "threefactor[peers]"'


def installed(system: type[System]) -> bool:
    """Whether the library of a system can be imported."""
    return find_spec(system.package.removesuffix("-simulator")) is not None


__all__ = ["HINT", "PEERS", "System", "Work", "installed"]
