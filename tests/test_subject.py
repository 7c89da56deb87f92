"""The simulated subject and the cursor on streams: who watches sees what happens, labels come late, nothing is lost."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs import Cursor
from tests.test_cli import assert_refused, last_json, run
from tests.test_lsl import FakeStream, Meanwhile, Pusher, jitted, lsl, outlet  # noqa: F401  (a fixture)
from threefactor.commands import subject
from threefactor.commands.subject import Bin, Changing, Imagined, Sender, Watcher, World
from threefactor.live.lsl import Inlet
from threefactor.live.streams import Held

# --- the cursor seen by others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"delay": 0}, {"drift": 20.0}, {"n_units": 5, "delay": 3}])
def test_who_watches_fires_as_who_moves(arguments: dict[str, Any]) -> None:
    """Neurons that see the cursor of another world do what they do in that world."""
    world, seen = Cursor(limit=60, **arguments), Cursor(limit=1, **arguments)
    _, info = world.reset(seed=3)
    seen.reset(seed=3)
    over, rng = False, np.random.default_rng(0)
    while not over:
        counts, _, terminated, truncated, info = world.step(rng.uniform(-1.0, 1.0, 2))
        np.testing.assert_array_equal(seen.watch(info["cursor"], info["target"]), counts)
        np.testing.assert_array_equal(seen.info()["intention"], info["intention"])
        over = terminated or truncated


def test_aim_is_straight_and_slower_when_near() -> None:
    """As the user intends who sees the cursor at once."""
    env = Cursor(delay=0, slowing=0.4)
    env.reset(seed=0)
    for cursor, wanted in {(0.2, 0.0): (0.75, 0.0), (-0.5, 0.0): (1.0, 0.0), (0.5, 0.3): (0.0, -0.75)}.items():
        env.watch(cursor, (0.5, 0.0))
        np.testing.assert_allclose(env.aim(), wanted, atol=1e-12)
        np.testing.assert_allclose(env.aim(), env.info()["intention"], atol=1e-12)


def test_watch_refuses_what_is_no_place() -> None:
    """And says so; nothing has changed. Before a reset there is no user yet."""
    env = Cursor()
    with pytest.raises(gym.error.ResetNeeded):
        env.watch((0.0, 0.0), (1.0, 0.0))
    env.reset(seed=0)
    before = env.world.copy()
    for cursor, target, name in (((0.0,), (0.0, 0.0), "cursor"), ((0.0, 0.0), (np.nan, 0.0), "target")):
        with pytest.raises(ValueError, match=rf"{name} is .*two finite numbers"):
            env.watch(cursor, target)
    np.testing.assert_array_equal(env.world, before)


# --- what the processes are made of ----------------------------------------------------------------------------------


def test_held_rows_grow_too_old() -> None:
    """The newest row stays until nothing has come for too long; rows that are not finite are passed over."""
    stream = FakeStream(2)
    held = Held(stream, 0.05)
    assert held.read().observation is None
    for k in range(1200):
        stream.put(0.01 * k, k, -k)
    stream.put(13.0, np.nan, 0.0)
    for _ in range(3):
        assert held.read().observation.tolist() == [1199.0, -1199.0]
    assert (held.refused, held.silences, stream.waiting) == (1, 0, [])
    time.sleep(0.06)
    assert held.read().observation is None and held.read().observation is None and held.silences == 1
    stream.put(14.0, 1.0, 2.0)
    assert held.read().observation.tolist() == [1.0, 2.0]


def test_world_tells_of_its_trials(tmp_path: Path) -> None:
    """A cursor that goes as intended hits each time; rewards, ends and the file say so. Without a command it stays."""
    path = tmp_path / "trials.csv"
    world = Imagined(Cursor(), 0, path)
    told = [world(None) for _ in range(600)]
    ends = [row.reward[1] for row in told]
    assert world.counted["bins"] == 600 and ends.count(1.0) == world.counted["trials"] == world.counted["hits"] >= 9
    assert all((row.reward[0] > 5.0) == (row.reward[1] == 1.0) for row in told)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["seconds"]) for row in rows] == pytest.approx(
        [0.02 * (k + 1) for k, end in enumerate(ends) if end]
    )
    assert sum(float(row["took"]) for row in rows) == pytest.approx(float(rows[-1]["seconds"]))
    silent = World(Cursor(), 0, path)
    told = [silent(None) for _ in range(401)]
    assert [row.screen[:2].tolist() for row in told] == [[0.0, 0.0]] * 401
    assert [row.reward[1] for row in told].count(2.0) == 2 and silent.counted["hits"] == 0


def test_who_sees_nothing_rests() -> None:
    """Then neurons fire as they do without an intention, and no label is told."""
    watcher = Watcher(Cursor(baseline=5.0, depth=5.0, preferred=np.zeros(96)), 0)
    aiming = [watcher(np.array([-0.5, 0.0, 0.5, 0.0])) for _ in range(200)]
    resting = [watcher(None) for _ in range(200)][20:]
    assert all(row.wanted is None for row in resting) and aiming[0].wanted.tolist() == [1.0, 0.0]
    assert np.mean([row.counts for row in aiming]) / 0.02 == pytest.approx(10.0, rel=0.1)
    assert np.mean([row.counts for row in resting]) / 0.02 == pytest.approx(5.0, rel=0.1)
    assert watcher.counted == {"bins": 400, "bins_at_rest": 200}


def test_neurons_change_when_they_are_meant_to() -> None:
    """After so many bins with an intention, a share falls silent and the rest turns, once."""
    env = Cursor(n_units=12)
    before = env.parameter("preferred")
    changing = Changing(Watcher(env, 0), 10, 0.25, 90.0, 0)
    screen = np.array([0.0, 0.0, 0.5, 0.0])
    for row in [screen] * 5 + [None] * 20 + [screen] * 5:
        changing(row)
    assert env.parameter("gain").all() and np.array_equal(env.parameter("preferred"), before)
    for _ in range(5):
        changing(screen)
    assert np.sum(env.parameter("gain") == 0.0) == 3
    np.testing.assert_allclose(env.parameter("preferred"), before + np.pi / 2)


def test_labels_come_late_with_stamps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each after so many bins, only where something was intended, and no more than so many."""

    class Clock:
        now = 0.0

        def local_clock(self) -> float:
            self.now += 1.0
            return self.now

    clock = Clock()
    monkeypatch.setattr(subject, "library", lambda: clock)
    counts, labels = list[tuple[Any, float]](), list[tuple[Any, float]]()
    outlets: Any = Bin(lambda *sent: counts.append(sent), lambda *sent: labels.append(sent))
    sender = Sender(outlets, late=2, told=3)
    for k in range(1, 9):
        sender(Bin(k, None if k == 2 else 10 * k, "not sent", "not sent"))
    assert counts == [(k, float(k)) for k in range(1, 9)]
    assert labels == [(10, 1.0), (30, 3.0), (40, 4.0)]


