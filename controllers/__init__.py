"""What acts in a loop."""

from controllers.actor_critic import ActorCritic
from controllers.bptt import BPTT
from controllers.cloner_settings import ClonerSettings
from controllers.cloning import Cloner
from controllers.compiled_loop import CompiledLoop, CompiledWorld
from controllers.settings import ActorCriticSettings
from controllers.stream_ac import StreamAC
from controllers.training import Episode, Loop, evaluate, solved
from controllers.vector import VectorActorCritic

__all__ = [
    "BPTT",
    "ActorCritic",
    "ActorCriticSettings",
    "Cloner",
    "ClonerSettings",
    "CompiledLoop",
    "CompiledWorld",
    "Episode",
    "Loop",
    "StreamAC",
    "VectorActorCritic",
    "evaluate",
    "solved",
]
