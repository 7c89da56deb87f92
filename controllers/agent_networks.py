"""The two networks of the actor-critic, as its settings and its world ask for them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np

from controllers.annealing import LEAST_WIDTH
from controllers.encoding import n_inputs
from controllers.policies import CATEGORICAL, GAUSSIAN
from controllers.settings import ActorCriticSettings, tau_of
from controllers.spaces import Actions
from threefactor import Network

MOST_TOGETHER = 0.5  # share of the TD error that the steps of all copies change a value by, at most
# what is left open, by what the actions are: one choice, several, one force, several, which move a body together and
# must lag least. A body does better and better for long, and stands before it walks: near its best so far is not
# near its end, so its noise alone shrinks, and late, and a larger bonus keeps it undecided
CHOICE = {
    "trace_decay": 0.8, "entropy": 0.01, "membrane_decay": 0.5, "readout_decay": 0.4, "step_annealing": 5.0,
    "noise_annealing": 2.5, "sample_annealing": 2.5, "novelty": 0.4, "noise_correlation": 0.7,
}  # fmt: skip
CHOICES = CHOICE | {"step_annealing": 0.0, "noise_annealing": 0.0, "sample_annealing": 0.0}
FORCE = CHOICE | {"membrane_decay": 0.4, "readout_decay": 0.3}
FORCES = CHOICES | {
    "trace_decay": 0.9, "entropy": 0.1, "membrane_decay": 0.2, "readout_decay": 0.2, "noise_annealing": 1.0,
    "noise_correlation": 0.5,
}  # fmt: skip
OF_TWO = {"entropy": 0.003}  # where there is but one other thing to do, less of a bonus has it tried often enough
OPEN = {(CATEGORICAL, False): CHOICE, (CATEGORICAL, True): CHOICES, (GAUSSIAN, False): FORCE, (GAUSSIAN, True): FORCES}


class Fixed(NamedTuple):
    """What is no setting, and as well a matter of what the actions are."""

    within: float  # deviations of the returns, above their mean, that are within reach; see `controllers.annealing`
    least_width: float = LEAST_WIDTH  # share of exploration that is always left
    noisy_steps: float = 0.0  # in which the least share left of exploration falls from 1; 0: it is low from the first
    narrower: float = 0.0  # the first deviation is divided by exp of this
    least_deviation: float = 1e-3
    least_error: float = 0.1  # floor of the TD error's usual size


# of a body, which stands before it walks: joints that are quite still, which costs no force, learn nothing, and errors
# soon are well below the first
SEVERAL: dict[str, float] = {
    "least_width": 0.2, "noisy_steps": 400_000.0, "narrower": 2.0, "least_deviation": 0.03, "least_error": 0.01,
}  # fmt: skip
FIXED = {
    (CATEGORICAL, False): Fixed(1.0), (CATEGORICAL, True): Fixed(1.0, **SEVERAL),
    (GAUSSIAN, False): Fixed(math.inf), (GAUSSIAN, True): Fixed(math.inf, **SEVERAL),
}  # fmt: skip
FIELDS, FIELDS_OF_FEW, FEW = 12, 20, 2  # receptive fields of an entry; if there are but a few entries; how many are few
JOINED = 3  # entries, at most, whose fields are multiplied with each other: about as many products as for two entries


class Completed(ActorCriticSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings none of which is open."""

    n_fields: int
    joint_fields: bool
    trace_decay: float
    entropy: float
    novelty: float
    noise_correlation: float
    step_annealing: float
    noise_annealing: float
    sample_annealing: float
    membrane_decay: float
    readout_decay: float


def completed(s: ActorCriticSettings, n_observation: int, actions: Actions) -> Completed:
    """Settings with a number for each None, which depends on what is observed and done."""
    fields = {"n_fields": FIELDS_OF_FEW if n_observation <= FEW else FIELDS, "joint_fields": n_observation <= JOINED}
    chosen = OPEN[actions.kind, actions.several] | (OF_TWO if actions.between_two else {}) | fields
    if s.n_fields == 0:
        chosen |= {"novelty": 0.0}
    given = {name: value for name, value in msgspec.structs.asdict(s).items() if value is not None}
    return Completed(**(chosen | given))


def networks_of(
    s: Completed, n_observation: int, actions: Actions, seed: int, n_copies: int
) -> tuple[Network, Network]:
    """Actor and critic.

    Parameters
    ----------
    s : Completed
        All settings.
    n_observation : int
        Entries of the observation.
    actions : Actions
        What the actor's readout is to choose from.
    seed : int
        Of the agent; the networks' are twice this, and one more.
    n_copies : int
        Copies that share the networks.
    """
    # steps of all copies taken together change a value by half its TD error at most: more would overshoot
    intentional = s.optimiser == "intentional"
    most = MOST_TOGETHER / n_copies if intentional else np.inf
    # the changes of the entries' log-probabilities, which add up to that of the action, are of either sign
    actor_rate = s.actor_rate * (np.sqrt(actions.n_action) if intentional else 1.0)
    shared: dict[str, Any] = {
        "n_in": n_inputs(n_observation, s.n_fields, s.joint_fields), "n_hidden": s.n_hidden,
        "n_adaptive": round(s.adaptive_share * s.n_hidden),
        "recurrent": s.recurrent, "bias": True,
        "tau_m": tau_of(s.membrane_decay), "tau_out": tau_of(s.readout_decay),
        "tau_adaptation": tau_of(s.adaptation_decay), "tau_adaptation_longest": tau_of(s.longest_adaptation_decay),
        "adaptation_strength": s.adaptation_strength,
        # a reset that lasts into the next step would be noise where a step is all that a neuron has to answer in
        "normalise_current": True, "reset": "same_tick",
        "surrogate": s.surrogate, "slope": s.slope, "height": s.height, "normalisation": s.normalisation,
        "optimiser": s.optimiser, "beta_2": 0.9999, "freeze_hidden": s.freeze_hidden,
        "w_in_scale": s.w_in_scale, "w_out_scale": 0.0, "n_copies": n_copies, "dtype": s.dtype,
    }  # fmt: skip
    actor = Network(
        n_out=actions.n_readout, learning_rate=min(actor_rate, most), overshoot=s.actor_overshoot,
        seed=2 * seed, **shared,
    )  # fmt: skip
    critic = Network(
        n_out=1, learning_rate=min(s.critic_rate, most), overshoot=s.critic_overshoot, seed=2 * seed + 1, **shared
    )
    for network in (actor, critic):
        network.w_in[:, -1] = 0.0  # random biases would let some neurons fire always, and others never
    return actor, critic
