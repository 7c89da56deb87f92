"""What demos share that compare learners: two tasks of the e-prop paper, their networks, a trial, BPTT's gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from controllers import BPTT
from envs import EvidenceAccumulation, PatternGeneration
from envs.sequences import Sequence, SequenceWorld
from threefactor import Network

EVIDENCE: dict[str, Any] = {
    "n_in": 40, "n_hidden": 100, "n_adaptive": 100, "n_out": 2, "tau_m": 20.0, "tau_adaptation": 4000.0,
    "tau_out": 20.0, "threshold": 0.6, "adaptation_strength": 0.05, "refractory": 5.0, "slope": 1 / 0.6,
    "readout": "softmax", "readout_gain": "unit", "optimiser": "adam", "learning_rate": 2.5e-3, "tag_decay": 1.0,
    "rate_tau": math.inf, "rate_strength": 2.0, "rate_target": 10.0, "w_rec_scale": 1.0,
}  # fmt: skip
PATTERN: dict[str, Any] = {
    "n_in": 100, "n_hidden": 50, "n_out": 3, "tau_m": 20.0, "tau_out": 30.0, "optimiser": "adam",
    "learning_rate": 3e-3, "tag_decay": 1.0, "w_in_scale": 2.0, "refractory": 5.0,
}  # fmt: skip
SETTINGS = {"evidence": EVIDENCE, "pattern": PATTERN}
# what a method changes; for the frozen layers the best found on another seed, of three rates and three input scales
CHANGES: dict[tuple[str, str], dict[str, Any]] = {
    ("pattern", "online, each tick"): {"optimiser": "sgd", "learning_rate": 1e-3},
    ("pattern", "frozen"): {"learning_rate": 0.1},
    ("evidence", "frozen"): {"learning_rate": 0.01, "w_in_scale": 3.0},
}

Learner = Network | BPTT


class Trial(NamedTuple):
    """What a trial came to."""

    error: float  #: softmax readout: cross entropy; linear: squared error over the variance of the target
    correct: bool  #: whether the larger mean readout where the error counts is that of the larger target
    spiking: float  #: share of neurons that spike in a tick


def world_of(task: str, seed: int, **settings: Any) -> SequenceWorld[Any]:
    """The world of a task; the pattern is another one for each seed."""
    return EvidenceAccumulation(**settings) if task == "evidence" else PatternGeneration(task_seed=seed, **settings)


def run_trial(learner: Learner, sequence: Sequence, learn: bool = True, each_tick: bool | None = None) -> Trial:
    """Play a sequence from rest and, with `learn`, change the weights.

    With `each_tick`, the default under plain descent, they change at each tick, else once at the end.
    """
    network = learner.network if isinstance(learner, BPTT) else learner
    if each_tick is None:
        each_tick = network.settings.optimiser == "sgd"
    gather = learner.learn if isinstance(learner, BPTT) or each_tick else learner.tag
    softmax = network.settings.readout == "softmax"
    learner.reset()
    network.clear()
    loss, votes, spiking = 0.0, np.zeros(network.settings.n_out), 0.0
    for tick, (x, target, counts) in enumerate(zip(*sequence, strict=True)):
        y = learner.step(x)
        if counts:
            error = y - target
            loss += -float(np.log(y[target.argmax()])) if softmax else float(error @ error)
            votes += y
            if learn:
                gather(error)
        if tick % 10 == 0:  # a look costs as much as a tick
            spiking += float(network.spikes().mean())
    counted = int(sequence.mask.sum())
    if learn and isinstance(learner, BPTT):
        learner.update(1.0 / counted)
    elif learn and not each_tick:
        learner.reset()  # homeostasis over the sequence acts at its end
        learner.update(1.0 / counted)
    scale = 1.0 if softmax else float(sequence.targets[sequence.mask].var()) * network.settings.n_out
    right = bool(votes.argmax() == sequence.targets[sequence.mask].sum(0).argmax())
    return Trial(loss / counted / scale, right, spiking / len(sequence.mask[::10]))


def learner_of(method: str, task: str, seed: int, **settings: Any) -> Learner:
    """A network that learns "online" or "online, each tick", by "BPTT" or "BPTT, window N", or is "frozen"."""
    changes = CHANGES.get((task, method), {})
    network = Network(**{**SETTINGS[task], "freeze_hidden": method == "frozen", "seed": seed, **changes, **settings})
    if not method.startswith("BPTT"):
        return network
    return BPTT(network, window=int(method.rsplit(" ", 1)[1]) if "window" in method else None)


def gradients_through_time(network: Network, inputs: Iterable[Any], errors: Iterable[Any]) -> dict[str, Any]:
    """Gradients by `BPTT` of a sequence played once more from rest, under given errors: views of the network's tags."""
    teacher = BPTT(network)
    teacher.reset()
    for x, error in zip(inputs, errors, strict=True):
        teacher.step(x)
        teacher.learn(error)
    return teacher.gradients()
