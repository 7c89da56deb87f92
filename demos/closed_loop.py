"""A closed loop of three processes on streams, in real time: a simulated subject, a cursor, and a decoder that learns.

`threefactor subject` watches the cursor and fires, `threefactor stream` decodes the spikes and learns, and `threefactor
cursor` is moved by what was decoded. Labels, the intentions inferred from the task, come a second late: whoever learnt
at once what is intended now could follow the labels and need no neurons, which one of the conditions makes sure of. In
the middle of the run a third of the neurons falls silent, and the others turn to directions at right angles.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from demos.results import RESULTS, interval, write_table
from threefactor.pictures import BLUE, GREEN, GREY, RED, new_figure, save_figure

CONFIGURATION = """
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = closed-loop-{session}
[multicast]
ResolveScope = machine
[ports]
BasePort = {port}
[tuning]
MulticastMinRTT = 0.05
MulticastMaxRTT = 0.1
UnicastMinRTT = 0.1
UnicastMaxRTT = 0.2
[log]
level = -3
"""
PORTS, FIRST_PORT = 40, 17000  # for each condition its own, as only some are asked when streams are looked for
DECODER = "[decoder]\nlearning_rate = 0.02\n"
LOST, TURNED = 1 / 3, 90.0  # share of the neurons, degrees
BLOCK = 10.0  # seconds that a point of the picture averages
PATIENCE = 120.0  # seconds that processes wait for each other, and live longer than they need to, at most
LEARNS, ENDED, SILENT, NEVER = CONDITIONS = (
    "learns", "learns until the change", "learns, neurons say nothing", "never learns",
)  # fmt: skip
COLOURS = dict(zip(CONDITIONS, (BLUE, RED, GREEN, GREY), strict=True))


def commands(condition: str, seed: int, minutes: float, folder: Path) -> dict[str, list[str]]:
    """Arguments of `threefactor` for each process."""
    change, longest = 30.0 * minutes, f"{60.0 * minutes + PATIENCE}"
    watcher = ["subject", "--see", "SCREEN", "--out", "SPIKES", "--labels", "LABELS", "--seed", f"{seed + 1000}"]
    watcher += ["--after", f"{change}", "--lost", f"{LOST}", "--turned", f"{TURNED}", "--seconds", longest]
    watcher += ["--label-seconds", f"{change}"] if condition == ENDED else []
    watcher += ["--depth", "0"] if condition == SILENT else []
    decoder = ["stream", "--in", "SPIKES", "--out", "VELOCITY", "--reward", "LABELS", "--seconds", longest]
    decoder += ["--config", f"{folder / 'decoder.toml'}", "--wait", f"{PATIENCE}"]
    decoder += ["--frozen"] if condition == NEVER else []
    world = ["cursor", "--in", "VELOCITY", "--out", "SCREEN", "--trials", f"{folder / 'trials.csv'}"]
    world += ["--seed", f"{seed}", "--seconds", f"{60.0 * minutes}", "--wait", f"{PATIENCE}"]
    return {"subject": [*watcher, "--wait", f"{PATIENCE}"], "stream": decoder, "cursor": world}


@contextmanager
def process(arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `threefactor`, which is ended whatever happens."""
    code = "from threefactor.cli import main; main()"
    environment = os.environ | {"LSLAPICFG": str(folder / "lsl_api.cfg"), "OMP_NUM_THREADS": "1"}
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=log, stderr=log, env=environment)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def run_seed(seed: int, conditions: tuple[str, ...], minutes: float, block: float) -> list[dict[str, Any]]:
    """Hits of one seed in all conditions, side by side."""
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders, running = {condition: top / str(k) for k, condition in enumerate(conditions)}, []
        for k, (condition, folder) in enumerate(folders.items()):
            folder.mkdir()
            (folder / "decoder.toml").write_text(f"seed = {seed}\n{DECODER}")
            session, port = f"{os.getpid()}-{seed}-{k}", FIRST_PORT + k * PORTS
            (folder / "lsl_api.cfg").write_text(CONFIGURATION.format(session=session, port=port))
            each = commands(condition, seed, minutes, folder).values()
            running.append([stack.enter_context(process(arguments, folder)) for arguments in each])
        while any(world.poll() is None for *_, world in running):
            for (condition, folder), children in zip(folders.items(), running, strict=True):
                for child in children:
                    if child.poll() not in (None, 0):
                        logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
                        raise RuntimeError(f"a process of {condition!r}, seed {seed}, failed:\n{logs}")
            time.sleep(0.2)
        return [
            row for condition, folder in folders.items() for row in in_blocks(condition, seed, folder, minutes, block)
        ]


