"""The live loop on a clock of its own making: pace, misses, watchdog, requests."""

from __future__ import annotations

import gc
import math
import threading
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from controllers import ActorCritic, Decoder
from tests.checks import assert_same, differ, snapshot
from threefactor import Network, tick
from threefactor.live import Clock, LiveLoop, Sample

MS = 1_000_000
jitted = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: plain NumPy warns")


class FakeClock(Clock):
    """Time that moves when somebody waits or works; nobody is ever woken late, unless `late` says so."""

    def __init__(self) -> None:
        self.time, self.work = 5_000 * MS, 0
        self.late: dict[int, int] = {}  # by the moment waited for

    def now(self) -> int:
        return self.time

    def worked(self) -> int:
        return self.work

    def wait_until(self, moment: int) -> None:
        self.time = max(self.time, moment) + self.late.pop(moment, 0)

    def spend(self, milliseconds: float, working: bool = True) -> None:
        """Let time go by, at work or while others have the processor."""
        self.time += int(milliseconds * MS)
        self.work += int(milliseconds * MS) * working


class Script:
    """A source that hands out what its list holds, tick by tick; then nothing."""

    def __init__(self, clock: FakeClock, samples: list[Any], every: float = 1.0) -> None:
        self.clock, self.samples, self.every = clock, list(samples), every

    def read(self, timeout: float) -> Any:
        if timeout:  # driven by samples: one each `every` ms
            self.clock.spend(min(self.every, 1000 * timeout), working=False)
        return self.samples.pop(0) if self.samples else None


class Rig:
    """A loop on a fake clock around a function that takes given times, and what was sent when."""

    def __init__(self, takes: dict[int, float] | None = None, working: bool = True, **given: Any) -> None:
        self.clock, self.begun, self.sent = FakeClock(), [], []
        takes = takes or {}

        def act(observation: Any) -> Any:
            self.begun.append(self.clock.now())
            self.clock.spend(takes.get(len(self.begun) - 1, 0.1), working)
            return observation

        source = given.pop("source", None) or (lambda: len(self.begun))
        self.loop = LiveLoop(
            given.pop("target", act), source, lambda action: self.sent.append((self.clock.now(), action)),
            **{"rate": 1000.0, "clock": self.clock} | given,
        )  # fmt: skip

    def ticks(self) -> list[float]:
        """When the function was called, in ms since the first time."""
        return [(moment - self.begun[0]) / MS for moment in self.begun]


# --- pace and deadlines ----------------------------------------------------------------------------------------------


def test_pace_does_not_drift() -> None:
    """At a rate whose period is no whole number of nanoseconds, tick k is due at k periods to the nanosecond."""
    rig = Rig(rate=30.0)
    rig.loop.run(ticks=3001)
    assert rig.begun[-1] - rig.begun[0] == 100_000 * MS
    assert rig.loop.counts.ticks == rig.loop.counts.answered == 3001
    assert rig.loop.counts.missed == rig.loop.counts.skipped == rig.loop.jitter.largest == 0
    assert rig.loop.compute.largest == rig.loop.wall.largest == 100_000


def test_late_waking_is_jitter_and_does_not_shift_the_pace() -> None:
    """A tick that begins late does not move those after it."""
    rig = Rig()
    first = rig.clock.time + MS
    rig.clock.late = {first + 2 * MS: 300_000}
    rig.loop.run(ticks=5)
    assert rig.ticks() == [0.0, 1.0, 2.3, 3.0, 4.0]
    assert rig.loop.jitter.largest == 300_000 and rig.loop.counts.missed == 0


@pytest.mark.parametrize("working", [True, False], ids=["compute", "preempted"])
def test_a_long_tick_leaves_ticks_out(working: bool) -> None:
    """After 2.5 periods the tick whose time it is begins late, one was left out, and the pace is the old one."""
    rig = Rig({1: 2.5}, working)
    rig.loop.run(ticks=4)
    assert rig.ticks() == [0.0, 1.0, 3.5, 4.0]
    counts = rig.loop.counts
    assert (counts.missed, counts.missed_by_compute, counts.skipped) == (1, int(working), 1)
    assert len(rig.sent) == 4
    assert rig.loop.compute.largest == (2.5 * MS if working else 0) and rig.loop.wall.largest == 2.5 * MS


