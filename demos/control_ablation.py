"""What each ingredient of the actor-critic is worth: control tasks with one thing at a time left out or changed.

An ingredient is a line of `INGREDIENTS`: a name and the settings that differ from the default. Runs are stored and
shared with `demos.control_table`, see `demos.control`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.axes import Axes

from demos.control import Row, choose, choose_tasks, of, study, values
from demos.control_tasks import TASKS
from demos.results import RESULTS, interval
from threefactor.pictures import BLUE, GREY, RED, new_figure, save_figure

INGREDIENTS: dict[str, dict[str, Any]] = {
    "default": {},
    "frozen hidden layer": {"freeze_hidden": True},
    "trace decay 0": {"trace_decay": 0.0},
    "no scaling of rewards": {"scale_rewards": False},
    "no normalisation of observations": {"normalise_observations": False},
    "overshooting-bounded step": {"optimiser": "obgd", "actor_rate": 0.005, "critic_rate": 0.005},
    "no receptive fields": {"n_fields": 0},
    "no fields in a plane": {"joint_fields": False},
    "no offset of values": {"baseline_rate": 0.0},
    "no ticks before the first action": {"warm_ticks": 1},
    "white noise": {"noise_correlation": 0.0},
    "no novelty": {"novelty": 0.0},
    "no bonus for undecided policies": {"entropy": 0.0},
    "a third of the bonus": {"entropy": 0.003},
    "narrow at first": {"deviation_bias": -0.5},
    "initial weights of usual size": {"w_in_scale": 1.0},
    "no warm-up of the actor": {"warm_up_steps": 0.0},
    "statistics of observations never rest": {"sample_annealing": 0.0},
    "steps never smaller": {"step_annealing": 0.0},
    "noise never smaller": {"noise_annealing": 0.0},
    **{f"slope {slope}": {"slope": float(slope)} for slope in (2, 10, 50, 100)},
    "slope interval": {"slope_schedule": {"rule": "interval"}},
    "slope adaptive": {"slope_schedule": {"rule": "adaptive"}},
}
COLOURS = {"default": BLUE, "frozen hidden layer": GREY}


def draw_task(axes: Axes, rows: list[Row], task: str) -> None:
    """Each ingredient's median with the interval; tasks without a threshold show the final mean return."""
    names = [name for name in INGREDIENTS if of(rows, task, name)]
    column = "final_mean" if TASKS[task].threshold is None else "solved_from"
    labels = []
    for place, name in enumerate(names):
        mine, colour = of(rows, task, name), COLOURS.get(name, RED)
        found = values(mine, column)
        labels.append(name + (f" ({len(mine) - len(found)}/{len(mine)} unsolved)" if len(found) < len(mine) else ""))
        if found:
            axes.plot(found, np.full(len(found), place), ".", color=colour, alpha=0.3)
            axes.plot(interval(found), (place, place), color=colour)
            axes.plot(np.median(found), place, "o", color=colour)
    axes.set_yticks(range(len(names)), labels, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("solved from (environment steps)" if column == "solved_from" else "final mean return")
    if column == "solved_from":
        axes.set_xlim(left=0)
    axes.set_title(TASKS[task].title, fontsize=10)


def draw(rows: list[Row]) -> None:
    """One panel a task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    columns = min(len(tasks), 3)
    lines = math.ceil(len(tasks) / columns)
    height = 1.2 + 0.22 * len({row["condition"] for row in rows})
    figure = new_figure(max(4.8 * columns, 7.0), height * lines + 0.5)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, task in zip(panels, tasks, strict=False):
        draw_task(axes, rows, task)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    figure.suptitle("circle: median of the seeds that solved; line: 95 % of their interquartile mean", fontsize=10)
    save_figure(figure, RESULTS / "control_ablation.png")


def main(
    tasks: Annotated[str | None, typer.Option(help="Names, with commas between; all installed if none.")] = None,
    conditions: Annotated[str | None, typer.Option(help="Ingredients, with commas between; all if none.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each task and ingredient.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds and few steps, to see that it works.")] = False,
) -> None:
    """Train every task with every ingredient; writes results/control_ablation.csv and results/control_ablation.png."""
    chosen = {name: INGREDIENTS[name] for name in choose(conditions, INGREDIENTS, "ingredient")}
    study("control_ablation", chosen, choose_tasks(tasks, quick), seeds, quick, draw)


if __name__ == "__main__":
    typer.run(main)
