"""Every number and switch of the online cloner, in one checked, frozen record."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from threefactor import ScheduleSettings
from threefactor.settings import Fraction, NonNegative, Positive, check_finite


class ClonerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the student.

    Parameters
    ----------
    n_hidden : int or tuple of int
        Neurons of the hidden layer, or of each of a stack.
    student_acts : float
        Probability, each step, that the student's action is carried out and not the teacher's.
    ticks : int
        Ticks an observation. The readout of the last one is the action, and is learnt from.
    warm_ticks : int
        Ticks of the first observation after a rest at an episode's start, at least; neurons at rest know nothing yet.
    rest : {"observation", "episode", "never"}
        Before what the neurons are put to rest.
    optimiser, learning_rate
        As in `threefactor.NetworkSettings`; with "intentional" the rate is the share of the error that one step is
        meant to take away.
    membrane_decay, readout_decay, adaptation_decay : float
        What membrane, readout and adaptation keep from tick to tick.
    surrogate, slope, height, normalisation, and all others
        As in `ActorCriticSettings`.
    """

    n_hidden: Annotated[int, Meta(ge=1)] | Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)] = 128
    student_acts: Fraction = 1.0
    ticks: Annotated[int, Meta(ge=1)] = 4
    warm_ticks: Annotated[int, Meta(ge=1)] = 1
    rest: Literal["observation", "episode", "never"] = "observation"
    optimiser: Literal["intentional", "sgd", "adam", "obgd"] = "adam"
    learning_rate: Positive = 0.001
    membrane_decay: Fraction = 0.5
    readout_decay: Fraction = 0.7
    surrogate: str = "fast_sigmoid"
    slope: Positive = 2.0
    height: Positive = 1.0
    normalisation: Literal["peak", "area"] = "peak"
    slope_schedule: ScheduleSettings = ScheduleSettings()
    recurrent: bool = False
    adaptive_share: Fraction = 0.0
    adaptation_decay: Fraction = 0.9
    adaptation_strength: NonNegative = 0.5
    normalise_observations: bool = True
    freeze_hidden: bool = False
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_finite(self)