def test_a_watcher_is_told_after_the_tick() -> None:
    """What it does is in no time, and misses no deadline; ticks that it runs over are left out, and counted."""
    rig = Rig({1: 0.25})
    sent_by_then: list[int] = []

    class Slow:
        def tick(self, reward: float, over: bool) -> None:
            sent_by_then.append(len(rig.sent))
            rig.clock.spend(2.5 if len(sent_by_then) == 3 else 0.5)

        def listen(self) -> None:
            raise AssertionError("a loop that keeps pace has ticks")

    rig.loop.watcher = Slow()
    rig.loop.run(ticks=5)
    assert sent_by_then == [1, 2, 3, 4, 5] and rig.ticks() == [0.0, 1.0, 2.0, 4.6, 5.2]
    loop = rig.loop
    assert loop.compute.largest == loop.wall.largest == 0.25 * MS
    assert (loop.counts.missed, loop.counts.skipped) == (0, 1) and loop.jitter.largest == 0.6 * MS


def test_hold_does_not_send_what_comes_too_late() -> None:
    """The late action is dropped, that before it holds."""
    rig = Rig({1: 1.5}, on_miss="hold")
    rig.loop.run(ticks=3)
    assert [action for _, action in rig.sent] == [0, 2]
    assert rig.loop.counts.held == rig.loop.counts.missed == 1


def test_stop_ends_with_the_safe_action() -> None:
    """The first miss is the end."""
    rig = Rig({2: 1.5}, on_miss="stop", safe_action="safe")
    rig.loop.run(ticks=10)
    assert [action for _, action in rig.sent] == [0, 1, 2, "safe"]
    assert rig.loop.counts.ticks == 3


def test_a_deadline_of_its_own() -> None:
    """A tick may be allowed less than its period; nothing is left out then."""
    rig = Rig({1: 0.6}, deadline=5e-4)
    rig.loop.run(ticks=4)
    assert rig.loop.counts.missed == 1 and rig.loop.counts.skipped == 0


def test_runs_for_a_time_and_goes_on() -> None:
    """`seconds` ends it, a second run adds to the counts, and `stop` ends one from within."""
    rig = Rig()
    rig.loop.run(seconds=0.01)
    assert rig.loop.counts.ticks == 10
    rig.loop.run(ticks=5)
    assert rig.loop.counts.ticks == 15
    stopping = Rig(target=lambda observation: stopping.loop.stop())
    stopping.loop.run()
    assert stopping.loop.counts.ticks == 1


# --- driven by samples -----------------------------------------------------------------------------------------------


