"""Worlds, each a gymnasium.Env, registered as ``threefactor/NAME-v0`` when this package is imported.

The sequence worlds are supervised tasks too: their `draw` gives one trial, an `envs.sequences.Sequence`. The step of
the others is a compiled kernel, see `envs.compiled`. Any environment, of others too, changes under `Change` and
`Actuators`, by a schedule, and shows less under the other wrappers.
"""

import gymnasium as gym

from envs.arm import Arm
from envs.cart_pole import CartPole
from envs.changes import Actuators, Change
from envs.cursor import Cursor
from envs.delayed_cue import DelayedCue
from envs.evidence_accumulation import EvidenceAccumulation
from envs.pattern_generation import PatternGeneration
from envs.quadrotor import Quadrotor
from envs.schedules import Ramp, RandomWalk, StepChange
from envs.sequence_tracking import SequenceTracking
from envs.wrappers import DropObservation, MaskObservation, NoisyObservation

__all__ = [
    "Actuators",
    "Arm",
    "CartPole",
    "Change",
    "Cursor",
    "DelayedCue",
    "DropObservation",
    "EvidenceAccumulation",
    "MaskObservation",
    "NoisyObservation",
    "PatternGeneration",
    "Quadrotor",
    "Ramp",
    "RandomWalk",
    "SequenceTracking",
    "StepChange",
]

for _name, _module, _threshold in (
    ("Arm", "arm", -30.0),
    ("CartPole", "cart_pole", 475.0),
    ("Cursor", "cursor", -10.0),
    ("DelayedCue", "delayed_cue", 0.9),
    ("EvidenceAccumulation", "evidence_accumulation", 0.86),
    ("PatternGeneration", "pattern_generation", -10.0),
    ("Quadrotor", "quadrotor", 400.0),
    ("SequenceTracking", "sequence_tracking", -30.0),
):
    gym.register(f"threefactor/{_name}-v0", entry_point=f"envs.{_module}:{_name}", reward_threshold=_threshold)
