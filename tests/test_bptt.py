"""Backpropagation through time on the engine's networks, against automatic differentiation and against e-prop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from controllers import BPTT
from tests.gradients import ALIF, EXACT, N_HIDDEN, N_IN, SLOPES, TICKS, Floats, Run, autodiff, backward, off, run
from threefactor import Network

PATHS = {
    "none": (), "reset": ("reset",), "recurrence": ("recurrence",), "both": ("reset", "recurrence"),
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "feed_forward": {}, "recurrent": {"recurrent": True}, "alif": {**ALIF, "recurrent": True},
    "stack": {"n_hidden": (20, 15), "recurrent": True}, "deep": {"n_hidden": (24, 20, 18, 16), "w_in_scale": 1.6},
    "deep_alif": {"n_hidden": (24, 20, 18), "w_in_scale": 1.6, "recurrent": True, "n_adaptive": (0, 9, 5)},
}  # fmt: skip


def teach(r: Run, *paths: str, **settings: Any) -> BPTT:
    """The same sequence once more, recorded."""
    network = r.network
    network.reset()
    network.clear()
    teacher = BPTT(network, through_reset="reset" in paths, through_recurrence="recurrence" in paths, **settings)
    for x, error in zip(r.xs, r.errors, strict=True):
        teacher.step(x)
        teacher.learn(error)
    return teacher


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("paths", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_automatic_differentiation(kind: str, paths: str, slope: float) -> None:
    """Each graph, each kind of network: exact to 1e-10."""
    r = run(slope, **KINDS[kind])
    exact = autodiff(r, *PATHS[paths])
    found = teach(r, *PATHS[paths]).gradients()
    assert found.keys() == exact.keys()
    for name, gradient in exact.items():
        assert off(found[name], gradient) < 1e-10, name


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("reset", ["next_tick", "same_tick"])
def test_equals_derivatives_by_hand(reset: str, slope: float) -> None:
    """A recurrent layer, all paths, both kinds of reset, a softmax readout: no torch needed."""
    r = run(slope, recurrent=True, reset=reset, readout="softmax")
    found = teach(r, "reset", "recurrence").gradients()
    for name, gradient in backward(r, True, True).items():
        assert off(found[name], gradient) < 1e-10, name


@pytest.mark.parametrize("settings", [{}, ALIF, {"bias": True}, {"spike_l1": 0.2}], ids=["lif", "alif", "bias", "cost"])
def test_equals_eprop_where_eprop_is_exact(settings: dict[str, Any]) -> None:
    """Without the reset and other neurons' spikes, both teach the same, to the same weights."""
    r = run(5.0, recurrent=True, **settings)
    for name, gradient in teach(r).gradients().items():
        assert off(gradient, r.gradients[name]) < EXACT, name
        if name.startswith("w_rec"):
            assert not np.diag(gradient).any()


@pytest.mark.parametrize("tag_decay", [0.0, 1.0], ids=["each_tick", "summed"])
def test_online_again_without_a_reset(tag_decay: float) -> None:
    """Ticks of BPTT leave the traces alone, and rows that wait (`deferral`) start from the activity after them."""
    found = []
    for masks in (None, {"w_out": np.ones((2, 20))}):  # the second touches every synapse each tick
        network = Network(
            9, 20, 2, masks=masks, dtype="float64", w_in_scale=2.0, threshold=0.6, learning_rate=0.01, seed=5,
            tag_decay=tag_decay,
        )  # fmt: skip
        teacher, rng, spikes = BPTT(network), np.random.default_rng(3), 0.0
        for t in range(410):
            x, error = (rng.random(9) < 0.15) * 1.0, rng.normal(0, 0.5, 2)
            if t // 20 % 2:
                teacher.step(x)
                teacher.learn(error)
                if t == 399:  # before, nothing but the ticks themselves happens in between
                    teacher.update()
            else:
                network.step(x)
                (network.tag if tag_decay else network.learn)(error)
            spikes += network.spikes().mean() / 410
        assert spikes > 0.02
        found.append(network.tags if tag_decay else network.weights)  # at t = 400 the tags were cleared
    for name, value in found[0].items():
        assert off(value, found[1][name]) < 1e-11, name


def test_homeostasis_of_a_whole_sequence() -> None:
    """The cost of firing rates has the gradient that e-prop gathers at the end of a sequence."""
    r = run(5.0, rate_strength=400.0, rate_target=30.0, rate_tau=math.inf)
    r.network.reset()
    eprop = {name: r.network.tags[name] + r.network.regularisation.get(name, 0.0) for name in r.gradients}
    again = run(5.0, rate_strength=400.0, rate_target=30.0, rate_tau=math.inf)
    teacher = teach(again)
    for name, gradient in teacher.gradients().items():
        assert off(gradient, eprop[name]) < EXACT, name
    assert off(eprop["w_in"], r.gradients["w_in"]) > 0.01
    r.network.update(0.25)  # both scale the errors, and not the cost of spiking
    teacher.update(0.25)
    for name, weight in r.network.weights.items():
        np.testing.assert_allclose(again.network.weights[name], weight, rtol=0, atol=1e-12)


