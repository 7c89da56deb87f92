"""Which learning signal to send down a deep stack: four hidden layers learn to track a signal online.

50 Poisson neurons code a random reference below 3 Hz; four feed-forward layers of 64 LIF neurons follow it with one
readout, one update a trial of 600 ms, Adam at two learning rates for every method. Compared are the signals that the
engine sends (from layer to layer through surrogate and weights, below an exact, random or adaptive top; or straight
from the error through random or adaptive feedback weights), backpropagation through time on the same network, and the
frozen stack whose readout alone learns. Beside the error stand the cosines of the hidden gradients, layer by layer, to
backpropagation on the trained network. Errors are of the last 50 trials, each of them new to the network, relative to
the mean square of the reference.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from controllers import BPTT
from demos.results import RESULTS, in_parallel, interquartile_mean, interval, write_table
from demos.tasks import gradients_through_time
from envs import SequenceTracking
from threefactor import Network
from threefactor.pictures import BLUE, GREY, LIGHT, RED, new_figure, running_mean, save_figure

METHODS: dict[str, dict[str, Any]] = {
    "BPTT": {},
    "layer by layer": {},
    "layer by layer,\nrandom top": {"feedback": "random"},
    "layer by layer,\nadaptive top": {"feedback": "adaptive"},
    "direct, random": {"feedback": "random", "credit": "direct"},
    "direct, adaptive": {"feedback": "adaptive", "credit": "direct"},
    "frozen": {"freeze_hidden": True},
}
COLOURS = dict(zip(METHODS, ("black", BLUE, LIGHT, "#4f9d69", "#d98c5f", RED, GREY), strict=True))
RATES = (3e-3, 1e-2)
DEPTH, MEAN_SQUARE = 4, 0.31  # of the reference, see `envs.SequenceTracking`


def build(method: str, rate: float, seed: int) -> Network:
    """The stack with the learning signals of a method."""
    return Network(
        50, (64,) * DEPTH, 1, recurrent=False, surrogate="fast_sigmoid", slope=5.0, height=1.0, tau_m=8.0, tau_out=15.0,
        w_in_scale=2.0, w_out_scale=0.2, optimiser="adam", learning_rate=rate, tag_decay=1.0, seed=seed,
        **METHODS[method],
    )  # fmt: skip


def run_trial(learner: Network | BPTT, trial: Any) -> tuple[list[Any], Any]:
    """Errors of a trial, whose gradient the learner gathers; and the share of neurons of each layer that spike."""
    network = learner.network if isinstance(learner, BPTT) else learner
    gather = learner.learn if isinstance(learner, BPTT) else learner.tag
    learner.reset()
    errors, spiking = [], np.zeros(DEPTH)
    for tick, (x, target) in enumerate(zip(trial.inputs, trial.targets, strict=True)):
        error = learner.step(x) - target
        gather(error)
        errors.append(error)
        if tick % 20 == 0:  # a look costs as much as a tick
            spiking += [network.spikes(layer).mean() / len(trial.mask[::20]) for layer in range(DEPTH)]
    return errors, spiking


def cosines(network: Network, trial: Any) -> list[float]:
    """Of each hidden layer's online gradient to backpropagation, on one trial; what is frozen has none."""
    network.clear()
    errors, _ = run_trial(network, trial)
    online = [tag.copy() for name, tag in network.tags.items() if name != "w_out"]
    if not online:
        return [float("nan")] * DEPTH
    exact = [g for name, g in gradients_through_time(network, trial.inputs, errors).items() if name != "w_out"]
    return [
        float(np.sum(a * b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))
        for a, b in zip(online, exact, strict=True)
    ]


