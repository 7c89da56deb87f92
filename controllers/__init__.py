"""What acts in a loop."""

from controllers.actor_critic import ActorCritic
from controllers.bptt import BPTT
from controllers.cloner_settings import ClonerSettings
from controllers.cloning import Cloner
from controllers.compiled_loop import CompiledLoop, CompiledWorld
from controllers.decoder import Decoder
from controllers.decoders import RecursiveLeastSquares, WienerDecoder
from controllers.frozen import Frozen
from controllers.geometric import QuadrotorController
from controllers.kalman import KalmanDecoder, ReFITDecoder
from controllers.limits import Limited, Limits
from controllers.lqr import LQR
from controllers.pid import PID
from controllers.population_settings import PopulationSettings
from controllers.regulator import Regulator
from controllers.settings import MEMORY, ActorCriticSettings
from controllers.stream_ac import StreamAC
from controllers.supervisor import Supervisor
from controllers.training import Episode, Loop, evaluate, solved
from controllers.vector import VectorActorCritic
from controllers.watched import Watched

__all__ = [
    "BPTT",
    "LQR",
    "MEMORY",
    "PID",
    "ActorCritic",
    "ActorCriticSettings",
    "Cloner",
    "ClonerSettings",
    "CompiledLoop",
    "CompiledWorld",
    "Decoder",
    "Episode",
    "Frozen",
    "KalmanDecoder",
    "Limited",
    "Limits",
    "Loop",
    "PopulationSettings",
    "QuadrotorController",
    "ReFITDecoder",
    "RecursiveLeastSquares",
    "Regulator",
    "StreamAC",
    "Supervisor",
    "VectorActorCritic",
    "Watched",
    "WienerDecoder",
    "evaluate",
    "solved",
]
