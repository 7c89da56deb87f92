"""Recordings of spikes and of what they are to be decoded to: read and checked, played to decoders, and scored."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from threefactor.arrays import Array

LEAST_BINS = 100


class RecordingError(ValueError):
    """A file that is no recording, or one whose arrays cannot be decoded; says what to do."""


class OnlineDecoder(Protocol):
    """Decodes a bin, and may be told afterwards what it should have been."""

    def step(self, counts: Any) -> Any:
        """Decode a bin."""

    def learn(self, wanted: Any) -> None:
        """Learn what the last bin should have been decoded as."""


@dataclass(frozen=True)
class Recording:
    """Spikes of a bin, and what they are to be decoded to.

    Attributes
    ----------
    spikes : array, float64, (bins, units)
    velocity : array, float64, (bins, outputs)
    """

    spikes: Array
    velocity: Array


def read_recording(path: Path, spikes: str = "spikes", velocity: str = "vel") -> Recording:
    """Read two arrays of an npz file.

    Parameters
    ----------
    path : Path
    spikes, velocity : str
        Their names: counts (bins, units), and (bins, outputs) or (bins,).

    Raises
    ------
    RecordingError
        No such file or arrays; arrays of other shapes, or that hold what is not finite, or never change.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            for name in (spikes, velocity):
                if name not in file.files:
                    known = ", ".join(f"{key} {file[key].shape}" for key in file.files)
                    raise RecordingError(f"{path} has no array {name!r}; it has {known}. Name one of them.")
            arrays = [np.asarray(file[name]) for name in (spikes, velocity)]
    except FileNotFoundError:
        raise RecordingError(f"there is no file {path}.") from None
    except RecordingError:
        raise
    except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path} cannot be read as an npz file of arrays of numbers ({error}).") from None
    counts, wanted = (_numbers(array, name) for array, name in zip(arrays, (spikes, velocity), strict=True))
    wanted = wanted[:, None] if wanted.ndim == 1 else wanted
    _check_shapes(counts, spikes, wanted, velocity)
    return Recording(counts, wanted)


def _numbers(array: npt.NDArray[Any], name: str) -> Array:
    if array.dtype.kind not in "biuf":
        raise RecordingError(f"{name!r} holds {array.dtype}; give real numbers.")
    numbers = array.astype(np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        first = tuple(int(k) for k in np.argwhere(bad)[0])
        raise RecordingError(
            f"{name!r} holds {bad.sum()} values that are not finite, the first at {first}; take those bins out."
        )
    return numbers


def _check_shapes(counts: Array, spikes: str, wanted: Array, velocity: str) -> None:
    shapes = f"{spikes!r} has shape {counts.shape} and {velocity!r} {wanted.shape}"
    if counts.ndim != 2 or wanted.ndim != 2 or len(counts) != len(wanted) or not counts.shape[1] or not wanted.size:
        raise RecordingError(f"{shapes}; they must be (bins, units) and (bins, outputs), of as many bins.")
    if len(counts) < LEAST_BINS:
        raise RecordingError(f"{shapes}; that are less than {LEAST_BINS} bins, too few to learn from and to judge by.")
    for first, part in ((0, "before"), (last_part(len(wanted)), "in")):
        piece = wanted[first : last_part(len(wanted)) if part == "before" else None]
        still = np.flatnonzero(np.ptp(piece, axis=0) == 0.0)
        if still.size:
            raise RecordingError(f"column {still[0]} of {velocity!r} never changes {part} the last 20 %; leave it out.")


def last_part(bins: int) -> int:
    """The bin where the last fifth begins."""
    return bins - bins // 5


def taps(rows: Array, n: int) -> Array:
    """Each row beside the n - 1 before it, the newest first; zeros before the first.

    Examples
    --------
    >>> taps(np.array([[1.0], [2.0], [3.0]]), 2).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0]]
    """
    padded = np.vstack([np.zeros((n - 1, rows.shape[1])), rows])
    return np.hstack([padded[n - 1 - k : len(padded) - k] for k in range(n)])


def prequential(decoder: OnlineDecoder, inputs: Array, wanted: Array, until: int | None = None) -> Array:
    """Decode each bin before it is learnt from: predict, then update.

    Parameters
    ----------
    decoder : OnlineDecoder
    inputs, wanted : array, (bins, units), (bins, outputs)
    until : int, optional
        The first bin without a label; by default all bins have one.

    Returns
    -------
    array, (bins, outputs)
    """
    decoded = np.zeros(wanted.shape)
    for t, row in enumerate(inputs):
        decoded[t] = decoder.step(row)
        if until is None or t < until:
            decoder.learn(wanted[t])
    return decoded


def r_squared(decoded: Array, wanted: Array) -> float:
    """Share of the variance that is decoded: 1 - squared error / squared deviation from the mean; over columns.

    Examples
    --------
    >>> r_squared(np.array([[1.0], [3.0]]), np.array([[0.0], [4.0]]))
    0.75
    """
    squares = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    return float(np.mean(1.0 - np.square(decoded - wanted).sum(axis=0) / squares))


def pearson(decoded: Array, wanted: Array) -> float:
    """Correlation coefficient of each column, their mean; 0 of a column that was decoded as a constant.

    Examples
    --------
    >>> round(pearson(np.array([[1.0], [2.0], [4.0]]), np.array([[3.0], [5.0], [9.0]])), 12)
    1.0
    """
    ours, theirs = decoded - decoded.mean(axis=0), wanted - wanted.mean(axis=0)
    norms = np.sqrt(np.square(ours).sum(axis=0) * np.square(theirs).sum(axis=0))
    products = (ours * theirs).sum(axis=0)
    return float(np.mean(np.divide(products, norms, out=np.zeros(norms.size), where=norms > 0.0)))
