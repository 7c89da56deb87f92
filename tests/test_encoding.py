"""Receptive fields of an observation, and the novelty that they give, against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from controllers.encoding import encode, join, novelty, rarity
from tests import reference_agent as plain

Floats = npt.NDArray[np.float64]
SAMPLES = np.random.default_rng(0).normal([0.0, 1e3, -5.0, 0.0], [1.0, 0.1, 30.0, 0.0], (50, 4))


def fields_of(s: npt.ArrayLike, n: int, dtype: type = np.float64) -> Floats:
    """Fields of entries that are taken as they are, (entries, n)."""
    x = np.asarray(s, dtype=np.float64)
    out: Floats = np.full(x.size * (1 + n), np.nan, dtype=dtype)
    encode(out, x, np.zeros(x.size), np.zeros(x.size), 0.0, 10.0, n)
    return out.reshape(x.size, 1 + n)[:, 1:]


@pytest.mark.parametrize("n_fields", [0, 1, 5, 12])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_encode_equals_the_twin(count: int, n_fields: int) -> None:
    """Entries, standardised by the samples so far, or as they are without any, and their fields, at 1e-12."""
    seen = SAMPLES[:count] if count else np.zeros((1, 4))
    mean, squares = seen.mean(0), len(seen) * seen.var(0)
    deviation = np.sqrt((seen.var(0, ddof=1) if count > 1 else 1.0) + 1e-8)
    for x in (*SAMPLES[:5], np.array([1e6, -1e6, 1e6, 0.0])):
        s = np.clip((x - mean) / deviation, -3.0, 3.0) if count else x
        out = np.full(4 * (1 + n_fields), np.nan)
        encode(out, x, mean, squares, float(count), 3.0, n_fields)
        np.testing.assert_allclose(out, plain.encoded(s, n_fields), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "n_fields"), [(1, 5), (2, 1), (2, 20), (3, 12), (4, 5), (3, 0)])
def test_join_equals_the_twin(n: int, n_fields: int, dtype: type) -> None:
    """Behind entries and fields come the products of the fields of each two entries; what was there stays."""
    expected = plain.encoded(SAMPLES[0, :n] / 30.0, n_fields, joint=True)
    first = n * (1 + n_fields)
    assert expected.size == first + n * (n - 1) // 2 * n_fields**2
    out = expected.astype(dtype)
    out[first:] = np.nan
    join(out, n, n_fields)
    np.testing.assert_allclose(out, expected, rtol=10 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_fields_are_bounded_and_cover_the_middle_evenly() -> None:
    """They lie in [0, 1], also far out; away from the ends their sum is nearly sqrt(2 pi), so that none is left out."""
    fields = fields_of(np.linspace(-10.0, 10.0, 2001), 12)
    assert fields.min() >= 0.0 and fields.max() <= 1.0
    middle = np.abs(np.tanh(np.linspace(-10.0, 10.0, 2001) / 2.0)) < 1.0 - 2.0 * 4.0 / 12.0
    assert middle.sum() > 100
    np.testing.assert_allclose(fields[middle].sum(axis=1), math.sqrt(2.0 * math.pi), rtol=1e-3)
    assert fields.sum(axis=1).min() > 1.0, "somewhere no field answers"


def test_most_active_field_is_that_of_the_nearest_centre() -> None:
    """At a centre a field is 1 and its neighbours exp(-1/2); fields mirror when the entry changes its sign."""
    centres = (2.0 * np.arange(7) + 1.0) / 7.0 - 1.0
    fields = fields_of(2.0 * np.arctanh(centres), 7)
    np.testing.assert_allclose(np.diag(fields), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.diag(fields, 1), math.exp(-0.5), rtol=1e-12)
    np.testing.assert_allclose(fields, fields[::-1, ::-1], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_entries_are_finite(dtype: type) -> None:
    """Whatever is finite in double precision is so in what the network takes, and lies in the outermost fields."""
    out: Floats = np.full(4 * 13, np.nan, dtype=dtype)
    x = np.array([1.7e308, -1.7e308, 1e300, -1e39])
    for count in (0.0, 1.0, 9.0):
        encode(out, x, -x, np.full(4, 1e60), count, 10.0, 12)
        assert np.isfinite(out).all()
    np.testing.assert_array_equal(fields_of(x, 12, dtype).argmax(axis=1), [11, 0, 11, 0])


@pytest.mark.parametrize("n_fields", [1, 5, 12])
def test_novelty_equals_the_twin(n_fields: int) -> None:
    """Novelty and visits are those of plain NumPy over 50 visits, at 1e-12."""
    ours, theirs = np.zeros((4, n_fields)), np.zeros((4, n_fields))
    for x in np.random.default_rng(1).normal(0.0, 2.0, (50, 4)):
        inputs = plain.encoded(x, n_fields)
        expected = plain.novelty(theirs, inputs.reshape(4, -1)[:, 1:])
        assert novelty(ours, inputs) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_novelty_falls_with_the_root_of_the_visits() -> None:
    """It is 1 at first, halves with four times the visits, and is still 1 far from what was visited 100 times."""
    visits, here = np.zeros((3, 12)), plain.encoded(np.array([0.0, 0.1, -0.1]), 12)
    far = plain.encoded(np.array([8.0, -8.0, 8.0]), 12)
    seen = [novelty(visits, here) for _ in range(100)]
    assert novelty(visits.copy(), far) > 0.99
    seen += [novelty(visits, here) for _ in range(3901)]
    assert seen[0] == pytest.approx(1.0) and np.all(np.diff(seen) < 0.0)
    for n in (250, 1000):
        assert seen[4 * n] / seen[n] == pytest.approx(0.5, rel=0.01)


def test_novelty_is_the_mean_over_entries() -> None:
    """One entry that changes among two that do not keeps a third of the novelty up."""
    visits = np.zeros((3, 12))
    for _ in range(10_000):
        novelty(visits, plain.encoded(np.array([0.0, 0.0, -3.0]), 12))
    assert novelty(visits, plain.encoded(np.array([0.0, 0.0, 3.0]), 12)) == pytest.approx(1.0 / 3.0, abs=0.02)


def test_rarity_equals_the_twin() -> None:
    """Rarity and visits are those of plain NumPy over 50 visits of one and of several states at once, at 1e-12."""
    ours, theirs, rng = np.zeros(6), np.zeros(6), np.random.default_rng(2)
    for entries in (*np.eye(6)[rng.integers(6, size=25)] - 0.1, *rng.normal(size=(25, 6))):
        assert rarity(ours, entries) == pytest.approx(plain.rarity(theirs, entries), rel=1e-12)
        np.testing.assert_array_equal(ours, theirs)
    assert ours.min() > 3


def test_rarity_of_a_state_falls_with_its_visits_alone() -> None:
    """It is 1, 1/2, 1/3 by visit, whatever else was visited; where nothing is above 0 it is 0, and counts nothing."""
    visits, states = np.zeros(4), np.eye(4)
    assert [rarity(visits, states[0]) for _ in range(3)] == [1.0, 1 / 2, 1 / 3]
    assert rarity(visits, states[2]) == 1.0
    before = visits.copy()
    assert rarity(visits, -states[1]) == 0.0
    np.testing.assert_array_equal(visits, before)
