"""The published recommendations for the slope as presets, and what becomes of them under a rule that learns online.

`threefactor.preset` has a steep surrogate for supervised learning, a shallow one for reinforcement, and for unknown
tasks a slope that follows the score through the range that it finds by itself. Each preset is tried on each of the
three tasks of `demos.slope_learning`, with Adam (reinforcement: the intentional step) at one learning rate, beside the
network whose hidden layer is frozen.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from demos.results import RESULTS, in_parallel, interquartile_mean, interval, write_table
from demos.slope_learning import HEIGHT, LEARN, TARGETS, TASKS
from threefactor import preset
from threefactor.pictures import BLUE, GREY, RED, new_figure, running_mean, save_figure

PRESETS = ("supervised", "reinforcement", "unknown", "frozen")
COLOURS = dict(zip(PRESETS, (BLUE, RED, "#4f9d69", GREY), strict=True))
OPTIMISERS = {"supervised": "adam", "cloning": "adam", "reinforcement": "intentional"}


def study(job: tuple[str, str, int, float]) -> dict[str, Any]:
    """One run."""
    task, name, seed, size = job
    optimiser = OPTIMISERS[task]
    chosen = preset("reinforcement" if name == "frozen" else name)
    common = {"normalisation": chosen["normalisation"], "height": HEIGHT[task], "freeze_hidden": name == "frozen"}
    schedule = chosen["slope_schedule"]
    rule = {"rule": schedule.rule, "slope": schedule.slope}
    ends, scores, *greedy = LEARN[task](optimiser, common, rule, TASKS[task][optimiser][1], seed, size)
    return {
        "task": task, "preset": name, "seed": seed,
        "score": round(greedy[0] if greedy else float(np.mean(scores[-max(len(scores) // 5, 1) :])), 4),
        "curve": (ends, scores),
    }  # fmt: skip


def draw(rows: list[dict[str, Any]]) -> None:
    """Learning curves by task."""
    figure = new_figure(12, 4)
    for axes, task in zip(figure.subplots(1, 3), LEARN, strict=True):
        for name, colour in COLOURS.items():
            mine = [row["curve"] for row in rows if row["task"] == task and row["preset"] == name]
            grid = np.linspace(0, min(ends[-1] for ends, _ in mine), 200)
            curves = [np.interp(grid, ends, running_mean(scores, 10)) for ends, scores in mine]
            axes.plot(grid, np.median(curves, 0), color=colour, label=name)
            axes.fill_between(grid, np.min(curves, 0), np.max(curves, 0), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(TARGETS[task], color="black", linestyle=":", linewidth=1)
        axes.set(title=task, xlabel="trials" if task == "supervised" else "environment steps")
    figure.axes[0].set(ylabel="minus relative squared error", ylim=(-1.2, 0.0))
    figure.axes[1].set(ylabel="mean return of ten episodes")
    figure.axes[0].legend(title="preset", frameon=False, fontsize=8)
    save_figure(figure, RESULTS / "presets.png")


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Short runs, to see that it works.")] = False,
) -> None:
    """Run; writes results/presets.csv and results/presets.png."""
    size, seeds = (0.02, 2) if quick else (1.0, seeds)
    jobs = [(task, name, seed, size) for task in LEARN for name in PRESETS for seed in range(seeds)]
    rows = in_parallel(study, jobs, "learning")
    write_table("presets", [{k: v for k, v in row.items() if k != "curve"} for row in rows])
    draw(rows)
    for task in LEARN:
        for name in PRESETS:
            scores = [row["score"] for row in rows if row["task"] == task and row["preset"] == name]
            low, high = interval(scores)
            print(f"{task}, preset {name}: {interquartile_mean(scores):.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    typer.run(main)
