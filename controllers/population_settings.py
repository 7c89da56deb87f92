"""Every number and switch of regulator and decoder, in one checked, frozen record."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from threefactor.settings import Fraction, Positive, check_finite


class PopulationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the controllers that learn from a supervised error.

    Parameters
    ----------
    n_hidden : int
        Neurons of the hidden layer.
    n_fields : int
        Receptive fields of each entry of the observation, which the network sees beside the entry itself.
    optimiser : {"intentional", "sgd", "adam"}
        How an error becomes a step.
    learning_rate : float
        With "intentional" the share of the error that one step is meant to take away; else as in
        `threefactor.NetworkSettings`.
    membrane_decay, readout_decay : float
        What membrane and readout keep from one step to the next.
    recurrent : bool
        Whether the population is recurrent.
    surrogate, slope, height, normalise_observations, freeze_hidden, dtype
        As in `ActorCriticSettings`.
    """

    n_hidden: Annotated[int, Meta(ge=1)] = 128
    n_fields: Annotated[int, Meta(ge=0)] = 8
    optimiser: Literal["intentional", "sgd", "adam"] = "intentional"
    learning_rate: Positive = 0.05
    membrane_decay: Fraction = 0.5
    readout_decay: Fraction = 0.4
    recurrent: bool = False
    surrogate: str = "piecewise_linear"
    slope: Positive = 1.0
    height: Positive = 0.2
    normalise_observations: bool = True
    freeze_hidden: bool = False
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_finite(self)
