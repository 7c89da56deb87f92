"""Where demos put what they show, and the statistics that they share."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from threefactor.checkpoints import write_atomically

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