def test_samples_drive_the_loop() -> None:
    """Each sample is a tick; one that says when it was taken is due then."""
    clock = FakeClock()
    start, taken = clock.time, iter(range(4))

    class Slow:
        def read(self, timeout: float) -> Sample:
            k = next(taken)
            moment = start + 2 * (k + 1) * MS
            clock.time = max(clock.time, moment + MS // 2)  # it takes half a millisecond to get here
            return Sample(k, moment=moment)

    rig = Rig({2: 3.0}, rate=None, deadline=1e-3, clock=clock, source=Slow())
    rig.clock = clock
    rig.loop.run(ticks=4)
    assert [action for _, action in rig.sent] == [0, 1, 2, 3]
    assert rig.loop.counts.missed == 2  # the one after the long one is late, too
    assert rig.loop.jitter.largest == 1.5 * MS
    assert rig.loop.jitter.quantile(0.75) == pytest.approx(500_000, rel=0.045)


def test_without_samples_it_ends_in_time() -> None:
    """A loop that waits for samples still looks at the time."""
    clock = FakeClock()
    rig = Rig(rate=None, clock=clock, source=Script(clock, []))
    rig.loop.run(seconds=1.0)
    assert rig.loop.counts.ticks == 0 and clock.time == 6_000 * MS


# --- stalls and bad samples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1000.0, None], ids=["paced", "driven"])
def test_watchdog_sends_the_safe_action_once_a_stall(rate: float | None) -> None:
    """Silence of more than 5 ms is a stall; what comes after it begins anew; a slow start is none."""
    clock, log = FakeClock(), []

    class Agent:
        def begin(self, observation: Any) -> Any:
            log.append(("begin", observation))
            return observation

        def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> Any:
            log.append(("step", observation))
            return observation

    script = Script(clock, [None] * 20 + [1, 2] + [None] * 12 + [3, 4] + [None] * 3 + [5])
    rig = Rig(target=Agent(), rate=rate, clock=clock, source=script, watchdog=5e-3, safe_action=0)
    rig.clock = clock
    rig.loop.run(seconds=0.041)
    assert [action for _, action in rig.sent] == [1, 2, 0, 3, 4, 5, 0]
    assert log == [("begin", 1), ("step", 2), ("begin", 3), ("step", 4), ("step", 5)]
    assert rig.loop.counts.stalls == 1 and rig.loop.counts.answered == 5


def agent() -> ActorCritic:
    """A small one."""
    return ActorCritic(3, Discrete(2), seed=0, n_hidden=8)


@jitted
def test_what_an_agent_refuses_changes_nothing_and_is_answered_safely() -> None:
    """A NaN among the samples: the safe action, weights as of a run that ended before it, a new episode after it."""
    clock, twin = FakeClock(), agent()
    samples = [Sample(np.full(3, 0.1 * k), reward=0.5) for k in range(6)]
    bad = Sample(np.array([0.0, np.nan, 0.0]), reward=0.5)
    target = agent()
    rig = Rig(target=target, clock=clock, source=Script(clock, [*samples[:3], bad]), safe_action=-1)
    rig.clock = clock
    rig.loop.run(ticks=4)
    twin.begin(samples[0].observation)
    for sample in samples[1:3]:
        twin.step(sample.observation, 0.5, False, False)
    twin.reset()
    assert_same(snapshot(target), snapshot(twin))
    assert rig.sent[-2][1] == rig.sent[-1][1] == -1 and rig.loop.counts.refused == 1
    assert rig.loop.counts.answered == 3


@jitted
def test_episodes_end_and_begin() -> None:
    """The agent learns as in a loop of its own."""
    clock, target, twin = FakeClock(), agent(), agent()
    rows = np.random.default_rng(0).normal(size=(12, 3))
    samples = [Sample(row, reward=float(k), terminated=k == 5, truncated=k == 9) for k, row in enumerate(rows)]
    Rig(target=target, clock=clock, source=Script(clock, samples)).loop.run(ticks=12)
    begun = False
    for sample in samples:
        if begun:
            twin.step(*sample[:4])
            begun = not (sample.terminated or sample.truncated)
        else:
            twin.begin(sample.observation)
            begun = True
    assert_same(snapshot(target), snapshot(twin))


def test_decoders_learn_after_they_have_answered() -> None:
    """Labels, late ones too, reach the decoder after its velocity is out; bad ones are counted."""
    clock = FakeClock()
    target, twin = (Decoder(4, 1, seed=0, n_hidden=8, most_late=2) for _ in range(2))
    counts = np.random.default_rng(0).poisson(1.0, (10, 4))
    samples = [Sample(row, labels=() if k < 2 else (([float(k)], 2),)) for k, row in enumerate(counts)]
    samples[5] = samples[5]._replace(labels=(([np.nan], 2),))
    rig = Rig(target=target, clock=clock, source=Script(clock, samples))
    rig.clock = clock
    rig.loop.run(ticks=10)
    for k, (row, (_, sent)) in enumerate(zip(counts, rig.sent, strict=True)):
        np.testing.assert_array_equal(twin.step(row), sent)
        if k >= 2 and k != 5:
            twin.learn([float(k)], late=2)
    assert_same(snapshot(target), snapshot(twin))
    assert rig.loop.counts.refused_labels == 1 and rig.loop.counts.answered == 10


def test_whatever_ends_it_leaves_the_collector_as_it_was() -> None:
    """An exception of the target comes out, after the safe action."""

    def broken(observation: Any) -> Any:
        assert not gc.isenabled()
        raise KeyError("lost")

    rig = Rig(target=broken, safe_action="safe")
    for enabled in (True, False):
        if not enabled:
            gc.disable()
        try:
            with pytest.raises(KeyError, match="lost"):
                rig.loop.run(ticks=3)
            assert gc.isenabled() == enabled and gc.get_freeze_count() == 0
        finally:
            gc.enable()
    assert [action for _, action in rig.sent] == ["safe", "safe"]


# --- requests and warm-up --------------------------------------------------------------------------------------------


@jitted
def test_learning_and_slope_change_while_it_runs() -> None:
    """A request of another thread is carried out by the next tick; an agent that has no switch acts greedily."""
    target, weights, slopes = agent(), {}, {}
    rows = np.random.default_rng(0).normal(size=(61, 3))

    def source() -> Sample:
        count = rig.loop.counts.ticks
        weights[count], slopes[count] = target.actor.w_out.copy(), target.slope
        if count in (20, 40):
            asking = threading.Thread(
                target=rig.loop.request, kwargs={"learning": count == 40, "slope": 1.0 + count / 20}
            )
            asking.start()
            asking.join()
        return Sample(rows[count], reward=1.0)

    rig = Rig(target=target, source=source)
    rig.loop.run(ticks=60)
    assert (slopes[20], slopes[21], slopes[40], slopes[41]) == (1.0, 2.0, 2.0, 3.0)
    assert differ(weights[10], weights[20])
    assert_same(weights[21], weights[42])
    assert differ(weights[42], weights[59])


def test_requests_that_cannot_be_met_are_refused_at_once() -> None:
    """What the target lacks, and slopes that are none."""
    loop = Rig().loop
    with pytest.raises(ValueError, match="no slope"):
        loop.request(slope=2.0)
    with pytest.raises(ValueError, match="cannot be switched"):
        loop.request(learning=False)
    decoder = Decoder(2, 1, n_hidden=4)
    loop = Rig(target=decoder, source=lambda: np.ones(2)).loop
    for slope in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="slope is"):
            loop.request(slope=slope)
    loop.request(learning=False, slope=3.0)
    assert decoder.learning and decoder.slope == 1.0
    loop.run(ticks=1)
    assert not decoder.learning and decoder.slope == 3.0


