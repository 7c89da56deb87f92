"""BrainFlow as a source: the synthetic board, losses, time stamps, refusals; needs no hardware."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_cli import assert_refused, last_json, run
from tests.test_lsl import jitted, lsl  # noqa: F401  (a fixture)
from threefactor.live import LiveLoop, SourceError
from threefactor.live import brainflow as flow
from threefactor.live.brainflow import BoardStream, Numbers
from threefactor.live.streams import StreamSource


@pytest.fixture
def board() -> Iterator[BoardStream]:
    """The synthetic board."""
    needed()
    opened = BoardStream(-1)
    yield opened
    opened.close()


def needed() -> None:
    """Skip where the package is missing."""
    try:
        flow.library()
    except SourceError as error:
        pytest.skip(f"{error}")


@pytest.mark.parametrize(
    ("numbers", "losses"),
    [
        ([*range(250, 256), *range(256), *range(4)], 0), ([1, 2, 3, 6, 7], 1), ([5, 5, 5, 6, 6, 6, 7], 0),
        ([5, 5, 6, 6, 9, 9, 10], 1), ([0, 2, 4, 6, 10, 12], 1), ([0, 2, 4, 0, 2, 4, 0, 4], 1),
        ([0, 1, 2, 3, 0, 1, 2, 0, 1], 1), ([8, 9, 0, 1, 2, 8, 9, 4, 5], 2), ([7], 0), ([], 0),
    ],
)  # fmt: skip
def test_jumps_of_package_numbers(numbers: list[int], losses: int) -> None:
    """They are counted however the numbers come in, also where they begin anew; steps of two are a board's own."""
    whole, split = Numbers(), Numbers()
    assert whole.jumps(numbers) == losses
    assert sum(split.jumps([number]) for number in numbers) == losses


def test_what_the_board_measures_arrives(board: BoardStream) -> None:
    """All channels at its rate, in order, with time stamps of this clock; nothing is lost."""
    assert (board.channels, board.rate) == (16, 250.0)
    rows, stamps = [], list[float]()
    began = time.time()
    while board.received < 200:
        pulled, when = board.pull(0.5)
        assert len(pulled) == len(when) and all(-0.01 < board.age(stamp) < 2.0 for stamp in when)
        rows += pulled.tolist()
        stamps += when
    assert began - 0.1 < stamps[0] and stamps == sorted(stamps)
    assert np.median(np.diff(stamps)) == pytest.approx(0.004, rel=0.3)
    assert np.array(rows).shape == (board.received, 16) and np.std(rows, axis=0).min() > 1.0
    assert board.losses == board.overflows == 0


def test_time_stamps_are_told_in_another_clock() -> None:
    """One that started elsewhere."""
    needed()
    board = BoardStream(-1, channels=[1, 5, 2], clock=lambda: time.time() - 1e6)
    _, stamps = board.pull(1.0)
    assert board.channels == 3 and stamps[0] == pytest.approx(time.time() - 1e6, abs=1.0)
    assert -0.01 < board.age(stamps[0]) < 1.0
    board.close()
    with pytest.raises(SourceError, match="can no longer be read"):
        board.pull()


def test_waits_no_longer_than_it_may(board: BoardStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board from which nothing comes gives nothing; one that waited too long has overflown."""
    monkeypatch.setattr(board._board, "get_board_data_count", lambda: 0)
    began = time.monotonic()
    rows, stamps = board.pull(0.1)
    assert rows.shape == (0, 16) and stamps == [] and 0.1 <= time.monotonic() - began < 1.0
    monkeypatch.setattr(board._board, "get_board_data_count", lambda: 60 * 250)
    monkeypatch.setattr(board._board, "get_board_data", lambda most: np.zeros((32, most)))
    board.pull()
    assert board.overflows == 1 and board.received == 512


def test_a_loop_follows_the_board(board: BoardStream) -> None:
    """Each sample is answered, or counted as dropped."""
    source, sent = StreamSource(board), list[Any]()
    LiveLoop(lambda seen: seen[:2], source, sent.append).run(ticks=50)
    assert len(sent) == 50 and board.received == 50 + source.dropped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"board_id": 12345}, "no board 12345.*BoardIds"), ({"board_id": 0}, "board 0 cannot be opened"),
        ({"serial_prt": "x"}, "no setting 'serial_prt'; it has serial_port"), ({"ip_port": "x"}, "ip_port is 'x'"),
        ({"channels": [99]}, "0 to 31"), ({"channels": []}, "measures no potentials"),
        ({"board_id": -3}, "needs master_board"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_refused(arguments: dict[str, Any], message: str) -> None:
    """And said so."""
    needed()
    with pytest.raises(SourceError, match=message):
        BoardStream(**arguments)


def test_without_brainflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for any other package that is not needed everywhere."""
    monkeypatch.setitem(sys.modules, "brainflow", None)
    with pytest.raises(SourceError, match=r"pip install 'threefactor\[brainflow\]'"):
        BoardStream()


@jitted
def test_stream_runs_on_a_board(lsl: Any, tmp_path: Path) -> None:  # noqa: F811
    """`--in brainflow:-1` opens the synthetic board; bad forms are refused."""
    needed()
    (tmp_path / "fresh.toml").write_text("n_out = 2\n[decoder]\nn_hidden = 8\n")
    options = ("--out", "decoded", "--config", tmp_path / "fresh.toml")
    found = last_json(run("stream", "--in", "brainflow:-1", *options, "--seconds", 1.0, "--json"))
    assert found["answered"] > 50 and found["received"] == found["answered"] + found["dropped"]
    assert found["losses"] == 0
    assert_refused(run("stream", "--in", "brainflow:board", *options), "brainflow:BOARD_ID")
    assert_refused(run("stream", "--in", "brainflow:-1,serial_port", *options), "NAME=VALUE")
    assert_refused(run("stream", "--in", "brainflow:-1,serial=x", *options), "no setting 'serial'")
    assert_refused(run("stream", "--in", "brainflow:-1,clock=x", *options), "cannot be set")
