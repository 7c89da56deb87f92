"""The loop's side of the page: what it leaves on the board at each tick, and how it hears what is asked for."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import msgspec

from threefactor._jit import entry
from threefactor.live.timing import NANO, Histogram
from threefactor.network import Network
from threefactor.probes import gather, record
from threefactor.watch.board import ASKS, RETURNED, RETURNS, SAMPLED, SAMPLES, SWEPT, TICKS, Board, Plan
from threefactor.watch.views import Views, network_of

FRAME = NANO // 20  # between two looks at everything but spikes and voltages [ns]
STRIP = 4096  # entries of the maps that one look copies: a tick must not become long by it
PAUSE = 0.02  # seconds between two looks at what is asked for, while the loop is paused
PATIENCE = 30.0  # seconds that the server may take to start


class WatchError(RuntimeError):
    """The page cannot be served; says what to do."""


class Control(NamedTuple):
    """Something that may be asked for on the page."""

    do: Callable[[float], str | None]  #: for a value, 0 or 1, or the slope; what it answers or raises is shown
    value: Callable[[], float]  #: what is so now


class Watch:
    """A page that shows a loop live, at an address of this machine alone.

    The page is served by another process, which reads what the loop leaves in shared memory; the loop never waits for
    it. While nobody looks a tick costs a comparison; while somebody does, spikes and voltages of up to 128 neurons are
    copied at each tick, and all else 20 times a second. Where changes of weights wait until they are needed
    (`threefactor.deferral`), traces and weights are shown as of some ticks ago, or worked out beside them: watching
    changes no digit.

    Parameters
    ----------
    target : object
        Network, or controller that has one; what else has `slope`, `td_error`, `mean_td_error` or `firing_rate`.
    title : str
    signals : mapping, optional
        Name to a function that gives a number; beside those of the target.
    durations : mapping, optional
        Name to `Histogram`.
    controls : mapping, optional
        Some of "pause", "learning", "slope" and "save", to `Control`. Without "pause", `paused` is set.
    port : int
        0: a free one.

    Attributes
    ----------
    url : str
        Address of the page, with the token that controlling needs.
    paused : bool
        What was asked for last, where "pause" is not among the controls; see `wait`.
    looked_at : bool
        Whether somebody looks, as far as was heard.

    Raises
    ------
    WatchError
        The package `websockets` is missing; the port is taken; the server does not start.

    Examples
    --------
    >>> from threefactor import Network
    >>> network = Network(n_in=2, n_hidden=5, n_out=1)
    >>> with Watch(network, "five neurons") as watch:  # doctest: +SKIP
    ...     print(watch.url)
    ...     while True:
    ...         network.step([1.0, 0.0])
    ...         watch.tick()
    """

    def __init__(
        self, target: Any, title: str, *, signals: Mapping[str, Callable[[], float]] | None = None,
        durations: Mapping[str, Histogram] | None = None, controls: Mapping[str, Control] | None = None, port: int = 0,
    ) -> None:  # fmt: skip
        network = network_of(target)
        self._views = None if network is None else Views(network)
        self._last_reward, self._return = 0.0, 0.0
        self._signals = _signals_of(target) | {"reward": lambda: self._last_reward} | dict(signals or {})
        self._durations = dict(durations or {})
        self.paused = False
        own = {"pause": Control(self._pause, lambda: float(self.paused))}
        self._controls = own | dict(controls or {})
        self._board = Board.new(self._plan(title, network))
        self._bell, self._counts = self._board.bell.data, self._board.counts
        self._rung, self._heard, self.looked_at, self._next, self._place = 0, 0, False, 0, 0
        if network is not None and self._views is not None:
            self._row = (self._board.ring.reshape(-1), self._counts, network.state, self._views.ring)
            self._record = entry(record, *self._row)
            self._map = (self._board.maps.reshape(-1), network.state, network.table, self._views.maps)
            self._gather = entry(gather, *self._map, 0, 0)
        self._write_values()
        self.url, self._server = _serve(self._board, port)

    # --- in the loop -------------------------------------------------------------------------------------------------

    def tick(self, reward: float = 0.0, over: bool = False) -> None:
        """Call it after each tick; never waits.

        Parameters
        ----------
        reward : float
            Of this tick.
        over : bool
            Whether an episode ended with it.
        """
        if self._bell[0] != self._rung:
            self.listen()
        self._last_reward = reward
        self._return += reward
        if over:
            self._end_episode()
        if self.looked_at:
            if self._views is not None:
                self._record(*self._row)
            else:
                self._counts[TICKS] += 1
            now = time.perf_counter_ns()
            if now >= self._next:
                self._next = now + FRAME
                self._sample()

    def listen(self) -> None:
        """Do what was asked for; where a loop stands still, call it now and then in place of `tick`."""
        bell, board = self._bell[0], self._board
        if bell == self._rung:
            return
        asked, self.looked_at, self._rung = bell >> 1, bool(bell & 1), bell
        names = list(self._controls)
        for k in range(max(self._heard, asked - ASKS), asked):
            number, value = board.asked[k % ASKS]
            name = names[int(number)]
            try:
                answer = self._controls[name].do(float(value))
            except (ValueError, RuntimeError, OSError) as error:
                answer = f"{name}: {error}"
            if answer:
                board.say(answer)
        self._heard = asked
        self._write_values()

    def wait(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Stand still as long as the page asks for a pause, and nothing has `ended`."""
        while self.paused and not ended():
            time.sleep(PAUSE)
            self.listen()

    def wait_for_viewer(self) -> None:
        """Stand still until somebody looks."""
        while not self.looked_at:
            time.sleep(PAUSE)
            self.listen()

    def say(self, message: str) -> None:
        """Show a message on the page, up to 500 letters."""
        self._board.say(message)

    def close(self) -> None:
        """End the server; the page says that the loop has ended."""
        server, self.looked_at = self._server, False
        if server.returncode is None:
            try:
                server.communicate(timeout=5.0)  # closes its input, at whose end it ends
            except subprocess.TimeoutExpired:
                server.kill()
                server.communicate()
        self._board.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _plan(self, title: str, network: Network | None) -> Plan:
        views = self._views
        return Plan(
            title=title, neurons=views.neurons if views else 0, of_neurons=views.of_neurons if views else 0,
            v_th=network.settings.threshold if network else 1.0, matrices=views.matrices if views else {},
            signals=list(self._signals), durations=list(self._durations), controls=list(self._controls),
        )  # fmt: skip

    def _pause(self, value: float) -> None:
        self.paused = bool(value)

    def _end_episode(self) -> None:
        board = self._board
        board.returns[self._counts[RETURNED] % RETURNS] = self._counts[TICKS], self._return
        self._counts[RETURNED] += 1
        self._return = 0.0

    def _sample(self) -> None:
        """Copy signals, histograms, values and a strip of the maps."""
        board, counts = self._board, self._counts
        row = board.samples[counts[SAMPLED] % SAMPLES]
        row[0] = counts[TICKS]
        row[1:] = [read() for read in self._signals.values()]
        counts[SAMPLED] += 1
        for k, histogram in enumerate(self._durations.values()):
            board.durations[k] = histogram.counts
            board.largest[k] = histogram.largest
        self._write_values()
        if self._views is not None:
            stop = min(self._place + STRIP, self._views.maps.size)
            self._gather(*self._map, self._place, stop)
            self._place = stop
            if stop == self._views.maps.size:
                self._place = 0
                counts[SWEPT] += 1

    def _write_values(self) -> None:
        self._board.values[:] = [control.value() for control in self._controls.values()]


