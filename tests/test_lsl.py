"""Streams: which reward and label belongs to which sample; and Lab Streaming Layer on this machine alone."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from controllers import ActorCritic, Decoder
from tests.test_cli import assert_refused, last_json, run
from threefactor import tick
from threefactor.live import LiveLoop, SourceError
from threefactor.live.lsl import Inlet, Outlet
from threefactor.live.streams import StreamSource

jitted = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
CONFIGURATION = """
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = test-{}
[multicast]
ResolveScope = machine
[log]
level = -3
"""


class FakeStream:
    """Rows that wait to be pulled."""

    def __init__(self, channels: int = 1, rate: float = 100.0) -> None:
        self.channels, self.rate = channels, rate
        self.waiting: list[tuple[float, Any]] = []

    def put(self, stamp: float, *row: float) -> None:
        self.waiting.append((stamp, row))

    def pull(self, timeout: float = 0.0) -> tuple[Any, list[float]]:
        taken, self.waiting = self.waiting[:512], self.waiting[512:]
        return np.array([row for _, row in taken]).reshape(-1, self.channels), [stamp for stamp, _ in taken]

    def age(self, stamp: float) -> float:
        return 0.0


# --- samples, rewards, labels ----------------------------------------------------------------------------------------


def test_the_newest_sample_is_handed_over() -> None:
    """What was not read before it is dropped and counted, in a flood, too."""
    stream = FakeStream(2)
    source = StreamSource(stream)
    assert source.read(0.0) is None and source.example.shape == (2,)
    for k in range(1500):
        stream.put(float(k), k, -k)
    sample = source.read(0.0)
    assert sample is not None and sample.observation.tolist() == [1499.0, -1499.0] and source.dropped == 1499
    assert source.read(0.0) is None


def test_rewards_add_up_and_ends_are_told() -> None:
    """All rewards since the last sample; the second channel is the end of an episode."""
    stream, rewards = FakeStream(), FakeStream(2, 0.0)
    source = StreamSource(stream, rewards=rewards)
    found = []
    for k in range(4):
        rewards.put(0.0, 1.0, 0.0)
        assert source.read(0.0) is None
        rewards.put(0.0, 0.5, k % 3)
        rewards.put(0.0, 0.25, 0.0)
        stream.put(0.01 * k, k)
        sample = source.read(0.0)
        assert sample is not None
        found.append(sample[1:4])
    assert found == [(1.75, False, False), (1.75, True, False), (1.75, False, True), (1.75, False, False)]


def test_labels_meet_their_samples() -> None:
    """By time stamps: late ones, early ones, jitter of less than half a period; others are counted."""
    stream, labels = FakeStream(), FakeStream()
    source = StreamSource(stream, labels=labels, most_late=3)
    found: list[list[tuple[float, int]]] = []

    def sample(k: int) -> None:
        stream.put(0.01 * k, k)
        read = source.read(0.0)
        assert read is not None
        found.append([(float(wanted[0]), late) for wanted, late in read.labels])

    sample(0)
    labels.put(0.001, 0.0)  # of sample 0, one late
    sample(1)
    labels.put(0.03, 3.0)  # too early
    sample(2)
    sample(3)
    labels.put(0.012, 1.0)  # of sample 1, three late
    labels.put(0.04, 4.0)
    sample(4)
    labels.put(0.01, 1.0)  # four late: too late
    sample(5)
    stream.put(0.06, 6)  # never handed over
    labels.put(0.06, 6.0)
    sample(7)
    assert found == [[], [(0.0, 1)], [], [(3.0, 0)], [(1.0, 3), (4.0, 0)], [], []]
    assert source.unpaired == 2 and source.dropped == 1


def test_source_refuses_streams_that_do_not_fit() -> None:
    """Labels need a rate, rewards are one number and an end."""
    with pytest.raises(SourceError, match="nominal rate"):
        StreamSource(FakeStream(rate=0.0), labels=FakeStream())
    with pytest.raises(SourceError, match="3 channels"):
        StreamSource(FakeStream(), rewards=FakeStream(3))


def test_a_nan_reaches_no_weight() -> None:
    """A NaN among counts or labels is refused; the decoder learns from what is good, paired as before."""
    stream, labels, sent = FakeStream(3), FakeStream(1), []
    decoder = Decoder(3, 1, seed=0, n_hidden=8, most_late=2)
    loop = LiveLoop(decoder, StreamSource(stream, labels=labels, most_late=2), sent.append, rate=500.0, safe_action=0.0)
    for k in range(12):
        stream.put(0.01 * k, *([np.nan] * 3 if k == 4 else [k, 1.0, 2.0]))
        labels.put(0.01 * (k - 1), np.nan if k == 8 else k)
        loop.run(ticks=1)
    assert np.isfinite(np.concatenate([np.ravel(y) for y in sent])).all()
    assert loop.counts.refused == 1 and loop.counts.refused_labels == 2  # of bins 4, which was bad, and 7
    assert all(np.isfinite(array).all() for array in decoder.population.network.weights.values())


def test_without_pylsl_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stream` says what to install."""
    Decoder(3, 1, n_hidden=4).save(tmp_path / "decoder")
    monkeypatch.setitem(sys.modules, "pylsl", None)
    result = run("stream", "--in", "a", "--out", "b", "--checkpoint", tmp_path / "decoder")
    assert_refused(result, "pipinstall'threefactor[lsl]'")


