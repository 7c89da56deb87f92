"""Every surrogate beside the threshold noise that it stands for.

A neuron whose threshold carries noise xi fires with probability P(xi <= v - v_th), and the derivative of that
probability by the voltage is the density of xi. Normalised by its area, a surrogate derivative is such a density; the
firing probability that it promises, its integral, is compared here with the share of noisy neurons that fire. The noise
is drawn from distributions of NumPy and SciPy, by name, and not from the surrogate. The multi-Gaussian has negative
flanks and is the density of no noise: it is the signed mixture of three, and promises more than 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import scipy.integrate
import typer

from demos.results import RESULTS, interval, write_table
from threefactor import SURROGATES, pseudo_derivative
from threefactor.pictures import BLUE, GREY, RED, new_figure, save_figure
from threefactor.surrogates import MULTI_H, MULTI_S

Draw = Callable[[np.random.Generator, int], Any]
VOLTAGES = np.array([-3.0, -1.5, -0.75, -0.3, 0.0, 0.3, 0.75, 1.5, 3.0])  # v - v_th, in units of 1/slope


def fast_sigmoid_noise(rng: np.random.Generator, n: int) -> Any:
    """Density 1 / (2 (1 + |x|)^2): the ratio of two exponential variates has the positive half of it."""
    return rng.choice((-1.0, 1.0), n) * rng.exponential(size=n) / rng.exponential(size=n)


NOISE: dict[str, tuple[str, Draw]] = {
    "piecewise_linear": ("triangular", lambda rng, n: rng.triangular(-1.0, 0.0, 1.0, n)),
    "box": ("uniform", lambda rng, n: rng.uniform(-1.0, 1.0, n)),
    "fast_sigmoid": ("ratio of exponentials", fast_sigmoid_noise),
    "exponential": ("Laplace", lambda rng, n: rng.laplace(size=n)),
    "arctan": ("Cauchy", lambda rng, n: rng.standard_cauchy(n)),
    "logistic": ("logistic", lambda rng, n: rng.logistic(size=n)),
    "gaussian": ("Gaussian", lambda rng, n: rng.normal(size=n)),
    "multi_gaussian": ("signed mixture of three Gaussians", lambda rng, n: rng.normal(size=n)),
}


def promised(name: str, voltage: float) -> float:
    """Firing probability at a voltage: the integral of the surrogate, which is 1/2 at threshold by symmetry."""
    area, _ = scipy.integrate.quad(
        lambda u: float(pseudo_derivative(np.array([u]), name, 1.0, 1.0, "area")[0]), 0.0, voltage, points=[0.0]
    )
    return 0.5 + float(area)


def fired(name: str, voltage: float, rng: np.random.Generator, n: int) -> tuple[float, float]:
    """Share of `n` noisy neurons that fire at a voltage, and its standard error."""
    if name == "multi_gaussian":
        centre = (rng.normal(size=n) <= voltage).astype(float)
        flanks = sum((side + MULTI_S * rng.normal(size=n) <= voltage).astype(float) for side in (-1.0, 1.0))
        # the mixture's weights, over the mass that is left: the surrogate is normalised to area 1
        each = ((1.0 + MULTI_H) * centre - MULTI_H * flanks) / (1.0 - MULTI_H)
    else:
        each = (NOISE[name][1](rng, n) <= voltage).astype(float)
    return float(each.mean()), float(each.std() / np.sqrt(n))


def compare(seeds: int, n: int) -> list[dict[str, Any]]:
    """Promise and share for each surrogate and voltage, over seeds."""
    rows = []
    for name in SURROGATES:
        for voltage in VOLTAGES:
            shares, errors = zip(
                *(fired(name, voltage, np.random.default_rng([seed, 7]), n) for seed in range(seeds)), strict=True
            )
            expected, error = promised(name, float(voltage)), float(np.mean(errors)) / np.sqrt(seeds)
            low, high = interval(shares)
            off = float(np.mean(shares)) - expected
            rows.append({
                "surrogate": name, "noise": NOISE[name][0], "voltage": voltage, "promised": round(expected, 6),
                "fired": round(float(np.mean(shares)), 6), "low": round(low, 6), "high": round(high, 6),
                "standard_error": round(error, 7), "sigmas": round(abs(off) / error if error else abs(off), 2),
            })  # fmt: skip
    return rows


def draw(rows: list[dict[str, Any]]) -> None:
    """One panel a surrogate: the derivative, the firing probability it promises, and the shares that fired."""
    figure = new_figure(11, 5.6)
    grid = np.linspace(-4, 4, 401)
    for axes, name in zip(figure.subplots(2, 4, sharex=True).flat, SURROGATES, strict=True):
        psi = pseudo_derivative(grid, name, 1.0, 1.0, "area")
        axes.plot(grid, psi, color=RED, label="surrogate, area 1")
        promise = np.interp(0.0, grid, scipy.integrate.cumulative_trapezoid(psi, grid, initial=0))
        curve = scipy.integrate.cumulative_trapezoid(psi, grid, initial=0) - promise + 0.5
        axes.plot(grid, curve, color=BLUE, label="its integral")
        mine = [row for row in rows if row["surrogate"] == name]
        axes.plot([r["voltage"] for r in mine], [r["fired"] for r in mine], "o", color=GREY, label="share that fired")
        axes.set_title(f"{name}\n{NOISE[name][0]} noise", fontsize=9)
    for axes in figure.axes[4:]:
        axes.set_xlabel("(v - v_th) x slope")
    for axes in figure.axes[::4]:
        axes.set_ylabel("probability, density")
    figure.axes[0].legend(frameon=False, fontsize=7, loc="upper left")
    save_figure(figure, RESULTS / "surrogate_family.png")


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Independent samples.")] = 10,
    neurons: Annotated[int, typer.Option(min=100, help="Noisy neurons in each.")] = 100_000,
    quick: Annotated[bool, typer.Option("--quick", help="Few neurons, to see that it works.")] = False,
) -> None:
    """Compare; writes results/surrogate_family.csv and results/surrogate_family.png."""
    rows = compare(3 if quick else seeds, 2000 if quick else neurons)
    write_table("surrogate_family", rows)
    draw(rows)
    inside = sum(row["sigmas"] <= 3.0 for row in rows)
    print(
        f"{inside} of {len(rows)} firing probabilities within 3 sigma; largest {max(r['sigmas'] for r in rows)} sigma"
    )


if __name__ == "__main__":
    typer.run(main)
