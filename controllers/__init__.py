"""What acts in a loop."""

from controllers.actor_critic import ActorCritic
from controllers.settings import ActorCriticSettings
from controllers.training import Episode, Loop, evaluate, solved

__all__ = ["ActorCritic", "ActorCriticSettings", "Episode", "Loop", "evaluate", "solved"]
