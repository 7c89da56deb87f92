"""What a learning tick costs against the number of neurons, here and in other systems: draws `threefactor bench`.

The dashed line is memory traffic alone: reading and writing the weight and the trace of every synapse, as a dense rule
must, in the same run. Below it a rule does not visit every synapse.

The table has the actor-critic's step, too, and that of the world that it takes turns with, CartPole-v1; and what a
network's tick costs alone and as one of 16 abreast (`Networks`).
"""

from __future__ import annotations

import gc
import importlib.metadata
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer

from controllers import ActorCritic
from demos.results import RESULTS, write_table
from threefactor import Network, Networks
from threefactor.bench import QUICK, TICKS, WARM, BenchError, rows, summarise
from threefactor.pictures import BLUE, GREEN, GREY, LIGHT, RED, new_figure, save_figure

FIELDS = (
    "system", "version", "neurons", "inputs", "recurrent", "synapses", "ticks", "median_us", "p99_us", "spiking",
    "state_bytes", "cores", "ratio", "gb_per_s",
)  # fmt: skip
ABREAST, SEEDS = ((4, 16), (16, 16), (4, 32), (16, 32), (32, 64), (64, 128)), 16  # inputs and neurons, seeds abreast
LOOKS = {  # label, colour, line and marker
    "threefactor": ("threefactor, step + learn", BLUE, "o-"), "threefactor_fused": ("learn_and_step", LIGHT, "o-"),
    "dense_floor": ("weights and traces, memory alone", "black", "--"), "numpy": ("NumPy", GREY, "s-"),
    "jax": ("JAX", GREEN, "s-"), "torch": ("PyTorch, compiled", RED, "s-"),
    "torch_eager": ("PyTorch, eager", RED, "s:"), "braintrace": ("BrainTrace e-prop", "#8a6d1f", "^-"),
    "braintrace_es_d_rtrl": ("BrainTrace ES-D-RTRL", "#8a6d1f", "^:"),
    "snntorch": ("snnTorch, BPTT over 100 ticks", "#6b4c8a", "v-"), "nest": ("NEST", "#2f8f8f", "D-"),
}  # fmt: skip


def draw(measured: Sequence[dict[str, Any]]) -> None:
    """Median cost of a tick against neurons, a line for each system; without recurrence the marker is hollow."""
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    for system, (label, colour, style) in LOOKS.items():
        mine = [row for row in measured if row["system"] == system]
        if mine:
            sizes, costs = ([row[key] for row in mine] for key in ("neurons", "median_us"))
            axes.loglog(sizes, costs, style, color=colour, label=label, markersize=5)
        feedforward = [row for row in mine if not row["recurrent"]]
        sizes, costs = ([row[key] for row in feedforward] for key in ("neurons", "median_us"))
        axes.loglog(sizes, costs, "o", color=colour, markerfacecolor="white", zorder=3)
    sizes = sorted({row["neurons"] for row in measured})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="hidden neurons", ylabel="one online learning tick, median [microseconds]")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, RESULTS / "speed.png")


def step_rows(steps: int) -> Iterator[dict[str, Any]]:
    """What `ActorCritic.step` and the world's `step` take by turns, learning on, garbage collection off."""
    env = gym.make("CartPole-v1")
    agent = ActorCritic.for_env(env, seed=0)
    spent = np.zeros((2, steps))
    observation, _ = env.reset(seed=0)
    action = agent.begin(observation)
    gc.collect()
    gc.disable()
    for step in range(-WARM, steps):
        start = time.perf_counter_ns()
        observation, reward, terminated, truncated, _ = env.step(action)
        between = time.perf_counter_ns()
        action = agent.step(observation, float(reward), terminated, truncated)
        if step >= 0:
            spent[:, step] = time.perf_counter_ns() - between, between - start
        if terminated or truncated:
            observation, _ = env.reset()
            action = agent.begin(observation)
    gc.enable()
    for system, package, each in zip(("actor_critic", "cartpole"), ("threefactor", "gymnasium"), spent, strict=True):
        median, p99 = summarise(each)
        yield {
            "system": system, "version": importlib.metadata.version(package), "ticks": steps,
            "median_us": round(median, 3), "p99_us": round(p99, 3),
        }  # fmt: skip


def abreast_rows(ticks: int) -> Iterator[dict[str, Any]]:
    """What a tick of a network costs alone and as one of 16 seeds abreast, by turns; half of the inputs are active."""
    for inputs, neurons in ABREAST:
        alone, *others = (
            Network(inputs, neurons, 2, recurrent=False, learning_rate=1e-3, seed=seed) for seed in range(SEEDS)
        )
        rng, together, spent = np.random.default_rng(0), Networks([alone, *others]), np.zeros((2, ticks))
        xs = (rng.random((WARM + ticks, SEEDS, inputs)) < 0.5).astype(np.float32)
        errors = rng.normal(size=(SEEDS, 2)).astype(np.float32)
        x, error = xs[:, 0].copy(), errors[0].copy()
        alone.step(x[0])
        together.step(xs[0])
        gc.collect()
        gc.disable()
        for t in range(-WARM, ticks):
            start = time.perf_counter_ns()
            alone.learn_and_step(error, x[t])
            between = time.perf_counter_ns()
            together.learn_and_step(errors, xs[t])
            if t >= 0:
                spent[:, t] = between - start, (time.perf_counter_ns() - between) / SEEDS
        gc.enable()
        base = float(np.median(spent[1]))
        for system, each in zip(("alone", "abreast"), spent, strict=True):
            median, p99 = summarise(each)
            yield {
                "system": system, "version": importlib.metadata.version("threefactor"), "neurons": neurons,
                "inputs": inputs, "ticks": ticks, "median_us": round(median, 3), "p99_us": round(p99, 3),
                "spiking": round(float(together.spikes().mean()), 3), "ratio": round(1e3 * median / base, 2),
            }  # fmt: skip


def main(
    peers: Annotated[bool, typer.Option("--peers", help="Measure other systems too; see the extra `peers`.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few ticks, to see that it works.")] = False,
    ticks: Annotated[int, typer.Option(min=100, help="Ticks at 100 neurons; fewer above.")] = TICKS[100],
) -> None:
    """Measure; writes results/speed.csv and results/speed.png."""
    sizes = QUICK if quick else {n: max(100, count * ticks // TICKS[100]) for n, count in TICKS.items()}
    measured = []
    try:
        for row in rows(peers, sizes):
            print(row)
            measured.append(row)
    except BenchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    steps = [*step_rows(max(sizes.values())), *abreast_rows(max(sizes.values()))]
    print(*steps, sep="\n")
    write_table("speed", [{key: row.get(key, "") for key in FIELDS} for row in measured + steps])
    draw(measured)


if __name__ == "__main__":
    typer.run(main)
