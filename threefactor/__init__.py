"""Online three-factor learning for spiking networks: e-prop, one time step a call."""

from threefactor.checkpoints import CheckpointError
from threefactor.network import Network
from threefactor.networks import Networks
from threefactor.presets import preset
from threefactor.schedules import SCHEDULES, ScheduleSettings, SlopeSchedule
from threefactor.settings import NetworkSettings
from threefactor.surrogates import SURROGATES, pseudo_derivative

__all__ = [
    "SCHEDULES",
    "SURROGATES",
    "CheckpointError",
    "Network",
    "NetworkSettings",
    "Networks",
    "ScheduleSettings",
    "SlopeSchedule",
    "preset",
    "pseudo_derivative",
]
__version__ = "0.1.0"
