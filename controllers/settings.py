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
    n_fields : int or None
        Receptive fields of each entry of the observation, which the network sees beside the entry itself. None: 12, or
        20 if the observation has but one or two entries, whose every detail the network then has room for. Where
        entries are but 0 or 1 `for_env` leaves them out, and has other values for what else is None of novelty, noise,
        decays and annealing, see `controllers.spaces.settings_for`.
    differences : bool
        Whether the network sees, as entries of their own, by how much each entry changed since the last observation, 0
        at the first of an episode: what a sensor of positions does not show of velocities. An observation then counts
        as twice its entries.
    joint_fields : bool or None
        Whether the network sees the products of the fields of each two entries, too: n_fields^2 inputs for two entries,
        which answer to places in their plane, and make a step several times as long. None: if there are but two or
        three entries.
    discount : float
        gamma.
    trace_decay : float or None
        lambda: what a tag keeps from one transition to the next is gamma lambda. None: .8; .9 for a box of several
        entries.
    optimiser : {"intentional", "obgd", "sgd", "adam"}
        How a TD error becomes a step. intentional: `critic_rate` is the share of the TD error by which a step is meant
        to change the value, `actor_rate` the change of an action's log-probability at a TD error of usual size,
        times the root of the action's entries.
    actor_rate, critic_rate : float
        Learning rates of the two networks.
    actor_overshoot, critic_overshoot : float
        kappa of the overshooting bound of either network, for obgd.
    baseline_rate : float
        Share of each TD error that goes into an offset of all values at once.
    entropy : float or None
        Weight of the bonus for an undecided policy, see `controllers.policies`. None: .01; .003 for a choice between
        two; .1 for a box of several entries, which else learns to stand and no more.
    novelty : float or None
        Weight of the bonus for observations whose receptive fields, or states if there are none, were rarely visited,
        in units of scaled reward, see `controllers.encoding`. None: .4, or 0 without fields.
    noise_correlation : float or None
        What exploration noise keeps from one action to the next; each single action is drawn from the policy. None: .7;
        .5 for a box of several entries.
    deviation_bias : float
        Before learning, the deviation of a Gaussian policy is exp of this, in units of half the action's range; exp of
        this - 2 if an action has several entries, which push to and fro against each other. The policy's means are in
        units of the deviation, see `controllers.policies.draw_gaussian`.
    step_annealing, noise_annealing, sample_annealing : float or None
        The actor's step and its exploration shrink to these times 1 - p, p being the progress of the returns towards
        what is within reach, where that is below 1; 0: they do not. So, to the square of the last, does what an
        observation counts in the mean and deviation that it is standardised by: they come to rest, and what was learnt
        stays right. None: 5, 2.5 and 2.5; 0, 1 and 0 for a box of several entries, of whose
        exploration 1 - steps / 400,000 is left at least; 0 for several choices. See `controllers.annealing`.
    warm_up_steps : float
        The actor's step grows in proportion to the steps done, up to this number of them, or in four episodes if those
        take less; 0: it is whole from the first on. What a critic that has seen nothing yet makes of the first rewards
        else decides the policy: where force costs and nothing was found yet, to rest for good.
    membrane_decay, readout_decay : float or None
        What membrane and readout keep from one environment step to the next; time is counted in such steps. None: .5
        and .4; .4 and .3 for a box of one entry; .2 and .2 for one of several, which move a body together and are to
        lag least.
    warm_ticks : int
        Ticks that the neurons see the first observation of an episode before the first action.
    slope, height, surrogate, normalisation
        Of the surrogate derivative, see `threefactor.surrogates`; thresholds are 1.
    slope_schedule : ScheduleSettings
        How the slope follows the returns of the episodes; by default it does not.
    recurrent : bool
        Whether the populations are recurrent.
    adaptive_share : float
        Share of neurons with adaptive thresholds; they remember what an observation does not show.
    adaptation_decay, longest_adaptation_decay, adaptation_strength : float
        rho of the first and of the last of these, with time constants spread between; and beta.
    w_in_scale : float
        Deviation of the initial weights onto the neurons, times the root of the inputs. As the current is normalised,
        it does not change what the neurons do at first, but how fast they learn it anew.
    normalise_observations, scale_rewards : bool
        Standardise observations, and divide rewards by the deviation of the discounted return, both running.
    keep_state : bool
        Keep the neurons' state from one episode to the next instead of putting them to rest.
    freeze_hidden : bool
        Only the readouts learn: the control of every learning claim.
    dtype : {"float32", "float64"}
        Precision of the networks.
    """

    n_hidden: Annotated[int, Meta(ge=1)] = 128
    n_fields: Annotated[int, Meta(ge=0)] | None = None
    differences: bool = False
    joint_fields: bool | None = None
    discount: Fraction = 0.99
    trace_decay: Fraction | None = None
    optimiser: Literal["intentional", "obgd", "sgd", "adam"] = "intentional"
    actor_rate: Positive = 0.03
    critic_rate: Positive = 0.15
    actor_overshoot: Positive = 5.0
    critic_overshoot: Positive = 3.0
    baseline_rate: Fraction = 0.3
    entropy: NonNegative | None = None
    novelty: NonNegative | None = None
    noise_correlation: Annotated[float, Meta(ge=0.0, lt=1.0)] | None = None
    deviation_bias: float = 2.0
    step_annealing: NonNegative | None = None
    noise_annealing: NonNegative | None = None
    sample_annealing: NonNegative | None = None
    warm_up_steps: NonNegative = 3000.0
    membrane_decay: Fraction | None = None
    readout_decay: Fraction | None = None
    warm_ticks: Annotated[int, Meta(ge=1)] = 8
    surrogate: str = "piecewise_linear"
    slope: Positive = 1.0
    height: Positive = 0.2
    normalisation: Literal["peak", "area"] = "peak"
    slope_schedule: ScheduleSettings = ScheduleSettings()
    recurrent: bool = False
    adaptive_share: Fraction = 0.0
    adaptation_decay: Fraction = 0.8
    longest_adaptation_decay: Fraction = 0.999
    adaptation_strength: NonNegative = 2.0
    w_in_scale: NonNegative = 0.5
    normalise_observations: bool = True
    scale_rewards: bool = True
    keep_state: bool = False
    freeze_hidden: bool = False
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_finite(self)


# for worlds that hide what was shown before: half of the neurons adapt, over 5 to 1,000 steps, and the rest follows at
# once; where velocities alone are hidden, differences are enough
MEMORY = {
    "differences": True, "adaptive_share": 0.5, "membrane_decay": 0.2, "readout_decay": 0.1, "w_in_scale": 1.0,
}  # fmt: skip


def tau_of(decay: float) -> float:
    """Time constant in ticks whose decay this is."""
    return -1.0 / math.log(min(max(decay, 1e-6), 1.0 - 1e-9))
