"""What the two studies of control share: tasks, one run, the store that lets a study go on where it stopped, its table.

Every task is learnt by `controllers.ActorCritic` with its default settings; a task may add what its nature demands. The
peer is `controllers.StreamAC`. Tasks are those of `demos.control_tasks`.
A finished run is one line of results/control_runs.jsonl. It is found again by its task, seed, steps and settings and by
the version of the code, so that a study does only what is missing, both studies share their runs, and an edit of agent
or engine (of its code, not of comments or docstrings) starts anew. The file may be deleted at any time.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from controllers import ActorCritic, ActorCriticSettings, Loop, StreamAC, solved
from demos.control_tasks import OTHERS, TABLE, TASKS, Task
from demos.control_wrappers import Differences
from demos.results import RESULTS, interval, write_table
from threefactor.pictures import running_mean

PEER = {"agent": "StreamAC"}  # settings of a condition that is no spiking agent
STORE = RESULTS / "control_runs.jsonl"
QUICK_OTHERS = ("CliffWalking-v1",)
QUICK_TASKS, QUICK_STEPS, QUICK_SEEDS = ("CartPole-v1", "MountainCarContinuous-v0"), 3000, 2
CURVE = 300  # points kept of a learning curve
NOT_THE_AGENT = {
    "cli", "pictures", "probes", "recordings", "runs", "terminal", "verify", "watched", "bptt", "cloning",
    "cloner_settings", "decoder", "decoders", "frozen", "geometric", "kalman", "limits", "lqr", "pid", "population",
    "population_settings", "regulator", "supervisor", "td3", "vector", "arm", "arm_dynamics", "changes", "cursor",
    "cursor_dynamics", "generator", "quadrotor", "quadrotor_dynamics", "wrappers", "__init__",
}  # fmt: skip
KEY = ("task", "seed", "steps", "threshold", "window", "settings", "version")
COLUMNS = (
    "task", "condition", "seed", "steps", "solved_at", "solved_from", "mean_last_window", "mean_at_twice",
    "stays_solved", "final_mean", "microseconds_per_step", "firing_rate",
)  # fmt: skip
Row = dict[str, Any]
STDERR = Console(stderr=True)


class Job(NamedTuple):
    """One run to do."""

    task: str
    condition: str
    seed: int
    steps: int
    settings: dict[str, Any]


# --- one run --------------------------------------------------------------------------------------------------------


def train(job: Job) -> Row:
    """Train one agent to its budget, and if it solves the task to twice the step of solving; the row to be stored."""
    task = TASKS[job.task]
    env = task.make()
    agent: ActorCritic | StreamAC
    if job.settings == PEER:
        # it has no memory, but sees as much
        env = Differences(env) if task.settings.get("differences") else env
        agent = StreamAC.for_env(env, seed=job.seed)
    else:
        agent = ActorCritic.for_env(env, seed=job.seed, **job.settings)
    loop, limit, solved_at = Loop(agent, env, job.seed), job.steps, None
    ends, returns = list[int](), list[float]()

    def goes_on() -> bool:
        return loop.steps < limit

    for episode in loop.run(2 * job.steps, goes_on):
        ends.append(episode.end)
        returns.append(episode.episode_return)
        if solved_at is None:
            solved_at, _ = solved(ends[-task.window :], returns[-task.window :], task.threshold, task.window)
            limit = max(limit, 2 * (solved_at or 0))
        if episode.end >= limit:
            break
    env.close()
    spikes = round(agent.firing_rate, 4) if isinstance(agent, ActorCritic) else None
    return {
        **identity(job), **score(task, job.steps, ends, returns), "curve": thin(ends, returns, task.window),
        "microseconds_per_step": round(loop.microseconds_per_step, 1), "firing_rate": spikes,
    }  # fmt: skip


def score(task: Task, steps: int, ends: Sequence[int], returns: Sequence[float]) -> Row:
    """When a run solved its task, and its mean returns over a window: at the budget, at twice that step, at the end."""

    def mean_at(step: int) -> float | None:
        done = int(np.searchsorted(ends, step, "right"))
        return round(float(np.mean(returns[max(done - task.window, 0) : done])), 3) if done else None

    solved_at, solved_from = solved(ends, returns, task.threshold, task.window)
    twice = mean_at(2 * solved_at) if solved_at is not None else None
    stays = None if twice is None or task.threshold is None else twice >= task.threshold
    return {
        "solved_at": solved_at, "solved_from": solved_from, "mean_last_window": mean_at(steps),
        "mean_at_twice": twice, "stays_solved": stays, "final_mean": mean_at(2 * steps),
    }  # fmt: skip


def thin(ends: Sequence[int], returns: Sequence[float], window: int) -> list[list[float]]:
    """Running mean of the returns at up to `CURVE` of the episodes' ends."""
    places = np.unique(np.linspace(0, max(len(ends) - 1, 0), CURVE).round().astype(int))[: len(ends)]
    means = running_mean(returns, window)
    return [[int(ends[i]) for i in places], [round(float(means[i]), 3) for i in places]]


# --- the store ------------------------------------------------------------------------------------------------------


def code_version() -> str:
    """Hash of the default settings and of the code of engine, agent and worlds; docstrings do not count."""
    digest = hashlib.sha256(msgspec.json.encode(ActorCriticSettings()) + gym.__version__.encode())
    for folder in ("threefactor", "controllers", "envs"):
        for file in sorted((Path(__file__).parent.parent / folder).glob("*.py")):
            if file.stem not in NOT_THE_AGENT:
                tree = ast.parse(file.read_bytes())
                for node in ast.walk(tree):
                    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                        node.value.value = ""
                digest.update(f"{folder}/{file.name}{ast.dump(tree)}".encode())
    return digest.hexdigest()[:16]


