"""What a step of the compiled worlds costs, one at a time and many at once, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

from demos.results import RESULTS, write_table
from envs import Arm, CartPole, Cursor, Quadrotor
from envs.compiled import CompiledEnv
from threefactor.pictures import BLUE, RED, new_figure, save_figure

WORLDS: dict[str, Callable[[], CompiledEnv]] = {
    "CartPole": CartPole, "Quadrotor": Quadrotor, "Arm, torques": Arm, "Arm, muscles": lambda: Arm("muscle"),
    "Cursor": Cursor,
}  # fmt: skip
TOGETHER = 256


def one_at_a_time(env: CompiledEnv, steps: int) -> float:
    """Microseconds of a call of `step`, resets left out."""
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(64)]
    env.reset(seed=0)
    spent = 0
    for k in range(steps):
        start = time.perf_counter_ns()
        _, _, terminated, truncated, _ = env.step(actions[k % 64])
        spent += time.perf_counter_ns() - start
        if terminated or truncated:
            env.reset()
    return 1e-3 * spent / steps


def together(env: CompiledEnv, rounds: int) -> float:
    """Steps a second of many copies in one call, none of which is begun anew."""
    env.reset(seed=0)
    worlds, rng = np.tile(env.world, (TOGETHER, 1)), np.random.default_rng(0)
    commands = rng.uniform(0.0, 1.0, (TOGETHER, env.command.size)).round() if isinstance(env, CartPole) else (
        rng.uniform(0.4, 0.6, (TOGETHER, env.command.size))
    )  # fmt: skip
    space = env.observation_space
    assert space.shape is not None
    seen, rewards = np.zeros((TOGETHER, *space.shape)), np.zeros(TOGETHER)
    ends = np.zeros((TOGETHER, 2), np.bool_)
    start = time.perf_counter_ns()
    for _ in range(rounds):
        env.step_all(worlds, commands, seen, rewards, ends)
    return 1e9 * rounds * TOGETHER / (time.perf_counter_ns() - start)


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each; best and median are told.")] = 15,
    quick: Annotated[bool, typer.Option("--quick", help="One short measurement, to see that it works.")] = False,
) -> None:
    """Measure in turns; writes results/worlds.csv and results/worlds.png."""
    repeats, steps, rounds = (1, 200, 2) if quick else (repeats, 10_000, 100)
    made = {name: make() for name, make in WORLDS.items()}
    single = {name: list[float]() for name in made}
    many = {name: list[float]() for name in made}
    for _ in range(repeats + 1):
        for name, env in made.items():
            single[name].append(one_at_a_time(env, steps))
            many[name].append(together(env, rounds))
    rows = [
        {
            "world": name, "step_us_best": min(single[name][1:]), "step_us_median": float(np.median(single[name][1:])),
            "steps_per_second_best": max(many[name][1:]),
            "steps_per_second_median": float(np.median(many[name][1:])),
        }
        for name in made
    ]  # fmt: skip
    write_table("worlds", rows)
    figure = new_figure(9, 3.2)
    for axes, values, colour, label in zip(
        figure.subplots(1, 2),
        (single, many),
        (BLUE, RED),
        ("one step [us]", "steps a second, many at once"),
        strict=True,
    ):
        for place, name in enumerate(made):
            axes.plot(values[name][1:], np.full(repeats, place), ".", color=colour)
        axes.set(xlabel=label, yticks=range(len(made)), yticklabels=list(made))
        if values is many:
            axes.set_xscale("log")
        else:
            axes.set_xlim(left=0.0)
        axes.invert_yaxis()
    save_figure(figure, RESULTS / "worlds.png")
    for row in rows:
        print(" ".join(f"{name} {value if name == 'world' else f'{value:.4g}'}" for name, value in row.items()))


if __name__ == "__main__":
    typer.run(main)
