"""Does the slope of the surrogate matter to a rule that learns online? Supervised, cloning, and reinforcement.

The published study (Van den Berghe et al. 2025, arXiv:2510.24461) trains by BPTT over batches and finds: steep
surrogates (50 to 100) for supervised learning, shallow ones for reinforcement, a slope that follows the score for both.
Here the same schedules drive rules that see each transition once. Surrogate 1 / (1 + k |v - v_th|)^2, of peak 1 or of
the area that it has at k = 2 with peak 1.

- supervised: 64 recurrent LIF neurons track a random signal (`envs.SequenceTracking`), one update a trial of 400 ms;
- cloning: `controllers.Cloner` learns Pendulum-v1 from a feedback law, acting itself;
- reinforcement: `controllers.ActorCritic` learns CartPole-v1.

All with plain descent and with Adam, reinforcement with its intentional step, too.
The learning rate of each condition is the best of three on another seed. Each task has a frozen hidden layer beside it.
Score: supervised minus the error of 20 further trials without learning, relative to the variance of the reference;
cloning the greedy return of five episodes afterwards; reinforcement the mean return of the last fifth of the run.
Speed: the share of the run until the running score first reaches the target.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from controllers import ActorCritic, Cloner, Loop, evaluate
from demos.results import RESULTS, in_parallel, interquartile_mean, interval, write_table
from demos.tasks import run_trial
from envs import SequenceTracking
from threefactor import Network, ScheduleSettings, SlopeSchedule
from threefactor.pictures import BLUE, GREY, LIGHT, RED, new_figure, running_mean, save_figure

RULES: dict[str, dict[str, Any]] = {
    "2": {"rule": "fixed", "slope": 2.0}, "50": {"rule": "fixed", "slope": 50.0},
    "100": {"rule": "fixed", "slope": 100.0}, "interval": {"rule": "interval"}, "adaptive": {"rule": "adaptive"},
    "adaptive, code": {"rule": "adaptive_code"}, "self-ranging": {"rule": "self_ranging"},
}  # fmt: skip
WORST = 10.0  # error of what diverged
SCALE = 30.0  # of the rates of plain descent on the mean error of a trial, over those on the error of a step
TASKS: dict[str, dict[str, tuple[float, ...]]] = {  # optimisers and rates to choose from
    "supervised": {"sgd": (0.01, 0.03, 0.1), "adam": (1e-3, 3e-3, 1e-2)},
    "cloning": {"sgd": (0.01, 0.03, 0.1), "adam": (1e-3, 3e-3, 1e-2)},
    "reinforcement": {"intentional": (0.015, 0.03, 0.06), "sgd": (1e-3, 3e-3, 1e-2), "adam": (3e-4, 1e-3, 3e-3)},
}
TARGETS = {"supervised": -0.3, "cloning": -250.0, "reinforcement": 400.0}
HEIGHT = {"supervised": 1.0, "cloning": 1.0, "reinforcement": 0.2}  # at slope 2 the same for peak and area
Job = tuple[
    str, str, str, str, float, bool, int, float
]  # task, optimiser, area or peak, rule, rate, frozen, seed, size


class PendulumLaw:
    """Swing the pendulum up by its energy, and hold it by feedback: the teacher."""

    def act(self, observation: Any) -> Any:
        """Torque for (cos, sin, angular velocity)."""
        cosine, sine, speed = (float(value) for value in observation)
        if cosine > 0.8:
            torque = -12.0 * float(np.arctan2(sine, cosine)) - 3.0 * speed
        else:
            energy = speed**2 / 6.0 + 5.0 * cosine - 5.0  # of the upright rest: 0
            torque = -2.0 * np.sign(energy * speed) if speed else 2.0
        return np.clip([torque], -2.0, 2.0).astype(np.float32)


def supervised(
    optimiser: str, common: dict[str, Any], rule: dict[str, Any], rate: float, seed: int, size: float
) -> Any:
    """Scores of the trials, each its place in the run."""
    schedule = SlopeSchedule(ScheduleSettings(**rule))
    network = Network(
        50, 64, 1, surrogate="fast_sigmoid", tau_m=20.0, tau_out=20.0, w_in_scale=1.5, w_out_scale=0.2,
        optimiser=optimiser, learning_rate=rate * (SCALE if optimiser == "sgd" else 1.0), tag_decay=1.0, seed=seed,
        slope=schedule.slope, **common,
    )  # fmt: skip
    world, rng, scores = SequenceTracking(duration=400), np.random.default_rng([seed, 3]), []
    trials = max(int(250 * size), 4)
    try:
        for _ in range(trials):
            scores.append(-min(run_trial(network, world.draw(rng), each_tick=False).error, WORST))
            network.slope = schedule.update(scores[-1])
        last = -float(np.mean([run_trial(network, world.draw(rng), learn=False).error for _ in range(20)]))
    except ValueError:  # the rate was too high: the network refuses errors that are not finite
        scores, last = scores + [-WORST] * (trials - len(scores)), -WORST
    return np.arange(1, len(scores) + 1), scores, max(last, -WORST)


def cloning(optimiser: str, common: dict[str, Any], rule: dict[str, Any], rate: float, seed: int, size: float) -> Any:
    """Returns of the episodes and the steps at which they ended."""
    env = gym.make("Pendulum-v1")
    agent = Cloner.for_env(
        env, PendulumLaw(), seed=seed, optimiser=optimiser, learning_rate=rate, slope=rule.get("slope", 1.0),
        slope_schedule=rule, **common,
    )  # fmt: skip
    episodes = list(Loop(agent, env, seed).run(max(int(8_000 * size), 1000)))
    # the online return flatters a high learning rate, which tracks the teacher without keeping what it says
    greedy = evaluate(agent, env, episodes=5, seed=seed + 1000)
    ends, returns = [e.end for e in episodes], [e.episode_return for e in episodes]
    return ends, returns, float(np.mean(greedy))


def reinforcement(
    optimiser: str, common: dict[str, Any], rule: dict[str, Any], rate: float, seed: int, size: float
) -> Any:
    """Returns of the episodes and the steps at which they ended."""
    env = gym.make("CartPole-v1")
    agent = ActorCritic.for_env(
        env, seed=seed, surrogate="fast_sigmoid", optimiser=optimiser, actor_rate=rate,
        critic_rate=0.2 if optimiser == "intentional" else rate, slope=rule.get("slope", 1.0), slope_schedule=rule,
        **common,
    )  # fmt: skip
    episodes = list(Loop(agent, env, seed).run(max(int(30_000 * size), 2000)))
    return [e.end for e in episodes], [e.episode_return for e in episodes]


LEARN: dict[str, Callable[..., Any]] = {
    "supervised": supervised, "cloning": cloning, "reinforcement": reinforcement,
}  # fmt: skip


def scaled(task: str, rule: dict[str, Any], size: float) -> dict[str, Any]:
    """The schedule with the range of the task's score and the length of its run, which some rules have to be told."""
    low, high, scores = {"supervised": (-1.0, 0.0, 250), "cloning": (-1500.0, -150.0, 40),
                         "reinforcement": (0.0, 500.0, 200)}[task]  # fmt: skip
    return {**rule, "score_min": low, "score_max": high, "scores": max(int(scores * size), 2)}


