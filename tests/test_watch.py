"""The loop's side of the page: what it leaves on the board, what it does when asked; that watching changes nothing."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import typer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from controllers import ActorCritic, Decoder, Loop, Watched
from demos import watching
from demos.quadrotor_motor_loss import run_one
from tests.test_cli import last_json, run
from threefactor import Network, probes
from threefactor import layout as at
from threefactor.live import Driven, LiveLoop
from threefactor.watch import Control, Watch, WatchError, watch_agent, watch_loop
from threefactor.watch.board import ASKS, RETURNED, SAMPLED, SWEPT, TICKS, Board, Plan
from threefactor.watch.views import MOST_COLUMNS, MOST_NEURONS, MOST_ROWS, Views, network_of


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    """What is put in is closed in the end."""
    watches: list[Any] = []
    yield watches
    for watch in watches:
        watch.close()


def look(watch: Watch, *asked: tuple[str, float]) -> None:
    """Do to the board what the server does while somebody looks, and asks for something."""
    board = watch._board
    number = int(board.bell[0]) >> 1
    for k, (name, value) in enumerate(asked):
        board.asked[(number + k) % ASKS] = board.plan.controls.index(name), value
    board.bell[0] = 2 * (number + len(asked)) + 1


# --- kernels and views -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_agree_with_their_twins(dtype: type) -> None:
    """Rows of the ring go around; a gather leaves alone what is outside its range."""
    rng = np.random.default_rng(0)
    places = rng.permutation(50)[:7]
    ring, counts = np.zeros(3 * 7, np.float32), np.zeros(8, np.int64)
    expected = np.zeros((3, 7), np.float32)
    for k in range(5):
        state = rng.normal(size=50).astype(dtype)
        probes.record(ring, counts, state, places)
        expected[k % 3] = state[places]
    assert counts.tolist() == [5, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(ring.reshape(3, 7), expected)
    places[2] = -1
    out = np.full(7, 9.0, np.float32)
    probes.gather(out, state, np.ones(at.N_SWITCHES, np.int64), places, 1, 5)  # no rows wait for long
    np.testing.assert_array_equal(out, [9.0, *np.where(places < 0, 0.0, state[places])[1:5].astype(np.float32), 9, 9])


@pytest.mark.parametrize("recurrent", [False, True])
def test_what_waits_is_gathered_as_it_is_by_now(recurrent: bool) -> None:
    """Rows that were set back to a base are shown as a settling would leave them, and nothing is written."""
    network = Network(10, 20, 2, recurrent=recurrent, w_in_scale=3.0, dtype="float64", seed=1, learning_rate=0.01)
    views, rng = Views(network), np.random.default_rng(0)
    assert network.table[at.STRIDE] > 1
    for t in range(300):
        network.learn(network.step((rng.random(10) < 0.1) * (t % 90 < 80)) - 1.0)
        if t in (31, 32, 150, 201, 299):
            before, twin = network.state.copy(), pickle.loads(pickle.dumps(network))
            shown = np.zeros(views.maps.size)
            probes.gather(shown, network.state, network.table, views.maps, 0, views.maps.size)
            np.testing.assert_array_equal(network.state, before)
            twin._settle()
            np.testing.assert_allclose(shown, twin.state[views.maps], rtol=1e-12, atol=1e-13)
            assert np.abs(shown - before[views.maps]).max() > 1e-3


@pytest.mark.parametrize(
    "network",
    [
        Network(10, 20, 2, recurrent=True, w_in_scale=3.0, seed=1),
        Network(4, [8, 9], 1, w_in_scale=5.0, n_adaptive=[3, 0], dtype="float64", seed=1),
        Network(300, 200, 2, recurrent=True, bias=True, w_in_scale=3.0, seed=1),
        Network(10, 20, 2, w_in_scale=3.0, freeze_hidden=True, seed=1),
    ],
    ids=["recurrent", "stacked", "large", "frozen"],
)
def test_views_are_those_of_the_network(network: Network) -> None:
    """Spikes, voltages, weights and traces lie where the views say, in the order of the network's own."""
    views, rng = Views(network), np.random.default_rng(0)
    for _ in range(20):
        network.learn(network.step(rng.random(network.settings.n_in) < 0.5) - 1.0)
    layers = range(len(network.settings.n_hidden))
    spikes, voltages = (np.concatenate([each(k) for k in layers]) for each in (network.spikes, network.voltage))
    traces, weights = network.traces, network.weights  # both brought up to date
    shown = np.unique(np.linspace(0, spikes.size - 1, min(spikes.size, MOST_NEURONS)).astype(int))
    seen = network.state[views.ring]
    assert spikes.any()
    np.testing.assert_array_equal(seen, np.concatenate([spikes[shown], voltages[shown]]))
    assert (views.neurons, views.of_neurons) == (shown.size, spikes.size)
    start, half = 0, views.maps.size // 2
    for name, (rows, columns) in views.matrices.items():
        stop = start + rows * columns
        assert rows <= MOST_ROWS
        assert columns <= MOST_COLUMNS
        whole = weights[name]
        pick = np.ix_(
            *(
                np.unique(np.linspace(0, n - 1, m).astype(int))
                for n, m in zip(whole.shape, (rows, columns), strict=True)
            )
        )
        np.testing.assert_array_equal(network.state[views.maps[half + start : half + stop]], whole[pick].reshape(-1))
        filtered = np.broadcast_to(network._view(len(layers), at.ZBAR), whole.shape) if name == "w_out" else None
        expected = traces.get(name, filtered)
        if expected is None:
            assert network.settings.freeze_hidden
            assert (views.maps[start:stop] == -1).all()
        else:
            np.testing.assert_array_equal(network.state[views.maps[start:stop]], expected[pick].reshape(-1))
            assert np.any(expected)
        start = stop
    assert start == half
    assert list(views.matrices) == list(weights)


