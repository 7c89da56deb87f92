"""The world changes at a known step: who goes on learning, and who cannot.

A cart and pole change amid a run: the pole gets three times as long, gravity three times as strong, or the drive works
the other way round. The online learner is compared with its own copy that stopped learning at that step, with an agent
that learns the changed world from new, with an LQR that was computed for the old world, and with a policy trained by
backpropagation through time, episode by episode: frozen at the change, or trained on.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from controllers import BPTT, LQR, ActorCritic, Frozen, Loop, solved
from demos.results import RESULTS, in_parallel, interval, write_table
from demos.watching import shown, watch_one
from envs import CartPole
from threefactor import Network
from threefactor.pictures import BLUE, GREEN, GREY, RED, new_figure, running_mean, save_figure
from threefactor.terminal import WATCH

THRESHOLD, WINDOW = 475.0, 100
CHANGES: dict[str, dict[str, float]] = {
    "pole three times as long": {"length": 1.5},
    "gravity three times as strong": {"gravity": 29.4},
    "drive reversed": {"force": -10.0},
}
CONDITIONS = ("online", "frozen copy", "from new", "LQR of the old world", "BPTT in blocks", "BPTT frozen")
COLOURS = dict(zip(CONDITIONS, (BLUE, GREY, GREEN, "black", RED, RED), strict=True))


class BlockTrained:
    """Policy gradient by backpropagation through time: one update an episode, from all of its ticks.

    REINFORCE (Williams 1992, Mach. Learn. 8:229) with returns standardised by their running mean and deviation.
    """

    def __init__(self, seed: int) -> None:
        network = Network(
            4, 64, 2, bias=True, tau_m=1.44, tau_out=1.1, readout="softmax", optimiser="adam", learning_rate=0.005,
            w_in_scale=2.0, w_out_scale=0.1, surrogate="fast_sigmoid", slope=5.0, seed=seed,
        )  # fmt: skip
        self.teacher, self.learning = BPTT(network), True
        self._rng, self._rewards = np.random.default_rng(seed), list[float]()
        self._mean, self._square = 0.0, 1.0

    def begin(self, observation: Any) -> int:
        """First action of an episode."""
        self.teacher.reset()
        self._rewards.clear()
        return self._choose(observation)

    def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> int:
        """Next action; at the end of an episode learn from all of it."""
        self._rewards.append(reward)
        if not (terminated or truncated):
            return self._choose(observation)
        if self.learning:
            self._update()
        return 0

    def _choose(self, observation: Any) -> int:
        p = self.teacher.step(np.asarray(observation) * (1.0, 1.0, 10.0, 1.0)).astype(float)
        chosen = int(self._rng.random() * p.sum() > p[0])
        self.teacher.learn(p - (np.arange(2) == chosen))
        return chosen

    def _update(self) -> None:
        togo, total = np.zeros(len(self._rewards)), 0.0
        for t in range(len(togo) - 1, -1, -1):
            total = togo[t] = self._rewards[t] + 0.99 * total
        self._mean += 0.1 * (togo.mean() - self._mean)
        self._square += 0.1 * (((togo - self._mean) ** 2).mean() - self._square)
        self.teacher.update((togo - self._mean) / np.sqrt(self._square) / len(togo))


def agent_of(condition: str, seed: int, env: CartPole) -> Any:
    """Who acts before the change."""
    if condition.startswith("LQR"):
        return LQR.for_cart_pole(env)
    return BlockTrained(seed) if condition.startswith("BPTT") else ActorCritic.for_env(env, seed=seed)


def run_one(job: tuple[str, str, int, int, int]) -> dict[str, Any]:
    """One run; its row of the table, and its episodes under "curve", in steps since the change."""
    change, condition, seed, before, after = job
    env = CartPole()
    agent = agent_of(condition, seed, env)
    learns_anew = condition == "from new"
    loop = Loop(agent, shown(env, agent), seed)
    if not learns_anew:
        old = list(loop.run(before))
    for name, value in CHANGES[change].items():
        env.change(name, value)
    if condition == "frozen copy":
        loop.agent = Frozen(agent)
    if condition == "BPTT frozen":
        agent.learning = False
    start = loop.steps
    episodes = list(loop.run(start + after))
    ends, returns = [e.end - start for e in episodes], [e.episode_return for e in episodes]
    _, solved_from = solved(ends, returns, THRESHOLD, WINDOW)
    return {
        "change": change, "condition": condition, "seed": seed,
        "mean_before": None if learns_anew else float(np.mean([e.episode_return for e in old[-20:]])),
        "mean_of_first_20": float(np.mean(returns[:20])), "mean_of_last_20": float(np.mean(returns[-20:])),
        "solved_from": solved_from, "curve": (ends, returns),
    }  # fmt: skip


def draw(rows: list[dict[str, Any]], after: int) -> None:
    """Return since the change, one panel a change: median of seeds with quartiles."""
    figure = new_figure(11, 3.8)
    for axes, change in zip(figure.subplots(1, len(CHANGES), sharey=True), CHANGES, strict=True):
        for condition, colour in COLOURS.items():
            mine = [row for row in rows if (row["change"], row["condition"]) == (change, condition)]
            grid = np.linspace(0, after, 400)
            curves = np.array([np.interp(grid, r["curve"][0], running_mean(r["curve"][1], 5)) for r in mine])
            dashed = "--" if condition in ("BPTT frozen", "LQR of the old world") else "-"
            axes.plot(grid, np.median(curves, 0), dashed, color=colour, label=condition)
            axes.fill_between(grid, *np.percentile(curves, (25, 75), axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(THRESHOLD, color="black", linestyle=":", linewidth=1)
        axes.set(xlabel="steps since the change")
        axes.set_title(change, fontsize=10)
    figure.axes[0].set_ylabel("return (mean of 5 episodes)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    save_figure(figure, RESULTS / "change_point.png")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each condition.")] = 10,
    before: Annotated[int, typer.Option(min=1000, help="Steps until the change.")] = 40_000,
    after: Annotated[int, typer.Option(min=1000, help="Steps after it.")] = 100_000,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds and few steps, to see that it works.")] = False,
    watch: WATCH = False,
) -> None:
    """Change the world amid every run; writes results/change_point.csv and results/change_point.png."""
    if watch:
        watch_one(run_one, ("drive reversed", "online", 0, before, after), "CartPole whose drive is reversed")
    seeds, before, after = (2, 2_000, 2_000) if quick else (seeds, before, after)
    jobs = [(change, c, seed, before, after) for seed in range(seeds) for change in CHANGES for c in CONDITIONS]
    rows = in_parallel(run_one, jobs, "training")
    draw(rows, after)
    write_table("change_point", [{name: value for name, value in row.items() if name != "curve"} for row in rows])
    heads = ("change", "condition", "before", "first 20 episodes", "last 20", "solved", "solved from [95 % of IQM]")
    table = Table(*heads, caption="medians of seeds; solved from: steps since the change; IQM: interquartile mean")
    for change, condition in dict.fromkeys((row["change"], row["condition"]) for row in rows):
        mine = [row for row in rows if (row["change"], row["condition"]) == (change, condition)]
        old = [row["mean_before"] for row in mine if row["mean_before"] is not None]
        found = [row["solved_from"] for row in mine if row["solved_from"] is not None]
        low, high = interval(found) if found else (0.0, 0.0)
        table.add_row(
            change, condition, f"{np.median(old):.0f}" if old else "-",
            f"{np.median([row['mean_of_first_20'] for row in mine]):.0f}",
            f"{np.median([row['mean_of_last_20'] for row in mine]):.0f}", f"{len(found)}/{len(mine)}",
            f"{np.median(found):.0f} [{low:.0f}, {high:.0f}]" if found else "-",
        )  # fmt: skip
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
