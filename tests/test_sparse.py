"""Sparse connectivity: rows of entries against the same network stored whole, with masks."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from controllers import BPTT
from tests.test_deferral import ADAPTATION, BASE, N_IN, N_OUT, inputs
from threefactor import CheckpointError, Network, deferral
from threefactor import layout as at

CASES: dict[str, dict[str, Any]] = {
    "recurrent": {}, "feed_forward": {"recurrent": False}, "bias": {"bias": True}, "stack": {"n_hidden": (20, 12)},
    "stack_direct": {"n_hidden": (20, 12), "feedback": "random", "credit": "direct", "bias": True},
    "alif": {"n_adaptive": 8, **ADAPTATION}, "all_alif": {"n_adaptive": 20, **ADAPTATION, "bias": True},
    "stack_alif": {"n_hidden": (20, 12), "n_adaptive": (6, 3), **ADAPTATION}, "no_membrane": {"tau_m": 0.01},
}  # fmt: skip


def patterns(settings: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random connectivity of all hidden matrices, one input without any connection."""
    rng, found, below = np.random.default_rng(seed), {}, N_IN
    for block, n in enumerate(np.atleast_1d(settings["n_hidden"])):
        tail = f"_{block}" if block else ""
        found["w_in" + tail] = (rng.random((n, below + settings.get("bias", 0))) < 0.5) * 1.0
        if settings.get("recurrent", True):
            found["w_rec" + tail] = (rng.random((n, n)) < 0.4) * (1.0 - np.eye(n))
        below = n
    found["w_in"][:, 2] = 0
    return found


def pair(dtype: str = "float64", **case: Any) -> tuple[Network, Network]:
    """A sparse network, and one with the same weights that keeps and touches all entries."""
    settings = {**BASE, "dtype": dtype, **case}
    masks = patterns(settings)
    sparse, whole = (
        Network(N_IN, n_out=N_OUT, masks={name: kind(mask) for name, mask in masks.items()}, **settings)
        for kind in (scipy.sparse.coo_array, np.asarray)
    )
    for name, w in sparse.weights.items():
        whole.weights[name][:] = dense(w)
    for name, b in sparse.feedback.items():
        whole.feedback[name][:] = b
    return sparse, whole


def dense(matrix: Any) -> np.ndarray:
    """A matrix as an array."""
    return matrix.toarray() if scipy.sparse.issparse(matrix) else matrix


def deviation(sparse: Network, whole: Network) -> float:
    """Largest difference of weights, traces of connected synapses and neurons, relative to each array's largest."""
    masks = {name: dense(w) != 0 for name, w in sparse.weights.items()}
    pairs = [(dense(w), whole.weights[name]) for name, w in sparse.weights.items()]
    pairs += [(dense(e), whole.traces[name] * masks[name]) for name, e in sparse.traces.items()]
    pairs += [(sparse.voltage(), whole.voltage()), (sparse.y, whole.y)]
    return float(max(np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in pairs))


@pytest.mark.parametrize("name", CASES)
def test_sparse_rows_reach_the_weights_of_the_whole_matrix(name: str) -> None:
    """After 2,000 ticks, looked at twice, all agree at 1e-12, or as far as the network lets a last digit be."""
    sparse, whole = pair(**CASES[name])
    _, nudged = pair(**CASES[name])
    nudged.w_in[:] *= 1 + np.finfo(np.float64).eps
    start, spikes = dense(sparse.weights["w_in"]), 0.0
    for t, x, error in inputs(2000):
        for each in (sparse, whole, nudged):
            each.step(x)
            each.learn(error)
        spikes += sparse.spikes().mean()
        if t in (1234, 1999):
            assert deviation(sparse, whole) <= max(1e-12, 5 * deviation(sparse, nudged))
    assert deviation(sparse, whole) < 1e-8
    assert 0.01 < spikes / 2000 < 0.6
    assert np.abs(dense(sparse.weights["w_in"]) - start).max() > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_sparse_rows_reach_the_tags_of_the_whole_matrix(name: str) -> None:
    """Driven by a TD error, or learning at once in between, with updates before or after the tick's tag."""
    settings = {"tag_decay": 0.8, "learning_rate": 3e-4, **CASES[name]}
    sparse, whole = pair(**settings)
    _, nudged = pair(**settings)
    nudged.w_in[:] *= 1 + np.finfo(np.float64).eps
    start, rng, largest = dense(sparse.weights["w_in"]), np.random.default_rng(1), 0.0
    for t, x, error in inputs(1500):
        third, chance = rng.normal(), rng.random()
        for each in (sparse, whole, nudged):
            each.step(x)
            if chance < 0.2:
                each.update(third)
            if chance < 0.9:
                each.tag(error)
            elif chance < 0.95:
                each.learn(error)
            if chance > 0.5:
                each.update(third)
            if chance > 0.98:
                each.clear()
            if 0.3 < chance < 0.31:  # a look, and then an update of what nobody waits with
                _ = each.tags
                each.update(third)
            if 0.4 < chance < 0.403:
                each.reset()
        if t in (700, 1234, 1499):
            for matrix, tags in sparse.tags.items():
                connected = dense(sparse.weights[matrix]) != 0
                expected = whole.tags[matrix] * connected
                largest = max(largest, float(np.abs(expected).max()))
                worst = np.abs(dense(tags) - expected).max() / max(np.abs(expected).max(), 1e-3)
                assert worst <= 1e-11 + 1e3 * deviation(sparse, nudged)
            assert deviation(sparse, whole) <= max(1e-12, 10 * deviation(sparse, nudged)) < 1e-8
    assert np.abs(dense(sparse.weights["w_in"]) - start).max() > 1e-4
    assert largest > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_ten_thousand_ticks(dtype: str, tolerance: float) -> None:
    """Errors do not build up: the weights are those of the whole matrix in double precision."""
    sparse, _ = pair(dtype, learning_rate=3e-4)
    _, whole = pair(learning_rate=3e-4)
    for name, w in sparse.weights.items():
        whole.weights[name][:] = dense(w)
    for _, x, error in inputs(10_000):
        for each in (sparse, whole):
            each.step(x)
            each.learn(error)
    for name, w in sparse.weights.items():
        np.testing.assert_allclose(dense(w), whole.weights[name], rtol=0.0, atol=tolerance, err_msg=name)


