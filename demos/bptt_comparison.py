"""The online rule beside backpropagation through time on the same networks: what it costs and what it saves.

Evidence accumulation and pattern generation (Bellec et al. 2020), learnt from the same initial weights by e-prop, one
update a trial; by e-prop with one update a tick; by BPTT over the whole trial or cut into windows; and by the readout
alone, with the hidden layer frozen. The learning rate falls linearly to nothing. Batch 1 throughout, the trials of
evidence accumulation all new, accuracies on 400 further trials with learning off; there BPTT gets two fifths of the
trials. Then one network of 100 inputs, 100 neurons and two readouts, plain descent, over sequences of 10^2 to 10^5
ticks: bytes held, microseconds a tick with all learning, and the time from an error to the changed weight.
"""

from __future__ import annotations

import gc
import time
from typing import Annotated, Any

import numpy as np
import typer

from controllers import BPTT
from demos.results import RESULTS, in_parallel, interquartile_mean, interval, write_table
from demos.tasks import learner_of, run_trial, world_of
from threefactor import Network
from threefactor import layout as at
from threefactor.pictures import BLUE, GREY, LIGHT, RED, new_figure, running_mean, save_figure

METHODS = {
    "evidence": ("online", "BPTT", "frozen"),
    "pattern": ("online, each tick", "online", "BPTT", "BPTT, window 100", "frozen"),
}
COLOURS = {"online, each tick": "#4f9d69", "online": BLUE, "BPTT": RED, "BPTT, window 100": LIGHT, "frozen": GREY}
LENGTHS = (100, 1000, 10_000, 100_000)


