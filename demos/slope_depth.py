"""What the slope of the surrogate does to the gradient of a deep network, layer by layer.

Two networks, both untrained and feed-forward. The published one (Van den Berghe et al. 2025, arXiv:2510.24461, their
study of gradient depth): 63 inputs, four hidden layers of 64 LIF neurons, 64 readouts, decay and threshold of each
neuron drawn from U(0, 1), a normal sample held for 2 or 50 time steps, mean squared error to a normal target; the
cosine of each layer's gradient with that of slope 100, and the gradient of the first layer against that of the last.
And one of this engine, where all neurons share decay and threshold, for as long: backpropagation through time
(`controllers.BPTT`) and the online rule on the very same spikes. The surrogate is 1 / (1 + k |v - v_th|)^2 with peak 1.

The spikes do not depend on the slope, only the gradients do. Gradients are taken a sample at a time, and the cosines
averaged over samples and draws.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from demos.results import RESULTS, interval, write_table
from demos.tasks import gradients_through_time
from threefactor import Network
from threefactor.pictures import BLUE, GREY, LIGHT, RED, new_figure, save_figure

Floats = npt.NDArray[np.float64]
SLOPES = (1.0, 10.0, 25.0, 50.0, 100.0)
SIZES = (63, 64, 64, 64, 64, 64)
PUBLISHED = {  # cosines of layers 0 to 4 and magnitude of layer 0 over layer 4, from the paper, at 2 time steps
    1.0: ((0.03, 0.06, 0.21, 0.47, 1.0), 0.095), 10.0: ((0.37, 0.48, 0.63, 0.815, 1.0), 4.2e-4),
    25.0: ((0.70, 0.78, 0.85, 0.93, 1.0), 3.5e-5), 50.0: ((0.90, 0.94, 0.96, 0.98, 1.0), 5e-6),
    100.0: ((1.0, 1.0, 1.0, 1.0, 1.0), 7e-7),
}  # fmt: skip


def sample_and_target(draw: int, sample: int) -> tuple[Floats, Floats]:
    """Normal input, held for all steps, and normal target."""
    rng = np.random.default_rng([draw, sample])
    return rng.normal(size=SIZES[0]), rng.normal(size=SIZES[-1])


def published_gradients(
    draw: int, sample: int, ticks: int, slopes: tuple[float, ...]
) -> tuple[list[list[Floats]], float]:
    """Gradient of each layer for each slope, of one draw of weights, sample and target; and the share that spikes."""
    rng = np.random.default_rng(draw)
    layers = []
    for n_in, n_out in itertools.pairwise(SIZES):
        bound = 1.0 / np.sqrt(n_in)  # PyTorch's default
        layers.append((
            rng.uniform(-bound, bound, (n_out, n_in)), rng.uniform(-bound, bound, n_out),
            rng.uniform(0, 1, n_out), rng.uniform(0, 1, n_out),
        ))  # fmt: skip
    x, target = sample_and_target(draw, sample)
    v, z = [np.zeros(n) for n in SIZES[1:]], [np.zeros(n) for n in SIZES[1:]]
    inputs, above, errors = [], [], []
    for _ in range(ticks):
        signal, seen = x, []
        for i, (w, b, decay, threshold) in enumerate(layers):
            seen.append(signal)
            v[i] = decay * v[i] + w @ signal + b - threshold * z[i]
            if i < len(layers) - 1:
                z[i] = signal = (v[i] > threshold).astype(float)
        inputs.append(seen)
        above.append([v[i] - layers[i][3] for i in range(4)])
        errors.append(2.0 * (v[4] - target) / target.size)
    found = []
    for slope in slopes:
        gradients, dv = [np.zeros_like(w) for w, *_ in layers], [np.zeros(n) for n in SIZES[1:]]
        for t in reversed(range(ticks)):
            down = errors[t]
            for i in reversed(range(5)):
                w, _, decay, threshold = layers[i]
                psi = 1.0 if i == 4 else 1.0 / (1.0 + slope * np.abs(above[t][i])) ** 2
                dv[i] = psi * (down - (0.0 if i == 4 else threshold) * dv[i]) + decay * dv[i]
                gradients[i] += np.outer(dv[i], inputs[t][i])
                down = w.T @ dv[i]
        found.append(gradients)
    return found, float(np.mean([[s.mean() for s in seen[1:]] for seen in inputs]))


def engine_gradients(draw: int, sample: int, ticks: int, slope: float) -> tuple[list[Floats], list[Floats], float]:
    """Gradients by backpropagation and by the online rule on the same sequence, and the share that spikes."""
    network = Network(
        SIZES[0], SIZES[1:5], SIZES[5], recurrent=False, surrogate="fast_sigmoid", slope=slope, height=1.0, tau_m=1.44,
        tau_out=1.44, threshold=0.5, readout_gain="unit", trace_gain="unit", tag_decay=1.0, w_in_scale=0.8, bias=True,
        dtype="float64", seed=draw,
    )  # fmt: skip
    x, target = sample_and_target(draw, sample)
    errors, spikes = [], 0.0
    for _ in range(ticks):
        error = 2.0 * (network.step(x) - target) / target.size
        network.tag(error)
        errors.append(error)
        spikes += np.mean([network.spikes(i).mean() for i in range(4)]) / ticks
    online = [tag.copy() for tag in network.tags.values()]
    exact = gradients_through_time(network, [x] * ticks, errors)
    return list(exact.values()), online, float(spikes)


def cosine(a: Floats, b: Floats) -> float:
    """Of the angle between two gradients; NaN where one vanishes because nothing below it spiked."""
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.sum(a * b)) / norm if norm else float("nan")


def study(job: tuple[str, int, int, int]) -> list[dict[str, Any]]:
    """Rows of one draw: network, rule, slope, layer, cosines and magnitude."""
    kind, ticks, draw, sample = job
    if kind == "published":
        gradients, spiking = published_gradients(draw, sample, ticks, SLOPES)
        rules = {"BPTT": gradients}
    else:
        runs = [engine_gradients(draw, sample, ticks, slope) for slope in SLOPES]
        rules, spiking = {"BPTT": [r[0] for r in runs], "online": [r[1] for r in runs]}, runs[0][2]
    rows = []
    for rule, found in rules.items():
        for slope, layers, exact in zip(SLOPES, found, rules["BPTT"], strict=True):
            for layer, gradient in enumerate(layers):
                rows.append({
                    "network": kind, "ticks": ticks, "rule": rule, "slope": slope, "layer": layer, "draw": draw,
                    "cosine_to_slope_100": cosine(gradient, rules["BPTT"][-1][layer]),
                    "cosine_to_bptt": cosine(gradient, exact[layer]),
                    "magnitude": float(np.abs(gradient).mean()),
                    "spiking": spiking,
                })  # fmt: skip
    return rows


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over draws of the mean over samples; with the interval of the interquartile mean of draws."""
    table, keys = [], ("network", "ticks", "rule", "slope", "layer")
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    magnitude = {key: float(np.mean([row["magnitude"] for row in mine])) for key, mine in groups.items()}
    for key, mine in groups.items():
        of_draw: dict[int, list[float]] = {}
        for row in mine:
            of_draw.setdefault(row["draw"], []).append(row["cosine_to_slope_100"])
        cosines = [float(np.nanmean(found)) for found in of_draw.values() if np.isfinite(found).any()]
        low, high = interval(cosines)
        line = dict(zip(keys, key, strict=True)) | {
            "cosine_to_slope_100": round(float(np.mean(cosines)), 4), "low": round(low, 4), "high": round(high, 4),
            "cosine_to_bptt": round(float(np.nanmean([r["cosine_to_bptt"] for r in mine])), 4),
            "magnitude_over_last": float(f"{magnitude[key] / magnitude[*key[:-1], len(SIZES) - 2]:.3g}"),
            "spiking": round(float(np.mean([r["spiking"] for r in mine])), 3), "gradients": len(mine),
        }  # fmt: skip
        if key[0] == "published" and key[1] == 2:
            line["paper_cosine"] = PUBLISHED[key[3]][0][key[4]]
        table.append({"paper_cosine": "", **line})
    return table


