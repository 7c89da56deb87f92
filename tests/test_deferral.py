"""Rows that wait: a network that defers its weight changes against one that touches every synapse each tick.

The dense twin has a mask that masks nothing, which sends it the way of all other settings. The
engine's own twin in plain NumPy (`test_engine_twin`) reads all weights each tick, so that there nothing waits.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from threefactor import Network
from threefactor import layout as at
from threefactor.deferral import BASES, HORIZON, bring_up, carry_on, horizon, list_rows, start_base
from threefactor.setback import pass_rows

N_IN, N_OUT = 9, 2
BASE: dict[str, Any] = {
    "n_hidden": 20, "dtype": "float64", "learning_rate": 0.001, "w_in_scale": 2.0, "threshold": 0.6, "seed": 5,
}  # fmt: skip
ADAPTATION = {"tau_adaptation": 150.0, "adaptation_strength": 0.15}
CASES: dict[str, dict[str, Any]] = {
    "recurrent": {}, "feed_forward": {"recurrent": False}, "bias": {"bias": True},
    "brisk_membrane": {"tau_m": 10.0},
    "fast_membrane": {"tau_m": 1.5, "w_in_scale": 3.0}, "no_membrane": {"tau_m": 0.01, "w_in_scale": 3.0},
    "fast_trace": {"tau_out": 2.0}, "no_trace": {"tau_out": 0.01}, "slow_trace": {"tau_trace": 300.0},
    "gains": {"current_gain": "one_minus_decay", "trace_gain": "unit", "w_in_scale": 15.0},
    "normalised": {"normalise_current": True, "w_in_scale": 1.0, "recurrent": False}, "softmax": {"readout": "softmax"},
    "refractory": {"refractory": 4.0}, "random_feedback": {"feedback": "random"},
    "adaptive_feedback": {"feedback": "adaptive"}, "stack": {"n_hidden": (20, 12)},
    "stack_direct": {"n_hidden": (20, 12), "feedback": "random", "credit": "direct", "bias": True},
    "alif": {"n_adaptive": 8, **ADAPTATION},
    "all_alif": {"n_adaptive": 20, **ADAPTATION, "tau_adaptation_longest": 600.0, "bias": True},
    "stack_alif": {"n_hidden": (20, 12), "n_adaptive": (6, 3), **ADAPTATION}, "feed_forward_alif": {
        "recurrent": False, "n_adaptive": 20, **ADAPTATION, "normalise_current": True, "w_in_scale": 1.0},
}  # fmt: skip
# cases that sum the gradients of a sequence
WHOLE = {"rate_strength": 300.0, "rate_target": 30.0, "rate_tau": math.inf}
SUMMED: dict[str, dict[str, Any]] = {
    "lif": {}, "alif": {"n_adaptive": 8, **ADAPTATION}, "adam": {"optimiser": "adam"}, "homeostasis": WHOLE,
    "homeostasis_alif_adam": {**WHOLE, "optimiser": "adam", "n_adaptive": 12, **ADAPTATION, "bias": True},
    "spike_cost": {"spike_l1": 0.1, "rate_tau": math.inf, "n_adaptive": 5}, "clipped": {"clip_norm": 0.1},
    "stack": {"n_hidden": (20, 12), "n_adaptive": (0, 6), **ADAPTATION, "clip_value": 0.01, "weight_decay": 0.1},
}  # fmt: skip


# cases driven by a TD error
TD: dict[str, dict[str, Any]] = {
    "recurrent": {}, "feed_forward": {"recurrent": False}, "adaptive_feedback": {"bias": True, "feedback": "adaptive"},
    "stack": {"n_hidden": (20, 12)}, "no_membrane": {"tau_m": 0.01}, "long_tags": {"tag_decay": 0.99},
    "stack_direct": {"n_hidden": (20, 12), "feedback": "random", "credit": "direct"},
    "slow_trace": {"tau_trace": 300.0}, "alif": {"n_adaptive": 8, **ADAPTATION},
    "all_alif": {"n_adaptive": 20, **ADAPTATION, "tau_adaptation_longest": 600.0, "bias": True},
    "stack_alif": {"n_hidden": (20, 12), "n_adaptive": (6, 3), **ADAPTATION},
}  # fmt: skip


def build(dense: bool = False, **settings: Any) -> Network:
    """A network of one of the cases, that defers or not."""
    masks = {"w_out": np.ones((N_OUT, np.atleast_1d({**BASE, **settings}["n_hidden"])[-1] + settings.get("bias", 0)))}
    network = Network(N_IN, n_out=N_OUT, masks=masks if dense else None, **{**BASE, **settings})
    assert (network.table[at.DEFERS] == at.NOTHING) == dense
    return network


def inputs(ticks: int, seed: int = 0, lull: int = 2 * HORIZON) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Spikes at 15 %, with lulls as long as any row may wait for, currents for a while, and errors.

    The errors do not depend on the readout: a closed loop would blow the last digit up.
    """
    rng = np.random.default_rng(seed)
    for t in range(ticks):
        x = (rng.random(N_IN) < 0.15) * 1.0
        if 300 < t % 700 < 300 + lull:
            x[:] = 0
        if 100 < t % 700 < 130:
            x = rng.normal(0.1, 0.3, N_IN)
        yield t, x, rng.normal(0, 0.5, N_OUT) + 0.3 * np.sin(t / 50)


