"""Cues to be counted and remembered: the evidence accumulation task of the e-prop paper."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from envs.sequences import ChoiceWorld, Sequence, require, spike_probability, spikes, ticks

LEFT, RIGHT, RECALL, NOISE = range(4)


class EvidenceAccumulation(ChoiceWorld):
    """Name, after a delay, the side on which most cues were shown.

    Description
    -----------
    `n_cues` cues follow each other, each after `silence` ms, each on the left or on the right. Then comes the delay,
    and at last the recall window, in which the recall inputs ask for the answer. In each trial one side, either with
    probability 1/2, is favoured: every cue is on that side with probability `bias`. The right answer is the side of
    most cues, which need not be the favoured one. `draw` gives a trial as a supervised task: the targets are one-hot
    (left, right) in the recall window, where alone the error counts.

    Action Space
    ------------
    ``Discrete(2)``: 0 names the left side, 1 the right one.

    Observation Space
    -----------------
    ``Box(0, 1, (4 * n_group,), float32)``: 1 for each input that spikes in this tick, else 0. The inputs are Poisson,
    in four groups of `n_group`:

    ===== ====== ============================== ==========
    Group Name   Spikes                         Rate
    ===== ====== ============================== ==========
    0     left   during a cue on the left       cue_rate
    1     right  during a cue on the right      cue_rate
    2     recall during the recall window       cue_rate
    3     noise  always                         noise_rate
    ===== ====== ============================== ==========

    Rewards
    -------
    On the last step 1 if most actions of the recall window named the right side, -1 if most named the other, 0 for a
    tie; else 0. All other actions are ignored.

    Starting State
    --------------
    The silence before the first cue.

    Episode End
    -----------
    Termination with the answer to the last tick, after (`n_cues` * (`silence` + `cue`) + `delay` + `recall`) / `dt`
    steps, 2250 by default. No truncation.

    Arguments
    ---------
    n_cues : int
        Cues in a trial, odd; 7 by default.
    silence, cue, delay, recall : float
        Lengths in ms, multiples of `dt`; 50, 100, 1050 and 150 by default. `silence` and `delay` may be 0.
    n_group : int
        Inputs in a group, at least 1; 10 by default.
    cue_rate, noise_rate : float
        Rates in Hz, at most one spike a tick; 40 and 10 by default.
    bias : float
        Probability that a cue is on the favoured side, 0.5 to 1; 0.7 by default.
    dt : float
        Length of a tick in ms; 1 by default.

    Version History
    ---------------
    v0: first version. Its reward threshold is the paper's, an error below 7 %.

    Raises
    ------
    ValueError
        An argument is out of range.

    References
    ----------
    Bellec et al. 2020, Nat. Commun. 11:3625, evidence accumulation.
    """

    def __init__(
        self,
        n_cues: int = 7,
        silence: float = 50.0,
        cue: float = 100.0,
        delay: float = 1050.0,
        recall: float = 150.0,
        n_group: int = 10,
        cue_rate: float = 40.0,
        noise_rate: float = 10.0,
        bias: float = 0.7,
        dt: float = 1.0,
    ) -> None:
        require("n_cues", n_cues, n_cues >= 1 and n_cues % 2 == 1, "odd and 1 or more")
        require("n_group", n_group, n_group >= 1, "1 or more")
        require("bias", bias, 0.5 <= bias <= 1.0, "0.5 to 1")
        self.n_cues, self.bias, self._silence = n_cues, bias, ticks("silence", silence, dt, least=0)
        self._slot = self._silence + ticks("cue", cue, dt)
        asked = n_cues * self._slot + ticks("delay", delay, dt, least=0)
        self._mask = np.arange(asked + ticks("recall", recall, dt)) >= asked
        self._cue_probability = spike_probability("cue_rate", cue_rate, dt)
        self._probability = np.zeros((len(self._mask), 4, n_group), np.float32)
        self._probability[self._mask, RECALL] = self._cue_probability
        self._probability[:, NOISE] = spike_probability("noise_rate", noise_rate, dt)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (4 * n_group,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def draw(self, rng: np.random.Generator) -> Sequence:
        """Draw the favoured side, then the cues, then the spikes."""
        favoured = rng.integers(2)
        cues = np.where(rng.random(self.n_cues) < self.bias, favoured, 1 - favoured)
        probability = self._probability.copy()
        slots = probability[: self.n_cues * self._slot].reshape(self.n_cues, self._slot, *probability.shape[1:])
        slots[np.arange(self.n_cues), self._silence :, cues] = self._cue_probability
        targets = np.zeros((len(self._mask), 2), np.float32)
        targets[self._mask, int(2 * cues.sum() > self.n_cues)] = 1.0
        return Sequence(spikes(rng, probability.reshape(len(probability), -1)), targets, self._mask.copy())
