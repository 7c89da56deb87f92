"""Reaching in a force field that is switched on, off and on again: adaptation, after-effect, relearning.

The experiment of Shadmehr & Mussa-Ivaldi 1994, J. Neurosci. 14:3208. A classical controller, which knows the arm and
not the field, follows a minimum-jerk path (Flash, Hogan 1985, J. Neurosci. 5:1688): inverse dynamics of the path, plus
stiffness and damping like a human's. Beside it a spiking `Regulator` learns from what the stiffness and damping had to
correct. What counts is how far, and to which side, the hand leaves the straight line to the target.
"""

from __future__ import annotations

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import scipy.stats
import typer
from rich.console import Console
from rich.table import Table

from controllers import Regulator
from demos.results import RESULTS, in_parallel, interval, write_table
from demos.watching import shown, watch_one
from envs import Arm
from envs.arm_dynamics import forward_kinematics, inverse_dynamics, inverse_kinematics
from threefactor.arrays import Array
from threefactor.pictures import BLUE, GREEN, GREY, RED, new_figure, save_figure
from threefactor.terminal import WATCH

STIFFNESS = np.array([[15.0, 6.0], [6.0, 16.0]])  # [N m/rad], both as in the experiment's model of the arm
DAMPING = np.array([[2.3, 0.9], [0.9, 2.4]])  # [N m s/rad]
DURATION, CURL = 0.5, 13.0  # of a reach [s]; of the field [N s/m]
PHASES = {"no field": (64, 0.0), "field": (160, CURL), "washout": (64, 0.0), "field again": (160, CURL)}
CONDITIONS: dict[str, dict[str, Any]] = {
    "online": {},
    "frozen hidden layer": {"freeze_hidden": True},
    "frozen copy": {},  # stops learning when the field sets in
    "controller alone": {},
}
COLOURS = dict(zip(CONDITIONS, (BLUE, GREEN, GREY, RED), strict=True))
EARLY, LATE = 32, 16  # trials that the table averages


class Reacher:
    """The classical controller, made for an arm as it is when this is made."""

    def __init__(self, env: Arm) -> None:
        self._world, self._torque = env.world.copy(), env.parameter("torque")
        self._dt = float(env.parameter("interval"))
        self._home = np.array(forward_kinematics(self._world, *np.radians([45.0, 90.0])))
        self.feedback = np.zeros(2)
        self.reset()

    def reset(self) -> None:
        """Begin a reach."""
        self._time = 0.0

    def _path(self, time: float, target: Array) -> Array:
        """Angles on the minimum-jerk path."""
        u = min(max(time / DURATION, 0.0), 1.0)
        place = self._home + u**3 * (10.0 - 15.0 * u + 6.0 * u * u) * target
        return np.array(inverse_kinematics(self._world, *place))

    def act(self, observation: Any) -> Array:
        """Torques, as shares of the largest; `feedback` is that part of them that corrects."""
        seen = np.asarray(observation, float)
        if seen[10] > 0.0:
            self._time += self._dt
        before, now, after = (self._path(self._time + k * self._dt, seen[8:10]) for k in (-1, 0, 1))
        rates, accelerations = (after - before) / (2.0 * self._dt), (after - 2.0 * now + before) / self._dt**2
        ahead = np.array(inverse_dynamics(self._world, *now, *rates, *accelerations))
        correcting = STIFFNESS @ (now - seen[:2]) + DAMPING @ (rates - seen[2:4])
        self.feedback = correcting / self._torque
        return ahead / self._torque + self.feedback


def reach(env: gym.Env[Any, Any], agent: Any, target: int) -> tuple[float, Array]:
    """One trial: largest distance from the straight line [cm], positive to its left, and the path (steps, 2) [m]."""
    observation, _ = env.reset(options={"target": target})
    action, path, over = agent.begin(observation), [], False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(action)
        action, over = agent.step(observation, reward, terminated, truncated), terminated or truncated
        path.append(observation[4:6])
    hand, line = np.array(path, float), observation[8:10].astype(float)
    aside = hand @ np.array([-line[1], line[0]]) / np.linalg.norm(line)
    return 100.0 * float(aside[np.abs(aside).argmax()]), hand


def run_one(job: tuple[str, int, float]) -> dict[str, Any]:
    """One subject: errors of all trials [cm], and a few paths."""
    condition, seed, share = job
    env = Arm(delay=(10, 30), limit=120, hold=200)  # a hold beyond the limit: all trials are of one length
    base, rng = Reacher(env), np.random.default_rng(seed)
    agent = Regulator.for_env(
        env, base=base, error=lambda seen, command: -base.feedback, features=lambda seen: seen[:4], seed=seed,
        **CONDITIONS[condition],
    )  # fmt: skip
    agent.learning = condition != "controller alone"
    errors, paths = [], {}
    env.reset(seed=seed)
    world = shown(env, agent)
    for phase, (trials, curl) in PHASES.items():
        env.change("curl", curl)
        if condition == "frozen copy" and curl:
            agent.learning = False
        for k in range(round(share * trials)):
            target = int(rng.integers(8))
            error, path = reach(world, agent, target)
            errors.append((phase, k, error))
            paths[phase, "first" if k < 8 else "last", target] = path
    return {"condition": condition, "seed": seed, "errors": errors, "paths": paths}