def learn(network: Network, x: np.ndarray, error: np.ndarray) -> None:
    """One tick."""
    network.step(x)
    network.learn(error)


def deviation(network: Network, dense: Network) -> float:
    """Largest difference of weights, traces and neurons, relative to the largest entry of each array."""
    pairs = [(network.weights[name], dense.weights[name]) for name in dense.weights]
    pairs += [(network.traces[name], dense.traces[name]) for name in dense.traces]
    pairs += [(network.voltage(), dense.voltage()), (network.y, dense.y)]
    return float(max(np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in pairs))


@pytest.mark.parametrize("name", CASES)
def test_waiting_rows_reach_the_dense_weights(name: str) -> None:
    """After 2,000 ticks, looked at twice, all agree with the dense rule at 1e-12.

    Some of these networks blow the last digit up by themselves: then the measure is what a change of the first weights
    by a part in 10^16 makes of the dense twin.
    """
    network, dense, nudged = build(**CASES[name]), *(build(dense=True, **CASES[name]) for _ in range(2))
    nudged.w_in[:] *= 1 + np.finfo(np.float64).eps
    start, spikes = network.w_in.copy(), 0.0
    for t, x, error in inputs(2000):
        for each in (network, dense, nudged):
            learn(each, x, error)
        spikes += dense.spikes().mean()
        if t in (1234, 1999):
            assert deviation(network, dense) <= max(1e-12, 5 * deviation(nudged, dense))
    assert deviation(nudged, dense) < 1e-8
    assert 0.01 < spikes / 2000 < 0.6
    assert np.abs(network.w_in - start).max() > 1e-4


def test_bases_stand_apart_where_rows_can_be_set_back() -> None:
    """Every 32 or 16 ticks for slow decays; at every tick where a row is needed as it is, or decays are fast."""
    found = {name: int(build(**CASES[name]).table[at.STRIDE]) for name in CASES}
    assert found["recurrent"] == found["bias"] == 32
    assert found["brisk_membrane"] == 16
    assert {found[name] for name in ("fast_membrane", "no_trace", "normalised", "stack", "alif")} == {1}


