"""The live loop: an agent, a decoder or a function in step with the clock, or with the samples of a source."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, Protocol

from threefactor.live.counts import Counts
from threefactor.live.driven import Driven
from threefactor.live.sources import Sample, Source
from threefactor.live.timing import NANO, Clock, Histogram, no_garbage_collection

PATIENCE = 0.1  # seconds that a loop driven by samples waits for one before it looks whether it is to end


class Watcher(Protocol):
    """Who looks at a loop while it runs, as `threefactor.watch.Watch`."""

    def tick(self, reward: float, over: bool) -> None:
        """Called at the end of each tick, with the reward of its sample and whether an episode ended there."""

    def listen(self) -> None:
        """Called now and then while no sample comes."""


class LiveLoop:
    """Drives an agent, a decoder or a function live, and keeps account of time.

    With a `rate` a tick is due at fixed moments that do not drift: it reads the newest sample, if there is one, sends
    the answer to it, and has a decoder learn. Without one each sample is a tick, due when it was taken or, where the
    source does not say, when it was read. The garbage collector is off while the loop runs.

    Parameters
    ----------
    target : object
        With `begin` and `step` (an agent), with `step` and perhaps `learn` (a decoder), or a function.
    source : Source or callable
        Has ``read(timeout)``, which gives a `Sample`, a bare observation, or None where nothing new came; a function
        without arguments is asked at each tick of a loop with a rate.
    sink : callable, optional
        Takes each action.
    rate : float, optional
        Ticks a second.
    deadline : float, optional
        Seconds from when a tick is due until it must have ended; by default the time until the next one is due, and
        none without a rate.
    on_miss : {"skip", "hold", "stop"}
        What follows a missed deadline. In any case ticks are left out, but for the last one, if the time of several has
        come. "hold": an action that comes too late is not sent, the last one holds. "stop": the loop ends.
    watchdog : float, optional
        Seconds without a sample after which the source counts as stalled: `safe_action` is sent, and the next sample
        begins a new episode. At first the source may take as long as it likes.
    safe_action : optional
        Sent when the source stalls, when a sample is refused, and when the loop ends, however that comes.
    example : optional
        An observation. Before the first tick, a copy of the target is taken through all that it does with it, so that
        nothing has to be compiled live. By default the source's own `example`; without either there is no warm-up.
    clock : Clock, optional

    Attributes
    ----------
    counts : Counts
    compute, wall : Histogram
        Of each tick, processor time of this thread, and time on the wall.
    jitter : Histogram
        How much later than due each tick began.
    watcher : Watcher, optional
        Set it to have it told of each tick once that has ended: what it does is in none of the times, and in the pause
        before the next tick if there is one.
    driven : Driven
        The target, and whether it learns.
    paused : bool
        Whether samples are left unanswered, see `request`.

    Raises
    ------
    ValueError
        A rate, deadline or watchdog that is not positive; a watchdog without a safe action; a function as a source
        without a rate.

    Examples
    --------
    >>> from threefactor import Network
    >>> network, sent = Network(n_in=2, n_hidden=5, n_out=1), []
    >>> loop = LiveLoop(network.step, lambda: [1.0, 0.0], lambda y: sent.append(float(y[0])), rate=500, example=[0, 0])
    >>> loop.run(ticks=10)
    >>> len(sent), loop.counts.answered
    (10, 10)
    """

    def __init__(
        self, target: Any, source: Source | Callable[[], Any], sink: Callable[[Any], Any] | None = None, *,
        rate: float | None = None, deadline: float | None = None, on_miss: Literal["skip", "hold", "stop"] = "skip",
        watchdog: float | None = None, safe_action: Any = None, example: Any = None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        for name, value in {"rate": rate, "deadline": deadline, "watchdog": watchdog}.items():
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be positive and finite.")
        if on_miss not in ("skip", "hold", "stop"):
            raise ValueError(f"on_miss is {on_miss!r}; choose 'skip', 'hold' or 'stop'.")
        if watchdog is not None and safe_action is None:
            raise ValueError("a watchdog needs a safe_action to send when the source stalls.")
        if rate is None and not hasattr(source, "read"):
            raise ValueError("without a rate, a loop is driven by the samples of a source with `read`; give either.")
        self.driven, self._sink, self._safe = Driven(target), sink, safe_action
        self._read: Callable[[float], Any] = source.read if hasattr(source, "read") else lambda timeout: source()
        self._period = None if rate is None else NANO / rate
        self._deadline = self._period if deadline is None else deadline * NANO
        self._on_miss, self._watchdog = on_miss, None if watchdog is None else int(watchdog * NANO)
        self._example = getattr(source, "example", None) if example is None else example
        self.clock = clock or Clock()
        self.counts, self.compute, self.wall, self.jitter = Counts(), Histogram(), Histogram(), Histogram()
        self._lock, self._asked = threading.Lock(), False
        self._wanted: dict[str, Any] = {}
        self._going, self._stalled = False, False
        self.paused = False
        self.watcher: Watcher | None = None
        self._heard: int | None = None  # when the last sample came

    # --- from any thread ---------------------------------------------------------------------------------------------

    def request(
        self, *, learning: bool | None = None, slope: float | None = None, paused: bool | None = None
    ) -> None:  # fmt: skip
        """Ask for a change, which the next tick makes; callable from any thread.

        A loop that is `paused` sends the safe action, and leaves samples unanswered until it goes on, with a new
        episode.

        Raises
        ------
        ValueError
            The target cannot do that; a slope that is not positive and finite.
        """
        self.driven.check(learning, slope)
        wanted = {"learning": learning, "slope": slope, "paused": paused}
        with self._lock:
            self._wanted |= {name: value for name, value in wanted.items() if value is not None}
            self._asked = True

    def stop(self) -> None:
        """End the loop after its tick; callable from any thread and from signal handlers."""
        self._going = False

    def report(self) -> dict[str, Any]:
        """Counts, and median, 99th and 99.9th percentile and maximum of compute, wall and jitter [us]."""
        durations = {"compute": self.compute, "wall": self.wall, "jitter": self.jitter}
        return asdict(self.counts) | {f"{name}_us": each.microseconds() for name, each in durations.items()}

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self, ticks: int | None = None, seconds: float | None = None) -> None:
        """Run until `stop`, or for so many ticks (left-out ones not counted) or seconds.

        What the target raises ends the loop, but a ValueError: a sample that is refused so is counted. In any case the
        safe action is sent at the end.
        """
        if self._example is not None:
            self.driven.warm_up(self._example)
        self._going, self._heard, self._stalled = True, None, False
        last = math.inf if ticks is None else self.counts.ticks + ticks
        with no_garbage_collection():
            try:
                start = self.clock.now()
                end = math.inf if seconds is None else start + seconds * NANO
                if self._period is None:
                    self._follow_samples(last, end)
                else:
                    self._keep_pace(start + int(self._period), last, end)
            finally:
                self._going = False
                self._send_safe()

    def _keep_pace(self, start: int, last: float, end: float) -> None:
        """Tick at fixed moments: each is worked out from the first one, so that nothing adds up."""
        period, clock, k = self._period or 0.0, self.clock, 0
        while self._going and self.counts.ticks < last:
            due = start + int(k * period)
            if due > end:
                return
            clock.wait_until(due)
            ended = self._tick(due)
            following = max(k + 1, int((ended - start) / period))
            self.counts.skipped += following - k - 1
            k = following

    def _follow_samples(self, last: float, end: float) -> None:
        """Tick at each sample."""
        clock, patience = self.clock, PATIENCE
        if self._watchdog is not None:
            patience = min(patience, self._watchdog / NANO / 4)
        while self._going and self.counts.ticks < last:
            now = clock.now()
            if now >= end:
                return
            sample = self._read(min(patience, (end - now) / NANO))
            if sample is None:
                if self._asked:
                    self._check_requests()
                if self.watcher is not None:
                    self.watcher.listen()
                self._watch(clock.now())
                continue
            due = getattr(sample, "moment", None)
            self._tick(clock.now() if due is None else due, sample)

    def _tick(self, due: int, sample: Any = None) -> int:
        """One tick, of a sample or of what is there to be read; when all of it was over."""
        clock, counts = self.clock, self.counts
        begun, worked = clock.now(), clock.worked()
        if self._asked:
            self._check_requests()
        if sample is None:
            sample = self._read(0.0)
        limit = math.inf if self._deadline is None else due + self._deadline
        reward, over = 0.0, False
        if sample is None:
            counts.idle += 1
            self._watch(begun)
        else:
            if not isinstance(sample, Sample):
                sample = Sample(sample)
            self._heard, self._stalled = begun, False
            if self.paused:
                counts.paused += 1
            else:
                self._answer(sample, limit)
                reward, over = sample.reward, sample.terminated or sample.truncated
        spent, ended = clock.worked() - worked, clock.now()
        counts.ticks += 1
        self.jitter.add(begun - due)
        self.compute.add(spent)
        self.wall.add(ended - begun)
        if ended > limit:
            counts.missed += 1
            counts.missed_by_compute += spent > (self._deadline or 0.0)
            if self._on_miss == "stop":
                self._going = False
        if self.watcher is not None:
            self.watcher.tick(reward, over)
            return clock.now()
        return ended

    def _answer(self, sample: Sample, limit: float) -> None:
        """Send the answer to a sample, then have a decoder learn; what is bad is refused and counted."""
        counts = self.counts
        try:
            action = self.driven.respond(sample)
        except ValueError:
            counts.refused += 1
            self._send_safe()
            self.driven.interrupt()  # what comes next follows neither from the last action nor from the last bin
            return
        counts.answered += 1
        if self._on_miss == "hold" and self.clock.now() > limit:
            counts.held += 1
        elif self._sink is not None:
            self._sink(action)
        if sample.labels:
            try:
                self.driven.learn(sample)
            except (ValueError, RuntimeError):
                counts.refused_labels += 1

    # --- inside ------------------------------------------------------------------------------------------------------

    def _check_requests(self) -> None:
        """Carry out what was asked for; never waits for whoever is asking."""
        if self._lock.acquire(blocking=False):
            try:
                wanted, self._wanted, self._asked = self._wanted, {}, False
            finally:
                self._lock.release()
            self.driven.apply(wanted.get("learning"), wanted.get("slope"))
            paused = wanted.get("paused", self.paused)
            if paused and not self.paused:
                self._send_safe()
                self.driven.interrupt()
            self.paused = paused

    def _watch(self, now: int) -> None:
        """See whether the source has been silent for too long."""
        if self._watchdog is None or self._heard is None or self._stalled:
            return
        if now - self._heard > self._watchdog:
            self._stalled = True
            self.counts.stalls += 1
            self._send_safe()
            self.driven.interrupt()

    def _send_safe(self) -> None:
        if self._safe is not None and self._sink is not None:
            self._sink(self._safe)