def test_networks_are_found() -> None:
    """In agents, decoders and users' own objects; a function has none."""
    env = gym.make("CartPole-v1")
    agent, decoder = ActorCritic.for_env(env), Decoder(3)
    assert network_of(agent) is agent.actor
    assert network_of(decoder) is decoder.population.network
    assert network_of(Driven(decoder).target) is decoder.population.network
    assert network_of(len) is None


# --- the board -------------------------------------------------------------------------------------------------------


def test_two_boards_share_their_memory(tmp_path: Path) -> None:
    """What is written on one is read on the other, as another process does; the file can be removed meanwhile."""
    given: dict[str, Any] = {"signals": ["a"], "durations": ["b"], "controls": ["pause"], "matrices": {"w": (2, 3)}}
    plan = Plan(title="t", neurons=3, of_neurons=5, v_th=1.0, **given)
    mine = Board.new(plan)
    try:
        other = Board(plan, mine.path)
        for k, name in enumerate(Board.__annotations__):
            getattr(mine, name)[:] = k + 1
        for k, name in enumerate(Board.__annotations__):
            assert (getattr(other, name) == k + 1).all(), name
    finally:
        mine.remove()
    assert not mine.path.exists()
    mine.say("é" * 1000)
    assert bytes(other.said).rstrip(b"\0").decode(errors="strict").startswith("é")


# --- in the loop -----------------------------------------------------------------------------------------------------