def study(job: Job) -> dict[str, Any]:
    """One run."""
    task, optimiser, by, name, rate, frozen, seed, size = job
    common = {"normalisation": by, "height": HEIGHT[task], "freeze_hidden": frozen}
    ends, scores, *greedy = LEARN[task](optimiser, common, scaled(task, RULES[name], size), rate, seed, size)
    smooth = running_mean(scores, 10)
    last = greedy[0] if greedy else float(np.mean(scores[-max(len(scores) // 5, 1) :]))
    reached = np.flatnonzero(smooth >= TARGETS[task])
    return {
        "task": task, "optimiser": optimiser, "normalisation": by, "slope": "frozen" if frozen else name,
        "learning_rate": rate, "seed": seed, "score": round(last, 4),
        "reached_at": round(float(ends[reached[0]] / ends[-1]), 3) if len(reached) else None,
    }  # fmt: skip


def conditions(tasks: Iterable[str], rules: Iterable[str] = RULES) -> list[tuple[str, str, str, str, bool]]:
    """Task, optimiser, normalisation, rule, frozen."""
    pairs = [(task, optimiser) for task in tasks for optimiser in TASKS[task]]
    found = [(*pair, by, name, False) for pair in pairs for by in ("peak", "area") for name in rules]
    return found + [(*pair, "peak", "2", True) for pair in pairs]


def kept(but: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of an earlier run, but for those of some tasks."""
    path = RESULTS / "slope_learning.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file) if row["task"] not in but]
    numbers = {"learning_rate": float, "seed": int, "score": float, "reached_at": float}
    return [{k: numbers[k](v) if k in numbers and v else (v or None) for k, v in row.items()} for row in rows]


def draw(rows: list[dict[str, Any]]) -> None:
    """Final score of each condition; the dot is grey where the hidden layer is frozen."""
    panels = [(task, optimiser) for task, optimisers in TASKS.items() for optimiser in optimisers]
    figure = new_figure(14, 6)
    grid = figure.subplots(2, len(panels), sharex="col")
    names = [*RULES, "frozen"]
    for column, (task, optimiser) in enumerate(panels):
        for by, colour, shift in (("peak", BLUE, -0.12), ("area", RED, 0.12)):
            for place, name in enumerate(names):
                mine = [r for r in rows if (r["task"], r["optimiser"], r["normalisation"], r["slope"])
                        == (task, optimiser, by, name)]  # fmt: skip
                if not mine:
                    continue
                shade = GREY if name == "frozen" else colour
                scores, middle = [r["score"] for r in mine], interquartile_mean([r["score"] for r in mine])
                low, high = interval(scores)
                grid[0, column].errorbar(place + shift, middle, [[middle - low], [high - middle]], fmt="s",
                                         color=shade, capsize=3, markersize=4)  # fmt: skip
                times = [1.0 if r["reached_at"] is None else r["reached_at"] for r in mine]
                grid[1, column].plot(np.full(len(times), place + shift), times, "o", color=shade, markersize=3)
        grid[0, column].axhline(TARGETS[task], color=LIGHT, linestyle=":")
        if task == "supervised":
            grid[0, column].set_ylim(-1.0, 0.0)  # some that diverged lie below
        grid[0, column].set_title(f"{task}, {optimiser}", fontsize=10)
        grid[1, column].set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        grid[1, column].set(ylim=(0, 1.05), xlabel="slope")
    grid[0, 0].set(ylabel="final score")
    grid[1, 0].set(ylabel="time to target (1: never)")
    figure.suptitle("blue: peak 1; red: equal area; grey: frozen; squares: interquartile mean, 95 %", fontsize=10)
    save_figure(figure, RESULTS / "slope_learning.png")


def choose(tasks: str | None) -> list[str]:
    """Names of tasks from an option."""
    names = tasks.split(",") if tasks else list(TASKS)
    if unknown := [name for name in names if name not in TASKS]:
        raise typer.BadParameter(f"no task {', '.join(unknown)}; there are {', '.join(TASKS)}.")
    return names


def main(
    tasks: Annotated[str | None, typer.Option(help="Names, with commas between; rows of others are kept.")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each condition.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="One rate, short runs, to see that it works.")] = False,
) -> None:
    """Tune, then run; writes results/slope_learning.csv and results/slope_learning.png."""
    size, seeds = (0.02, 2) if quick else (1.0, seeds)
    names = choose(tasks)
    chosen = conditions(names, list(RULES)[-1:] if quick else RULES)
    trials = [(*c[:4], rate, c[4], 100, size) for c in chosen for rate in TASKS[c[0]][c[1]]]
    by_rate: dict[Any, dict[float, list[float]]] = {}
    best = {c: TASKS[c[0]][c[1]][1] for c in chosen}
    for trial, row in [] if quick else zip(trials, in_parallel(study, trials, "tuning"), strict=True):
        by_rate.setdefault((*trial[:4], trial[5]), {}).setdefault(trial[4], []).append(row["score"])
    best |= {c: max(scores, key=lambda rate: float(np.mean(scores[rate]))) for c, scores in by_rate.items()}
    jobs = [(*c[:4], best[c], c[4], seed, size) for c in chosen for seed in range(seeds)]
    rows = in_parallel(study, jobs, "learning")
    everything = sorted([*kept(names), *rows], key=lambda row: list(TASKS).index(row["task"]))
    write_table("slope_learning", everything)
    draw(everything)
    for c in chosen:
        mine = [row for job, row in zip(jobs, rows, strict=True) if (*job[:4], job[5]) == c]
        scores, times = [row["score"] for row in mine], [row["reached_at"] for row in mine]
        low, high = interval(scores)
        print(f"{c[0]}, {c[1]}, {c[2]}, slope {mine[0]['slope']}: rate {best[c]:g}, score "
              f"{interquartile_mean(scores):.3f} [{low:.3f}, {high:.3f}], target reached at {times}")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
