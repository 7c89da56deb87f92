"""A brain-computer interface whose neurons change: a third is lost, and what the rest prefers drifts.

Every decoder is calibrated in the same way: trials in which the user's intention moves the cursor, then ever more the
decoder. What the user intends is inferred from the task: to go straight to the target, slower when near (Gilja et al.
2012, Nat. Neurosci. 15:1752). Then a third of the units falls silent, the rest begins to drift, and nobody helps any
more. Decoders that learn go on learning from the inferred intention, one bin at a time.

Intentions hardly change within a trial, and whoever learnt at once what is intended now could follow these labels and
need no neurons. So each label comes as late as the longest trial takes: none comes before its own trial is over, and of
the next target, drawn at random, it tells nothing. What is left to chance, a decoder of neurons that say nothing shows.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any, NamedTuple

import gymnasium as gym
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from controllers import Decoder, RecursiveLeastSquares, ReFITDecoder
from demos.results import RESULTS, in_parallel, interval, write_table
from demos.watching import shown, watch_one
from envs import Cursor
from threefactor.arrays import Array
from threefactor.pictures import BLUE, GREEN, GREY, LIGHT, RED, new_figure, save_figure
from threefactor.terminal import WATCH

HELPED, CALIBRATION, BEFORE, AFTER = 40, 60, 60, 400  # trials; in the first 40 help fades
LOST, DRIFT, RADIUS = 1 / 3, 0.5, 0.12  # share of the units, [rad / sqrt(min)], of a target
LATE = LONGEST = 200  # bins of 20 ms that a label comes late, and that a trial takes at most
LEARNING_RATE = 0.02
BLOCK = 20  # trials that a point of the picture averages
SILENT = "e-prop, neurons say nothing"
CONDITIONS = (
    "e-prop, online", "e-prop, frozen copy", "e-prop, frozen hidden layer", "recursive least squares, online",
    "Kalman", "ReFIT Kalman", SILENT,
)  # fmt: skip
COLOURS = dict(zip(CONDITIONS, (BLUE, GREY, GREEN, RED, LIGHT, "black", "tab:purple"), strict=True))


class Bin(NamedTuple):
    """What a decoder can be fitted to afterwards, each (2,) but the counts."""

    counts: Array
    wanted: Array
    velocity: Array
    cursor: Array
    target: Array


class Smoothed:
    """Recursive least squares on counts that are averaged over some bins, as it has no dynamics of its own."""

    def __init__(self, n_units: int) -> None:
        self._decoder = RecursiveLeastSquares(n_units, 2)
        self._rows = deque([np.zeros(n_units)], LATE + 1)  # averages of the last bins, the newest last

    def step(self, counts: Array) -> Array:
        """Velocity (2,) of a bin."""
        self._rows.append(0.8 * self._rows[-1] + 0.2 * counts)
        velocity: Array = self._decoder.step(self._rows[-1])
        return velocity

    def learn(self, wanted: Array, late: int) -> None:
        """Learn what the bin of so many bins ago should have been decoded as."""
        self._decoder.step(self._rows[-1 - late])
        self._decoder.learn(wanted)


class User:
    """Someone with a decoder, trial after trial; the stream of bins, and that of labels, go on from one to the next."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env, self._labels = env, deque[Array]()

    def trial(self, decoder: Any, help_share: float = 0.0, kept: list[Bin] | None = None) -> bool:
        """One trial, hit or missed; it may keep its bins."""
        counts, info = self.env.reset()
        over = False
        while not over:
            wanted = self.env.get_wrapper_attr("aim")()
            velocity = decoder.step(counts) if decoder is not None else wanted
            if hasattr(decoder, "learn"):
                self._teach(decoder, wanted)
            action = np.clip(help_share * wanted + (1.0 - help_share) * velocity, -1.0, 1.0)
            if kept is not None:
                kept.append(Bin(counts, wanted, action, info["cursor"], info["target"]))
            counts, _, terminated, truncated, info = self.env.step(action)
            over = terminated or truncated
        return bool(info["hit"])

    def _teach(self, decoder: Any, wanted: Array) -> None:
        """Have the label of this bin come LATE bins from now, and the one come that is due."""
        self._labels.append(wanted)
        if len(self._labels) > LATE:
            decoder.learn(self._labels.popleft(), LATE)


