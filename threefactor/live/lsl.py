"""Ends of Lab Streaming Layer streams: inlets that survive their source, and outlets. Needs the extra `lsl`.

Kothe et al. 2025, "The lab streaming layer for synchronized multimodal recording", Imaging Neuroscience 3. Where the
network has no multicast, or for this machine alone, name the peers in a file that the environment variable LSLAPICFG
points to::

    [multicast]
    ResolveScope = machine
    [lab]
    KnownPeers = {127.0.0.1}
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from threefactor.arrays import Array
from threefactor.live.sources import SourceError

BUFFER_SECONDS = 60  # that a stream may go unread before it loses samples
CHUNK = 512  # samples that are pulled at a time
AT_A_TIME = 1.0  # seconds that a stream is looked for without a chance to press Ctrl-C
AGAIN = 1.0  # seconds that one more stream of the same name has to show up: peers are asked after half a second


class NotFoundError(SourceError):
    """No stream of this name is there now."""


def library() -> Any:
    """The package pylsl.

    Raises
    ------
    SourceError
        It is not installed, or does not find its library.
    """
    try:
        import pylsl
    except (ImportError, OSError, RuntimeError) as error:
        raise SourceError(
            f"Lab Streaming Layer is not available ({error}); install it by: pip install 'threefactor[lsl]'"
        ) from None
    return pylsl


class Inlet:
    """Receives a stream of numbers; a source that dies is looked for in the background until it is back.

    Parameters
    ----------
    name : str
        Of the stream; or, with an equals sign in it, a predicate of LSL such as ``source_id='abc'``.
    wait : float
        Seconds to look for it at first.

    Attributes
    ----------
    channels : int
    rate : float
        Nominal [1/s]; 0 if irregular.
    received : int
        Samples that were pulled.
    overflows : int
        How often so many samples waited that some may have been lost before.
    losses : int
        How often the source was lost.

    Raises
    ------
    SourceError
        No such stream, several of them, or one of strings; pylsl is missing.
    """

    def __init__(self, name: str, wait: float = 10.0) -> None:
        self._library, self.name = library(), name
        if "=" not in name and "'" in name and '"' in name:
            raise SourceError(f"a stream's name cannot hold both kinds of quotes: {name}; give a predicate.")
        quote = '"' if "'" in name else "'"
        self._predicate = name if "=" in name else f"name={quote}{name}{quote}"
        self.received = self.overflows = self.losses = 0
        self._kind: tuple[int, int, float] | None = None
        self._inlet: Any = self._connect(wait)
        channels, form, self.rate = self._kind or (0, 0, 0.0)
        self.channels = channels
        self._capacity = BUFFER_SECONDS * (self.rate or 100.0)
        self._rows: Array = np.zeros((CHUNK, channels), self._types()[form])
        self._found: Any = None
        self._seeking, self._closed = False, False

    def pull(self, timeout: float = 0.0) -> tuple[Array, list[float]]:
        """Samples that wait, the oldest first, up to 512; if there is none, waits for one up to `timeout` seconds.

        Returns
        -------
        rows : array, (samples, channels)
            A view that the next call overwrites.
        stamps : list of float
            When they were taken, in this machine's `pylsl.local_clock` [s].

        Raises
        ------
        SourceError
            The source came back as another, or as several.
        """
        if self._inlet is None and not self._is_back():
            time.sleep(timeout)
            return self._rows[:0], []
        try:
            stamps = self._pull_rows(0, CHUNK, 0.0)
            if not stamps and timeout > 0.0:
                stamps = self._pull_rows(0, 1, timeout)
                stamps += self._pull_rows(1, CHUNK - 1, 0.0) if stamps else []
        except self._library.util.LostError:
            self.losses += 1
            self._inlet, self._found = None, None
            self._seek()
            return self._rows[:0], []
        self.received += len(stamps)
        return self._rows[: len(stamps)], stamps

    def age(self, stamp: float) -> float:
        """Seconds since a time stamp."""
        return float(self._library.local_clock() - stamp)

    def close(self) -> None:
        """Let go of the stream."""
        self._closed, self._inlet, self._found = True, None, None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _pull_rows(self, first: int, most: int, timeout: float) -> list[float]:
        if first == 0 and self._inlet.samples_available() >= self._capacity:
            self.overflows += 1
        _, stamps = self._inlet.pull_chunk(timeout, most, self._rows[first:])
        return list(stamps)

    def _connect(self, wait: float) -> Any:
        """Find the stream, see that it is the one, and open it with its clock known."""
        lsl = self._library
        end = time.monotonic() + wait
        found = lsl.resolve_bypred(self._predicate, 1, min(wait, AT_A_TIME))
        while not found and (left := end - time.monotonic()) > 0.0:
            found = lsl.resolve_bypred(self._predicate, 1, min(left, AT_A_TIME))
        if not found:
            raise NotFoundError(
                f"no stream {self.name!r} was found in {wait:g} s; start it, or, where there is no multicast, name its "
                "machine as a peer in the file that LSLAPICFG points to."
            )
        found = lsl.resolve_bypred(self._predicate, 2, AGAIN) or found
        if len({info.uid() for info in found}) > 1:
            listed = ", ".join(f"{info.hostname()} source_id={info.source_id()!r}" for info in found)
            raise SourceError(
                f"{len(found)} streams are named {self.name!r} ({listed}); close all but one, or give source_id='...'."
            )
        info = found[0]
        self._check(info)
        inlet = lsl.StreamInlet(info, BUFFER_SECONDS, recover=False, processing_flags=lsl.proc_clocksync)
        try:
            inlet.open_stream(5.0)
            inlet.time_correction(5.0)  # the first takes half a second; later ones are known
        except (TimeoutError, lsl.util.LostError) as error:
            raise NotFoundError(f"the stream {self.name!r} went away as it was opened ({error!r}).") from None
        return inlet

    def _types(self) -> dict[int, npt.DTypeLike]:
        lsl = self._library
        return {
            lsl.cf_float32: np.float32, lsl.cf_double64: np.float64, lsl.cf_int8: np.int8, lsl.cf_int16: np.int16,
            lsl.cf_int32: np.int32, lsl.cf_int64: np.int64,
        }  # fmt: skip

    def _check(self, info: Any) -> None:
        kind = (info.channel_count(), info.channel_format(), info.nominal_srate())
        if kind[1] not in self._types():
            raise SourceError(f"the stream {self.name!r} does not hold numbers; give one that does.")
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            before, now = (
                f"{n} channels of {self._types()[form]} at {rate:g} Hz" for n, form, rate in (self._kind, kind)
            )
            raise SourceError(f"the stream {self.name!r} came back with {now}, it had {before}; start anew for that.")

    def _seek(self) -> None:
        """Look for the source in the background, unless that is under way."""
        if not self._seeking:
            self._seeking = True
            threading.Thread(target=self._seek_until_back, name=f"seeks {self.name}", daemon=True).start()

    def _seek_until_back(self) -> None:
        found: Any = None
        while found is None and not self._closed:
            try:
                found = self._connect(1.0)
            except NotFoundError:
                continue
            except SourceError as error:
                found = error
        self._seeking, self._found = False, found

    def _is_back(self) -> bool:
        found = self._found
        if isinstance(found, SourceError):
            raise found
        self._inlet = found
        return found is not None


class Outlet:
    """Sends rows of numbers as a stream of float32.

    Parameters
    ----------
    name : str
    channels : int
    rate : float
        Nominal [1/s]; 0: irregular.
    kind : str
        The stream's type.

    Raises
    ------
    SourceError
        pylsl is missing.
    """

    def __init__(self, name: str, channels: int, rate: float = 0.0, kind: str = "Control") -> None:
        lsl = library()
        info = lsl.StreamInfo(name, kind, channels, rate, "float32", f"threefactor-{name}")
        self._row, self._outlet = np.zeros(channels, np.float32), lsl.StreamOutlet(info, 0, BUFFER_SECONDS)

    def __call__(self, row: npt.ArrayLike, stamp: float = 0.0) -> None:
        """Send a row, with the time stamp of now or another one.

        Raises
        ------
        ValueError
            Another number of entries.
        """
        given = np.asarray(row, np.float32).reshape(-1)
        if given.size != self._row.size:
            raise ValueError(
                f"a row of {given.size} entries was to be sent; this stream has {self._row.size} channels."
            )
        self._row[:] = given
        self._outlet.push_chunk(self._row, stamp)