def draw_table(table: list[dict[str, Any]]) -> None:
    """Cosines by layer: the published network at 2 and 50 steps, and the engine's, both rules."""
    figure = new_figure(14, 6)
    top, bottom = figure.subplots(2, 4)
    colours = dict(zip(SLOPES, (RED, "#d98c5f", GREY, LIGHT, BLUE), strict=True))
    panels = (("published", 2, "published network, 2 steps (x: the paper)"),
              ("published", 50, "published network, 50 steps"),
              ("engine", 2, "this engine, 2 steps (dashed: online rule)"),
              ("engine", 50, "this engine, 50 steps (dashed: online rule)"))  # fmt: skip
    for (kind, ticks, title), upper, lower in zip(panels, top, bottom, strict=True):
        for slope in SLOPES:
            for rule, style in (("BPTT", "-"), ("online", "--")):
                rows = [r for r in table if (r["network"], r["ticks"], r["rule"], r["slope"])
                        == (kind, ticks, rule, slope)]  # fmt: skip
                if not rows:
                    continue
                layer = [r["layer"] for r in rows]
                label = f"slope {slope:g}" if rule == "BPTT" else None
                upper.plot(layer, [r["cosine_to_slope_100"] for r in rows], style, color=colours[slope], label=label)
                upper.fill_between(layer, [r["low"] for r in rows], [r["high"] for r in rows], color=colours[slope],
                                   alpha=0.15, linewidth=0)  # fmt: skip
                lower.semilogy(layer, [r["magnitude_over_last"] for r in rows], style, color=colours[slope])
                if rows[0]["paper_cosine"] != "" and rule == "BPTT":
                    upper.plot(layer, [r["paper_cosine"] for r in rows], "x", color=colours[slope])
        upper.set_title(title, fontsize=10)
        upper.set(ylim=(-0.05, 1.05), xticks=range(5))
        lower.set(xlabel="layer (4: readout)", xticks=range(5))
    top[0].set_ylabel("cosine to BPTT at slope 100")
    bottom[0].set_ylabel("mean |gradient| over that of layer 4")
    top[0].legend(frameon=False, fontsize=8)
    save_figure(figure, RESULTS / "slope_depth.png")