@jitted
@pytest.mark.parametrize("make", [agent, lambda: Decoder(3, 2, n_hidden=8), lambda: Network(3, 8, 2)])
def test_warm_up_leaves_the_target_alone(make: Any) -> None:
    """It is a copy that is warmed up; sources may bring their own example."""
    target = make()
    before = snapshot(target)

    class Silent:
        example = np.zeros(3)

        def read(self, timeout: float) -> None:
            return None

    Rig(target=target, source=Silent()).loop.run(ticks=2)
    if isinstance(target, Network):
        Rig(target=target.step, source=Silent()).loop.run(ticks=0)
    assert_same(before, snapshot(target))


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0.0}, "rate is 0.0"), ({"rate": math.nan}, "rate is nan"), ({"deadline": -1.0}, "deadline is"),
        ({"watchdog": 1.0}, "safe_action"), ({"on_miss": "retry"}, "choose 'skip'"), ({"rate": None}, "without a rate"),
    ],
)  # fmt: skip
def test_refuses_settings(given: dict[str, Any], message: str) -> None:
    """What came, and what is wanted."""
    with pytest.raises(ValueError, match=message):
        Rig(**given)


def test_refuses_what_cannot_be_driven() -> None:
    """A target has steps or is a function; a clock spins for some time or none."""
    with pytest.raises(TypeError, match="cannot be called"):
        Rig(target=3)
    with pytest.raises(ValueError, match="spin is"):
        Clock(spin=-1.0)
