"""The supervised face of the worlds: what `draw` promises, counted over many trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from envs import DelayedCue, EvidenceAccumulation, PatternGeneration, SequenceTracking
from envs.sequences import Sequence, SequenceWorld

CASES: dict[str, tuple[SequenceWorld[Any], tuple[int, int, int]]] = {
    "cue": (DelayedCue(4), (6, 3, 2)),
    "evidence": (EvidenceAccumulation(), (2250, 40, 2)),
    "evidence, dt 2": (EvidenceAccumulation(n_cues=3, delay=0.0, silence=0.0, n_group=3, dt=2.0), (225, 12, 2)),
    "pattern": (PatternGeneration(), (1000, 100, 3)),
    "pattern, one tick": (PatternGeneration(duration=0.5, n_in=2, n_out=1, dt=0.5), (1, 2, 1)),
    "tracking": (SequenceTracking(), (1000, 50, 1)),
    "tracking, lag": (SequenceTracking(duration=200.0, n_in=11, lag=30, dt=0.5), (400, 11, 1)),
}


def trials(world: SequenceWorld[Any], count: int, seed: int = 0) -> list[Sequence]:
    """Draw some trials from one generator."""
    rng = np.random.default_rng(seed)
    return [world.draw(rng) for _ in range(count)]


def within(spikes: npt.NDArray[Any], probability: float, deviations: float = 4.5) -> bool:
    """Whether the count of spikes is that of independent draws of this probability."""
    spread = np.sqrt(spikes.size * probability * (1.0 - probability))
    return bool(abs(spikes.sum() - spikes.size * probability) <= deviations * spread)


@pytest.mark.parametrize("case", CASES)
def test_shapes_types_and_what_does_not_count(case: str) -> None:
    """Arrays of the spaces' widths; spikes are 0 or 1; targets are zero off the mask; something counts."""
    world, (n_ticks, n_in, n_out) = CASES[case]
    inputs, targets, mask = world.draw(np.random.default_rng(0))
    assert inputs.shape == (n_ticks, n_in) and targets.shape == (n_ticks, n_out) and mask.shape == (n_ticks,)
    assert (inputs.dtype, targets.dtype, mask.dtype) == (np.float32, np.float32, np.bool_)
    assert world.observation_space.shape == (n_in,)
    assert set(np.unique(inputs)) <= {0.0, 1.0} and np.abs(targets).max() <= 1.0
    assert mask.any() and not targets[~mask].any()


@pytest.mark.parametrize("case", CASES)
def test_same_generator_same_trial_and_no_shared_memory(case: str) -> None:
    """Overwriting a trial changes no other; two worlds of the same arguments draw alike."""
    world, _ = CASES[case]
    first, twin = trials(world, 2, seed=7), trials(world, 2, seed=7)
    for one, other in zip(first, twin, strict=True):
        assert all(np.array_equal(a, b) and not np.shares_memory(a, b) for a, b in zip(one, other, strict=True))
    for part in first[0]:
        part[:] = 1
    again = trials(world, 2, seed=7)
    assert all(np.array_equal(a, b) for a, b in zip(again[0], twin[0], strict=True))


def test_delayed_cue_as_a_supervised_task() -> None:
    """The cue on the first tick is the target on the go tick, the only one that counts; both cues are as frequent."""
    drawn = trials(DelayedCue(3), 400)
    for inputs, targets, mask in drawn:
        assert mask.tolist() == [False] * 4 + [True]
        assert np.array_equal(inputs[0, :2], targets[-1]) and targets[-1].sum() == 1.0
        assert inputs[:, 2].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0] and inputs.sum() == 2.0
    assert within(np.array([trial.targets[-1, 0] for trial in drawn]), 0.5)


def cue_counts(trial: Sequence) -> npt.NDArray[np.float32]:
    """Spikes (7, 2) of the left and the right group during each cue of a default evidence trial."""
    slots = trial.inputs[:1050].reshape(7, 150, 4, 10)
    assert not slots[:, :50, :2].any()
    counts: npt.NDArray[np.float32] = slots[:, 50:, :2].sum((1, 3))
    return counts


def test_evidence_has_one_side_a_cue_and_the_majority_is_the_target() -> None:
    """Each cue fires one group alone; the side of most cues is the target in the recall window, which alone counts."""
    for trial in trials(EvidenceAccumulation(), 100):
        counts = cue_counts(trial)
        assert ((counts > 0).sum(1) == 1).all()
        side = int((counts[:, 1] > 0).sum() >= 4)
        assert np.flatnonzero(trial.mask).tolist() == list(range(2100, 2250))
        assert (trial.targets[2100:, side] == 1.0).all() and trial.targets.sum() == 150.0


def test_evidence_fires_at_the_rates_it_says() -> None:
    """40 Hz in cues and recall window, 10 Hz of noise throughout, silence elsewhere."""
    drawn = trials(EvidenceAccumulation(), 60)
    groups = np.stack([trial.inputs.reshape(2250, 4, 10) for trial in drawn])
    cues = groups[:, :1050].reshape(60, 7, 150, 4, 10)[:, :, 50:, :2].sum(3)
    assert within(cues, 0.04) and within(groups[:, 2100:, 2], 0.04) and within(groups[:, :, 3], 0.01)
    assert within(groups[:, :1050, 3], 0.01) and within(groups[:, 2100:, 3], 0.01)
    assert not groups[:, 1050:, :2].any() and not groups[:, :2100, 2].any()


