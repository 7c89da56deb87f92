"""Where demos put what they show, and the statistics that they share."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.stats
from rich.console import Console
from rich.progress import track

from threefactor.checkpoints import write_atomically

J = TypeVar("J")
R = TypeVar("R")
RESULTS = Path("results")


def write_table(name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as results/NAME.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = RESULTS / f"{name}.csv"
    write_atomically(path, text.getvalue().encode())
    return path


def in_parallel(work: Callable[[J], R], jobs: Sequence[J], doing: str) -> list[R]:
    """What `work` makes of each job, on all cores, in the order of the jobs; a bar says how far it is."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(track(pool.map(work, jobs), doing, len(jobs), console=Console(stderr=True)))


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Mean of the middle half."""
    return float(scipy.stats.trim_mean(np.asarray(values, float), 0.25))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the interquartile mean; both ends are that mean where all values agree."""
    data = np.asarray(values, float)
    if len(data) < 2 or np.ptp(data) == 0.0:
        return interquartile_mean(data), interquartile_mean(data)
    result = scipy.stats.bootstrap(
        (data,), lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis), method="percentile", rng=0
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