# --- the commands ----------------------------------------------------------------------------------------------------


def test_subject_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cursors at once; a missing package."""
    assert_refused(run("subject", "--out", "a", "--see", "b", "--in", "c"), "--see", "--in")
    monkeypatch.setitem(sys.modules, "pylsl", None)
    assert_refused(run("subject", "--out", "a"), "pipinstall'threefactor[lsl]'")
    assert_refused(run("cursor", "--in", "a", "--out", "b"), "pipinstall'threefactor[lsl]'")


class Collector(Meanwhile):
    """Opens streams as they come up, and keeps what they send."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        self.rows: dict[str, list[list[float]]] = {name: [] for name in names}
        self.stamps: dict[str, list[float]] = {name: [] for name in names}

    def run(self) -> None:
        inlets = {name: Inlet(name, 10.0) for name in self.names}
        while not self.ended.wait(0.02):
            for name, inlet in inlets.items():
                rows, stamps = inlet.pull()
                self.rows[name] += rows.tolist()
                self.stamps[name] += stamps


@jitted
def test_subject_sends_spikes_and_labels(lsl: Any) -> None:  # noqa: F811
    """In real time; a label has the time stamp of its bin."""
    names = ("its-spikes", "its-labels", "its-rewards")
    with Collector(*names) as found:
        options = ("--out", names[0], "--labels", names[1], "--rewards", names[2], "--late", "0.2", "--units", 10)
        report = last_json(run("subject", *options, "--seconds", 4.0, "--json"))
    assert report["bins"] + report["skipped"] == pytest.approx(200, abs=2) and report["hits"] >= 1
    stamps = found.stamps[names[0]]
    assert len(stamps) > 20 and 0.3 < np.mean(found.rows[names[0]]) / 0.2 < 3.0
    assert len(found.stamps[names[1]]) > 20
    inside = [stamp for stamp in found.stamps[names[1]] if stamps[0] < stamp < stamps[-1] - 0.01]
    assert len(inside) > 10
    assert all(np.min(np.abs(np.array(stamps) - stamp)) < 0.005 for stamp in inside)
    assert np.hypot(*np.array(found.rows[names[1]]).T).max() < 1.0 + 1e-6
    assert min(row[0] for row in found.rows[names[2]]) < 0.0


