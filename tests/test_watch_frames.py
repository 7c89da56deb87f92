"""Frames of the page: what is in them, who gets them, and that a page at which nobody looks costs the loop nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.boards import PLAN, Pretence, Served, Viewer, wait_for
from threefactor.watch.board import RING, SWEPT, TICKS
from threefactor.watch.frames import FULL, MARGIN, MISSING, quantised
from threefactor.watch.server import LOOKING

pytest.importorskip("websockets", reason="needs websockets, the extra `watch`")


def test_a_frame_holds_what_is_new(pretence: Pretence, served: Served) -> None:
    """Spikes, voltages, samples, returns and histograms as they are on the board; each once."""
    board, n = pretence.board, PLAN.neurons
    pretence.run(700)
    with Viewer(served.address) as viewer:
        header, arrays = viewer.frame()
        assert header["tick"] == board.counts[TICKS] == header["first"] + header["rows"]
        rows = board.ring[np.arange(header["first"], header["tick"]) % RING]
        spikes = np.unpackbits(arrays["spikes"].reshape(len(rows), -1), axis=1, count=n, bitorder="little")
        assert rows[:, :n].any() and np.array_equal(spikes, rows[:, :n])
        assert np.allclose(arrays["voltages"].reshape(-1, n) / FULL * PLAN.v_th, rows[:, n:], atol=0.5 / FULL)
        samples = int(board.counts[1])
        assert np.array_equal(arrays["samples"], board.samples[:samples].ravel())
        assert np.array_equal(arrays["returns"], board.returns[: board.counts[2]].ravel())
        counts = arrays["durations"].reshape(len(PLAN.durations), -1)
        assert counts.sum() == board.durations.sum() and header["longest"] == board.largest.tolist()
        assert np.array_equal(counts, board.durations[:, header["lowest"] : header["lowest"] + counts.shape[1]])
        assert header["values"] == board.values.tolist()
        header, arrays = viewer.frame()
        assert header["rows"] == arrays["samples"].size == arrays["returns"].size == 0
        assert "spikes" not in arrays and "traces" not in arrays and "durations" not in arrays
        pretence.run(30)
        board.say("µ is a letter")
        header, arrays = viewer.frame()
        assert header["rows"] == 30 and arrays["voltages"].size == 30 * n and header["said"] == "µ is a letter"


def test_rows_that_may_be_written_anew_are_left_out(pretence: Pretence, served: Served) -> None:
    """A viewer that was away for long gets what is left of the ring."""
    with Viewer(served.address) as viewer:
        viewer.frame()
        pretence.run(RING + 200)
        header, arrays = viewer.frame()
        assert header["rows"] == RING - MARGIN and header["first"] == pretence.tick - header["rows"]
        rows = pretence.board.ring[np.arange(header["first"], header["tick"]) % RING, PLAN.neurons :]
        assert np.array_equal(arrays["voltages"].reshape(rows.shape), quantised(rows, PLAN.v_th / FULL))


def test_maps_come_after_each_sweep(pretence: Pretence, served: Served) -> None:
    """Weights as their change since the first sweep, or since one compared from then on."""
    board = pretence.board
    pretence.run(50)
    with Viewer(served.address) as viewer, Viewer(served.address) as other:
        viewer.frame(), other.frame()
        before = board.maps[1].copy()
        viewer.say(type="compare")
        header, arrays = viewer.frame()
        assert not arrays["change"].any() and header["since"] < 5.0
        board.maps[1] = before
        board.maps[1, : 60 * 12] += np.linspace(-0.2, 0.2, 60 * 12, dtype=np.float32)
        board.maps[0, 0] = np.nan
        board.counts[SWEPT] += 1
        header, arrays = viewer.frame()
        assert 0.195 < header["change_scales"][0] <= 0.2 and header["change_scales"][1:] == [0.0, 0.0]
        change = arrays["change"][: 60 * 12] / 127 * header["change_scales"][0]
        assert np.allclose(change, np.linspace(-0.2, 0.2, 60 * 12), atol=3e-3)
        assert not arrays["change"][60 * 12 :].any() and arrays["traces"][0] == MISSING
        assert "traces" not in viewer.frame()[1]
        assert other.frame()[0]["since"] > header["since"]  # what one compares is no concern of the other


def test_one_large_entry_does_not_hide_the_others() -> None:
    """What is not a number is said to be none, what is too large is cut."""
    values = np.array([np.nan, -9.0, 9.0, 0.5, np.inf, 0.0], np.float32)
    assert quantised(values, 1 / 127).tolist() == [MISSING, -127, 127, 64, 127, 0]
    assert quantised(np.zeros(2, np.float32), 0.0).tolist() == [0, 0]


def test_frames_come_at_most_20_times_a_second(pretence: Pretence, served: Served) -> None:
    """However often a viewer says that it is ready."""
    with Viewer(served.address) as viewer:
        viewer.frame()
        start, frames = time.monotonic(), 0
        while time.monotonic() - start < 1.0:
            viewer.say(type="ready")  # too often does not help
            viewer.frame()
            frames += 1
        assert frames <= 21 * (time.monotonic() - start) + 1


# --- who does not look costs nothing ---------------------------------------------------------------------------------


def test_a_slow_viewer_gets_none_and_the_bell_falls_silent(pretence: Pretence, served: Served) -> None:
    """One frame for one readiness; two seconds later nobody looks, until it is ready again."""
    bell = pretence.board.bell
    with Viewer(served.address) as viewer:
        assert not bell[0] & 1
        viewer.frame()
        assert bell[0] & 1
        with pytest.raises(TimeoutError):
            viewer.receive(0.3)
        assert wait_for(lambda: not bell[0] & 1) > LOOKING - 1.0
        pretence.run(10)
        viewer.frame()
        assert bell[0] & 1
    assert wait_for(lambda: not bell[0] & 1) < 1.0  # gone


def test_dropped_frames_are_counted(pretence: Pretence, served: Served) -> None:
    """While others looked on."""
    with Viewer(served.address) as slow, Viewer(served.address) as quick:
        assert slow.frame()[0]["dropped"] == 0
        for _ in range(10):
            quick.frame()
        assert slow.frame()[0]["dropped"] >= 8
        assert quick.frame()[0]["dropped"] <= 5


def test_a_hidden_page_costs_nothing(pretence: Pretence, served: Served) -> None:
    """It says so, and the bell falls silent at once."""
    bell = pretence.board.bell
    with Viewer(served.address) as viewer:
        viewer.frame()
        viewer.say(type="away")
        assert wait_for(lambda: not bell[0] & 1) < 1.0
        dropped = viewer.frame()[0]["dropped"]
        viewer.say(type="away")
        time.sleep(0.3)
        assert viewer.frame()[0]["dropped"] <= dropped + 1  # a frame that it did not want was not dropped
