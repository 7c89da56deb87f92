"""What acts in a loop."""

from controllers.actor_critic import ActorCritic, ActorCriticSettings

__all__ = ["ActorCritic", "ActorCriticSettings"]
