"""Worlds, each a gymnasium.Env, registered as ``threefactor/NAME-v0`` when this package is imported."""

import gymnasium as gym

from envs.delayed_cue import DelayedCue

__all__ = ["DelayedCue"]

gym.register("threefactor/DelayedCue-v0", entry_point="envs.delayed_cue:DelayedCue", reward_threshold=0.9)
