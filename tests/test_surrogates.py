"""Surrogate derivatives: shapes, peaks and areas, against plain formulas and numeric integrals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from tests.reference import SHAPES
from threefactor import SURROGATES, Network, pseudo_derivative
from threefactor.surrogates import shape

U = np.concatenate([np.linspace(-6.0, 6.0, 241), [-1e3, -40.0, 40.0, 1e3, 1e-9, -1e-9]])


def integral(name: str, slope: float, normalisation: str) -> float:
    """Integral of psi over all voltages: piece by piece near the threshold, and the tails out to infinity."""
    quad = pytest.importorskip("scipy.integrate", reason="integrals need scipy").quad

    def psi(v: float) -> float:
        return float(pseudo_derivative(np.array([v]), name, height=0.7, slope=slope, normalisation=normalisation)[0])

    edges = np.array([0.0, 1.0, 8.0, 60.0]) / slope  # the box jumps at 1
    near = sum(quad(psi, low, high, epsabs=1e-13, epsrel=1e-12)[0] for low, high in pairwise(edges))
    return 2.0 * (near + quad(psi, edges[-1], np.inf, epsabs=1e-13, epsrel=1e-10)[0])


def test_every_surrogate_has_a_formula_to_be_compared_with() -> None:
    """The twin knows exactly the engine's surrogates, under codes of their own."""
    assert set(SHAPES) == set(SURROGATES)
    assert sorted(code for code, _ in SURROGATES.values()) == list(range(len(SURROGATES)))


@pytest.mark.parametrize("name", SURROGATES)
def test_kernel_equals_the_formula(name: str) -> None:
    """The kernel gives f(u) to 1e-12, tails included, and raises no flag of overflow."""
    code, area = SURROGATES[name]
    formula, reference_area = SHAPES[name]
    psi = U.copy()
    shape(psi, code)
    np.testing.assert_allclose(psi, formula(U), rtol=1e-12, atol=1e-15)
    assert area == pytest.approx(reference_area, rel=1e-14)


@pytest.mark.parametrize("name", SURROGATES)
def test_single_precision_stays_single_and_close(name: str) -> None:
    """On float32 the kernel gives the formula to single precision."""
    psi = U.astype(np.float32)
    expected = SHAPES[name][0](psi.astype(np.float64))
    shape(psi, SURROGATES[name][0])
    assert psi.dtype == np.float32
    np.testing.assert_allclose(psi, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("slope", [0.5, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("name", SURROGATES)
def test_peak_is_the_height_at_threshold(name: str, slope: float) -> None:
    """Normalised by the peak, psi at threshold is the height at every slope, and nowhere more."""
    assert pseudo_derivative(np.zeros(1), name, height=0.3, slope=slope)[0] == pytest.approx(0.3, rel=1e-14)
    assert pseudo_derivative(U, name, height=0.3, slope=slope).max() <= 0.3 * (1.0 + 1e-14)


@pytest.mark.parametrize("name", SURROGATES)
def test_symmetric(name: str) -> None:
    """Psi is the same above and below threshold, and vanishes far away."""
    above, below = pseudo_derivative(U, name, slope=3.0), pseudo_derivative(-U, name, slope=3.0)
    np.testing.assert_allclose(above, below, rtol=1e-13, atol=0)
    assert abs(pseudo_derivative(np.array([1e4]), name)[0]) < 1e-6


@pytest.mark.parametrize("name", SURROGATES)
def test_falls_with_distance(name: str) -> None:
    """Psi does not rise with the distance from threshold; the multi-Gaussian dips below zero and comes back."""
    values = pseudo_derivative(np.linspace(0.0, 20.0, 400), name)
    if name == "multi_gaussian":
        assert values.min() < -0.01 and np.all(np.diff(values[: int(values.argmin())]) < 0)
        assert np.all(np.diff(values[int(values.argmin()) + 1 :]) > 0)
    else:
        assert np.all(values >= 0.0) and np.all(np.diff(values) <= 1e-16)


@pytest.mark.parametrize("name", SURROGATES)
def test_integral_equals_the_table(name: str) -> None:
    """The numeric integral over u is the area that the table states."""
    assert integral(name, 1.0, "peak") == pytest.approx(0.7 * SURROGATES[name][1], rel=1e-8)


@pytest.mark.parametrize("slope", [0.2, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("name", SURROGATES)
def test_area_normalisation_keeps_the_integral(name: str, slope: float) -> None:
    """Normalised by the area, the integral over the voltage is the height at every slope."""
    assert integral(name, slope, "area") == pytest.approx(0.7, rel=1e-8)


@pytest.mark.parametrize("normalisation", ["peak", "area"])
@pytest.mark.parametrize("name", SURROGATES)
def test_slope_scales_the_distance(name: str, normalisation: str) -> None:
    """A slope k at v is a slope of 1 at k v, times k when normalised by the area."""
    factor = 4.0 if normalisation == "area" else 1.0
    steep = pseudo_derivative(U, name, slope=4.0, normalisation=normalisation)
    wide = pseudo_derivative(4.0 * U, name, normalisation=normalisation)
    np.testing.assert_allclose(steep, factor * wide, rtol=1e-13)


@pytest.mark.parametrize("name", SURROGATES)
def test_network_uses_the_surrogate_that_it_names(name: str) -> None:
    """Psi of a network is the named surrogate at its voltages' distance from threshold."""
    named = {"surrogate": name, "slope": 2.0, "height": 0.4, "normalisation": "area"}
    network = Network(4, 30, 1, dtype="float64", w_in_scale=2.0, **named)
    for x in np.random.default_rng(0).random((10, 4)):
        network.step(x)
        expected = pseudo_derivative(network.voltage() - 1.0, name, height=0.4, slope=2.0, normalisation="area")
        np.testing.assert_allclose(network.psi(), expected, rtol=1e-12, atol=1e-15)


def test_unknown_name_is_refused() -> None:
    """A name that is not in the table is an error that lists the table."""
    with pytest.raises(ValueError, match="piecewise_linear"):
        Network(2, 3, 1, surrogate="triangle")
    with pytest.raises((KeyError, ValueError), match="triangle"):
        pseudo_derivative(np.zeros(2), "triangle")


@pytest.mark.parametrize(
    "u",
    [np.array(0.25), np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(-1, 1, 20)[::2], np.arange(3)],
    ids=["scalar", "matrix", "strided", "integers"],
)
def test_shape_and_argument_are_kept(u: npt.NDArray[np.float64]) -> None:
    """The result has the shape of the argument, float64, and the argument is left alone, strided or not."""
    before = u.copy()
    psi = pseudo_derivative(u, "gaussian", slope=2.0)
    assert psi.shape == u.shape and psi.dtype == np.float64
    np.testing.assert_array_equal(u, before)
    np.testing.assert_allclose(psi, np.exp(-2.0 * u.astype(float) ** 2), rtol=1e-12)
