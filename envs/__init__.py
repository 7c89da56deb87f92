"""Worlds, each a gymnasium.Env, registered as ``threefactor/NAME-v0`` when this package is imported.

Each is a supervised task too: its `draw` gives one trial, an `envs.sequences.Sequence`.
"""

import gymnasium as gym

from envs.delayed_cue import DelayedCue
from envs.evidence_accumulation import EvidenceAccumulation
from envs.pattern_generation import PatternGeneration
from envs.sequence_tracking import SequenceTracking

__all__ = ["DelayedCue", "EvidenceAccumulation", "PatternGeneration", "SequenceTracking"]

for _name, _module, _threshold in (
    ("DelayedCue", "delayed_cue", 0.9),
    ("EvidenceAccumulation", "evidence_accumulation", 0.86),
    ("PatternGeneration", "pattern_generation", -10.0),
    ("SequenceTracking", "sequence_tracking", -30.0),
):
    gym.register(f"threefactor/{_name}-v0", entry_point=f"envs.{_module}:{_name}", reward_threshold=_threshold)
