"""Online three-factor learning for spiking networks: e-prop, one time step a call."""

from threefactor.network import Network
from threefactor.settings import NetworkSettings
from threefactor.surrogates import SURROGATES, pseudo_derivative

__all__ = ["SURROGATES", "Network", "NetworkSettings", "pseudo_derivative"]
__version__ = "0.1.0"
