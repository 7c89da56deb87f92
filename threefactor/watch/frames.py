"""Frames of the page: what on the board is new for one who looks, in a few kilobytes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from threefactor.watch.board import RETURNED, RETURNS, RING, SAMPLED, SAMPLES, SAYINGS, SWEPT, TICKS, Board

MARGIN = 64  # of the oldest rows, which may be written anew while they are read
FULL = 100  # size of a voltage in a frame that lies at the threshold
LARGEST, MOST = 127, 0.995  # size in a frame that this share of a matrix's entries does not exceed; the others are cut
MISSING = -128  # what is not a number
HISTOGRAMS = 0.5  # seconds between two looks at histograms
ALIGNED = 8  # bytes: where an array begins in a frame


class Seen:
    """What one viewer has got so far; at first only the rows that may already be written anew.

    Attributes
    ----------
    ticks, samples, returns : int
        That it has, or can no longer have.
    sweeps : int
        At its last maps.
    reference : array, float32, (cells,), or None
        Weights that its change of weights is counted from.
    since : float
        When that was [s] of `time.monotonic`.
    """

    def __init__(self, reference: npt.NDArray[np.float32] | None, since: float) -> None:
        self.ticks = self.samples = self.returns = self.sweeps = 0
        self.histograms = -HISTOGRAMS
        self.reference, self.since = reference, since


class Frames:
    """Encodes frames from a board.

    A frame is a header's length (uint32), the header (JSON, filled up with spaces), and arrays, all little-endian. The
    header holds under `arrays` for each its type as numpy writes it, its first byte after the header, and its entries:

    - `spikes` (|u1): bits of `rows` ticks from tick `first`, each tick filled up to whole bytes, lowest bit first
    - `voltages` (|i1): of the same ticks, 100 at the threshold and -128 for what is not a number
    - `samples`, `returns` (<f8): rows of the board that are new
    - `durations` (<f8): of each histogram, counts of the bins from `lowest`; twice a second
    - `traces`, `change` (|i1): after each sweep, each matrix times 127 over its entry of `trace_scales` or
      `change_scales`, which all but the largest 0.5 % stay within; the change is the one since `since` seconds ago

    Parameters
    ----------
    board : Board
    """

    def __init__(self, board: Board) -> None:
        self._board, self._since = board, 0.0
        self._cuts = np.cumsum([rows * columns for rows, columns in board.plan.matrices.values()])[:-1]
        self._reference: npt.NDArray[np.float32] | None = None  # weights of the first sweep

    def seen(self) -> Seen:
        """For a new viewer."""
        return Seen(self._reference, self._since)

    def compare(self, seen: Seen) -> None:
        """Count the change of weights from now."""
        if self._board.counts[SWEPT]:
            seen.reference, seen.since, seen.sweeps = self._board.maps[1].copy(), time.monotonic(), 0

    def encode(self, seen: Seen, **more: Any) -> bytes:
        """Frame of what is new, which then counts as seen.

        Parameters
        ----------
        seen : Seen
        more
            Goes into the header, too.
        """
        board = self._board
        counts = board.counts.tolist()
        first, rows = _newest(board.ring, seen.ticks, counts[TICKS], RING)
        lost = max(int(board.counts[TICKS]) + 1 - RING - first, 0)  # written anew meanwhile
        rows, first = rows[lost:], first + lost
        header: dict[str, Any] = {
            "tick": counts[TICKS], "first": first, "rows": len(rows), "episodes": counts[RETURNED],
            "values": board.values.tolist(), "sayings": counts[SAYINGS], "said": self._said(), **more,
        }  # fmt: skip
        arrays: dict[str, npt.NDArray[Any]] = {}
        neurons = board.plan.neurons
        if len(rows) and neurons:
            arrays["spikes"] = np.packbits(rows[:, :neurons] > 0.0, axis=1, bitorder="little")
            arrays["voltages"] = quantised(rows[:, neurons:], board.plan.v_th / FULL)
        arrays["samples"] = _newest(board.samples, seen.samples, counts[SAMPLED], SAMPLES)[1]
        arrays["returns"] = _newest(board.returns, seen.returns, counts[RETURNED], RETURNS)[1]
        seen.ticks, seen.samples, seen.returns = counts[TICKS], counts[SAMPLED], counts[RETURNED]
        self._add_histograms(seen, header, arrays)
        if counts[SWEPT] != seen.sweeps and board.plan.cells:
            self._add_maps(seen, header, arrays)
            seen.sweeps = counts[SWEPT]
        return packed(header, arrays)

    def _said(self) -> str:
        return self._board.said.tobytes().split(b"\0", 1)[0].decode(errors="replace")

    def _add_histograms(self, seen: Seen, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        now, board = time.monotonic(), self._board
        if now - seen.histograms < HISTOGRAMS or not board.plan.durations:
            return
        seen.histograms, counts = now, board.durations.astype("<f8")
        filled = np.flatnonzero(counts.any(axis=0))
        low, high = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 0)
        header["lowest"], header["longest"] = low, board.largest.tolist()
        arrays["durations"] = counts[:, low:high]

    def _add_maps(self, seen: Seen, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        traces, weights = self._board.maps.copy()
        if self._reference is None:
            self._reference, self._since = weights, time.monotonic()
        if seen.reference is None:
            seen.reference, seen.since = self._reference, self._since
        header["since"] = time.monotonic() - seen.since
        for name, map_ in {"trace": traces, "change": weights - seen.reference}.items():
            parts = np.split(map_, self._cuts)
            scales = [_size(part) for part in parts]
            header[f"{name}_scales"] = scales
            arrays["traces" if name == "trace" else name] = np.concatenate(
                [quantised(part, scale / LARGEST) for part, scale in zip(parts, scales, strict=True)]
            )


def _newest(ring: npt.NDArray[Any], seen: int, count: int, length: int) -> tuple[int, npt.NDArray[Any]]:
    """Number of the first row that is both new and safe to read, and a copy of all from there on."""
    first = min(max(seen, count - (length - MARGIN), 0), count)
    start, stop = first % length, count % length
    if first == count:
        return first, ring[:0]
    return first, ring[start:stop].copy() if start < stop else np.concatenate((ring[start:], ring[:stop]))


def _size(part: npt.NDArray[np.float32]) -> float:
    """What most entries do not exceed, so that a few large ones do not hide all else; the largest if most are 0."""
    sizes = np.abs(part[np.isfinite(part)])
    return float(np.quantile(sizes, MOST) or sizes.max()) if sizes.size else 0.0


def quantised(values: npt.NDArray[np.float32], unit: float) -> npt.NDArray[np.int8]:
    """Multiples of a unit, from -127 to 127; -128 for what is not a number."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint(np.clip(values / (unit or 1.0), -LARGEST, LARGEST))
        return np.where(np.isnan(scaled), MISSING, scaled).astype(np.int8)


def packed(header: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """One message of a header and arrays."""
    about: dict[str, tuple[str, int, int]] = {}
    start, parts = 0, []
    for name, array in arrays.items():
        about[name] = array.dtype.str, start, array.size
        parts.append(array.tobytes() + bytes(-array.nbytes % ALIGNED))
        start += len(parts[-1])
    text = msgspec.json.encode({**header, "arrays": about})
    text += b" " * (-(4 + len(text)) % ALIGNED)
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])
