"""Pictures, drawn without a display and written in one stroke."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from threefactor.checkpoints import write_atomically

BLUE, LIGHT, RED, GREEN, GREY = "#1f4e79", "#9bb8d3", "#b5482a", "#4d7c3a", "#777777"


def new_figure(width: float = 7.0, height: float = 4.0) -> Figure:
    """An empty figure of so many inches that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; an interrupted write leaves the old picture."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    write_atomically(path, file.getvalue())


def running_mean(values: Sequence[float], window: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean of each entry and of up to `window` - 1 before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    means: np.ndarray[tuple[int], np.dtype[np.float64]] = (sums[last] - sums[first]) / (last - first)
    return means


def draw_learning_curve(
    path: Path, title: str, ends: Sequence[float], returns: Sequence[float], threshold: float | None, window: int = 100
) -> None:
    """Returns over steps, with their mean over the last `window` episodes."""
    figure = new_figure()
    axes = figure.add_subplot()
    axes.plot(ends, returns, ".", color=LIGHT, markersize=3, label="episode")
    axes.plot(ends, running_mean(returns, window), color=BLUE, label=f"mean of the last {window}")
    if threshold is not None:
        axes.axhline(threshold, color=RED, linestyle="--", linewidth=1, label=f"threshold {threshold:g}")
    axes.set(xlabel="environment steps", ylabel="return of an episode", title=title)
    axes.legend(loc="best", frameon=False)
    save_figure(figure, path)
