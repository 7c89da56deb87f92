"""CartPole-v1 by many seeds: the default agent beside its controls.

The controls are a frozen hidden layer (only the readouts learn) and the fixed slope 2. On this task a frozen layer can
do as well as a plastic one, where the features at hand suffice: what it says about hidden plasticity it says about
the features of this agent. `demos.control_table` has other tasks.
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from controllers import ActorCritic, Loop, solved
from demos.results import RESULTS, in_parallel, interquartile_mean, interval, write_table
from demos.watching import shown, watch_one
from threefactor.pictures import BLUE, GREY, RED, new_figure, running_mean, save_figure
from threefactor.terminal import WATCH

THRESHOLD = 475.0
CONDITIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "frozen hidden layer": {"freeze_hidden": True},
    "fixed slope 2": {"slope": 2.0},
}
COLOURS = dict(zip(CONDITIONS, (BLUE, GREY, RED), strict=True))


def train_one(job: tuple[str, int, int]) -> dict[str, Any]:
    """Train one agent; its row of the table, and its episodes under "curve"."""
    condition, seed, steps = job
    env = gym.make("CartPole-v1")
    agent = ActorCritic.for_env(env, seed=seed, **CONDITIONS[condition])
    loop = Loop(agent, shown(env, agent), seed)
    episodes = list(loop.run(steps))
    ends, returns = [e.end for e in episodes], [e.episode_return for e in episodes]
    solved_at, solved_from = solved(ends, returns, THRESHOLD)
    return {
        "condition": condition, "seed": seed, "steps": steps, "solved_at": solved_at, "solved_from": solved_from,
        "mean_return_last_100": float(np.mean(returns[-100:])),
        "microseconds_per_step": round(loop.microseconds_per_step, 1), "curve": (ends, returns),
    }  # fmt: skip


def draw(rows: list[dict[str, Any]]) -> None:
    """Median learning curve over seeds with its quartiles, and where each seed began to be solved."""
    figure = new_figure(9, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for place, (condition, colour) in enumerate(COLOURS.items()):
        mine = [row for row in rows if row["condition"] == condition]
        grid = np.linspace(0, mine[0]["steps"], 400)
        curves = np.array(
            [np.interp(grid, ends, running_mean(returns, 10)) for ends, returns in (r["curve"] for r in mine)]
        )
        left.plot(grid, np.median(curves, 0), color=colour, label=condition)
        left.fill_between(grid, *np.percentile(curves, (25, 75), axis=0), color=colour, alpha=0.2, linewidth=0)
        found = [row["solved_from"] for row in mine if row["solved_from"] is not None]
        right.plot(np.full(len(found), place) + np.linspace(-0.15, 0.15, len(found)), found, "o", color=colour)
        if found:
            low, high = interval(found)
            right.plot([place - 0.3, place + 0.3], [interquartile_mean(found)] * 2, color=colour)
            right.fill_between([place - 0.3, place + 0.3], low, high, color=colour, alpha=0.2)
    left.axhline(THRESHOLD, color="black", linestyle=":", linewidth=1)
    left.set(xlabel="environment steps", ylabel="mean return of the last 10 episodes")
    left.set_title("line: median of seeds; band: quartiles", fontsize=9)
    left.legend(loc="lower right", frameon=False)
    right.set(ylabel="solved from (steps)", xticks=range(len(CONDITIONS)))
    right.set_xticklabels([name.replace(" ", "\n") for name in CONDITIONS])
    right.set_ylim(bottom=0)
    right.set_title("dots: seeds; band: 95 % of the\ninterquartile mean", fontsize=9)
    save_figure(figure, RESULTS / "cartpole.png")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each condition.")] = 10,
    steps: Annotated[int, typer.Option(min=1000, help="Environment steps of each run.")] = 80_000,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds and few steps, to see that it works.")] = False,
    watch: WATCH = False,
) -> None:
    """Train every condition on every seed; writes results/cartpole.csv and results/cartpole.png."""
    if watch:
        watch_one(train_one, ("default", 0, steps), "CartPole-v1, seed 0")
    seeds, steps = (2, 5_000) if quick else (seeds, steps)
    jobs = [(condition, seed, steps) for seed in range(seeds) for condition in CONDITIONS]
    rows = in_parallel(train_one, jobs, "training")
    draw(rows)
    write_table("cartpole", [{name: value for name, value in row.items() if name != "curve"} for row in rows])
    for condition in CONDITIONS:
        mine = [row for row in rows if row["condition"] == condition]
        found = [row["solved_from"] for row in mine if row["solved_from"] is not None]
        latest = max((row["solved_at"] for row in mine if row["solved_at"] is not None), default=None)
        median = float(np.median(found)) if found else None
        low, high = interval(found) if found else (None, None)
        print(
            f"{condition}: solved {len(found)}/{len(mine)}, solved_from median {median}, interquartile mean in "
            f"[{low}, {high}], worst {max(found, default=None)}, last solved_at {latest}"
        )


if __name__ == "__main__":
    typer.run(main)