def test_ticks_without_learning_resets_and_looks() -> None:
    """In random order, by either call."""
    sparse, whole = pair(n_adaptive=8, **ADAPTATION)
    rng = np.random.default_rng(3)
    for _, x, error in inputs(2000):
        what = rng.random()
        for each in (sparse, whole):
            if what < 0.3 and each.table[at.PENDING]:
                each.learn_and_step(error, x)
            else:
                each.step(x)
            if 0.3 < what < 0.8:
                each.learn(error)
            if what > 0.99:
                _ = each.traces
            if what > 0.997:
                each.reset()
    assert deviation(sparse, whole) <= 1e-11


def test_only_what_exists_is_stored() -> None:
    """Weights, traces and targets: three numbers an entry; 3,000 of a million possible synapses are cheap."""
    rng = np.random.default_rng(0)
    entries = scipy.sparse.coo_array((np.ones(3000), (rng.integers(0, 500, 3000), rng.integers(500, 1000, 3000))))
    entries.resize(1000, 1000)
    network = Network(
        5, 1000, 1, masks={"w_rec": entries, "w_in": scipy.sparse.csr_array(np.ones((1000, 5)))}, w_in_scale=3.0
    )
    assert network.weights["w_rec"].nnz == np.unique(np.array(entries.coords), axis=1).shape[1]
    assert network.state.size < 3 * deferral.HORIZON * 1000 + 60_000  # three composites of each base, and little else
    deviation = network.weights["w_in"].data.std()
    assert deviation == pytest.approx(3.0 / np.sqrt(5), rel=0.1)


@pytest.mark.parametrize("way", ["save", "pickle"])
def test_a_copy_goes_on_to_the_bit(way: str, tmp_path: Path) -> None:
    """A checkpoint holds the connectivity and what waits, and writing one changes nothing."""
    (network, _), (witness, _) = pair("float32"), pair("float32")
    for t, x, error in inputs(400):
        for each in (network, witness):
            each.step(x)
            each.learn(error)
        if t == 200 and way == "save":
            network.save(tmp_path / "network")
            network = Network.load(tmp_path / "network")
        elif t == 200:
            network = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(network.state, witness.state)
    np.testing.assert_array_equal(network.table, witness.table)
    with pytest.raises(CheckpointError, match="checkpoint"):
        pair("float64")[0].put(network.arrays())


@pytest.mark.parametrize(
    ("masks", "settings", "message"),
    [
        ({"w_up": np.ones((20, 9))}, {}, "'w_up'; this network can have them for w_in, w_rec"),
        ({"w_out": np.ones((2, 20))}, {}, "can have them for w_in, w_rec"),
        ({"w_rec": np.eye(20)}, {}, "clear its diagonal"),
        ({"w_in": np.ones((9, 20))}, {}, r"has shape \(9, 20\); it must be \(20, 9\)"),
        ({"w_in": np.full((20, 9), 0.5)}, {}, "must hold ones alone"),
        ({"w_in": np.zeros((20, 9))}, {}, "has no entry"),
        ({"w_in": np.ones((20, 9))}, {"optimiser": "adam"}, "sparse masks need plain descent"),
        ({"w_in": np.ones((20, 9))}, {"tag_decay": 1.0}, "sparse masks need plain descent"),
        ({"w_in": np.ones((20, 9))}, {"clip_norm": 1.0}, "sparse masks need plain descent"),
    ],
)
def test_wrong_masks_are_named(masks: dict[str, np.ndarray], settings: dict[str, Any], message: str) -> None:
    """What is no connectivity of this network, and what a sparse one cannot learn by."""
    with pytest.raises(ValueError, match=message):
        Network(
            N_IN, n_out=N_OUT, masks={k: scipy.sparse.csr_array(v) for k, v in masks.items()}, **{**BASE, **settings}
        )


def test_what_a_sparse_network_does_not_do() -> None:
    """Dense masks beside sparse ones, sums of gradients, histories for BPTT: refused, and nothing changes."""
    masks = {"w_in": scipy.sparse.csr_array(np.ones((20, 9))), "w_rec": np.ones((20, 20))}
    with pytest.raises(ValueError, match="no dense masks beside them"):
        Network(N_IN, n_out=N_OUT, masks=masks, **BASE)
    network, _ = pair()
    network.step(np.ones(N_IN))
    before = network.state.copy()
    with pytest.raises(RuntimeError, match="keeps no tags unless they decay"):
        network.tag(np.ones(N_OUT))
    np.testing.assert_array_equal(network.state, before)
    with pytest.raises(ValueError, match="sparse"):
        BPTT(network)
