"""Broken in flight, recovered in flight: a motor loses 30 % of its thrust, the payload doubles, or wind sets in.

A quadrotor flies figures of eight. The classical pilot, which knows the sound craft, keeps flying it. Beside it a
spiking `Regulator` learns, from one step to the next, what the rotors' speeds lack: the torque and the lift that the
craft should have had by its model, less what its gyroscope and its velocity tell, shared out over the rotors. The
frozen copy is the same regulator, which stops learning at the event. One that sees nothing has its biases alone to
learn with, as an integrator would: what each flight needs is nearly constant.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from controllers import Regulator
from demos.flight import Pilot, Rotors
from demos.results import RESULTS, in_parallel, interval, write_table
from demos.watching import shown, watch_one
from envs import Quadrotor
from envs.quadrotor import LEARNING_TO_FLY
from threefactor.arrays import Array
from threefactor.pictures import BLUE, GREEN, GREY, RED, new_figure, save_figure
from threefactor.terminal import WATCH

PAYLOAD, DT, GRAVITY = 0.008, 0.01, 9.81  # [kg], [s], [m/s^2]
BEFORE, AFTER = 1000, 3000  # steps of 10 ms
CRAFT = LEARNING_TO_FLY["mass"]
EVENTS: dict[str, tuple[float, str, Any]] = {  # mass at first [kg], what changes, to what
    "a motor loses 30 %": (CRAFT, "motors", [0.7, 1.0, 1.0, 1.0]),
    "the payload doubles": (CRAFT + PAYLOAD, "mass", CRAFT + 2.0 * PAYLOAD),
    "wind of 0.1 N sets in": (CRAFT, "wind", [0.1, 0.0, 0.0]),
}
CONDITIONS: dict[str, dict[str, Any]] = {
    "online": {}, "frozen hidden layer": {"freeze_hidden": True}, "online, sees nothing": {}, "frozen copy": {},
    "pilot alone": {},
}  # fmt: skip
COLOURS = dict(zip(CONDITIONS, (BLUE, GREEN, "tab:purple", GREY, RED), strict=True))
LEARNING_RATE = 0.2  # a craft that a motor fails is on its side in a fifth of a second
RECOVERED, LOST = 1.5, 3.0  # times the error before the event


class Missing:
    """What the speeds of the rotors lacked in the last step, by the model of the sound craft."""

    def __init__(self, pilot: Pilot, mass: float) -> None:
        x, y = np.array([[1.0, -1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0]]) * LEARNING_TO_FLY["arm"]
        yaw = np.array([-1.0, 1.0, -1.0, 1.0]) * LEARNING_TO_FLY["drag"]
        self._torques = np.stack([y, -x, yaw])  # (3, 4), of thrusts of 1 N
        self._shares = self._torques.T / np.square(self._torques).sum(1)
        self._pilot, self._mass = pilot, mass
        self._inertia, self._curve = np.array(LEARNING_TO_FLY["inertia"]), float(LEARNING_TO_FLY["thrust"][2])
        self._before: tuple[Array, Array] | None = None

    def reset(self) -> None:
        """Begin a flight."""
        self._before = None

    def note(self, observation: Any) -> Array:
        """Lacking speeds (4,), in units of the action, of the step that ends with this observation."""
        seen = np.asarray(observation, np.float64)
        speeds = np.clip(0.5 * (seen[18:] - self._pilot.added + 1.0), 0.0, 1.0)  # those that a sound craft would need
        lacking = np.zeros(4)
        if self._before is not None:
            old, slower = self._before
            lifts = self._curve * (0.5 * (slower + speeds)) ** 2
            turn = 0.5 * (old[15:18] + seen[15:18])
            expected = self._torques @ lifts - np.cross(turn, self._inertia * turn)
            torque = expected - self._inertia * (seen[15:18] - old[15:18]) / DT
            upwards = (seen[12:15] - old[12:15]) / DT + (0.0, 0.0, GRAVITY)
            lift = lifts.sum() - self._mass * float(upwards @ seen[3:12].reshape(3, 3)[:, 2])
            lacking = 2.0 * (self._shares @ torque + 0.25 * lift) / (2.0 * self._curve * np.maximum(speeds, 0.3))
        self._before = seen, speeds
        return lacking


def run_one(job: tuple[str, str, int, int, int]) -> dict[str, Any]:
    """One flight; its distances from the target [m]."""
    event, condition, seed, before, after = job
    mass, parameter, value = EVENTS[event]
    craft = Quadrotor(mass=mass, radius=0.2, limit=before + after)
    env, pilot = Rotors(craft), Pilot(mass)
    missing, sees = Missing(pilot, mass), 0.0 if condition == "online, sees nothing" else 1.0
    regulator = Regulator.for_env(
        env, base=pilot, error=lambda seen, command: -missing.note(seen), features=lambda seen: sees * seen[:18],
        seed=seed, learning_rate=LEARNING_RATE, **CONDITIONS[condition],
    )  # fmt: skip
    regulator.learning = condition != "pilot alone"
    observation, _ = env.reset(seed=seed, options={"at_rest": True})
    missing.note(observation)
    world = shown(env, regulator)
    action, off = regulator.begin(observation), []
    for t in range(before + after):
        if t == before:
            craft.change(parameter, value)
            regulator.learning = condition not in ("frozen copy", "pilot alone")
        observation, reward, terminated, truncated, _ = world.step(action)
        off.append(float(np.linalg.norm(observation[:3])))
        if terminated or truncated:
            break
        pilot.added[:] = regulator.population.network.y
        action = regulator.step(observation, float(reward), terminated, truncated)
    return {"event": event, "condition": condition, "seed": seed, "off": off, "before": before, "steps": before + after}


def figures_of(run: dict[str, Any]) -> dict[str, Any]:
    """What the table and the CSV tell of a flight."""
    off, start = np.array(run["off"]), run["before"]
    usual, crashed = float(off[start // 2 : start].mean()), len(off) < run["steps"]
    late = off[start + (run["steps"] - start) // 2 : start + 2 * (run["steps"] - start) // 3]
    ratio = float("inf") if crashed or usual == 0.0 else float(late.mean()) / usual
    seconds = None
    if ratio < RECOVERED:
        means = np.convolve(off[start:], np.full(100, 0.01), "valid")  # of a second
        seconds = DT * float(np.flatnonzero(np.append(True, means >= RECOVERED * usual))[-1] + 99)
    return {
        "event": run["event"], "condition": run["condition"], "seed": run["seed"], "error_before": usual,
        "largest": float(off[start:].max(initial=0.0)), "error_15_to_20_s": None if crashed else float(late.mean()),
        "ratio": ratio, "crashed_after": DT * (len(off) - start) if crashed else None, "recovered_after": seconds,
    }  # fmt: skip


def draw(runs: list[dict[str, Any]]) -> None:
    """Distance from the target around the event, all flights."""
    figure = new_figure(11, 3.8)
    for axes, event in zip(figure.subplots(1, len(EVENTS), sharey=True), EVENTS, strict=True):
        for condition, colour in reversed(COLOURS.items()):
            for k, run in enumerate(run for run in runs if (run["event"], run["condition"]) == (event, condition)):
                seconds = DT * (np.arange(len(run["off"])) - run["before"])
                shown = seconds > -2.0
                label = condition if k == 0 else None
                axes.plot(seconds[shown], np.array(run["off"])[shown], color=colour, linewidth=0.8, label=label)
                if len(run["off"]) < run["steps"]:
                    axes.plot(seconds[-1], run["off"][-1], "x", color=colour)
        axes.axvline(0.0, color="black", linestyle=":", linewidth=1)
        axes.set(xlabel="time since the event [s]", xlim=(-2, 20))
        axes.set_title(event, fontsize=10)
    figure.axes[0].set(ylabel="distance from the target [m]", yscale="log", ylim=(3e-3, 1.5))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle("a line a flight; crosses: lost", fontsize=9)
    save_figure(figure, RESULTS / "quadrotor_motor_loss.png")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Flights of each condition.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Two short flights of each, to see that it works.")] = False,
    watch: WATCH = False,
) -> None:
    """Break the craft amid every flight; writes results/quadrotor_motor_loss.csv and .png."""
    if watch:
        watch_one(run_one, (next(iter(EVENTS)), "online", 0, BEFORE, AFTER), "A quadrotor that loses a motor")
    seeds, before, after = (2, 200, 120) if quick else (seeds, BEFORE, AFTER)
    jobs = [(event, c, seed, before, after) for seed in range(seeds) for event in EVENTS for c in CONDITIONS]
    runs = in_parallel(run_one, jobs, "flying")
    draw(runs)
    rows = [figures_of(run) for run in runs]
    write_table("quadrotor_motor_loss", rows)
    heads = (
        "event",
        "pilot",
        "error before",
        "largest",
        "error late / before [95 %]",
        "under 1.5",
        "over 3 or lost",
        "s",
    )
    table = Table(*heads, caption="medians of flights [m]; late: the third quarter or so; s: until under 1.5, for good")
    for event, condition in dict.fromkeys((row["event"], row["condition"]) for row in rows):
        mine = [row for row in rows if (row["event"], row["condition"]) == (event, condition)]
        ratios = [row["ratio"] for row in mine]
        flying = [ratio for ratio in ratios if np.isfinite(ratio)]
        low, high = interval(flying) if flying else (0.0, 0.0)
        recovered = [row["recovered_after"] for row in mine if row["recovered_after"] is not None]
        table.add_row(
            event, condition, f"{np.median([row['error_before'] for row in mine]):.3f}",
            f"{np.median([row['largest'] for row in mine]):.3f}",
            f"{np.median(flying):.2f} [{low:.2f}, {high:.2f}]" if flying else "-",
            f"{sum(ratio < RECOVERED for ratio in ratios)}/{len(mine)}",
            f"{sum(ratio > LOST for ratio in ratios)}/{len(mine)}",
            f"{np.median(recovered):.1f}" if recovered else "-",
        )  # fmt: skip
    Console(width=130, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
