"""A spiking pilot that learns to hover while it flies, from a classical pilot beside it.

At each step the student sees the craft, sets the wanted speeds of the rotors, and learns at once from those that the
assistant would have set there (`controllers.Cloner`): no flight is stored, and from the first step on it is the
student's own speeds that the craft gets. It is tested alone, on 100 random starts that it has not seen, before it has
learnt and every so often later; the step shrinks with the flights' time.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table

from controllers import Cloner
from demos.flight import Pilot, Rotors
from demos.results import RESULTS, in_parallel, interval, write_table
from envs import Quadrotor
from threefactor.pictures import BLUE, GREY, RED, new_figure, save_figure

LEARNING_RATE, HALVED_AFTER = 0.02, 50_000  # steps
SETTINGS: dict[str, Any] = {
    "n_hidden": 1024, "warm_ticks": 8, "ticks": 2, "rest": "episode", "readout_decay": 0.6, "optimiser": "intentional",
    "learning_rate": LEARNING_RATE, "surrogate": "piecewise_linear", "slope": 1.0, "height": 0.2,
}  # fmt: skip
CONDITIONS: dict[str, dict[str, Any]] = {"online": {}, "frozen hidden layer": {"freeze_hidden": True}}
COLOURS = {"online": BLUE, "frozen hidden layer": GREY, "assistant": RED}
FIRST_TEST, TESTS = 10_000, 5  # seed of its first start; how often a run is tested


def test(pilot: Any, starts: int) -> dict[str, float]:
    """Flights of 500 steps from random starts: share held to the end, their mean error [m], mean return and length."""
    env = Rotors(Quadrotor())
    held, errors, returns, lengths = 0, [], [], []
    for start in range(starts):
        observation, _ = env.reset(seed=FIRST_TEST + start)
        pilot.reset()
        off, total, over, truncated = [], 0.0, False, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(pilot.act(observation))
            over, total = terminated or truncated, total + reward
            off.append(float(np.linalg.norm(observation[:3])))
        held += truncated
        returns.append(total)
        lengths.append(len(off))
        if truncated:
            errors.append(np.mean(off))
    return {
        "held": held / starts, "error": float(np.mean(errors)) if errors else float("nan"),
        "mean_return": float(np.mean(returns)), "mean_length": float(np.mean(lengths)),
    }  # fmt: skip


def run_one(job: tuple[str, int, int, int]) -> list[dict[str, Any]]:
    """One student; its tests."""
    condition, seed, steps, starts = job
    about = {"pilot": condition, "seed": seed}
    if condition == "assistant":
        return [{**about, "steps": 0, "flights": 0, **test(Pilot(), starts)}]
    env = Rotors(Quadrotor())
    student = Cloner.for_env(env, Pilot(), seed=seed, **SETTINGS, **CONDITIONS[condition])
    rows = [{**about, "steps": 0, "flights": 0, **test(student, starts)}]
    observation, _ = env.reset(seed=seed)
    action, flights = student.begin(observation), 0
    for t in range(1, steps + 1):
        student.network.learning_rate = LEARNING_RATE / (1.0 + t / HALVED_AFTER)
        observation, reward, terminated, truncated, _ = env.step(action)
        action = student.step(observation, reward, terminated, truncated)
        if t % (steps // TESTS) == 0:
            rows.append({**about, "steps": t, "flights": flights, **test(student, starts)})
        if terminated or truncated:
            flights += 1
            action = student.begin(env.reset()[0])
    return rows


def draw(rows: list[dict[str, Any]]) -> None:
    """Share of starts held, and error, over the steps of learning."""
    figure = new_figure(9, 3.8)
    panels = figure.subplots(1, 2)
    for condition in CONDITIONS:
        mine = [row for row in rows if row["pilot"] == condition]
        steps = sorted({row["steps"] for row in mine})
        for axes, name, scale in zip(panels, ("held", "error"), (100.0, 100.0), strict=True):
            values = [[scale * row[name] for row in mine if row["steps"] == t] for t in steps]
            axes.plot(steps, [np.nanmedian(v) if np.isfinite(v).any() else np.nan for v in values],
                      color=COLOURS[condition], label=condition)  # fmt: skip
            for t, v in zip(steps, values, strict=True):
                axes.plot([t] * len(v), v, ".", color=COLOURS[condition], markersize=3)
    best = next(row for row in rows if row["pilot"] == "assistant")
    for axes, name in zip(panels, ("held", "error"), strict=True):
        axes.axhline(100.0 * best[name], color=COLOURS["assistant"], linestyle="--", label="assistant")
        axes.set(xlabel="steps of flight (10 ms)", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    panels[0].set(ylabel="held for 500 steps [%]", ylim=(0, 103))
    panels[1].set(ylabel="mean distance from the target [cm]")
    panels[0].legend(loc="lower right", frameon=False)
    figure.suptitle("line: median of seeds; dots: seeds", fontsize=9)
    save_figure(figure, RESULTS / "quadrotor_hover.png")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Students of each kind.")] = 10,
    steps: Annotated[int, typer.Option(min=1000, help="Steps of flight.")] = 300_000,
    quick: Annotated[bool, typer.Option("--quick", help="Two students and few steps, to see that it works.")] = False,
) -> None:
    """Have every student learn to hover; writes results/quadrotor_hover.csv and results/quadrotor_hover.png."""
    seeds, steps, starts = (2, 1_000, 2) if quick else (seeds, steps, 100)
    jobs = [("assistant", 0, 0, starts)] + [(c, seed, steps, starts) for seed in range(seeds) for c in CONDITIONS]
    found = in_parallel(run_one, jobs, "flying")
    rows = [row for run in found for row in run]
    draw(rows)
    write_table("quadrotor_hover", rows)
    heads = ("pilot", "steps", "held [95 % of IQM]", "worst seed", "error [m]", "return")
    table = Table(*heads, caption="medians of seeds, 100 random starts each; error: mean distance of flights held")
    for condition in COLOURS:
        last = max(row["steps"] for row in rows if row["pilot"] == condition)
        mine = [row for row in rows if row["pilot"] == condition and row["steps"] == last]
        held = [100.0 * row["held"] for row in mine]
        low, high = interval(held)
        table.add_row(
            condition, str(last), f"{np.median(held):.0f} % [{low:.0f}, {high:.0f}]", f"{min(held):.0f} %",
            *(f"{np.median([row[name] for row in mine]):.3g}" for name in ("error", "mean_return")),
        )  # fmt: skip
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