def test_masked_synapses_get_no_gradient() -> None:
    """The gradient of a sparse network is that of the full one where there are synapses."""
    mask = (np.random.default_rng(0).random((N_HIDDEN, N_IN)) < 0.7).astype(float)
    r = run(5.0, masks={"w_in": mask})
    found = teach(r).gradients()
    assert off(found["w_in"], r.gradients["w_in"]) < EXACT
    assert not found["w_in"][mask == 0].any()


def test_windows_cut_the_gradient_and_keep_the_state() -> None:
    """Truncated: the sum over windows of the gradient of each, starting from the state that the last one left."""
    r = run(5.0, recurrent=True, learning_rate=0.0)
    whole = teach(r, "reset", "recurrence").gradients()["w_in"].copy()
    teacher = teach(r, "reset", "recurrence", window=None)
    parts: list[dict[str, Floats]] = []
    r.network.reset()
    teacher.reset()
    for x, error in zip(r.xs, r.errors, strict=True):
        teacher.step(x)
        teacher.learn(error)
        if teacher.ticks == TICKS // 4:
            parts.append({name: g.copy() for name, g in teacher.gradients().items()})
            teacher.update()
    by_hand = [backward(part, True, True) for part in quarters(r)]
    for part, exact in zip(parts, by_hand, strict=True):
        for name in ("w_in", "w_out"):
            assert off(part[name], exact[name]) < 1e-10, name
    assert off(sum(p["w_in"] for p in parts), whole) > 0.01  # type: ignore[arg-type]


def quarters(r: Run) -> list[Run]:
    """Four recordings that `backward` takes one by one: silent outside their quarter of the errors and inputs."""
    found = []
    for k in range(4):
        inside = np.zeros(TICKS, bool)
        inside[k * TICKS // 4 : (k + 1) * TICKS // 4] = True
        xs, z, psi, errors = (a * inside[:, None] for a in (r.xs, r.z[0], r.psi[0], r.errors))
        found.append(Run(r.network, xs, r.targets, {}, r.v, [z], [psi], errors))
    return found


def test_windows_learn_by_themselves() -> None:
    """With a window, `learn` updates at its end, as `update` would."""
    networks = [Network(3, 12, 2, learning_rate=0.05, threshold=0.5, optimiser="adam", seed=2) for _ in range(2)]
    teachers = [BPTT(networks[0], window=5), BPTT(networks[1])]
    rng = np.random.default_rng(0)
    start = networks[0].w_in.copy()
    for t in range(50):
        x, error = rng.random(3), rng.normal(size=2)
        for teacher in teachers:
            teacher.step(x)
            teacher.learn(error)
        if t % 5 == 4:
            teachers[1].update()
    np.testing.assert_array_equal(networks[0].state, networks[1].state)
    assert np.abs(networks[0].w_in - start).max() > 0.1


def test_history_grows_where_traces_do_not() -> None:
    """Bytes go with the ticks stored; the network's own traces stand still."""
    teacher, sizes = BPTT(Network(4, 10, 1)), []
    for t in range(4096):
        teacher.step(np.ones(4))
        if (t + 1) in (64, 512, 4096):
            sizes.append(teacher.nbytes)
    assert sizes[1] == pytest.approx(8 * sizes[0], rel=0.1)
    assert sizes[2] == pytest.approx(8 * sizes[1], rel=0.1)
    assert not any(trace.any() for trace in teacher.network.traces.values())


def test_bad_input_changes_nothing() -> None:
    """Errors that do not fit, ticks learnt twice, networks that it cannot teach."""
    teacher = BPTT(Network(4, 10, 2))
    with pytest.raises(RuntimeError, match="call step first"):
        teacher.learn(np.zeros(2))
    teacher.step(np.ones(4))
    for error in (np.zeros(3), [np.nan, 0.0]):
        with pytest.raises(ValueError, match="error is"):
            teacher.learn(error)
    teacher.learn(np.zeros(2))
    with pytest.raises(RuntimeError, match="already learnt"):
        teacher.learn(np.zeros(2))
    with pytest.raises(ValueError, match="shape"):
        teacher.step(np.ones(3))
    assert teacher.ticks == 1
    with pytest.raises(ValueError, match="window is 0"):
        BPTT(Network(4, 10, 2), window=0)
    for settings in ({"normalise_current": True}, {"freeze_hidden": True}, {"rate_strength": 1.0}, {"voltage_l2": 0.1}):
        with pytest.raises(ValueError, match="BPTT takes networks without"):
            BPTT(Network(4, 10, 2, **settings))
    with pytest.raises(ValueError, match="input holds"):
        teacher.step([np.inf, 0, 0, 0])
    assert math.isfinite(teacher.gradients()["w_in"].sum())
