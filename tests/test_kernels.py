"""What every kernel stands on: memory that starts on cache lines, and numbers that are not denormal."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from threefactor import Network
from threefactor._denormal import X86, ignore_denormals, restore
from threefactor._jit import kernel
from threefactor.arrays import LINE, Array, zeros


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_start_on_a_cache_line(dtype: str) -> None:
    """Whatever their size, and a network's state after a copy, too."""
    rows = [zeros(size, dtype) for size in (1, 7, 1000, 1_000_000)]
    network = Network(3, n_hidden=5, n_out=1, dtype=dtype)
    rows += [network.state, pickle.loads(pickle.dumps(network)).state]
    for row in rows:
        assert row.ctypes.data % LINE == 0 and row.flags.c_contiguous and row.dtype == dtype
    assert [row.size for row in rows[:4]] == [1, 7, 1000, 1_000_000] and not rows[3].any()


@kernel
def _shrink(x: Array, factor: float, flush: bool) -> None:
    word = ignore_denormals() if flush else 0
    for i in range(x.size):
        x[i] = x[i] * x.dtype.type(factor)
    if flush:
        restore(word)


FLUSHES = X86 and hasattr(_shrink, "overloads")  # only x86 processors are told so, and by compiled code


@pytest.mark.skipif(not FLUSHES, reason="this processor is not told to, or numba is switched off")
def test_denormal_numbers_are_zero_between_the_two_calls_alone() -> None:
    """Results and operands; what else a thread computes, before and after, is as ever."""
    x = np.array([2e-38, 1e-39, 1.0], dtype=np.float32)
    for flush, expected in ((False, x * np.float32(0.5)), (True, np.float32([0.0, 0.0, 0.5]))):
        row = x.copy()
        _shrink(row, 0.5, flush)
        np.testing.assert_array_equal(row, expected)
    assert (x * np.float32(0.5))[0] > 0


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "intentional"])
def test_what_nobody_feeds_becomes_zero(optimiser: str) -> None:
    """Traces and tags that decay hold no denormal number, and no other part of the process is touched."""
    dense = {"w_out": np.ones((2, 30))}  # rows that wait are not looked at meanwhile
    network = Network(4, 30, 2, optimiser=optimiser, tag_decay=0.8, seed=1, w_in_scale=3.0, masks=dense)
    error, spikes = np.ones(2), 0.0
    for t in range(4000):
        network.step(np.full(4, 1.0) * (t < 50))
        network.tag(error * (t < 50))
        spikes += network.spikes().sum() * (t < 50)
        if t in (50, 1500, 3999):
            network.update(1e-3)
    assert spikes > 20
    if FLUSHES:
        for named in (network.tags, network.traces):
            for name, values in named.items():
                assert not ((values != 0) & (np.abs(values) < np.finfo(values.dtype).tiny)).any(), name
    assert np.float32(1e-39) * np.float32(0.5) > 0
