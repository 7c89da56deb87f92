"""Labels of the demo of drifting neurons: each meets its own bin, none its own trial, and neurons are needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from demos import cursor_drift as demo
from envs import Cursor
from threefactor import tick


class Listener:
    """A decoder that keeps what it is told, in the bin in which it comes."""

    def __init__(self) -> None:
        self.bins, self.told = 0, list[tuple[int, Any, int]]()

    def step(self, counts: Any) -> Any:
        """Stand still."""
        self.bins += 1
        return np.zeros(2)

    def learn(self, wanted: Any, late: int) -> None:
        """Keep it."""
        self.told.append((self.bins, wanted, late))


def test_labels_come_after_their_trials() -> None:
    """Whoever stands still is told the first trial's intention bin by bin in the second, and so on."""
    env, decoder = Cursor(radius=demo.RADIUS, limit=demo.LONGEST), Listener()
    env.reset(seed=0)
    user, aims = demo.User(env), []
    for _ in range(3):
        assert not user.trial(decoder)
        aims.append(env.aim())  # the same throughout a trial in which nothing moves
    assert decoder.bins == 3 * demo.LONGEST
    assert len({tuple(aim) for aim in aims}) > 1
    assert len(decoder.told) == 2 * demo.LONGEST
    for now, wanted, late in decoder.told:
        its_trial, this_trial = (now - 1 - late) // demo.LONGEST, (now - 1) // demo.LONGEST
        assert its_trial < this_trial
        np.testing.assert_array_equal(wanted, aims[its_trial])


def test_smoothed_pairs_labels_with_their_bins() -> None:
    """Least squares find what the averaged counts of a label's own bin say, though it comes late."""
    rng, decoder = np.random.default_rng(0), demo.Smoothed(4)
    said, average = [], np.zeros(4)
    for k in range(1000):
        counts = rng.poisson(2.0, 4).astype(float)
        average = 0.8 * average + 0.2 * counts
        said.append(average[:2] - average[2:])
        velocity = decoder.step(counts)
        if k >= demo.LATE:
            decoder.learn(said[k - demo.LATE], demo.LATE)
    np.testing.assert_allclose(velocity, said[-1], atol=0.02)  # whose deviation is .65


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
def test_neurons_are_needed() -> None:
    """The online decoder hits almost always after the loss; one whose neurons say nothing hits by chance alone."""
    online, silent = (np.mean(demo.run_one((name, 100, 0.25))["after"]) for name in ("e-prop, online", demo.SILENT))
    assert online > 0.9
    assert silent < 1 / 8  # whoever always went to the same of eight targets