def in_blocks(condition: str, seed: int, folder: Path, minutes: float, block: float) -> list[dict[str, Any]]:
    """How many trials ended in each block of time, and how many of them were hits."""
    with (folder / "trials.csv").open(newline="") as file:
        trials = [(float(row["seconds"]), int(row["hit"])) for row in csv.DictReader(file)]
    rows = []
    for begin in np.arange(0.0, 60.0 * minutes - 1e-9, block):
        hits = [hit for ended, hit in trials if begin < ended <= begin + block]
        name = {"condition": condition, "seed": seed, "from_minute": round(begin / 60.0, 4)}
        rows.append({**name, "trials": len(hits), "hits": sum(hits)})
    return rows


def hit_rates(rows: list[dict[str, Any]], condition: str, begin: float, end: float) -> list[float]:
    """Share of hits [%] from one minute to another, of each seed in which a trial ended then."""
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        mine = [row for row in rows if (row["condition"], row["seed"]) == (condition, seed)]
        mine = [row for row in mine if begin - 1e-3 <= row["from_minute"] < end - 1e-3]
        if trials := sum(row["trials"] for row in mine):
            found.append(100.0 * sum(row["hits"] for row in mine) / trials)
    return found


def draw(rows: list[dict[str, Any]], conditions: tuple[str, ...], seeds: int, minutes: float, block: float) -> None:
    """Hit rate over minutes."""
    figure = new_figure(9, 4)
    axes = figure.add_subplot()
    for place, condition in enumerate(conditions):
        width = max(4.0 - place, 1.5)  # so that lines that lie on each other are all seen
        begins = sorted({row["from_minute"] for row in rows})
        found = [(begin + block / 120.0, hit_rates(rows, condition, begin, begin + block / 60.0)) for begin in begins]
        found = [(middle, rates) for middle, rates in found if rates]
        middles = [middle for middle, _ in found]
        means = [np.mean(rates) for _, rates in found]
        axes.plot(middles, means, color=COLOURS[condition], label=condition, linewidth=width)
        spread = np.array([interval(rates) for _, rates in found]).reshape(-1, 2)
        axes.fill_between(middles, *spread.T, color=COLOURS[condition], alpha=0.15, linewidth=0)
    axes.axvline(0.5 * minutes, color="black", linestyle=":", linewidth=1)
    axes.text(0.5 * minutes, 103.0, " a third is lost, the rest turns by 90 degrees", fontsize=9)
    axes.set(xlabel="time [min]", ylabel=f"hits [%], of the trials of {block:g} s", ylim=(-3, 110))
    axes.set(xlim=(0.0, minutes))
    axes.set_title(f"line: mean of {seeds} seeds; band: 95 % of the interquartile mean", fontsize=9)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save_figure(figure, RESULTS / "closed_loop.png")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Subjects, one after the other.")] = 5,
    minutes: Annotated[float, typer.Option(min=0.02, help="How long each of them goes on, in real time.")] = 2.0,
    quick: Annotated[bool, typer.Option("--quick", help="One subject, a few seconds, to see that it works.")] = False,
) -> None:
    """Run the loops; writes results/closed_loop.csv and results/closed_loop.png."""
    conditions: tuple[str, ...] = CONDITIONS
    block = BLOCK
    if quick:
        seeds, minutes, conditions, block = 1, 0.07, (LEARNS,), 1.0
    before, console, rows = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)), Console(stderr=True), []
    try:
        for seed in range(seeds):
            with console.status(f"seed {seed}, {minutes:g} minutes"):
                rows += run_seed(seed, conditions, minutes, block)
    finally:
        signal.signal(signal.SIGTERM, before)
    write_table("closed_loop", rows)
    draw(rows, conditions, seeds, minutes, block)
    table = Table("decoder", "1st quarter", "2nd", "3rd", "4th", caption="hits [%], means of seeds [95 % of IQM]")
    for condition in conditions:
        quarters = [hit_rates(rows, condition, k * minutes / 4, (k + 1) * minutes / 4) for k in range(4)]
        table.add_row(
            condition,
            *("{:.0f} [{:.0f}, {:.0f}]".format(float(np.mean(q)), *interval(q)) if q else "-" for q in quarters),
        )
    Console(width=120, markup=False).print(table)


if __name__ == "__main__":
    typer.run(main)