def calibrated(condition: str, user: User, n_units: int, seed: int) -> Any:
    """Decoder after its calibration."""
    if "Kalman" in condition:
        kept = list[Bin]()
        for _ in range(HELPED):
            user.trial(None, 1.0, kept)
        filtered, bins = ReFITDecoder(), Bin(*map(np.array, zip(*kept, strict=True)))
        filtered.fit(bins.counts, bins.wanted)
        kept.clear()
        for _ in range(CALIBRATION):
            user.trial(filtered, kept=kept)
        if condition.startswith("ReFIT"):
            bins = Bin(*map(np.array, zip(*kept, strict=True)))
            filtered.refit(bins.counts, bins.velocity, bins.cursor, bins.target, RADIUS)
        return filtered
    decoder: Any = Smoothed(n_units)
    if condition.startswith("e-prop"):
        hidden = "hidden" in condition
        decoder = Decoder(n_units, seed=seed, most_late=LATE, learning_rate=LEARNING_RATE, freeze_hidden=hidden)
    for k in range(HELPED + CALIBRATION):
        user.trial(decoder, max(0.0, 1.0 - k / HELPED))
    return decoder


def run_one(job: tuple[str, int, float]) -> dict[str, Any]:
    """One user with one decoder; whether each trial was hit."""
    condition, seed, share = job
    env, rng = Cursor(radius=RADIUS, limit=LONGEST), np.random.default_rng(seed)
    env.reset(seed=seed)
    if condition == SILENT:
        env.change("depth", np.zeros(env.n_units))  # they fire as much, whatever is intended
    user = User(env)
    decoder = calibrated(condition, user, env.n_units, seed)
    user.env = shown(env, decoder)
    hits = [user.trial(decoder) for _ in range(round(share * BEFORE))]
    env.lose(rng.choice(env.n_units, round(LOST * env.n_units), replace=False))
    env.change("drift", DRIFT)
    if condition == "e-prop, frozen copy":
        decoder.learning = False
    after = [user.trial(decoder) for _ in range(round(share * AFTER))]
    return {"condition": condition, "seed": seed, "before": hits, "after": after}


def draw(runs: list[dict[str, Any]]) -> None:
    """Hit rate in blocks of trials, from before the loss on."""
    figure = new_figure(9, 4)
    axes = figure.add_subplot()
    for place, (condition, colour) in enumerate(COLOURS.items()):
        hits = np.array([run["before"] + run["after"] for run in runs if run["condition"] == condition], float)
        blocks = hits[:, : hits.shape[1] // BLOCK * BLOCK].reshape(len(hits), -1, BLOCK).mean(2)
        trials = (np.arange(blocks.shape[1]) + 0.5) * BLOCK - len(runs[0]["before"])
        width = max(5.0 - 1.5 * place, 1.2)  # so that lines that lie on each other are all seen
        axes.plot(trials, 100.0 * blocks.mean(0), color=colour, label=condition, linewidth=width)
        spread = np.array([interval(block) for block in 100.0 * blocks.T])
        axes.fill_between(trials, *spread.T, color=colour, alpha=0.15, linewidth=0)
    axes.axvline(0.0, color="black", linestyle=":", linewidth=1)
    axes.text(0.0, 103.0, " a third of the units lost, drift from here on", fontsize=9)
    axes.set(xlabel="trials since the loss", ylabel=f"hits [%], of {BLOCK} trials", ylim=(-3, 110))
    axes.set_title("line: mean of seeds; band: 95 % of the interquartile mean", fontsize=9)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save_figure(figure, RESULTS / "cursor_drift.png")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Users of each decoder.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Two users and few trials, to see that it works.")] = False,
    watch: WATCH = False,
) -> None:
    """Decode before and after the neurons change; writes results/cursor_drift.csv and results/cursor_drift.png."""
    if watch:
        watch_one(run_one, ("e-prop, online", 0, 1.0), "A brain-computer interface whose neurons change")
    seeds, share = (2, 0.1) if quick else (seeds, 1.0)
    jobs = [(condition, seed, share) for seed in range(seeds) for condition in CONDITIONS]
    runs = in_parallel(run_one, jobs, "decoding")
    draw(runs)
    rows = [
        {
            "condition": run["condition"], "seed": run["seed"], "hits_before": 100.0 * np.mean(run["before"]),
            "hits_last_quarter": 100.0 * np.mean(run["after"][-len(run["after"]) // 4 :]),
        }
        for run in runs
    ]  # fmt: skip
    write_table("cursor_drift", rows)
    table = Table("decoder", "before", "last quarter [95 % of IQM]", "kept", caption="hits [%], means of seeds")
    for condition in CONDITIONS:
        mine = [row for row in rows if row["condition"] == condition]
        before, after = (float(np.mean([row[name] for row in mine])) for name in ("hits_before", "hits_last_quarter"))
        low, high = interval([row["hits_last_quarter"] for row in mine])
        kept = f"{100.0 * after / before:.0f} %" if before >= 50.0 else "-"  # of nothing
        table.add_row(condition, f"{before:.0f}", f"{after:.0f} [{low:.0f}, {high:.0f}]", kept)
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