VERSION = code_version()  # of what was just imported; the files may change while a study runs


def identity(job: Job) -> Row:
    """What a stored run is found by."""
    task = TASKS[job.task]
    found = (job.task, job.seed, job.steps, task.threshold, task.window, job.settings, VERSION)
    return dict(zip(KEY, found, strict=True))


def key_of(row: Mapping[str, Any]) -> str:
    """The same as one string."""
    return json.dumps([row[name] for name in KEY], sort_keys=True)


def load_runs(store: Path) -> dict[str, Row]:
    """Stored runs by their keys; a line that an interruption broke is passed over."""
    found = {}
    for line in store.read_text().split("\n") if store.exists() else ():
        with contextlib.suppress(ValueError, KeyError):
            row = json.loads(line)
            found[key_of(row)] = row
    return found


def append_run(store: Path, row: Row) -> None:
    """Add a run; the line break before it ends a broken line, if there is one."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.open("a") as file:
        file.write(f"\n{json.dumps(row)}\n")


def run_all(jobs: Sequence[Job], store: Path) -> list[Row]:
    """Rows of the jobs, those that are not in the store run on all cores; a run that fails is reported and left out."""
    known = load_runs(store)
    missing = {key_of(identity(job)): job for job in jobs if key_of(identity(job)) not in known}
    STDERR.print(f"{len(jobs)} runs, {len(missing)} to do")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(train, job): key for key, job in missing.items()}
        try:
            for future in track(as_completed(futures), "training", len(futures), console=STDERR):
                if error := future.exception():
                    STDERR.print(f"failed: {missing[futures[future]]}: {error!r}", style="red", markup=False)
                    continue
                known[futures[future]] = future.result()
                append_run(store, future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [{"condition": job.condition, **known[key]} for job in jobs if (key := key_of(identity(job))) in known]


# --- a study --------------------------------------------------------------------------------------------------------


def choose(text: str | None, known: Mapping[str, Any], what: str) -> list[str]:
    """Names in a comma-separated option, all if it is not given."""
    names = list(known) if text is None else [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name not in known]:
        raise typer.BadParameter(f"there is no {what} {wrong[0]!r}; known are: {', '.join(known)}.")
    return names


def choose_tasks(text: str | None, quick: bool, others: bool = False) -> list[str]:
    """Tasks to run: those named, else all of the table, or all others, whose packages are installed."""
    every, few = (OTHERS, QUICK_OTHERS) if others else (TABLE, QUICK_TASKS)
    names = choose(text, TASKS, "task") if text is not None else list(few if quick else every)
    absent = [name for name in names if (module := TASKS[name].needs) and not importlib.util.find_spec(module)]
    if absent and text is not None:
        raise typer.BadParameter(f'{absent[0]} needs what is not installed: pip install "threefactor[control]"')
    if absent:
        STDERR.print(f'left out: {", ".join(absent)}; pip install "threefactor[control]" brings them', markup=False)
    return [name for name in names if name not in absent]


def settings_of(task: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a condition sets in a task; the peer knows nothing of what the task adds to the spiking agent."""
    return dict(settings) if settings == PEER else {**TASKS[task].settings, **settings}


def study(
    name: str, conditions: Mapping[str, Mapping[str, Any]], tasks: list[str], seeds: int, quick: bool,
    draw: Callable[[list[Row]], None],
) -> None:  # fmt: skip
    """Run tasks by conditions by seeds; writes results/NAME.csv, draws, and prints the table."""
    most, seeds = (QUICK_STEPS, QUICK_SEEDS) if quick else (10**9, seeds)
    jobs = [
        Job(task, condition, seed, min(TASKS[task].budget, most), settings_of(task, settings))
        for seed in range(seeds) for task in tasks for condition, settings in conditions.items()
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        rows = run_all(jobs, Path(folder) / STORE.name if quick else STORE)
    if rows:
        rows.sort(key=lambda row: (tasks.index(row["task"]), list(conditions).index(row["condition"]), row["seed"]))
        write_table(name, [{column: row[column] for column in COLUMNS} for row in rows])
        draw(rows)
        print_table(rows)
    if len(rows) < len(jobs):
        raise typer.Exit(1)


def of(rows: Iterable[Row], task: str, condition: str) -> list[Row]:
    """The rows of one cell of the study."""
    return [row for row in rows if (row["task"], row["condition"]) == (task, condition)]


def values(rows: Iterable[Row], column: str) -> list[float]:
    """What a column holds, without the gaps."""
    return [row[column] for row in rows if row[column] is not None]


def print_table(rows: list[Row]) -> None:
    """Print one line for each task and condition."""
    heads = (
        "task", "condition", "solved", "solved from [95 % of IQM]", "solved at", "stays solved", "final [95 % of IQM]",
    )  # fmt: skip
    table = Table(*heads, caption="medians over seeds; IQM: interquartile mean")
    for task, condition in dict.fromkeys((row["task"], row["condition"]) for row in rows):
        mine = of(rows, task, condition)
        begun, at, final = (values(mine, column) for column in ("solved_from", "solved_at", "final_mean"))
        low, high = interval(begun) if begun else (0.0, 0.0)
        table.add_row(
            task, condition, f"{len(begun)}/{len(mine)}" if TASKS[task].threshold is not None else "-",
            f"{np.median(begun):.0f} [{low:.0f}, {high:.0f}]" if begun else "-", f"{np.median(at):.0f}" if at else "-",
            f"{sum(values(mine, 'stays_solved')):.0f}/{len(begun)}" if begun else "-",
            f"{np.median(final):.4g} [{', '.join(f'{end:.4g}' for end in interval(final))}]" if final else "-",
        )  # fmt: skip
    Console(width=max(Console().width, 140), markup=False).print(table)