def study(job: tuple[str, str, int, int, int]) -> dict[str, Any]:
    """Teach one network one task."""
    task, method, seed, trials, fresh = job
    learner, world, rng = learner_of(method, task, seed), world_of(task, seed), np.random.default_rng([seed, 2])
    found, seconds, spent = [], [], 0.0
    if (task, method) == ("evidence", "BPTT"):
        trials = max(trials * 2 // 5, 1)  # it needs fewer
    network = learner.network if isinstance(learner, BPTT) else learner
    rate = network.learning_rate
    for k in range(trials):
        network.learning_rate = rate * max(1.0 - k / trials, 0.02)
        sequence = world.draw(rng)
        start = time.process_time()
        found.append(run_trial(learner, sequence))
        spent += time.process_time() - start
        seconds.append(spent)
    tests = [run_trial(learner, world.draw(rng), learn=False) for _ in range(fresh if task == "evidence" else 1)]
    return {
        "task": task, "method": method, "seed": seed, "trials": trials,
        "error": round(float(np.mean([t.error for t in tests])), 4),
        "correct": round(float(np.mean([t.correct for t in tests])), 4), "seconds": round(spent, 1),
        "spiking": round(float(np.mean([t.spiking for t in tests])), 4),
        "curve": ([t.error for t in found], [t.correct for t in found], seconds),
    }  # fmt: skip


def cost(method: str, ticks: int) -> dict[str, Any]:
    """Bytes, time a tick and latency of one sequence."""
    inputs = (np.random.default_rng(0).random((1000, 100)) < 0.05).astype(np.float32)
    error = np.full(2, 0.1, np.float32)
    learners = []
    for _ in range(2):  # the first one warms up
        network = Network(100, 100, 2, learning_rate=1e-5, w_in_scale=2.5)
        learners.append(BPTT(network) if method == "BPTT" else network)
    for k in range(100):
        learners[0].step(inputs[k])
        learners[0].learn(error)
    learners[0].update()
    learner = learners[1]
    gc.collect()
    start = time.perf_counter()
    for k in range(ticks):
        learner.step(inputs[k % 1000])
        learner.learn(error)
    latency, held = [], network.state.nbytes + network.table.nbytes
    if isinstance(learner, BPTT):
        held += learner.nbytes - int(network.table[at.TAGS] - network.table[at.TRACES]) * network.state.itemsize
        begin = time.perf_counter()
        learner.update()
        latency.append(time.perf_counter() - begin)
    spent = time.perf_counter() - start
    for k in range(500 if method == "online" else 0):
        learner.step(inputs[k])
        begin = time.perf_counter()
        learner.learn(error)
        _ = network.w_in  # a change that waits is carried out by this look at the latest
        latency.append(time.perf_counter() - begin)
    return {
        "method": method, "ticks": ticks, "bytes": held, "microseconds_a_tick": round(spent / ticks * 1e6, 2),
        "error_to_weight_ms": round(float(np.median(latency)) * 1e3, 4),
        "mean_ticks_waited": 0 if method == "online" else (ticks - 1) / 2,
    }  # fmt: skip


def crossing(costs: list[dict[str, Any]]) -> float:
    """Sequence length at which BPTT holds more bytes than the online rule, which holds the same at any length."""
    online = next(row["bytes"] for row in costs if row["method"] == "online")
    ticks, held = np.transpose([(row["ticks"], row["bytes"]) for row in costs if row["method"] == "BPTT"])
    return float(np.exp(np.interp(np.log(online), np.log(held), np.log(ticks))))


def draw(rows: list[dict[str, Any]], costs: list[dict[str, Any]]) -> None:
    """Error over updates and over time for both tasks; bytes, time a tick and latency over length."""
    figure = new_figure(13, 7)
    grid = figure.subplots(2, 3)
    for row, task in enumerate(METHODS):
        for method in METHODS[task]:
            mine = [r for r in rows if r["task"] == task and r["method"] == method]
            curves = np.array([running_mean(r["curve"][0], 50 if task == "evidence" else 5) for r in mine])
            seconds = np.median([r["curve"][2] for r in mine], 0)
            for axes, x in ((grid[row, 0], np.arange(1, len(seconds) + 1)), (grid[row, 1], seconds)):
                axes.plot(x, np.median(curves, 0), color=COLOURS[method], label=method)
                axes.fill_between(x, curves.min(0), curves.max(0), color=COLOURS[method], alpha=0.15, linewidth=0)
        name = "cross entropy" if task == "evidence" else "normalised squared error"
        grid[row, 0].set(xlabel="trials", ylabel=name, yscale="log", title=f"{task}: line median, band range of seeds")
        grid[row, 1].set(xlabel="processor seconds", yscale="log")
        grid[row, 0].legend(frameon=False, fontsize=8)
        grid[row, 0].title.set_fontsize(9)
    for method in ("online", "BPTT"):
        mine = [c for c in costs if c["method"] == method]
        ticks = [c["ticks"] for c in mine]
        grid[0, 2].loglog(ticks, [c["bytes"] for c in mine], "o-", color=COLOURS[method], label=method)
        grid[1, 2].loglog(ticks, [c["microseconds_a_tick"] for c in mine], "o-", color=COLOURS[method],
                          label=f"{method}: a tick, all learning included")  # fmt: skip
        grid[1, 2].loglog(ticks, [c["error_to_weight_ms"] * 1e3 for c in mine], "s--", color=COLOURS[method],
                          label=f"{method}: last error to changed weight")  # fmt: skip
    grid[0, 2].axvline(crossing(costs), color="black", linestyle=":", linewidth=1)
    grid[0, 2].set(xlabel="ticks of the sequence", ylabel="bytes held")
    grid[1, 2].set(xlabel="ticks of the sequence", ylabel="microseconds")
    grid[0, 2].legend(frameon=False)
    grid[1, 2].legend(frameon=False, fontsize=7)
    save_figure(figure, RESULTS / "bptt_comparison.png")


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Networks of each method.")] = 5,
    evidence_trials: Annotated[int, typer.Option(min=1, help="Trials of evidence accumulation.")] = 5000,
    pattern_trials: Annotated[int, typer.Option(min=1, help="Trials of pattern generation.")] = 400,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds, few trials, to see that it works.")] = False,
) -> None:
    """Run; writes results/bptt_comparison.csv, results/bptt_cost.csv and results/bptt_comparison.png."""
    trials = {"evidence": 2, "pattern": 3} if quick else {"evidence": evidence_trials, "pattern": pattern_trials}
    seeds, fresh, lengths = (2, 2, LENGTHS[:2]) if quick else (seeds, 400, LENGTHS)
    costs = [cost(method, ticks) for ticks in lengths for method in ("online", "BPTT")]
    jobs = [(task, method, seed, trials[task], fresh) for seed in range(seeds) for task in METHODS
            for method in METHODS[task]]  # fmt: skip
    rows = in_parallel(study, jobs, "training")
    write_table("bptt_comparison", [{k: v for k, v in row.items() if k != "curve"} for row in rows])
    write_table("bptt_cost", costs)
    draw(rows, costs)
    for task, methods in METHODS.items():
        for method in methods:
            mine = [r for r in rows if r["task"] == task and r["method"] == method]
            errors, correct = [r["error"] for r in mine], [r["correct"] for r in mine]
            low, high = interval(errors)
            print(
                f"{task}, {method}: error {interquartile_mean(errors):.4f} [{low:.4f}, {high:.4f}], correct {correct}"
            )
    for row in costs:
        print(row)
    print(f"BPTT holds more bytes from {crossing(costs):.0f} ticks on")


if __name__ == "__main__":
    typer.run(main)