def _signals_of(target: Any) -> dict[str, Callable[[], float]]:
    """What targets of many kinds have."""
    names = {"slope": "slope", "TD error": "td_error", "mean |TD error|": "mean_td_error"}
    found: dict[str, Callable[[], float]] = {
        shown: lambda name=name: float(getattr(target, name))  # type: ignore[misc]
        for shown, name in {**names, "firing rate": "firing_rate"}.items()
        if hasattr(target, name)
    }
    return found


def _serve(board: Board, port: int) -> tuple[str, subprocess.Popen[str]]:
    """Start the server of a board; its address and its process, which ends when its input does."""
    token = secrets.token_urlsafe(16)
    server = subprocess.Popen(
        [sys.executable, "-m", "threefactor.watch.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    given = {"path": str(board.path), "plan": msgspec.to_builtins(board.plan), "token": token, "port": port}
    try:
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018
        server.stdin.write(msgspec.json.encode(given).decode() + "\n")
        server.stdin.flush()
        answer = msgspec.json.decode(server.stdout.readline() or '{"error": "its process ended at once"}')
    except (OSError, msgspec.DecodeError) as error:
        answer = {"error": str(error)}
    if "port" not in answer:
        server.kill()
        server.communicate()
        board.remove()
        raise WatchError(f"the page cannot be served: {answer.get('error')}")
    return f"http://127.0.0.1:{answer['port']}/#token={token}", server
