"""Where the online gradient points, against backpropagation through time: over training, slope and recurrence.

A network of 100 LIF neurons learns a pattern of 500 ms online, one update a trial. Before some of its trials the
gradient of the trial is taken twice, from the eligibility traces and by `controllers.BPTT` through reset and recurrent
spikes, on the same spikes and errors. Cosine and ratio of norms are those of input and recurrent weights together. The
share of neurons that spike in a tick stands beside them, because the gradients of a silent network agree with anything;
and the error that the network has learnt to make, beside that of the same network with its hidden layer frozen.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from demos.results import RESULTS, in_parallel, interquartile_mean, interval, write_table
from demos.tasks import gradients_through_time
from envs import PatternGeneration
from envs.sequences import Sequence
from threefactor import Network
from threefactor.pictures import BLUE, GREY, LIGHT, RED, new_figure, save_figure

SLOPES = (1.0, 10.0, 25.0, 100.0)
FROZEN = "frozen"  # in the place of a slope: the hidden layer does not learn
RECURRENCE = {"feed-forward": 0.0, "weak recurrence": 0.3, "strong recurrence": 1.0}
LOOKS = (0, 10, 30, 100, 300)


def online_trial(network: Network, trial: Sequence) -> tuple[list[Any], float, float]:
    """Sum the online gradient of a trial into the tags; errors, normalised error and share of spiking neurons."""
    network.reset()
    network.clear()
    errors, spiking = [], 0.0
    for tick, (x, target) in enumerate(zip(trial.inputs, trial.targets, strict=True)):
        error = network.step(x) - target
        network.tag(error)
        errors.append(error)
        if tick % 10 == 0:  # a look costs as much as a tick
            spiking += float(network.spikes().mean()) / len(trial.mask[::10])
    return errors, float(np.mean(np.square(errors)) / trial.targets.var()), spiking


def hidden(gradients: dict[str, Any]) -> Any:
    """Gradients of all but the readout, in one row."""
    return np.concatenate([g.ravel() for name, g in gradients.items() if name != "w_out"])


def align(network: Network, trial: Sequence, errors: list[Any]) -> tuple[float, float]:
    """Cosine and ratio of norms of the tags to backpropagation; the network is left at the end of the trial."""
    online = hidden(network.tags)
    exact = hidden(gradients_through_time(network, trial.inputs, errors))
    norms = float(np.linalg.norm(online)), float(np.linalg.norm(exact))
    return float(online @ exact) / (norms[0] * norms[1]), norms[0] / norms[1]


def study(job: tuple[str, float | str, int, int]) -> list[dict[str, Any]]:
    """Train one network; a row for each look."""
    kind, slope, seed, trials = job
    frozen = slope == FROZEN
    network = Network(
        100, 100, 3, recurrent=kind != "feed-forward", w_rec_scale=RECURRENCE[kind], w_in_scale=1.5,
        slope=1.0 if isinstance(slope, str) else slope, surrogate="fast_sigmoid", height=1.0, threshold=1.0, tau_m=20.0,
        tau_out=20.0, optimiser="adam", learning_rate=3e-2 if frozen else 2e-3, tag_decay=1.0, dtype="float64",
        seed=seed, freeze_hidden=frozen,
    )  # fmt: skip
    trial = PatternGeneration(duration=500, task_seed=seed).draw(np.random.default_rng(seed))
    rows = []
    for k in range(trials + 1):
        errors, loss, spiking = online_trial(network, trial)
        if k in LOOKS:
            cosine, norm = (float("nan"), float("nan")) if frozen else align(network, trial, errors)
            rows.append({"network": kind, "slope": slope, "seed": seed, "trial": k, "cosine": cosine, "norm": norm,
                         "normalised_error": loss, "spiking": spiking})  # fmt: skip
            online_trial(network, trial)  # what was looked at is learnt from, too
        network.update(1.0 / len(trial.mask))
    return rows


def draw(rows: list[dict[str, Any]]) -> None:
    """One column a network: cosine, ratio of norms, spiking and error over training, one line a slope."""
    figure = new_figure(10, 10)
    grid = figure.subplots(4, 3, sharex=True, sharey="row")
    colours = dict(zip((*SLOPES, FROZEN), (RED, "#d98c5f", LIGHT, BLUE, GREY), strict=True))
    for column, kind in enumerate(RECURRENCE):
        for slope in colours:
            mine = [row for row in rows if row["network"] == kind and row["slope"] == slope]
            looks = sorted({row["trial"] for row in mine})
            for axes, key in zip(grid[:, column], ("cosine", "norm", "spiking", "normalised_error"), strict=True):
                values = [[row[key] for row in mine if row["trial"] == k] for k in looks]
                if not np.isfinite(values).all():  # a frozen layer has no gradient
                    continue
                axes.plot(looks, [interquartile_mean(v) for v in values], "o-", color=colours[slope], markersize=3,
                          label=slope if slope == FROZEN else f"slope {slope}")  # fmt: skip
                axes.fill_between(looks, *np.transpose([interval(v) for v in values]), color=colours[slope], alpha=0.2,
                                  linewidth=0)  # fmt: skip
        grid[0, column].set_title(kind, fontsize=10)
        grid[3, column].set(xlabel="trials learnt", xscale="symlog")
    grid[0, 0].set(ylabel="cosine to BPTT", ylim=(-0.1, 1.05))
    grid[1, 0].set(ylabel="norm over that of BPTT", yscale="log")
    grid[2, 0].set(ylabel="share of neurons spiking in a tick", ylim=(0, None))
    grid[3, 0].set(ylabel="error over the target's variance", yscale="log")
    grid[3, 0].legend(frameon=False, fontsize=8)
    save_figure(figure, RESULTS / "gradient_alignment.png")


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Networks and patterns.")] = 5,
    trials: Annotated[int, typer.Option(min=10, help="Trials learnt.")] = 300,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds, ten trials, to see that it works.")] = False,
) -> None:
    """Train and compare; writes results/gradient_alignment.csv and results/gradient_alignment.png."""
    seeds, trials = (2, 10) if quick else (seeds, trials)
    jobs = [(kind, slope, seed, trials) for kind in RECURRENCE for slope in (*SLOPES, FROZEN)
            for seed in range(seeds)]  # fmt: skip
    found = in_parallel(study, jobs, "training")
    rows = [row for result in found for row in result]
    write_table("gradient_alignment", rows)
    draw(rows)
    for kind in RECURRENCE:
        for slope in (*SLOPES, FROZEN):
            mine = [row for row in rows if row["network"] == kind and row["slope"] == slope]
            for k in (min(r["trial"] for r in mine), max(r["trial"] for r in mine)):
                at = [row for row in mine if row["trial"] == k]
                cells = {key: float(f"{interquartile_mean([r[key] for r in at]):.3g}")
                         for key in ("cosine", "norm", "normalised_error", "spiking")}  # fmt: skip
                print(f"{kind}, slope {slope}, trial {k}: {cells}")


if __name__ == "__main__":
    typer.run(main)