def test_a_tick_is_recorded_only_while_somebody_looks(opened: list[Any]) -> None:
    """Closed, nothing is copied; open, spikes at each tick, and the rest some times a second."""
    network = Network(4, 6, 1, w_in_scale=5.0, seed=1)
    opened.append(watch := Watch(network, "six"))
    board = watch._board
    network.step([1, 1, 1, 1])
    watch.tick()
    assert board.counts[TICKS] == 0
    look(watch)
    rows = []
    for k in range(30):
        network.step([1, 1, k % 2, 1])
        rows.append([*network.spikes(), *network.voltage()])
        watch._next = 0  # as if a frame's time had come
        watch.tick(reward=0.5, over=k == 10)
    assert np.any(np.array(rows)[:, :6])
    np.testing.assert_array_equal(board.ring[:30], np.array(rows, np.float32))
    assert board.counts[[TICKS, SAMPLED, RETURNED]].tolist() == [30, 30, 1]
    assert board.returns[0].tolist() == [10.0, 5.5]  # each of the 11 ticks, and none of the reward of the one before
    assert board.counts[SWEPT] == 30
    np.testing.assert_allclose(board.maps[1, :24], network.w_in.reshape(-1), rtol=1e-6)
    place = board.plan.signals.index("slope")
    assert board.samples[3, 1 + place] == network.slope


def test_what_is_asked_for_is_done(opened: list[Any]) -> None:
    """Values, refusals as messages, and more requests than the board has rows for."""
    done: list[float] = []

    def refuse(value: float) -> None:
        raise ValueError(f"no {value}")

    controls = {"slope": Control(done.append, lambda: done[-1] if done else 1.0), "save": Control(refuse, lambda: 0.0)}
    opened.append(watch := Watch(lambda: None, "none", controls=controls))
    look(watch, ("slope", 2.0), ("slope", 3.0), ("save", 1.0), ("pause", 1.0))
    watch.tick()
    assert done == [2.0, 3.0]
    assert watch.paused
    assert watch._board.values.tolist() == [1.0, 3.0, 0.0]
    assert bytes(watch._board.said).rstrip(b"\0") == b"save: no 1.0"
    watch._board.bell[0] += 2 * (ASKS + 5)  # a flood: the oldest are lost
    watch._board.asked[:, 0] = watch._board.plan.controls.index("slope")
    watch.tick()
    assert len(done) == 2 + ASKS


def test_watching_changes_no_digit(opened: list[Any]) -> None:
    """The same seed learns the same with a page open, and a pause in between, as with none."""

    def returns(watched: bool) -> list[float]:
        env = gym.make("CartPole-v1")
        agent = ActorCritic.for_env(env, seed=3)
        if watched:
            pauses: list[None] = []

            def go_on() -> bool:
                pauses.append(look(world.watch, ("pause", 0.0)))
                return False

            world = Watched(env, agent, ended=go_on)
            opened.append(world.watch)
            look(world.watch, ("pause", 1.0))
            assert world.watch._board.plan.title == "CartPole-v1"
            env = world  # type: ignore[assignment]
        found = [episode.episode_return for episode in Loop(agent, env, seed=3).run(1500)]
        assert not watched or len(pauses) == 1
        return found

    assert len(returns(True)) > 5
    assert returns(True) == returns(False)


def test_learning_is_switched_amid_an_episode(opened: list[Any]) -> None:
    """Off: greedy actions, no weight changes; on again: a new episode of learning."""
    env = gym.make("CartPole-v1")
    driven = Driven(agent := ActorCritic.for_env(env, seed=0))
    world = Watched(env, driven)
    opened.append(world.watch)
    loop = Loop(driven, world, seed=0)
    list(loop.run(300))
    look(world.watch, ("learning", 0.0))
    before, steps = agent.actor.w_out.copy(), agent.steps
    list(loop.run(600))
    assert world.watch._board.values[world.watch._board.plan.controls.index("learning")] == 0.0
    np.testing.assert_array_equal(agent.actor.w_out, before)
    assert agent.steps <= steps + 1  # the transition under way when it was asked
    look(world.watch, ("learning", 1.0), ("slope", 3.0))
    list(loop.run(900))
    assert agent.steps > steps + 200
    assert agent.slope == 3.0
    assert not np.array_equal(agent.actor.w_out, before)


