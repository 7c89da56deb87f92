"""Control tasks by many seeds, all with the one default setting of the actor-critic, beside its controls.

The controls are a frozen hidden layer (only the readouts learn), which shows where hidden plasticity matters, and
trace decay 0 (no eligibility beyond one transition), which shows where the traces do; the peer is Stream AC(lambda),
which does not spike. A run ends at the task's budget;
one that solved its task goes on to twice the step of solving, to see whether it stays solved.
A study that was stopped goes on where it was, see `demos.control`.
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from demos.control import PEER, Row, choose, choose_tasks, of, study
from demos.control_tasks import TASKS
from demos.results import RESULTS
from threefactor.pictures import BLUE, GREEN, GREY, RED, new_figure, save_figure

CONDITIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "frozen": {"freeze_hidden": True},
    "no_trace": {"trace_decay": 0.0},
    "stream_ac": PEER,
}
LABELS = {
    "default": "default",
    "frozen": "frozen hidden layer",
    "no_trace": "trace decay 0",
    "stream_ac": "Stream AC(lambda)",
}
COLOURS = dict(zip(CONDITIONS, (BLUE, GREY, RED, GREEN), strict=True))


def draw_task(axes: Axes, rows: list[Row], task: str) -> None:
    """Median learning curve of each condition with its quartiles."""
    for condition, colour in COLOURS.items():
        mine = [row for row in of(rows, task, condition) if row["curve"][0]]
        if not mine:
            continue
        grid = np.linspace(0, mine[0]["steps"], 400)
        curves = np.array([np.interp(grid, *row["curve"]) for row in mine])
        axes.plot(grid, np.median(curves, 0), color=colour, label=LABELS[condition])
        axes.fill_between(grid, *np.percentile(curves, (25, 75), axis=0), color=colour, alpha=0.2, linewidth=0)
    threshold, window = TASKS[task].threshold, TASKS[task].window
    if threshold is not None:
        axes.axhline(threshold, color="black", linestyle=":", linewidth=1)
    axes.set(xlabel="environment steps", ylabel=f"return (mean of the last {window})")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(TASKS[task].title, fontsize=10)


def draw(rows: list[Row], name: str) -> None:
    """Learning curves, one panel a task; results/NAME.png."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    columns = min(len(tasks), 4)
    lines = math.ceil(len(tasks) / columns)
    figure = new_figure(max(3.6 * columns, 7.0), 2.9 * lines + 0.7)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, task in zip(panels, tasks, strict=False):
        draw_task(axes, rows, task)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    shown = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), frameon=False)
    figure.suptitle("line: median of seeds; band: quartiles; dotted: threshold", fontsize=10)
    save_figure(figure, RESULTS / f"{name}.png")


def main(
    tasks: Annotated[str | None, typer.Option(help="Names, with commas between; all installed if none.")] = None,
    conditions: Annotated[str | None, typer.Option(help=f"Some of {', '.join(CONDITIONS)}; all if none.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each task and condition.")] = 10,
    others: Annotated[bool, typer.Option("--others", help="Other worlds: changed physics, bodies, states.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds and few steps, to see that it works.")] = False,
) -> None:
    """Train every task under every condition; writes results/control.csv and control.png, or control_others.*."""
    chosen = {name: CONDITIONS[name] for name in choose(conditions, CONDITIONS, "condition")}
    name = "control_others" if others else "control"
    study(name, chosen, choose_tasks(tasks, quick, others), seeds, quick, functools.partial(draw, name=name))


if __name__ == "__main__":
    typer.run(main)