def test_evidence_is_balanced_and_biased() -> None:
    """Sides are as frequent; the number of left cues is that of an even mixture of .3 and .7."""
    shown = np.stack([cue_counts(trial)[:, 0] > 0 for trial in trials(EvidenceAccumulation(), 1500)])
    left = shown.sum(1)
    assert within(left > 3.5, 0.5)
    weights = np.array([1, 7, 21, 35, 35, 21, 7, 1])
    up, down = np.arange(8), np.arange(7, -1, -1)
    expected = weights * (0.7**up * 0.3**down + 0.3**up * 0.7**down) / 2.0
    assert all(within(left == number, chance) for number, chance in enumerate(expected))
    assert within(shown, 0.5, deviations=8.0)  # the cues of a trial are correlated


@pytest.mark.parametrize("bias", [0.5, 1.0])
def test_evidence_without_bias_and_with_one_side_alone(bias: float) -> None:
    """At 1 all cues of a trial agree; at 1/2 each is a fair coin."""
    world = EvidenceAccumulation(bias=bias)
    left = np.stack([cue_counts(trial)[:, 0] > 0 for trial in trials(world, 300)])
    assert (left.all(1) | ~left.any(1)).all() if bias == 1.0 else within(left, 0.5)


def test_pattern_is_frozen_and_follows_from_the_task_seed() -> None:
    """The generator changes nothing; the task seed all; inputs and rate leave the pattern alone."""
    first, other = trials(PatternGeneration(), 1, seed=1)[0], trials(PatternGeneration(), 1, seed=2)[0]
    assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    (second,) = trials(PatternGeneration(task_seed=1), 1)
    assert not np.array_equal(first.inputs, second.inputs) and not np.array_equal(first.targets, second.targets)
    (fewer,) = trials(PatternGeneration(n_in=5, rate=10.0), 1)
    assert np.array_equal(first.targets, fewer.targets) and within(fewer.inputs, 0.01)
    assert within(first.inputs, 0.05) and first.mask.all()


def test_pattern_holds_its_four_frequencies() -> None:
    """It starts at 0, peaks at 1, is the same sum at another dt, and its spectrum is at 0, 1, 2, 3 and 5 Hz alone."""
    _, targets, _ = trials(PatternGeneration(n_out=4), 1)[0]
    assert not targets[0].any() and np.allclose(np.abs(targets).max(0), 1.0)
    spectrum = np.abs(np.fft.rfft(targets, axis=0)) / len(targets)
    assert (spectrum[[1, 2, 3, 5]] > 0.02).all() and np.delete(spectrum, [0, 1, 2, 3, 5], 0).max() < 1e-6
    ratio = spectrum[[1, 2, 3, 5]].max(0) / spectrum[[1, 2, 3, 5]].min(0)
    assert ratio.max() < 4.0 and np.abs(np.corrcoef(targets.T) - np.eye(4)).max() < 0.999
    coarse = trials(PatternGeneration(n_out=4, dt=2.0), 1)[0].targets
    assert np.allclose(coarse, targets[::2], atol=1e-3)


def test_tracking_draws_smooth_references_anew() -> None:
    """Each peaks at 1, none is another, and none changes faster than its cutoff allows."""
    drawn = trials(SequenceTracking(cutoff=3.0), 50)
    references = np.stack([trial.targets[:, 0] for trial in drawn])
    assert np.allclose(np.abs(references).max(1), 1.0) and all(trial.mask.all() for trial in drawn)
    assert len(np.unique(references, axis=0)) == 50 and abs(references.mean()) < 0.2
    slow = np.stack([trial.targets[:, 0] for trial in trials(SequenceTracking(cutoff=0.3), 50)])
    speeds = [np.sqrt(np.mean(np.diff(signals, axis=1) ** 2)) for signals in (references, slow)]
    assert 0.004 < speeds[0] < 2.0 * np.pi * 3.0 / 1000.0 and speeds[1] < speeds[0] / 3.0


def test_tracking_inputs_are_tuned() -> None:
    """Wherever the reference is near a value, every input fires at the rate of its tuning curve there."""
    drawn = trials(SequenceTracking(n_in=9, rate=80.0, width=0.3), 100)
    reference = np.concatenate([trial.targets for trial in drawn])
    inputs = np.concatenate([trial.inputs for trial in drawn])
    probability = 0.08 * np.exp(-((reference - np.linspace(-1.0, 1.0, 9)) ** 2) / (2.0 * 0.3**2))
    for low in np.arange(-1.0, 1.0, 0.25):
        chosen = ((reference >= low) & (reference < low + 0.25))[:, 0]
        expected, spread = probability[chosen], np.sqrt((probability * (1.0 - probability))[chosen].sum(0))
        assert chosen.sum() > 1000
        assert (np.abs(inputs[chosen].sum(0) - expected.sum(0)) <= 4.5 * spread).all()


def test_tracking_target_lags_by_the_ticks_asked_for() -> None:
    """Inputs stay, targets move by `lag`, and what would lie before the trial does not count."""
    for now, late in zip(trials(SequenceTracking(), 3), trials(SequenceTracking(lag=40), 3), strict=True):
        assert np.array_equal(now.inputs, late.inputs)
        assert np.array_equal(late.targets[40:], now.targets[:-40])
        assert not late.targets[:40].any() and np.flatnonzero(late.mask)[0] == 40 and late.mask.sum() == 960
