"""Boards of BrainFlow, some fifty biosensors behind one interface, as streams. Needs the extra `brainflow`.

Parfenov et al., https://brainflow.org. The board -1 is synthetic: sine waves at 250 Hz, without any hardware.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.live.sources import SourceError

BUFFER_SECONDS = 60  # that a board may go unread before it loses samples
CHUNK = 512  # samples that are pulled at a time
POLLS = 0.25  # of a sample's time, after which it is looked again whether one has come


def library() -> Any:
    """The module `brainflow.board_shim`.

    Raises
    ------
    SourceError
        BrainFlow is not installed, or does not find its library.
    """
    try:
        from brainflow import board_shim

        with warnings.catch_warnings():  # before Python 3.12 it finds its library by what is going out of use
            warnings.simplefilter("ignore")
            board_shim.BoardControllerDLL.get_instance()
    except (ImportError, OSError) as error:
        raise SourceError(
            f"BrainFlow is not available ({error}); install it by: pip install 'threefactor[brainflow]'"
        ) from None
    return board_shim


class Numbers:
    """Looks after the running numbers of a board's packages, which begin anew after some largest one.

    Samples of one package share a number, and some boards count in twos: the smallest step that was seen is the usual
    one. What was lost just where the numbers begin anew for the first time is not noticed.
    """

    def __init__(self) -> None:
        self._last, self._largest, self._usual = -1, -1, 0

    def jumps(self, numbers: Sequence[float]) -> int:
        """How often more than one package lay between two of these, and the ones before."""
        found = 0
        for number in map(int, numbers):
            step = number - self._last
            if self._last >= 0 and step > 0:
                self._usual = min(self._usual or step, step)
                found += step > self._usual
            elif step < 0:  # anew
                found += number > self._usual or self._last + self._usual <= self._largest
            self._last, self._largest = number, max(number, self._largest)
        return found


class BoardStream:
    """Receives the signals of a board.

    Parameters
    ----------
    board_id : int
        BrainFlow's number of it, see `brainflow.board_shim.BoardIds`.
    channels : sequence of int, optional
        Rows of BrainFlow's data to take; by default all that measure potentials (EEG, EMG, ECG, EOG).
    clock : callable
        What time stamps are told in [s]; BrainFlow's own are in unix time.
    **settings
        Fields of `brainflow.board_shim.BrainFlowInputParams`, as serial_port; text is turned into their types.

    Attributes
    ----------
    channels : int
    rate : float
        Nominal [1/s].
    received : int
        Samples that were pulled.
    overflows : int
        How often so many samples waited that some may have been lost before.
    losses : int
        How often the numbers of the packages jumped.

    Raises
    ------
    SourceError
        No such board or setting, one that cannot be opened, or that has no such rows; BrainFlow is missing.
    """

    def __init__(
        self, board_id: int = -1, channels: Sequence[int] | None = None, *, clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:  # fmt: skip
        self._library, self.name, self._clock = library(), f"brainflow:{board_id}", clock
        self._error: type[Exception] = self._library.BrainFlowError
        shim = self._library.BoardShim
        shim.disable_board_logger()
        master = int(settings.get("master_board", board_id))  # whose data a recording or a stream of BrainFlow has
        try:
            described = shim.get_board_descr(master)
        except self._error as error:
            raise SourceError(
                f"BrainFlow knows no board {master} ({error}); see brainflow.board_shim.BoardIds, -1 is synthetic."
            ) from None
        if "num_rows" not in described:
            raise SourceError(f"the board {board_id} needs master_board, the number of the board whose data it has.")
        self._rows = self._chosen(channels, shim.get_exg_channels(master) if _measures(described) else [], described)
        self._numbers_at, self._stamps_at = described["package_num_channel"], described["timestamp_channel"]
        self._numbers, self.received, self.overflows, self.losses = Numbers(), 0, 0, 0
        self._board = shim(board_id, self._parameters(settings))
        try:
            self._board.prepare_session()
            self.rate = float(self._board.get_board_sampling_rate())
            self._capacity = int(BUFFER_SECONDS * self.rate)
            self._board.start_stream(self._capacity)
        except self._error as error:
            raise SourceError(f"the board {board_id} cannot be opened: {error}; are its settings right?") from None
        self.channels = len(self._rows)

    def pull(self, timeout: float = 0.0) -> tuple[Array, list[float]]:
        """Samples that wait, the oldest first, up to 512; if there is none, waits for one up to `timeout` seconds.

        Returns
        -------
        rows : array, float64, (samples, channels)
        stamps : list of float
            When they were taken, in `clock` [s].

        Raises
        ------
        SourceError
            The board was closed, or can no longer be read.
        """
        end = time.monotonic() + timeout
        try:
            while not (waiting := int(self._board.get_board_data_count())) and time.monotonic() < end:
                time.sleep(min(POLLS / self.rate, max(end - time.monotonic(), 0.0)))
            if not waiting:
                return np.zeros((0, self.channels)), []
            self.overflows += waiting >= self._capacity
            data = self._board.get_board_data(CHUNK)
        except self._error as error:
            raise SourceError(f"the board {self.name} can no longer be read: {error}.") from None
        self.losses += self._numbers.jumps(data[self._numbers_at].tolist())
        self.received += data.shape[1]
        offset = self._clock() - time.time()
        return data[self._rows].T, (data[self._stamps_at] + offset).tolist()

    def age(self, stamp: float) -> float:
        """Seconds since a time stamp."""
        return self._clock() - stamp

    def close(self) -> None:
        """Let go of the board; it cannot be opened twice."""
        if self._board.is_prepared():
            self._board.release_session()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _chosen(self, wanted: Sequence[int] | None, measuring: list[int], described: dict[str, Any]) -> list[int]:
        rows, there = list(measuring if wanted is None else wanted), range(described["num_rows"])
        if not rows:
            raise SourceError(f"the board {described['name']} measures no potentials; name its channels.")
        if not all(row in there for row in rows):
            raise SourceError(f"channels is {rows}; the board {described['name']} has 0 to {len(there) - 1}.")
        return rows

    def _parameters(self, settings: dict[str, Any]) -> Any:
        parameters = self._library.BrainFlowInputParams()
        for name, value in settings.items():
            if name not in vars(parameters):
                raise SourceError(f"BrainFlow has no setting {name!r}; it has {', '.join(vars(parameters))}.")
            try:
                setattr(parameters, name, type(getattr(parameters, name))(value))
            except ValueError:
                raise SourceError(f"{name} is {value!r}; it must be a whole number.") from None
        return parameters


def _measures(described: dict[str, Any]) -> bool:
    return any(f"{kind}_channels" in described for kind in ("eeg", "emg", "ecg", "eog"))
