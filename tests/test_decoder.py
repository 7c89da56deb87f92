"""Decoder: what it learns online, labels that are missing or late, any units, checkpoints, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers import Decoder
from controllers.scale import Scale
from tests.checks import assert_same, snapshot
from threefactor import tick

jitted = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
SMALL: dict[str, Any] = {"n_hidden": 24}
UNITS = 30


def counts_at(t: int) -> tuple[Any, Any]:
    """Spikes of units tuned to a velocity at a time, and this velocity."""
    velocity = np.array([np.sin(t / 9.0), np.cos(t / 13.0)])
    directions = 2.4 * np.arange(UNITS)
    rates = np.maximum(1.0 + velocity @ np.array([np.cos(directions), np.sin(directions)]), 0.0)
    return np.random.default_rng([3, t]).poisson(rates), velocity


def decode(decoder: Decoder, ticks: range, learns: bool = True, unit: float = 1.0, offset: float = 0.0) -> Any:
    """Decoded velocities; each label comes at once."""
    out = []
    for t in ticks:
        counts, velocity = counts_at(t)
        out.append(decoder.step(counts))
        if learns:
            decoder.learn(unit * velocity + offset)
    return np.array(out)


def learnt(decoder: Decoder) -> dict[str, Any]:
    """Copies of weights, traces and statistics."""
    network = decoder.population.network
    found = {
        f"{kind}.{name}": array for kind in ("weights", "traces") for name, array in getattr(network, kind).items()
    }
    found |= decoder._inputs.arrays("inputs") | decoder._outputs.arrays("outputs")
    return {name: array.copy() for name, array in found.items()} | {"y": network.y.copy()}


def assert_close(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal to 1e-12 of the largest entry, and not all zero."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-12, atol=1e-12 * np.abs(value).max(), err_msg=name)
    assert np.abs(ours["traces.w_in"]).max() > 0.0 and np.abs(ours["weights.w_out"]).max() > 0.0


# --- learning --------------------------------------------------------------------------------------------------------


@jitted
def test_decodes_and_keeps_what_it_learnt() -> None:
    """Most of the variance is decoded before it is told; switched off, nothing that was learnt changes any more."""
    decoder = Decoder(UNITS, seed=1)
    decode(decoder, range(1000))
    wanted = np.array([counts_at(t)[1] for t in range(1000, 1400)])
    frozen = pickle.loads(pickle.dumps(decoder))
    off = decode(decoder, range(1000, 1400)) - wanted
    assert (off**2).mean() < 0.2 * wanted.var()
    weights = frozen.population.network.w_in.copy()
    frozen.learning = False
    quiet = decode(frozen, range(1000, 1400)) - wanted
    np.testing.assert_array_equal(frozen.population.network.w_in, weights)
    assert (quiet**2).mean() < 0.3 * wanted.var()


def test_without_labels_it_holds() -> None:
    """A decoder that gets no labels decodes to the last bit as one that is switched off; then it learns again."""
    decoder = Decoder(UNITS, seed=2, **SMALL)
    decode(decoder, range(60))
    switched_off = pickle.loads(pickle.dumps(decoder))
    switched_off.learning = False
    np.testing.assert_array_equal(decode(decoder, range(60, 90), False), decode(switched_off, range(60, 90)))
    switched_off.learning = True
    assert_same(learnt(decoder), learnt(switched_off))
    before = decoder.population.network.w_out.copy()
    decode(decoder, range(90, 100))
    assert not np.array_equal(before, decoder.population.network.w_out)


@pytest.mark.parametrize(("unit", "offset"), [(1e-6, 0.0), (1e4, -3e4), (1.0, 1e3)])
def test_units_of_the_velocity_do_not_matter(unit: float, offset: float) -> None:
    """Scaled and shifted labels give scaled and shifted velocities, from the first bins on."""
    plain, other = (Decoder(UNITS, seed=3, dtype="float64", **SMALL) for _ in range(2))
    expected = unit * decode(plain, range(120))[1:] + offset
    got = decode(other, range(120), unit=unit, offset=offset)[1:]
    np.testing.assert_allclose((got - offset) / unit, (expected - offset) / unit, atol=1e-6)


@jitted
def test_units_that_switch_on_and_artefacts_do_little_harm() -> None:
    """A third of the units is silent for 500 bins, and some bins hold a hundred spikes of each unit."""
    decoder, off, wanted = Decoder(UNITS, seed=1), [], []
    for t in range(1000):
        counts, velocity = counts_at(t)
        counts = np.where((np.arange(UNITS) % 3 > 0) | (t >= 500), counts, 0)
        bad = t % 97 == 96
        y = decoder.step(counts + 100 * bad)
        decoder.learn(velocity)
        if not bad:
            off.append((y - velocity) ** 2)
            wanted.append(velocity)
    variance = np.var(wanted)
    assert np.mean(off[500:600]) < 0.6 * variance
    assert np.mean(off[-200:]) < 0.3 * variance


def test_constant_labels_and_silent_units() -> None:
    """What never changes has no deviation to be divided by."""
    decoder = Decoder(4, 1, seed=0, **SMALL)
    for _ in range(20):
        y = decoder.step(np.zeros(4))
        decoder.learn([7.0])
    assert np.isfinite(y).all() and abs(y[0] - 7.0) < 0.1


def test_scale_is_the_weighted_mean_and_deviation() -> None:
    """Twin: plain moments up to the window, exponential ones behind; a floor of a share of all deviations."""
    rows = np.random.default_rng(0).normal([1.0, 50.0, -3.0], [1.0, 20.0, 0.0], (40, 3))
    scale, weights = Scale(3, window=15.0, least=0.5), np.zeros(0)
    assert scale.deviation.tolist() == [1.0, 1.0, 1.0]
    for k, row in enumerate(rows):
        scale.take(row)
        share = 1.0 / min(k + 1, 15)
        weights = np.append(weights * (1.0 - share), share)
        mean = weights @ rows[: k + 1]
        variance = weights @ (rows[: k + 1] - mean) ** 2
        np.testing.assert_allclose(scale.mean, mean, rtol=1e-12)
        if k:
            np.testing.assert_allclose(scale.deviation, np.sqrt(variance + 0.25 * variance.mean()), rtol=1e-9)


# --- labels that come late --------------------------------------------------------------------------------------------

OPTIMISERS: dict[str, dict[str, Any]] = {
    "default": {}, "sgd": {"optimiser": "sgd", "learning_rate": 0.01},
    "adam": {"optimiser": "adam", "learning_rate": 0.001, "recurrent": False, "n_fields": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize(("late", "most"), [(1, 1), (4, 6)])
def test_late_labels_are_as_a_recording_shown_later(name: str, late: int, most: int) -> None:
    """Weights, traces and statistics are those of a decoder that meets each bin when its label is there."""
    settings = {"seed": 4, "dtype": "float64", **SMALL, **OPTIMISERS[name]}
    decoder, twin = Decoder(UNITS, most_late=most, **settings), Decoder(UNITS, **settings)
    for t in range(80):
        decoder.step(counts_at(t)[0])
        if t >= late:
            decoder.learn(counts_at(t - late)[1], late=late)
            decode(twin, range(t - late, t - late + 1))
    assert_close(learnt(decoder), learnt(twin))


def test_labels_of_any_lateness_some_missing() -> None:
    """Labels in bursts, at once, late and never: each meets its own bin."""
    rng, settings = np.random.default_rng(1), {"seed": 5, "dtype": "float64", **SMALL}
    decoder, twin = Decoder(UNITS, most_late=5, **settings), Decoder(UNITS, **settings)
    labelled = rng.random(120) < 0.6
    came = np.maximum.accumulate(np.arange(120) + rng.integers(0, 6, 120))  # when; never before an earlier one
    labelled &= came - np.arange(120) <= 5
    assert set((came - np.arange(120))[labelled]) == set(range(6))
    for t in range(120):
        decoder.step(counts_at(t)[0])
        for k in np.flatnonzero(labelled & (came == t)):
            decoder.learn(counts_at(k)[1], late=t - k)
    last = np.flatnonzero(labelled & (came < 120))[-1]
    for k in range(decoder._passed):
        twin.step(counts_at(k)[0])
        if labelled[k] and came[k] < 120:
            twin.learn(counts_at(k)[1])
    assert decoder._passed > last
    assert_close(learnt(decoder), learnt(twin))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_prompt_labels_make_no_difference(name: str) -> None:
    """A decoder that would take late labels decodes as any other while they are prompt, or while it is switched off."""
    settings = {"seed": 6, "dtype": "float64", **SMALL, **OPTIMISERS[name]}
    decoder, twin = Decoder(UNITS, most_late=3, **settings), Decoder(UNITS, **settings)
    np.testing.assert_allclose(decode(decoder, range(60)), decode(twin, range(60)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        decode(decoder, range(60, 90), False), decode(twin, range(60, 90), False), rtol=1e-9, atol=1e-12
    )


def test_late_labels_out_of_order_or_too_late_are_refused() -> None:
    """Nothing changes by a label that cannot be paired, and memory stays flat."""
    decoder = Decoder(UNITS, most_late=3, seed=0, **SMALL)
    sizes = {name: np.size(value) for name, value in snapshot(decoder).items()}
    for t in range(10):
        decoder.step(counts_at(t)[0])
    decoder.learn([0.0, 1.0], late=2)
    before = snapshot(decoder)
    for late in (2, 3):
        with pytest.raises(RuntimeError, match="in their order"):
            decoder.learn([0.0, 1.0], late=late)
    for wrong in (4, -1, 1.5, None):
        with pytest.raises(ValueError, match="takes 0 to 3 bins"):
            decoder.learn([0.0, 1.0], late=wrong)  # type: ignore[arg-type]
    assert_same(before, snapshot(decoder))
    decoder.learn([0.0, 1.0], late=0)
    assert {name: np.size(value) for name, value in snapshot(decoder).items()} == sizes
    decoder.reset()
    with pytest.raises(RuntimeError, match="none was decoded"):
        decoder.learn([0.0, 1.0], late=1)


# --- keeping and refusing ---------------------------------------------------------------------------------------------


@jitted
@pytest.mark.parametrize("late", [0, 3])
def test_goes_on_from_a_checkpoint(late: int, tmp_path: Path) -> None:
    """Saved and loaded, or pickled, it goes on to the last bit, amid labels that come late."""

    def go_on(decoder: Decoder, ticks: range) -> Any:
        out = []
        for t in ticks:
            out.append(decoder.step(counts_at(t)[0]))
            if t >= late and t % 5:
                decoder.learn(counts_at(t - late)[1], late=late)
        return np.array(out)

    decoder = Decoder(UNITS, seed=2, most_late=late, **SMALL)
    go_on(decoder, range(50))
    decoder.slope = 2.5
    decoder.save(tmp_path / "decoder")
    others = [Decoder.load(tmp_path / "decoder"), pickle.loads(pickle.dumps(decoder))]
    expected = go_on(decoder, range(50, 90))
    for other in others:
        assert other.slope == 2.5
        np.testing.assert_array_equal(go_on(other, range(50, 90)), expected)
        assert_same(snapshot(decoder), snapshot(other))


def test_refuses() -> None:
    """Bad counts and labels, and a bin that was learnt from already, change nothing; bad sizes are said."""
    for most in (-1, 2.5, None):
        with pytest.raises(ValueError, match="most_late"):
            Decoder(4, most_late=most)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown setting 'hidden'"):
        Decoder(3, hidden=4)
    decoder = Decoder(4, seed=0, **SMALL)
    with pytest.raises(RuntimeError, match="call step first"):
        decoder.learn([0.0, 0.0])
    decoder.step([1, 0, 2, 0])
    before = snapshot(decoder)
    for counts in ([1, 2, 3], [1, 2, 3, np.nan]):
        with pytest.raises(ValueError, match="the row of counts"):
            decoder.step(counts)
    for wanted in ([0.0], [0.0, np.inf], [np.nan, 0.0], [1e200, 0.0]):
        with pytest.raises(ValueError, match="Nothing was learnt"):
            decoder.learn(wanted)
    with pytest.raises(ValueError, match="slope"):
        decoder.slope = 0.0
    assert_same(before, snapshot(decoder))
    decoder.learn([0.0, 1.0])
    with pytest.raises(RuntimeError, match="already learnt from"):
        decoder.learn([0.0, 1.0])


def test_leaves_its_inputs_alone() -> None:
    """Counts and labels may be read-only, and may be overwritten after the call."""
    kept, shared = (Decoder(4, seed=0, most_late=2, **SMALL) for _ in range(2))
    counts, wanted = np.zeros(4), np.zeros(2)
    for t in range(6):
        fresh = np.random.default_rng(t).poisson(2.0, 4).astype(float)
        fresh.flags.writeable = False
        counts[:], wanted[:] = fresh, t
        np.testing.assert_array_equal(kept.step(fresh), shared.step(counts))
        counts[:] = np.nan
        kept.learn([t, t])
        shared.learn(wanted)
        wanted[:] = np.nan
    assert_same(snapshot(kept), snapshot(shared))