# --- Lab Streaming Layer ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lsl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The library, told to stay on this machine before it is used for the first time; needs no multicast."""
    path = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    path.write_text(CONFIGURATION.format(os.getpid()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSLAPICFG", str(path))
        library = pytest.importorskip("pylsl", reason="pylsl is not installed; it comes with the extra lsl")
        patch.setattr("threefactor.live.lsl.AGAIN", 0.05)
        yield library


def outlet(lsl: Any, name: str, channels: int = 4, rate: float = 500.0, form: str = "float32", mark: str = "") -> Any:
    """Some device's stream."""
    return lsl.StreamOutlet(lsl.StreamInfo(name, "Spikes", channels, rate, form, f"{name}{mark}"), 0, 10)


def until(ready: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.005)
    return found


def test_what_is_sent_arrives(lsl: Any) -> None:
    """Rows in their order and number, with time stamps of this machine's clock; only the newest is handed over."""
    sender, inlet = outlet(lsl, "there"), None
    inlet = Inlet("there", 5.0)
    assert (inlet.channels, inlet.rate) == (4, 500.0)
    for k in range(40):
        sender.push_sample([k, 0.5, -k, 1e6])
    got: list[Any] = []

    def pull() -> bool:
        rows, stamps = inlet.pull(0.1)
        assert all(-0.01 < inlet.age(stamp) < 5.0 for stamp in stamps)
        got.extend(rows.copy())
        return len(got) == 40

    until(pull)
    np.testing.assert_array_equal(np.array(got), [[k, 0.5, -k, 1e6] for k in range(40)])
    assert inlet.received == 40 and inlet.losses == inlet.overflows == 0
    source = StreamSource(inlet)
    for k in range(10):
        sender.push_sample([k, 0, 0, 0])
    time.sleep(0.2)
    sample = source.read(1.0)
    assert sample is not None and sample.observation[0] == 9.0 and source.dropped == 9
    assert sample.moment is not None and 0.1e9 < time.perf_counter_ns() - sample.moment < 5e9
    assert source.read(0.0) is None
    inlet.close()


def test_a_source_that_dies_and_comes_back_is_survived(lsl: Any) -> None:
    """In between there are no samples; what it sends afterwards arrives."""
    sender, inlet = outlet(lsl, "mortal"), Inlet("mortal", 5.0)
    sender.push_sample([1, 2, 3, 4])
    assert until(lambda: len(inlet.pull(0.1)[1])) == 1
    del sender
    until(lambda: len(inlet.pull(0.01)[1]) == 0 and inlet.losses == 1)
    sender = outlet(lsl, "mortal")

    def again() -> bool:
        sender.push_sample([5, 6, 7, 8])
        rows, _ = inlet.pull(0.01)
        return bool(len(rows)) and rows[-1].tolist() == [5, 6, 7, 8]

    assert until(again)
    inlet.close()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels": 3}, "3 channels .*it had 4"), ({"rate": 250.0}, "250 Hz.*500 Hz"),
        ({"form": "double64"}, "float64.*float32"), ({"form": "string"}, "numbers"),
    ],
)  # fmt: skip
def test_a_source_that_comes_back_as_another_is_refused(lsl: Any, changed: dict[str, Any], message: str) -> None:
    """The loop ends with the safe action and says what has changed."""
    name = f"changing-{next(iter(changed.values()))}"
    sender, sent = outlet(lsl, name), []
    source = StreamSource(Inlet(name, 5.0))
    loop = LiveLoop(lambda seen: seen[:1], source, sent.append, watchdog=0.2, safe_action="safe")
    sender.push_sample([1, 2, 3, 4])

    def change() -> None:
        nonlocal sender
        sender = None
        time.sleep(0.5)
        sender = outlet(lsl, name, **changed)

    changer = threading.Timer(0.5, change)
    changer.start()
    with pytest.raises(SourceError, match=message):
        loop.run(seconds=20.0)
    changer.join()
    assert sent == [1.0, "safe", "safe"] and loop.counts.stalls == 1


