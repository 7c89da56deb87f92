"""The intentional optimiser: an update changes the prediction by the intended share of the error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from threefactor import Network
from threefactor import layout as at
from threefactor.traces import measure_traces, tag_traces

N_IN, RATE, THIRD = 8, 0.05, 0.3
NETWORK: dict[str, Any] = {
    "n_in": N_IN, "n_hidden": 20, "n_out": 1, "optimiser": "intentional", "learning_rate": RATE, "dtype": "float64",
    "tau_m": 10.0, "tau_out": 8.0, "threshold": 0.6, "w_in_scale": 1.5, "surrogate": "fast_sigmoid", "seed": 3,
}  # fmt: skip


def predicted_change(network: Network, third: float) -> float:
    """What an update does to the prediction to first order; the tags are those of its gradient, times -1."""
    tags, before = network.tags, {name: w.copy() for name, w in network.weights.items()}
    network.update(third)
    return -sum(float(np.sum((network.weights[name] - w) * tags[name])) for name, w in before.items() if name in tags)


@pytest.mark.parametrize("learning", [{"freeze_hidden": True}, {"recurrent": False}], ids=["readout", "all"])
def test_constant_input_changes_the_prediction_by_the_share_asked_for(learning: dict[str, Any]) -> None:
    """With all neurons spiking at every tick the gradient is constant: an update moves y by rate x third, exactly."""
    network = Network(**{**NETWORK, "reset": "same_tick", "beta_2": 0.9, "norm_decay": 0.9, **learning})
    network.weights["w_in"][:] = np.abs(network.weights["w_in"]) + 0.5
    for _ in range(2000):
        y = network.step(np.ones(N_IN))[0]
        network.tag([-1.0])
    assert network.spikes().all() and any(np.any(t) for t in network.tags.values())
    assert predicted_change(network, THIRD) == pytest.approx(RATE * THIRD, rel=1e-5)
    if "freeze_hidden" in learning:
        for _ in range(300):
            changed = network.step(np.ones(N_IN))[0] - y
        assert changed == pytest.approx(RATE * THIRD, rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"n_adaptive": 10, "adaptation_strength": 0.3}], ids=["lif", "alif"])
@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_random_input_changes_the_prediction_by_about_the_share(settings: dict[str, Any], scale: float) -> None:
    """On random spikes the mean change is near rate x third, whatever the gain of the readout's error."""
    network = Network(**{**NETWORK, **settings, "learning_rate": 1e-4, "epsilon": 1e-12})
    rng, changes = np.random.default_rng(0), []
    for t in range(4000):
        network.step(rng.random(N_IN) < 0.3)
        network.tag([-scale])
        if t >= 1000:
            changes.append(predicted_change(network, rng.choice([-1.0, 1.0])) / 1e-4)
    assert 0.8 < np.mean(np.abs(changes)) < 1.05


@pytest.mark.parametrize("rows", [6, 7])
def test_two_rows_at_a_time_are_as_one(rows: int) -> None:
    """The plain matrix has a kernel of its own, which does what the one for all kinds does."""
    rng, n = np.random.default_rng(rows), 11
    tags, ebar, s = rng.normal(size=(3, rows, n))
    psi, signal, zbar, vectors, none = (
        *rng.normal(size=(2, n)),
        rng.normal(size=rows),
        np.zeros((8, n)),
        np.zeros((0, n)),
    )
    found, expected = [(tags.copy(), ebar.copy(), s**2, *np.zeros((2, n))) for _ in range(2)]
    numbers = {"decay": 0.8, "kappa": 0.4, "gain": 0.6, "beta_2": 0.99, "lift": 1.7, "floor": 1e-3}
    measure_traces(*found, psi, signal, zbar, *numbers.values())
    tag_traces(
        expected[0], none, expected[1], none, none, none, vectors[0], psi, signal, vectors[1], vectors[2], zbar, zbar,
        none, 1.0, 0.8, 0.4, 0.6, 0.5, 1.0, 0.0, vectors[3], 0.0, 0.0, 0.0, False, True, *expected[2:], 0.99, 1.7, 1e-3,
    )  # fmt: skip
    share = 1 / np.sqrt(1.7 * expected[2] + 1e-3)
    np.testing.assert_allclose(found[4], (share * found[0] ** 2).sum(axis=0), rtol=1e-12)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_nothing_changes_before_the_first_tag() -> None:
    """An update without a tag before it leaves all weights alone, also those that decay."""
    network = Network(**{**NETWORK, "weight_decay": 1.0})
    before = {name: w.copy() for name, w in network.weights.items()}
    network.step(np.ones(N_IN))
    network.update(1.0)
    assert all(np.array_equal(w, before[name]) for name, w in network.weights.items())


def test_what_is_no_synapse_has_no_gradient() -> None:
    """Autapses and masked places keep a mean square of 0, synapses do not; neither `clear` nor `reset` empties them."""
    network = Network(**NETWORK, masks={"w_in": np.arange(20 * N_IN).reshape(20, N_IN) % 3 > 0})
    rng = np.random.default_rng(0)
    for _ in range(100):
        network.step(rng.random(N_IN) < 0.3)
        network.tag([1.0])
    squares = network.moments[1]
    assert not network.moments[0] and squares.keys() == network.weights.keys()
    np.testing.assert_array_equal(squares["w_in"] > 0, network.masks["w_in"] == 1)
    fired = squares["w_rec"].any(axis=0)
    assert fired.sum() > 10
    np.testing.assert_array_equal(squares["w_rec"] > 0, ~np.eye(20, dtype=bool) & fired)
    assert {int(n[0]) for n in network.updates.values()} == {100}
    before, norm = {name: s.copy() for name, s in squares.items()}, network.state[at.MEAN_NORM]
    network.clear()
    network.reset()
    assert network.state[at.MEAN_NORM] == norm > 0 and network.updates["w_in"][0] == 100
    assert all(np.array_equal(s, before[name]) for name, s in network.moments[1].items())


@pytest.mark.parametrize(
    "settings",
    [{"rate_strength": 1.0}, {"spike_l1": 0.1}, {"voltage_l2": 0.1}, {"beta_2": 1.0},
     {"beta_2": 1.0 - 1e-9, "dtype": "float32"}],
    ids=str,
)  # fmt: skip
def test_settings_that_would_divide_by_zero_are_refused(settings: dict[str, Any]) -> None:
    """Regularisers, and running means that never move, are errors that name the setting."""
    with pytest.raises(ValueError, match=rf"{next(iter(settings))} is .*'intentional'"):
        Network(**{**NETWORK, **settings})


@pytest.mark.parametrize("flow", ["learn", "td"])
def test_single_precision_follows_double(flow: str) -> None:
    """In float32 the steps are those of float64 to single precision."""
    networks = [Network(**{**NETWORK, "dtype": dtype, "tag_decay": 0.9}) for dtype in ("float32", "float64")]
    rng = np.random.default_rng(1)
    for _ in range(25):
        x, target, third = (rng.random(N_IN) < 0.3).astype(float), rng.normal(0.0, 0.5), rng.normal()
        for network in networks:
            y = network.step(x)
            if flow == "learn":
                network.learn(y - target)
            else:
                network.update(third)
                network.tag([-1.0])
    single, double = networks
    np.testing.assert_array_equal(single.spikes(), double.spikes())
    for name, w in double.weights.items():
        assert single.weights[name].dtype == np.float32
        np.testing.assert_allclose(single.weights[name], w, rtol=2e-3, atol=2e-3 * np.abs(w).max())
