"""The loop in one picture: what happens between an observation and the weight change that follows from it."""

from __future__ import annotations

import typer
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from demos.results import RESULTS
from threefactor.pictures import BLUE, GREY, LIGHT, RED, new_figure, save_figure

BOXES = {
    # name: (x, y, width, text, colour)
    "world": (0.3, 2.1, 1.9, "environment\nany gymnasium.Env", GREY),
    "neurons": (3.3, 3.2, 2.3, "spiking neurons\nLIF, ALIF", BLUE),
    "readout": (6.9, 3.2, 2.3, "leaky readouts\npolicy, value", BLUE),
    "traces": (3.3, 0.9, 2.3, "eligibility traces\n$e=\\psi\\,(\\bar z-\\beta\\,\\epsilon)$", LIGHT),
    "third": (6.9, 0.9, 2.3, "third factor\nerror $g$, TD error $\\delta$", RED),
}
ARROWS = [
    # from (x, y), to (x, y), text, where the text stands
    ((1.25, 2.95), (1.25, 3.6), "", (0, 0)),
    ((1.25, 3.6), (3.2, 3.6), "observation", (2.2, 3.75)),
    ((0.7, 2.05), (0.7, 0.1), "", (0, 0)),
    ((0.7, 0.1), (8.6, 0.1), "reward", (2.2, 0.2)),
    ((8.6, 0.1), (8.6, 0.8), "", (0, 0)),
    ((5.7, 3.6), (6.8, 3.6), "spikes $z$", (6.25, 3.72)),
    ((8.05, 4.1), (8.05, 4.7), "", (0, 0)),
    ((8.05, 4.7), (0.7, 4.7), "action", (4.45, 4.8)),
    ((0.7, 4.7), (0.7, 3.0), "", (0, 0)),
    ((3.9, 3.1), (3.9, 1.8), "pre $\\bar z$, post $\\psi$", (3.15, 2.35)),
    ((8.05, 3.1), (8.05, 1.8), "$V$, $\\pi$", (8.4, 2.35)),
    ((6.8, 1.3), (5.7, 1.3), "$L=B\\,g$", (6.25, 1.42)),
    ((5.0, 1.8), (5.0, 3.1), "$\\Delta w=-\\eta\\,\\delta\\,\\overline{L\\,e}$", (5.75, 2.35)),
]
CORNERS = {(1.25, 3.6), (0.7, 0.1), (8.6, 0.1), (8.05, 4.7), (0.7, 4.7)}  # where a line only turns


def draw(axes: Axes) -> None:
    """Boxes, arrows and their words."""
    for x, y, width, text, colour in BOXES.values():
        box = FancyBboxPatch((x, y), width, 0.8, "round,pad=0.08", facecolor=colour, alpha=0.18, edgecolor=colour)
        axes.add_patch(box)
        axes.text(x + width / 2, y + 0.4, text, ha="center", va="center", fontsize=10)
    for start, end, text, place in ARROWS:
        style = "-" if end in CORNERS else "-|>"
        axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=13, color="#444444", shrinkA=0, shrinkB=0)
        )
        axes.text(*place, text, fontsize=9, ha="center", color="#333333")
    note = "all of it in one tick: no history is stored, the weights change at once"
    axes.text(4.9, -0.35, note, ha="center", fontsize=10)
    axes.set(xlim=(0, 9.6), ylim=(-0.5, 5.1))
    axes.axis("off")


def main() -> None:
    """Draw; writes results/loop.png."""
    figure = new_figure(9, 4.6)
    draw(figure.add_subplot())
    save_figure(figure, RESULTS / "loop.png")


if __name__ == "__main__":
    typer.run(main)