def of(run: dict[str, Any], phase: str) -> Array:
    """Errors of a phase."""
    return np.array([error for name, _, error in run["errors"] if name == phase])


def draw(runs: list[dict[str, Any]]) -> None:
    """Errors trial by trial, and the paths of one subject."""
    figure = new_figure(11, 5.6)
    grid = figure.add_gridspec(2, 4)
    axes = figure.add_subplot(grid[0, :])
    for condition, colour in COLOURS.items():
        errors = np.array([[error for *_, error in run["errors"]] for run in runs if run["condition"] == condition])
        trials = np.arange(1, errors.shape[1] + 1)
        axes.plot(trials, np.median(errors, 0), color=colour, label=condition, linewidth=1)
        axes.fill_between(trials, *np.percentile(errors, (25, 75), axis=0), color=colour, alpha=0.2, linewidth=0)
    end = 0
    for phase in PHASES:
        axes.axvline(end + 0.5, color="black", linestyle=":", linewidth=1)
        axes.text(end + 2, axes.get_ylim()[1], phase, va="top", fontsize=9)
        end += of(runs[0], phase).size
    axes.set(xlabel="trial", ylabel="off the straight line [cm]")
    axes.legend(loc="lower right", frameon=False, ncols=2, fontsize=8)
    one = next(run for run in runs if run["condition"] == "online")
    panels = {
        "field, first trials": ("field", "first"), "field, last trials": ("field", "last"),
        "washout, first trials": ("washout", "first"), "field again, last trials": ("field again", "last"),
    }  # fmt: skip
    for place, (title, (phase, when)) in enumerate(panels.items()):
        panel = figure.add_subplot(grid[1, place])
        for (its_phase, its_when, _), path in one["paths"].items():
            if (its_phase, its_when) == (phase, when):
                panel.plot(*(100.0 * path.T), color=BLUE, linewidth=1)
        panel.set(xlabel="x [cm]", ylabel="y [cm]", aspect="equal", xlim=(-13, 13), ylim=(-13, 13))
        panel.set_title(title, fontsize=9)
    save_figure(figure, RESULTS / "arm_force_field.png")


def figures_of(run: dict[str, Any]) -> dict[str, Any]:
    """What the table and the CSV tell of a subject [cm]."""
    field, washout, again = (of(run, phase) for phase in ("field", "washout", "field again"))
    first, last = np.abs(field[:4]).mean(), np.abs(field[-LATE:]).mean()
    return {
        "condition": run["condition"], "seed": run["seed"], "first_trials": first, "last_trials": last,
        "decay_percent": 100.0 * (1.0 - last / first), "field_signed": field[:4].mean(),
        "after_effect_signed": washout[:4].mean(), "learning": np.abs(field[:EARLY]).mean(),
        "relearning": np.abs(again[:EARLY]).mean(),
    }  # fmt: skip


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Subjects of each condition.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Two subjects and few trials, to see that it works.")] = False,
    watch: WATCH = False,
) -> None:
    """Have every subject reach in and out of the field; writes results/arm_force_field.csv and .png."""
    if watch:
        watch_one(run_one, ("online", 0, 1.0), "An arm in a force field")
    jobs = [
        (condition, seed, 0.1 if quick else 1.0) for seed in range(2 if quick else seeds) for condition in CONDITIONS
    ]
    runs = in_parallel(run_one, jobs, "reaching")
    draw(runs)
    rows = [figures_of(run) for run in runs]
    write_table("arm_force_field", rows)
    heads = (
        "condition",
        "field, first 4",
        "last 16",
        "decay [95 % of IQM]",
        "after-effect",
        "learning",
        "relearning",
        "p",
    )
    table = Table(*heads, caption="medians of seeds [cm]; p: of relearning no faster than learning (Wilcoxon)")
    for condition in CONDITIONS:
        mine = [row for row in rows if row["condition"] == condition]
        middle = {name: float(np.median([row[name] for row in mine])) for name in rows[0] if name not in heads[:1]}
        low, high = interval([row["decay_percent"] for row in mine])
        gains = [row["learning"] - row["relearning"] for row in mine]
        table.add_row(
            condition, f"{middle['field_signed']:.2f}", f"{middle['last_trials']:.2f}",
            f"{middle['decay_percent']:.0f} % [{low:.0f}, {high:.0f}]", f"{middle['after_effect_signed']:.2f}",
            f"{middle['learning']:.2f}", f"{middle['relearning']:.2f}",
            f"{scipy.stats.wilcoxon(gains, alternative='greater').pvalue:.3f}",
        )  # fmt: skip
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
