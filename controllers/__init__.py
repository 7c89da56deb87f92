"""What acts in a loop."""

from controllers.actor_critic import ActorCritic
from controllers.bptt import BPTT
from controllers.settings import ActorCriticSettings
from controllers.training import Episode, Loop, evaluate, solved

__all__ = ["BPTT", "ActorCritic", "ActorCriticSettings", "Episode", "Loop", "evaluate", "solved"]