def main(
    draws: Annotated[int, typer.Option(min=2, help="Draws of the weights.")] = 100,
    samples: Annotated[int, typer.Option(min=1, help="Samples for each (a quarter of them at 50 steps).")] = 16,
    quick: Annotated[bool, typer.Option("--quick", help="Few draws, to see that it works.")] = False,
) -> None:
    """Compute; writes results/slope_depth.csv and results/slope_depth.png."""
    draws, samples = (3, 1) if quick else (draws, samples)
    kinds = [(kind, *n) for kind in ("published", "engine") for n in ((2, samples), (50, max(samples // 4, 1)))]
    jobs = [(kind, ticks, d, sample) for kind, ticks, n in kinds for d in range(draws) for sample in range(n)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = [row for found in pool.map(study, jobs, chunksize=4) for row in found]
    table = summarise(rows)
    write_table("slope_depth", table)
    draw_table(table)
    off = [abs(r["cosine_to_slope_100"] - r["paper_cosine"]) for r in table if r["paper_cosine"] != ""]
    print(f"largest difference of a cosine from the paper's: {max(off):.3f} ({draws} draws x {samples} samples)")
    for row in table:
        if row["layer"] == 0:
            print({k: row[k] for k in ("network", "ticks", "rule", "slope", "cosine_to_slope_100", "cosine_to_bptt",
                                       "magnitude_over_last", "spiking")})  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