def test_a_live_loop_is_steered(opened: list[Any]) -> None:
    """Pause: the safe action once, samples unanswered; learning and slope by the loop's own requests."""
    sent: list[Any] = []
    decoder = Decoder(3, 1)
    loop = LiveLoop(decoder, lambda: np.ones(3), sent.append, rate=2000, safe_action="safe", example=np.ones(3))
    opened.append(watch := watch_loop(loop, "a decoder", lambda: "saved"))
    loop.run(ticks=5)
    look(watch, ("pause", 1.0), ("learning", 0.0), ("slope", 2.5), ("save", 1.0))
    loop.run(ticks=10)
    assert loop.paused
    assert loop.counts.paused == 9  # asked for at the end of a tick, done at the beginning of the next
    assert loop.counts.answered == 6
    assert sent[-2:] == ["safe", "safe"]  # of the pause, and of the end
    assert decoder.slope == 2.5
    assert not decoder.learning
    assert bytes(watch._board.said).rstrip(b"\0") == b"saved"
    look(watch, ("pause", 0.0))
    loop.run(ticks=5)
    assert loop.counts.answered == 10
    watch._next = 0  # as if a frame's time had come
    loop.run(ticks=1)
    values = dict(zip(watch._board.plan.controls, watch._board.values, strict=True))
    assert watch._board.counts[TICKS] > 0
    assert values == {"pause": 0.0, "learning": 0.0, "slope": 2.5, "save": 1.0}
    assert watch._board.durations[0].sum() > 0


def test_the_server_ends_with_the_watch(opened: list[Any]) -> None:
    """Its process, and the file of the board."""
    watch = watch_agent(Driven(lambda x: x), "a function")
    server, path = watch._server, watch._board.path
    assert watch.url.startswith("http://127.0.0.1:")
    assert path.exists()
    watch.close()
    watch.close()
    assert server.returncode == 0
    assert not path.exists()


def test_a_port_that_is_taken_is_refused(opened: list[Any]) -> None:
    """With a message, and no file left behind."""
    opened.append(watch := Watch(lambda: None, "one"))
    port = int(watch.url.split(":")[2].split("/")[0])
    left = set(watch._board.path.parent.glob("threefactor-*.board"))
    with pytest.raises(WatchError, match=str(port)):
        Watch(lambda: None, "two", port=port)
    assert set(watch._board.path.parent.glob("threefactor-*.board")) == left


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    (tmp_path / "websockets").mkdir()
    (tmp_path / "websockets" / "__init__.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(WatchError, match=r"threefactor\[watch\]"):
        Watch(lambda: None, "none")


# --- commands and demos ----------------------------------------------------------------------------------------------


def test_training_is_watched(tmp_path: Path) -> None:
    """The address is printed; the numbers are those of a run that nobody watches."""
    given = ("train", "CartPole-v1", "--steps", "600", "--json")
    watched = run(*given, "--watch", "--out", str(tmp_path / "a"))
    assert watched.exit_code == 0
    assert "watch it at http://127.0.0.1:" in watched.stderr
    alone = run(*given, "--out", str(tmp_path / "b"))
    assert "watch it at" not in alone.stderr
    assert last_json(watched) | {"microseconds_per_step": 0} == last_json(alone) | {"microseconds_per_step": 0}


def test_a_demo_waits_for_a_viewer_and_keeps_the_worlds_time() -> None:
    """A flight of a second, watched from its beginning."""
    frames: list[bytes] = []

    def look_on() -> None:
        while not watching.worlds:
            time.sleep(0.01)
        address = watching.worlds[0].watch.url.split("#")[0].replace("http", "ws") + "live"
        with suppress(ConnectionClosed), connect(address) as connection:
            connection.send('{"type": "ready"}')
            for message in connection:
                if isinstance(message, bytes):
                    frames.append(message)
                    connection.send('{"type": "ready"}')

    viewer = threading.Thread(target=look_on)
    viewer.start()
    begun = time.monotonic()
    with pytest.raises(typer.Exit):
        watching.watch_one(run_one, ("a motor loses 30 %", "online", 0, 60, 40), "a flight")
    viewer.join(10.0)
    assert not viewer.is_alive()
    assert time.monotonic() - begun >= 1.0
    assert len(frames) > 5
    assert not watching.worlds