def study(job: tuple[str, float, int, int]) -> dict[str, Any]:
    """Train one stack."""
    method, rate, seed, trials = job
    network, world, rng = build(method, rate, seed), SequenceTracking(duration=600), np.random.default_rng([seed, 1])
    learner = BPTT(network) if method == "BPTT" else network
    losses = []
    for _ in range(trials):
        trial = world.draw(rng)
        errors, spiking = run_trial(learner, trial)
        losses.append(float(np.mean(np.square(errors))) / MEAN_SQUARE)
        learner.update(1.0 / len(trial.mask))
        network.clear()
    aligned = np.mean([cosines(network, world.draw(rng)) for _ in range(5)], axis=0)
    return {
        "method": method.replace("\n", " "), "learning_rate": rate, "seed": seed, "trials": trials,
        "error_last_50": round(float(np.mean(losses[-50:])), 4),
        **{f"cosine_layer_{layer}": round(float(c), 3) for layer, c in enumerate(aligned)},
        **{f"spiking_layer_{layer}": round(float(s), 3) for layer, s in enumerate(spiking)}, "curve": losses,
    }  # fmt: skip


def best_rate(rows: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    """Rows of a method at the learning rate that served it better over all seeds."""
    mine = [row for row in rows if row["method"] == method.replace("\n", " ")]
    groups = [[row for row in mine if row["learning_rate"] == rate] for rate in RATES]
    return min(groups, key=lambda group: interquartile_mean([row["error_last_50"] for row in group]))


def draw(rows: list[dict[str, Any]]) -> None:
    """Learning curves, final errors, and cosines by layer."""
    figure = new_figure(12, 4)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1.2, 1))
    for place, (method, colour) in enumerate(COLOURS.items()):
        mine = best_rate(rows, method)
        curves = np.array([running_mean(row["curve"], 20) for row in mine])
        left.plot(np.median(curves, 0), color=colour, label=method.replace("\n", " "))
        final = [row["error_last_50"] for row in mine]
        low, high = interval(final)
        middle.errorbar(place, interquartile_mean(final), [[interquartile_mean(final) - low],
                        [high - interquartile_mean(final)]], fmt="s", color=colour, capsize=4)  # fmt: skip
        middle.plot(np.full(len(final), place + 0.2), final, ".", color=colour)
        if method not in ("BPTT", "frozen"):
            right.plot([np.mean([row[f"cosine_layer_{layer}"] for row in mine]) for layer in range(DEPTH)], "o-",
                       color=colour)  # fmt: skip
    left.set(xlabel="trials", ylabel="squared error / mean square of the reference", yscale="log")
    left.legend(frameon=False, fontsize=7)
    middle.set_xticks(range(len(METHODS)), list(METHODS), rotation=45, ha="right", fontsize=7)
    middle.set(ylabel="error of the last 50 trials", yscale="log")
    middle.set_title("squares: interquartile mean, 95 %; dots: seeds", fontsize=9)
    right.set(xlabel="hidden layer (0: lowest)", ylabel="cosine to BPTT after training", xticks=range(DEPTH))
    right.axhline(0, color="black", linewidth=0.5)
    save_figure(figure, RESULTS / "deep_credit.png")


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Networks of each method.")] = 5,
    trials: Annotated[int, typer.Option(min=50, help="Trials learnt.")] = 400,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds, few trials, to see that it works.")] = False,
) -> None:
    """Train all; writes results/deep_credit.csv and results/deep_credit.png."""
    seeds, trials = (2, 4) if quick else (seeds, trials)
    jobs = [(method, rate, seed, trials) for method in METHODS for rate in RATES for seed in range(seeds)]
    rows = in_parallel(study, jobs, "training")
    write_table("deep_credit", [{k: v for k, v in row.items() if k != "curve"} for row in rows])
    draw(rows)
    for method in METHODS:
        mine = best_rate(rows, method)
        low, high = interval([row["error_last_50"] for row in mine])
        found = [round(float(np.mean([row[f"cosine_layer_{k}"] for row in mine])), 2) for k in range(DEPTH)]
        print(f"{mine[0]['method']}: error {interquartile_mean([r['error_last_50'] for r in mine]):.3f} "
              f"[{low:.3f}, {high:.3f}] at rate {mine[0]['learning_rate']:g}; cosines {found}")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
