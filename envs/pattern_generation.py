"""A pattern to be produced from frozen noise: the regression task of the e-prop paper."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from envs.sequences import Sequence, SignalWorld, require, spike_probability, spikes, ticks, to_unit_peak, waves

FREQUENCIES = (1.0, 2.0, 3.0, 5.0)  #: of the sinusoids in a pattern, Hz


class PatternGeneration(SignalWorld):
    """Produce a fixed pattern while the same noise is shown in each trial.

    Description
    -----------
    The inputs are frozen Poisson noise: spikes drawn once and shown in every trial, so that they tell nothing but the
    time. Each output has a pattern of its own, the sum of four sinusoids of 1, 2, 3 and 5 Hz with amplitudes uniform in
    [0.5, 2] and uniform phases. It is shifted to start at 0 and divided by its largest magnitude, as in the published
    code. Inputs and patterns follow from `task_seed`, the patterns not from `n_in` or `rate`; the world's own seed
    changes nothing. `draw` gives the trial as a supervised task.

    Action Space
    ------------
    ``Box(-1, 1, (n_out,), float32)``: the values produced. An action outside the box is not clipped.

    Observation Space
    -----------------
    ``Box(0, 1, (n_in,), float32)``: 1 for each input that spikes in this tick, else 0.

    Rewards
    -------
    Minus the squared error, averaged over the outputs, at each tick.

    Starting State
    --------------
    The first tick, the same in each trial.

    Episode End
    -----------
    Termination with the answer to the last tick, after `duration` / `dt` steps. No truncation.

    Arguments
    ---------
    duration : float
        Length of a trial in ms, a multiple of `dt`; 1000 by default.
    n_in : int
        Inputs, at least 1; 100 by default.
    rate : float
        Rate of each input in Hz, at most one spike a tick; 50 by default.
    n_out : int
        Patterns, at least 1; 3 by default.
    task_seed : int
        Seed of inputs and patterns, at least 0; 0 by default.
    dt : float
        Length of a tick in ms; 1 by default.

    Version History
    ---------------
    v0: first version. Its reward threshold is a mean squared error of 0.01.

    Raises
    ------
    ValueError
        An argument is out of range.

    References
    ----------
    Bellec et al. 2020, Nat. Commun. 11:3625, pattern generation.
    """

    def __init__(
        self,
        duration: float = 1000.0,
        n_in: int = 100,
        rate: float = 50.0,
        n_out: int = 3,
        task_seed: int = 0,
        dt: float = 1.0,
    ) -> None:
        n_ticks = ticks("duration", duration, dt)
        require("n_in", n_in, n_in >= 1, "1 or more")
        require("n_out", n_out, n_out >= 1, "1 or more")
        require("task_seed", task_seed, task_seed >= 0, "0 or more")
        probability = np.full((n_ticks, n_in), spike_probability("rate", rate, dt), np.float32)
        rng = np.random.default_rng(task_seed)
        patterns = waves(rng, np.tile(FREQUENCIES, (n_out, 1)), n_ticks, dt)
        targets = to_unit_peak(patterns - patterns[0])
        self._frozen = Sequence(spikes(rng, probability), targets, np.ones(n_ticks, np.bool_))
        self.observation_space = gym.spaces.Box(0.0, 1.0, (n_in,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (n_out,), np.float32)

    def draw(self, rng: np.random.Generator) -> Sequence:
        """Copy the frozen trial; `rng` is not used."""
        inputs, targets, mask = self._frozen
        return Sequence(inputs.copy(), targets.copy(), mask.copy())