@pytest.mark.parametrize("name", ["recurrent", "brisk_membrane", "fast_membrane", "alif"])
def test_lulls_longer_than_any_row_waits(name: str) -> None:
    """Silent rows are brought up to date in time."""
    network, dense = build(**CASES[name]), build(dense=True, **CASES[name])
    for _, x, error in inputs(1000, lull=3 * horizon(max(at.STRIDES))):
        learn(network, x, error)
        learn(dense, x, error)
    assert deviation(network, dense) <= 1e-12


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("stride", [16, 32])
def test_rows_set_back_against_the_dense_rule(stride: int, recurrent: bool) -> None:
    """Currents at each tick and what a settling leaves, of a few rows that spike often, now and then, or never."""
    rng, pre_n, n, alpha, kappa, gain = np.random.default_rng(stride), 23, 23, 0.95, 0.93, 0.3
    ring = horizon(stride)
    w, ebar, zbar = rng.normal(size=(pre_n, n)), np.zeros((pre_n, n)), np.zeros(pre_n)
    np.fill_diagonal(w, 0 if recurrent else 1)
    x, e, none = w.copy().reshape(-1), ebar.copy().reshape(-1), np.zeros((0, 1))
    age, base_zbar, due, composites = np.zeros(pre_n), np.zeros(pre_n), np.zeros(pre_n + 1), np.zeros((3 * BASES, n))
    kappa_powers, alpha_powers = kappa ** np.arange(ring + 1), alpha ** np.arange(ring + 1)
    chances = np.linspace(-0.2, 0.6, pre_n)
    for t in range(5 * ring):
        slot, pre, current = t % ring, (rng.random(32) < np.pad(chances, (0, 9))) * 1.0, np.zeros(n)
        pre, psi, s = pre[:pre_n].copy(), rng.random(n), 0.01 * rng.normal(size=n)
        expected, zbar = pre @ w, alpha * zbar + pre
        start_base(composites, 3, slot, stride)
        list_rows(due, np.pad(pre, (0, 9)), age, slot, ring, False)
        pass_rows(
            current, x, e, age, base_zbar, zbar, pre, due, composites.reshape(-1), kappa_powers, alpha_powers, slot,
            stride, recurrent,
        )  # fmt: skip
        np.testing.assert_allclose(current, expected, rtol=1e-12, atol=1e-12)
        ebar = kappa * ebar + gain * np.outer(zbar, psi)
        w += s * ebar
        if recurrent:
            np.fill_diagonal(w, 0)
        carry_on(composites, psi, s, kappa_powers, alpha_powers, gain, slot, stride, n)
        age += 1
        assert age.max() < ring
    x, e = x.reshape(w.shape), e.reshape(w.shape)
    list_rows(due, pre, age, 0, ring, True)
    bring_up(x, e, none, none, age, base_zbar, due, composites, none, kappa_powers, alpha_powers, 0, stride, recurrent)
    np.testing.assert_allclose(x, w, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(e, ebar, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SUMMED)
def test_waiting_rows_reach_the_dense_sums(name: str) -> None:
    """Sequences of which some ticks have an error: tags, weights and traces agree with the dense rule."""
    settings = {"tag_decay": 1.0, "learning_rate": 0.01, **SUMMED[name]}
    network, dense, nudged = build(**settings), *(build(dense=True, **settings) for _ in range(2))
    nudged.w_in[:] *= 1 + np.finfo(np.float64).eps
    start, largest = network.w_in.copy(), 0.0
    for t, x, error in inputs(1500):
        for each in (network, dense, nudged):
            each.step(x)
            if t % 250 >= 150:
                each.tag(error)
            if t % 250 == 249:
                each.reset()
                each.update(0.01)
                each.clear()
        if t % 250 == 230:
            largest = max(largest, float(np.abs(dense.tags["w_in"]).max()))
        if t in (230, 980):
            for matrix, tags in dense.tags.items():
                worst = np.abs(network.tags[matrix] - tags).max() / np.abs(tags).max()
                assert worst <= 1e-11 + 1e3 * deviation(nudged, dense)
    assert deviation(network, dense) <= max(1e-12, 10 * deviation(nudged, dense)) < 1e-8
    assert largest > 0.01
    assert np.abs(network.w_in - start).max() > 1e-4


@pytest.mark.parametrize("order", ["update_after_tag", "update_before_tag", "now_and_then"])
@pytest.mark.parametrize("name", TD)
def test_waiting_rows_reach_the_dense_tags(name: str, order: str) -> None:
    """Tags, traces and weights under a TD error that comes before or after the tick's tag, or at some ticks alone."""
    settings = {"tag_decay": 0.8, "learning_rate": 3e-4, **TD[name]}
    network, dense, nudged = build(**settings), *(build(dense=True, **settings) for _ in range(2))
    assert network.table[at.DEFERS] == at.TD
    nudged.w_in[:] *= 1 + np.finfo(np.float64).eps
    start, rng, spikes = network.w_in.copy(), np.random.default_rng(1), 0.0
    for t, x, error in inputs(1500):
        third, chance = rng.normal(), rng.random()
        for each in (network, dense, nudged):
            each.step(x)
            if order == "update_before_tag" or chance < 0.1:
                each.update(third)
            if order != "now_and_then" or chance < 0.6:
                each.tag(error)
            if order == "update_after_tag" or chance > 0.8:
                each.update(third)
            if order == "now_and_then" and chance > 0.97:
                each.clear()
        spikes += dense.spikes().mean()
        if t in (700, 1234, 1499):
            for matrix, tags in dense.tags.items():
                worst = np.abs(network.tags[matrix] - tags).max() / max(np.abs(tags).max(), 1e-3)
                assert worst <= 1e-11 + 1e3 * deviation(nudged, dense)
            assert deviation(network, dense) <= max(1e-12, 10 * deviation(nudged, dense)) < 1e-8
    assert 0.01 < spikes / 1500 < 0.6
    assert np.abs(network.w_in - start).max() > 1e-4


@pytest.mark.parametrize("tag_decay", [0.0, 0.8], ids=["learn", "td"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_ten_thousand_ticks(dtype: str, tolerance: float, tag_decay: float) -> None:
    """Errors do not build up: 10,000 ticks without a look."""
    network, dense = (
        build(dense=dense, dtype=dtype, learning_rate=3e-4 * (1 - tag_decay), tag_decay=tag_decay)
        for dense in (False, True)
    )
    for _, x, error in inputs(10_000):
        for each in (network, dense):
            each.step(x)
            if tag_decay:
                each.tag(error)
                each.update(1.0)
            else:
                each.learn(error)
    for name, w in dense.weights.items():
        assert np.abs(network.weights[name] - w).max() <= tolerance * max(1.0, np.abs(w).max())
    assert deviation(network, dense) <= 2 * tolerance


@pytest.mark.parametrize(
    "settings",
    [{}, {"tag_decay": 1.0, "n_adaptive": 8}, {"tag_decay": 0.7}, {"tag_decay": 0.7, "n_adaptive": 8}],
    ids=["weights", "sums", "td", "td_alif"],
)
def test_every_other_way_to_use_it(settings: dict[str, Any]) -> None:
    """Ticks without learning, resets, tags, updates and looks in between, in random order."""
    network, dense = build(**settings), build(dense=True, **settings)
    rng = np.random.default_rng(3)
    for _, x, error in inputs(2000):
        what, look = rng.random(), rng.random()
        for each in (network, dense):
            each.step(x)
            if look < 0.01:
                _ = each.weights
            if what < 0.5:
                each.learn(error)
            elif what < 0.85:
                each.tag(error)
            elif what < 0.88:
                each.tag(error)
                each.update(0.001)
            elif what < 0.89:
                each.clear()
            if look > 0.99:
                _ = each.traces
            if look > 0.998:
                each.reset()
    assert deviation(network, dense) <= 1e-11


def test_a_look_ahead_leaves_no_trace() -> None:
    """Who settles a network and has its neurons alone take a tick, as `controllers.decoder` does, changes nothing."""
    network, dense = build(), build(dense=True)
    for t, x, error in inputs(200):
        learn(network, x, error)
        learn(dense, x, error)
        if t % 7 == 0:
            network._settle()
            fast, table = network.fast.copy(), network.table.copy()
            network.table[at.DEFERS] = at.NOTHING
            network.step(np.ones(N_IN))
            network.fast[:], network.table[:] = fast, table
    assert deviation(network, dense) <= 1e-12


def test_a_weight_that_is_written_stays() -> None:
    """What waits is carried out before the caller gets the view to write to, not after."""
    network = build()
    for _, x, error in inputs(50):
        learn(network, x, error)
    network.w_in[:] = 7.0
    np.testing.assert_array_equal(network.w_in, 7.0)
    network.step(np.zeros(N_IN))
    np.testing.assert_array_equal(network.w_in, 7.0)


@pytest.mark.parametrize("way", ["save", "pickle"])
def test_a_copy_goes_on_to_the_bit(way: str, tmp_path: Path) -> None:
    """A checkpoint holds what waits, and writing one changes nothing."""
    network, witness = build(dtype="float32"), build(dtype="float32")
    for t, x, error in inputs(400):
        learn(network, x, error)
        learn(witness, x, error)
        if t == 200:
            if way == "save":
                network.save(tmp_path / "network")
                network = Network.load(tmp_path / "network")
            else:
                network = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(network.state, witness.state)
    np.testing.assert_array_equal(network.table, witness.table)


def test_only_where_the_rule_is_linear_in_the_gradient() -> None:
    """Settings that need each tick's gradient keep no ring."""
    for settings in (
        {"optimiser": "adam"}, {"optimiser": "obgd"}, {"clip_value": 1.0}, {"clip_norm": 1.0}, {"weight_min": -1.0},
        {"weight_decay": 0.1}, {"rate_strength": 1.0}, {"spike_l1": 0.1}, {"voltage_l2": 0.1}, {"exact_reset": True},
        {"freeze_hidden": True}, {"masks": {"w_in": np.ones((20, N_IN))}}, {"tag_decay": 1.0, "exact_reset": True},
        {"tag_decay": 1.0, "rate_strength": 1.0}, {"tag_decay": 1.0, "freeze_hidden": True},
        {"optimiser": "intentional"}, {"optimiser": "intentional", "tag_decay": 1.0},
    ):  # fmt: skip
        network = Network(N_IN, n_out=N_OUT, **{**BASE, **settings})
        assert network.table[at.DEFERS] == at.NOTHING, settings
        assert not at.has(network.table, 0, at.COMPOSITES), settings