def test_streams_that_are_not_one_are_refused(lsl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, two of a name, and one of words."""
    monkeypatch.setattr("threefactor.live.lsl.AGAIN", 1.0)
    with pytest.raises(SourceError, match=r"no stream 'nowhere'.*LSLAPICFG"):
        Inlet("nowhere", 0.2)
    twins = [outlet(lsl, "twin", mark=mark) for mark in ("-a", "-b")]
    with pytest.raises(SourceError, match=r"2 streams are named 'twin'.*source_id='twin-[ab]'"):
        Inlet("twin", 5.0)
    assert Inlet("source_id='twin-b'", 5.0).channels == 4
    words = outlet(lsl, "words", form="string")
    with pytest.raises(SourceError, match="does not hold numbers"):
        Inlet("words", 5.0)
    with pytest.raises(SourceError, match="quotes"):
        Inlet("""a'b"c""")
    with pytest.raises(ValueError, match="3 entries"):
        Outlet("mine", 2)([1.0, 2.0, 3.0])
    del twins, words


# --- the command -----------------------------------------------------------------------------------------------------


class Meanwhile(threading.Thread):
    """Runs while a block does, until `ended` is set at the block's end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()


class Pusher(Meanwhile):
    """Pushes rows of some streams at 100 Hz until it is stopped."""

    def __init__(self, push: Callable[[int], None]) -> None:
        super().__init__()
        self.push, self.pushed = push, 0

    def run(self) -> None:
        while not self.ended.wait(0.01):
            self.push(self.pushed)
            self.pushed += 1


@jitted
def test_stream_runs_a_decoder(lsl: Any, tmp_path: Path) -> None:
    """Counts in, velocity out, labels two bins late; what was learnt is saved, and nothing with --frozen."""
    counts, labels = outlet(lsl, "counts", 5, 100.0), outlet(lsl, "labels", 1, 100.0)
    decoder, path, saved = Decoder(5, 1, seed=1, n_hidden=12, most_late=4), tmp_path / "decoder", tmp_path / "saved"
    decoder.save(path)

    def push(k: int) -> None:
        now = lsl.local_clock()
        stamps.append(now)
        counts.push_sample([float(k % 3), 1, 0, 2, 1], now)
        if k >= 2:
            labels.push_sample([float(k % 3)], stamps[k - 2])

    stamps: list[float] = []
    arguments = ("stream", "--in", "counts", "--out", "velocity", "--checkpoint", path, "--reward", "labels", "--json")
    with Pusher(push):
        found = last_json(run(*arguments, "--seconds", 1.5, "--save", saved))
        assert found["answered"] > 80 and found["received"] >= found["answered"]
        assert found["received"] == found["answered"] + found["dropped"]
        assert found["refused"] == found["losses"] == found["overflows"] == 0
        assert found["unpaired"] + found["refused_labels"] <= 5 + 3 * found["dropped"]
        learnt = Decoder.load(saved).population.network.w_out.copy()
        last_json(run(*arguments, "--seconds", 0.5, "--save", saved, "--frozen"))
    before = decoder.population.network.w_out
    assert not np.array_equal(learnt, before)
    np.testing.assert_array_equal(Decoder.load(saved).population.network.w_out, before)


@jitted
def test_stream_runs_an_agent(lsl: Any, tmp_path: Path) -> None:
    """Observations in, actions out, rewards and ends beside; a paced loop."""
    space = Box(-1.0, 1.0, (2,), np.float64)
    seen, rewards = outlet(lsl, "seen", 3, 0.0), outlet(lsl, "rewards", 2, 0.0)
    path, saved = tmp_path / "agent", tmp_path / "saved"
    ActorCritic(3, space, seed=1, n_hidden=8).save(path)

    def push(k: int) -> None:
        rewards.push_sample([1.0, float(k % 20 == 19)])
        seen.push_sample(np.random.default_rng(k).normal(size=3).tolist())

    arguments = ("stream", "--in", "seen", "--out", "acts", "--checkpoint", path, "--reward", "rewards", "--json")
    with Pusher(push):
        found = last_json(run(*arguments, "--seconds", 1.0, "--rate", 50, "--save", saved))
    assert found["answered"] > 30 and found["refused"] == 0 and found["ticks"] <= 51
    assert ActorCritic.load(saved).steps > 25


def test_stream_refuses(lsl: Any, tmp_path: Path) -> None:
    """A stream, a checkpoint or a safe action that does not fit: exit code 2 and a message."""
    sender, path = outlet(lsl, "four"), tmp_path / "agent"
    ActorCritic(3, Discrete(2), n_hidden=4).save(path)
    given = ("stream", "--in", "four", "--out", "x", "--wait", 1)
    assert_refused(run(*given, "--checkpoint", path), "4 channels", "3")
    assert_refused(run(*given, "--checkpoint", tmp_path / "absent"), "absent")
    assert_refused(run(*given, "--checkpoint", path, "--safe", "1,2"), "--safe")
    assert_refused(run(*given, "--checkpoint", path, "--safe", "left"), "--safe")
    (tmp_path / "junk").write_text("junk")
    assert_refused(run(*given, "--checkpoint", tmp_path / "junk"), "junk")
    Decoder(4, 2, n_hidden=4).save(tmp_path / "decoder")
    assert_refused(run(*given, "--checkpoint", tmp_path / "decoder", "--reward", "four"), "labels", "4 channels")
    del sender
