"""Every number and switch of the actor-critic, in one checked, frozen record."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from threefactor import ScheduleSettings
from threefactor.settings import Fraction, NonNegative, Positive, check_finite


class ActorCriticSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the actor-critic; one set of defaults for every task.

    Parameters
    ----------
    n_hidden : int
        Neurons of the actor's, and as many of the critic's, population.
    discount, trace_decay : float
        gamma and lambda: what a tag keeps from one transition to the next is their product.
    optimiser : {"obgd", "sgd", "adam"}
        How a TD error becomes a step; only obgd bounds it.
    learning_rate, actor_overshoot, critic_overshoot : float
        Largest step, and kappa of the overshooting bound of either network. Both are needed: the bound alone makes
        every step equally long, however small the gradient, and then what was learnt drifts.
    entropy : float
        Weight of the entropy bonus.
    membrane_decay, readout_decay : float
        What membrane and readout keep from one environment step to the next; time is counted in such steps.
    slope, height, surrogate, normalisation
        Of the surrogate derivative, see `threefactor.surrogates`; thresholds are 1.
    slope_schedule : ScheduleSettings
        How the slope follows the returns of the episodes; by default it does not.
    recurrent : bool
        Whether the populations are recurrent, for partially observed tasks.
    adaptive_share : float
        Share of neurons with adaptive thresholds.
    adaptation_decay, adaptation_strength : float
        rho and beta of these.
    normalise_observations, scale_rewards : bool
        Standardise observations, and divide rewards by the deviation of the discounted return, both running.
    keep_state : bool
        Keep the neurons' state from one episode to the next instead of putting them to rest.
    freeze_hidden : bool
        Only the readouts learn: the control of every learning claim.
    dtype : {"float32", "float64"}
        Precision of the networks.
    """

    n_hidden: Annotated[int, Meta(ge=1)] = 256
    discount: Fraction = 0.99
    trace_decay: Fraction = 0.8
    optimiser: Literal["obgd", "sgd", "adam"] = "obgd"
    learning_rate: Positive = 0.005
    actor_overshoot: Positive = 5.0
    critic_overshoot: Positive = 3.0
    entropy: NonNegative = 0.003
    membrane_decay: Fraction = 0.5
    readout_decay: Fraction = 0.4
    surrogate: str = "piecewise_linear"
    slope: Positive = 1.0
    height: Positive = 0.2
    normalisation: Literal["peak", "area"] = "peak"
    slope_schedule: ScheduleSettings = ScheduleSettings()
    recurrent: bool = False
    adaptive_share: Fraction = 0.0
    adaptation_decay: Fraction = 0.9
    adaptation_strength: NonNegative = 0.5
    normalise_observations: bool = True
    scale_rewards: bool = True
    keep_state: bool = False
    freeze_hidden: bool = False
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_finite(self)


def tau_of(decay: float) -> float:
    """Time constant in ticks whose decay this is."""
    return -1.0 / math.log(min(max(decay, 1e-6), 1.0 - 1e-9))
