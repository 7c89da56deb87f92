"""Surrogate derivatives: what stands in for the derivative of the spike.

A surrogate is a function of ``u = slope * (v - A)``, one at its peak, ``A`` being the neuron's present threshold. It is
also, up to its area, the density of the threshold noise that would make the expected spike differentiable: a box is
uniform noise, a triangle triangular noise, the derivative of a logistic function logistic noise, a bell Gaussian noise.

``psi = height * f(u)`` when normalised by the peak; ``psi = height * slope * f(u) / area(f)`` when normalised by the
area, so that its integral over the voltage is `height` at every slope. With the peak held, a slope of k also divides
the whole gradient by about k: Adam hides that, SGD does not.
"""

from __future__ import annotations

import math

import numpy as np

from threefactor._choices import like, where
from threefactor._jit import kernel
from threefactor.arrays import Array

# Multi-Gaussian of Yin, Corradi, Bohte 2021 (Nat. Mach. Intell. 3:905): a bell with negative flanks,
# (1 + h) N(x; 0, sigma) - h N(x; sigma, s sigma) - h N(x; -sigma, s sigma), here with sigma = 1 in u and peak 1.
MULTI_H, MULTI_S = 0.15, 6.0
MULTI_PEAK = (1.0 + MULTI_H) - 2.0 * MULTI_H / MULTI_S * math.exp(-0.5 / MULTI_S**2)
MULTI_CENTRE = (1.0 + MULTI_H) / MULTI_PEAK
MULTI_FLANK = MULTI_H / MULTI_S / MULTI_PEAK
MULTI_WIDTH = -0.5 / MULTI_S**2

# name -> (code, integral of f over u)
SURROGATES: dict[str, tuple[int, float]] = {
    "piecewise_linear": (0, 1.0),
    "box": (1, 2.0),
    "fast_sigmoid": (2, 2.0),
    "exponential": (3, 2.0),
    "arctan": (4, math.pi),
    "logistic": (5, 4.0),
    "gaussian": (6, math.sqrt(2.0 * math.pi)),
    "multi_gaussian": (7, (1.0 - MULTI_H) * math.sqrt(2.0 * math.pi) / MULTI_PEAK),
}


@kernel
def shape(psi: Array, kind: int) -> None:
    """Replace each entry u of `psi` by f(u), the surrogate of code `kind` with peak 1."""
    one = like(psi, 1)
    half = like(psi, 0.5)
    if kind == 0:
        for j in range(psi.size):
            psi[j] = max(one - one, one - abs(psi[j]))
    elif kind == 1:
        for j in range(psi.size):
            psi[j] = where(abs(psi[j]) <= one, one, one - one)
    elif kind == 2:
        for j in range(psi.size):
            x = one + abs(psi[j])
            psi[j] = one / (x * x)
    elif kind == 3:
        for j in range(psi.size):
            psi[j] = np.exp(-abs(psi[j]))
    elif kind == 4:
        for j in range(psi.size):
            psi[j] = one / (one + psi[j] * psi[j])
    elif kind == 5:  # 4 sigma'(u) = sech(u / 2)^2; the exponent of -|u| cannot overflow
        for j in range(psi.size):
            x = np.exp(-abs(psi[j]))
            psi[j] = (one + one) * (one + one) * x / ((one + x) * (one + x))
    elif kind == 6:
        for j in range(psi.size):
            psi[j] = np.exp(-half * psi[j] * psi[j])
    else:
        centre, flank = like(psi, MULTI_CENTRE), like(psi, MULTI_FLANK)
        width = like(psi, MULTI_WIDTH)
        for j in range(psi.size):
            u = psi[j]
            sides = np.exp(width * (u - one) * (u - one)) + np.exp(width * (u + one) * (u + one))
            psi[j] = centre * np.exp(-half * u * u) - flank * sides


def pseudo_derivative(
    u: Array, name: str = "piecewise_linear", height: float = 1.0, slope: float = 1.0, normalisation: str = "peak"
) -> Array:
    """Surrogate derivative at distances `u` from threshold, as the engine computes it.

    Parameters
    ----------
    u : array
        Membrane voltage minus threshold, in units of the voltage.
    name : str
        A key of `SURROGATES`.
    height : float
        Peak of the surrogate, or its area when ``normalisation="area"``.
    slope : float
        Reciprocal of the width, in 1/voltage; positive.
    normalisation : {"peak", "area"}
        What `height` fixes.

    Returns
    -------
    array
        psi, of the shape of `u`, float64.

    References
    ----------
    Bellec et al. 2020, Nat. Commun. 11:3625 (piecewise linear); Zenke & Vogels 2021, Neural Comput. 33:899 (family).

    Examples
    --------
    >>> pseudo_derivative(np.array([0.0, 0.5, 2.0]), "piecewise_linear", height=0.3)
    array([0.3 , 0.15, 0.  ])
    """
    if name not in SURROGATES:
        raise ValueError(f"surrogate is {name!r}; choose one of {', '.join(SURROGATES)}.")
    code, area = SURROGATES[name]
    x = np.array(slope * np.asarray(u, dtype=np.float64), order="C")
    shape(x.reshape(-1), code)
    return x * (height * slope / area if normalisation == "area" else height)
