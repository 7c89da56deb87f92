"""A signal to be followed as it is seen through noisy spikes."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from envs.sequences import Sequence, SignalWorld, require, spike_probability, spikes, ticks, to_unit_peak, waves

N_WAVES = 4  #: sinusoids in a reference


class SequenceTracking(SignalWorld):
    """Follow a smooth random signal that a population of spiking inputs encodes.

    Description
    -----------
    Each trial draws a new reference, the sum of four sinusoids with frequencies uniform in [0, `cutoff`], amplitudes
    uniform in [0.5, 2] and uniform phases, divided by its largest magnitude in the trial. Input i is Poisson and tuned:
    its rate is ``rate * exp(-(reference - centre_i)**2 / (2 * width**2))``, with centres evenly spaced from -1 to 1.
    The target is the reference of `lag` ticks ago. `draw` gives a trial as a supervised task; the error counts from
    tick `lag` on.

    Action Space
    ------------
    ``Box(-1, 1, (1,), float32)``: the value given. An action outside the box is not clipped.

    Observation Space
    -----------------
    ``Box(0, 1, (n_in,), float32)``: 1 for each input that spikes in this tick, else 0.

    Rewards
    -------
    Minus the squared error at each tick, 0 in the first `lag` ticks.

    Starting State
    --------------
    The first tick of a new reference, anywhere in [-1, 1].

    Episode End
    -----------
    Termination with the answer to the last tick, after `duration` / `dt` steps. No truncation.

    Arguments
    ---------
    duration : float
        Length of a trial in ms, a multiple of `dt`; 1000 by default.
    n_in : int
        Inputs, at least 2; 50 by default.
    rate : float
        Largest rate of an input in Hz, at most one spike a tick; 100 by default.
    width : float
        Width of the tuning curves, in units of the reference, above 0; 0.2 by default.
    cutoff : float
        Highest frequency of the reference in Hz, above 0 and at most half a cycle a tick; 3 by default.
    lag : int
        Delay of the target in ticks, at least 0 and shorter than the trial; 0 by default.
    dt : float
        Length of a tick in ms; 1 by default.

    Version History
    ---------------
    v0: first version. Its reward threshold is a mean squared error of 0.03, a tenth of the mean square of the
        reference; a linear readout of the inputs, filtered with 20 ms, reaches 0.024.

    Raises
    ------
    ValueError
        An argument is out of range.

    References
    ----------
    Tuned Poisson populations: Dayan and Abbott 2001, Theoretical Neuroscience, chapter 3.
    """

    def __init__(
        self,
        duration: float = 1000.0,
        n_in: int = 50,
        rate: float = 100.0,
        width: float = 0.2,
        cutoff: float = 3.0,
        lag: int = 0,
        dt: float = 1.0,
    ) -> None:
        self._n_ticks, self.dt = ticks("duration", duration, dt), dt
        require("n_in", n_in, n_in >= 2, "2 or more")
        require("width", width, width > 0.0, "above 0")
        require("cutoff", cutoff, 0.0 < cutoff <= 500.0 / dt, f"above 0 and at most {500.0 / dt:g}")
        require("lag", lag, 0 <= lag < self._n_ticks, f"0 to {self._n_ticks - 1}")
        self.width, self.cutoff, self.lag = width, cutoff, lag
        self._peak = spike_probability("rate", rate, dt)
        self._centres = np.linspace(-1.0, 1.0, n_in, dtype=np.float32)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (n_in,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def draw(self, rng: np.random.Generator) -> Sequence:
        """Draw the reference, then the spikes that encode it."""
        frequencies = rng.uniform(0.0, self.cutoff, (1, N_WAVES))
        reference = to_unit_peak(waves(rng, frequencies, self._n_ticks, self.dt))
        probability = (reference - self._centres) * np.float32(np.sqrt(0.5) / self.width)
        probability *= -probability
        np.exp(probability, out=probability)
        probability *= np.float32(self._peak)
        targets = np.zeros_like(reference)
        targets[self.lag :] = reference[: self._n_ticks - self.lag]
        return Sequence(spikes(rng, probability), targets, np.arange(self._n_ticks) >= self.lag)