@jitted
def test_cursor_follows_commands_and_stops_without(lsl: Any, tmp_path: Path) -> None:  # noqa: F811
    """It moves as the velocity says, and stays where it is when that does not come any more."""
    sender, path = outlet(lsl, "its-velocity", 2, 100.0), tmp_path / "trials.csv"
    found = Collector("its-screen")

    def push(k: int) -> None:
        if len(found.rows["its-screen"]) < 100:
            sender.push_sample([np.nan, 0.0] if k % 2 else [-1.0, 0.5])

    options = ("--in", "its-velocity", "--out", "its-screen", "--trials", path, "--watchdog", 0.1)
    with found, Pusher(push):
        report = last_json(run("cursor", *options, "--seconds", 5.0, "--json"))
    screen = np.array(found.rows["its-screen"])
    moved = np.diff(screen[:, :2], axis=0)
    steps = moved[np.abs(moved).sum(1) > 0.0]
    ordinary = np.abs(steps - [-0.02, 0.01]).max(1) < 1e-6
    assert ordinary.sum() > 15 and report["refused_rows"] > 15 and report["refused"] == 0
    assert report["silences"] == 1 and np.abs(moved[-20:]).max() == 0.0
    assert np.allclose(np.hypot(*screen[:, 2:].T), 0.7)


def test_streams_of_another_form_are_refused(lsl: Any) -> None:  # noqa: F811
    """Three numbers are no velocity, and no cursor with its target."""
    sender = outlet(lsl, "three", 3, 100.0)
    assert_refused(run("cursor", "--in", "three", "--out", "x", "--wait", 2), "3 channels", "velocity")
    assert_refused(run("subject", "--see", "three", "--out", "x", "--wait", 2), "3 channels", "target")
    assert_refused(run("subject", "--in", "absent", "--out", "x", "--wait", 0.2), "no stream 'absent'")
    del sender


def test_processes_of_the_demo_end_with_it(lsl: Any, tmp_path: Path) -> None:  # noqa: F811
    """Also while they still look for each other, and if it fails."""
    from demos import closed_loop

    started = []

    def fail() -> None:
        waiting = ["cursor", "--in", "nowhere", "--out", "x"]
        done = ["cursor", "--help"]
        with closed_loop.process(done, tmp_path) as first, closed_loop.process(waiting, tmp_path) as second:
            started.extend([first, second])
            assert first.wait(30.0) == 0 and second.poll() is None
            raise RuntimeError("it failed")

    with pytest.raises(RuntimeError, match="it failed"):
        fail()
    assert [child.poll() is None for child in started] == [False, False]


@jitted
@pytest.mark.slow
def test_three_processes_learn() -> None:
    """A decoder that learns hits where one that does not misses; with neurons that say nothing it does not, either."""
    from demos import closed_loop

    rows = closed_loop.run_seed(0, (closed_loop.LEARNS, closed_loop.SILENT, closed_loop.NEVER), 1.0, 10.0)
    late = {condition: closed_loop.hit_rates(rows, condition, 20 / 60, 0.5) for condition in closed_loop.COLOURS}
    assert late[closed_loop.LEARNS][0] >= 75.0
    assert late[closed_loop.SILENT][0] <= 50.0 and late[closed_loop.NEVER][0] <= 50.0
