"""The engine against its slow twin, tick by tick, over a grid of settings; one compilation; flat memory."""

from __future__ import annotations

import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.reference import ReferenceNetwork
from threefactor import SURROGATES, Network, tick
from threefactor import layout as at

N_IN, N_OUT, TICKS = 7, 3, 60
RTOL, STATM = 1e-12, Path("/proc/self/statm")  # second number: resident pages
COMPILED = hasattr(tick.run, "signatures")  # not under NUMBA_DISABLE_JIT=1

BASE: dict[str, Any] = {
    "n_hidden": 12, "dtype": "float64", "learning_rate": 0.02, "tau_m": 10.0, "tau_out": 8.0, "tau_adaptation": 30.0,
    "threshold": 0.6, "w_in_scale": 1.5, "w_rec_scale": 0.8, "seed": 3,
}  # fmt: skip
ALIF = {"n_adaptive": 5, "adaptation_strength": 0.3, "tau_adaptation_longest": 120.0}
RATE = {"rate_strength": 2.0, "rate_target": 40.0, "rate_tau": 25.0}
WHOLE = {"rate_strength": 200.0, "rate_target": 40.0, "rate_tau": math.inf}
TWO = {"n_hidden": (12, 10), "w_in_scale": 1.2, "threshold": 0.8}
THREE = {"n_hidden": (11, 10, 9), "w_in_scale": 1.2, "threshold": 0.9}
EXACT = {"exact_reset": True}
EVERYTHING = {**ALIF, **RATE, **EXACT, "optimiser": "adam", "refractory": 2.0, "bias": True, "masked": True}
DIRECT = {"feedback": "random", "credit": "direct"}
INTENT: dict[str, Any] = {"optimiser": "intentional", "learning_rate": 0.05}
LEAN = ("plain", "three_direct", "two_lean_below_alif")

# cases that learn each tick
LEARN: dict[str, dict[str, Any]] = {
    "plain": {}, "alif": ALIF, "all_alif": {**ALIF, "n_adaptive": 12}, "feed_forward": {"recurrent": False, **ALIF},
    "refractory": {"refractory": 3.0}, "refractory_coarse_dt": {"refractory": 5.0, "dt": 2.0, **RATE},
    "same_tick": {"reset": "same_tick", **ALIF}, "bias": {"bias": True}, "softmax": {"readout": "softmax"},
    "gains": {"current_gain": "one_minus_decay", "readout_gain": "unit", "trace_gain": "unit", "w_in_scale": 12.0},
    "tau_trace": {"tau_trace": 3.0, **ALIF}, "normalise": {"normalise_current": True, **ALIF},
    "normalise_exact_rate": {"normalise_current": True, **EXACT, "bias": True, **RATE},
    "exact_reset": EXACT, "exact_reset_same_tick_alif": {**EXACT, "reset": "same_tick", **ALIF},
    "random_feedback": {"feedback": "random"}, "frozen": {"freeze_hidden": True, "feedback": "adaptive", **RATE},
    "adaptive_feedback": {"feedback": "adaptive", "weight_decay": 0.3, "feedback_decay": 0.7},
    "adam": {"optimiser": "adam", "weight_decay": 0.1, "learning_rate": 0.005},
    "adam_fast_moments": {"optimiser": "adam", "beta_1": 0.0, "beta_2": 0.5, "epsilon": 1e-3},
    "obgd": {"optimiser": "obgd", "learning_rate": 1.0, "overshoot": 3.0},
    "intentional": INTENT, "intentional_masked": {**INTENT, **ALIF, "masked": True, "bias": True, "beta_2": 0.9},
    "intentional_frozen": {**INTENT, "freeze_hidden": True, "feedback": "adaptive"},
    "intentional_softmax": {**INTENT, **EXACT, "readout": "softmax", "norm_decay": 0.0, "epsilon": 1e-3},
    "three_direct_intentional": {
        **THREE, **DIRECT, **INTENT, "feedback": "adaptive", "bias": True, "n_adaptive": (3, 0, 9), "masked": True,
        "weight_decay": 0.1,
    },
    "clip_value": {"clip_value": 0.01, "optimiser": "adam"}, "clip_norm": {"clip_norm": 0.2, "clip_value": 0.1, **RATE},
    "weight_bounds": {"weight_min": -0.4, "weight_max": 0.3, "weight_decay": 0.5}, "rate": RATE,
    "rate_whole": {**WHOLE, **ALIF},
    "rate_filtered": {**RATE, "rate_trace_tau": 15.0, **ALIF}, "spike_cost": {"spike_l1": 0.02},
    "spike_cost_rate_filtered": {"spike_l1": 0.02, **RATE, "rate_trace_tau": 10.0}, "masked": {"masked": True},
    "voltage_cost": {"voltage_l2": 0.05, **ALIF}, "masked_adaptive": {"masked": True, "feedback": "adaptive"},
    "voltage_cost_adam": {"voltage_l2": 0.05, "masked": True, "optimiser": "adam"}, "everything": EVERYTHING,
    "everything_obgd": {**EVERYTHING, "optimiser": "obgd", "readout": "softmax", "spike_l1": 0.01},
    "two_lean_below_alif": {**TWO, "n_adaptive": (0, 4)}, "two_exact_alif": {**TWO, **EXACT, "n_adaptive": (0, 4)},
    "two_symmetric": {**TWO, "bias": True},
    "two_random_layerwise": {**TWO, "feedback": "random", "normalise_current": True, "w_in_scale": 1.0},
    "two_adaptive_direct": {**TWO, **DIRECT, "feedback": "adaptive", "bias": True, "feedback_decay": 0.5},
    "two_whole_adam": {**TWO, **WHOLE, "optimiser": "adam", "n_adaptive": (3, 0), "masked": True},
    "three_symmetric": {**THREE, "recurrent": False, "bias": True}, "three_direct": {**THREE, **DIRECT, "bias": True},
    "three_adaptive_layerwise": {**THREE, "feedback": "adaptive", "optimiser": "adam"},
    "three_random_direct": {**THREE, **DIRECT, "n_adaptive": (2, 0, 9), **RATE},
    "three_direct_adam_all": {
        **THREE, **RATE, **DIRECT, **EXACT, "feedback": "adaptive", "optimiser": "adam", "bias": True, "masked": True,
        "n_adaptive": (3, 3, 3), "refractory": 2.0, "clip_norm": 0.5, "feedback_decay": 0.1,
    },
    **{
        f"{name}_{by}": {"surrogate": name, "normalisation": by, "slope": 2.5, "bias": True}
        for name in SURROGATES for by in ("peak", "area")
    },
}  # fmt: skip

# all cases: (settings, flow)
CASES: dict[str, tuple[dict[str, Any], str]] = {
    **{name: (settings, "learn") for name, settings in LEARN.items()},
    "skipped": ({**ALIF, **RATE}, "skip"), "skipped_two": ({**TWO, "n_adaptive": (0, 4)}, "skip"),
    "skipped_exact_adam": ({**EVERYTHING, "rate_trace_tau": 9.0}, "skip"),
    "td": ({**ALIF, "tag_decay": 0.9}, "td"), "interval": ({"tag_decay": 1.0, **ALIF}, "interval"),
    "td_obgd": ({"tag_decay": 0.9, "optimiser": "obgd", "learning_rate": 1.0, **RATE}, "td"),
    "td_adam_stack": ({**TWO, "tag_decay": 0.9, "optimiser": "adam", "feedback": "adaptive", "credit": "direct"}, "td"),
    "td_intentional": ({**INTENT, **ALIF, "tag_decay": 0.9}, "td"),
    "td_intentional_no_decay": ({**INTENT, "recurrent": False, "beta_2": 0.0, "norm_decay": 0.5}, "td"),
    "td_intentional_masked": ({**INTENT, "tag_decay": 0.8, "masked": True, "bias": True, "n_adaptive": 12}, "td"),
    "td_intentional_frozen": ({**INTENT, "tag_decay": 0.9, "freeze_hidden": True}, "td"),
    "td_intentional_clipped": (
        {**INTENT, "tag_decay": 0.9, "clip_norm": 0.3, "clip_value": 0.05, "weight_min": -0.5, "weight_decay": 0.2},
        "td",
    ),
    "td_intentional_stack": (
        {**TWO, **INTENT, "tag_decay": 0.9, "feedback": "adaptive", "credit": "direct", "bias": True}, "td"
    ),
    "td_intentional_layerwise": ({**THREE, **INTENT, "tag_decay": 0.9, "masked": True, "n_adaptive": (0, 4, 2)}, "td"),
    "interval_intentional": ({**INTENT, **ALIF, "tag_decay": 1.0}, "interval"),
    "skipped_intentional": ({**INTENT, **EXACT, **ALIF}, "skip"),
    "td_frozen": ({"tag_decay": 0.9, "freeze_hidden": True, "feedback": "random"}, "td"),
    "td_clipped": ({**EVERYTHING, "tag_decay": 0.9, "clip_norm": 0.3, "weight_max": 1.0}, "td"),
    "interval_whole": ({"tag_decay": 1.0, **WHOLE, **ALIF, "optimiser": "adam", "refractory": 2.0}, "interval"),
    "interval_whole_costs": ({"tag_decay": 1.0, **WHOLE, "spike_l1": 0.3, "voltage_l2": 0.01, **EXACT}, "interval"),
    "interval_spike_cost": ({"tag_decay": 1.0, "rate_tau": math.inf, "spike_l1": 0.3}, "interval"),
    "interval_whole_stack": ({**THREE, "tag_decay": 1.0, **WHOLE, "masked": True, "bias": True}, "interval"),
    "interval_rate": ({"tag_decay": 1.0, **RATE, "rate_trace_tau": 10.0, **EXACT}, "interval"),
    "interval_softmax": ({"tag_decay": 1.0, "readout": "softmax", "feedback": "random", "n_adaptive": 12}, "interval"),
}  # fmt: skip


def make(settings: dict[str, Any]) -> tuple[Network, ReferenceNetwork]:
    """A network and its twin; `masked` draws masks that keep two synapses in three."""
    settings = {**BASE, **settings}
    masks = None
    if settings.pop("masked", False):
        rng, weights = np.random.default_rng(11), Network(N_IN, n_out=N_OUT, **settings).weights
        masks = {name: (rng.random(w.shape) < 0.67).astype(float) for name, w in weights.items()}
    network = Network(N_IN, n_out=N_OUT, masks=masks, **settings)
    return network, ReferenceNetwork(network.settings, network.weights, network.feedback, masks)


class Sight:
    """Compares quantities at `RTOL`, and at `RTOL` of the largest value that each has had so far."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def same(self, name: str, ours: Any, reference: Any) -> None:
        """Assert equality."""
        reference = np.asarray(reference)
        self.largest[name] = max(self.largest.get(name, 0.0), float(np.abs(reference).max(initial=0.0)))
        np.testing.assert_allclose(ours, reference, rtol=RTOL, atol=RTOL * self.largest[name], err_msg=name)

    def compare(self, network: Network, twin: ReferenceNetwork, lean: bool) -> None:
        """Assert that all that can be seen of a network equals its twin."""
        self.same("readout voltage", network.readout_voltage, twin.v_out)
        for i, layer in enumerate(twin.layers):
            np.testing.assert_array_equal(network.spikes(i), layer.z)
            self.same(f"voltage {i}", network.voltage(i), layer.v)
            self.same(f"psi {i}", network.psi(i), layer.psi)
            self.same(f"adaptation {i}", network.adaptation(i), layer.a)
            self.same(f"learning signal {i}", network.learning_signal(i), layer.signal)
            if not network.settings.freeze_hidden and not twin.pending:
                for name, connection in layer.connections.items():
                    self.same(f"trace {name}", network.traces[name], connection.ebar)
        self.compare_learning(network, twin, lean)

    def compare_learning(self, network: Network, twin: ReferenceNetwork, lean: bool) -> None:
        """Assert that tags, what is gathered, moments and weights are equal; the lean path tags no hidden layer."""
        moments_1, moments_2 = network.moments
        for name, matrix in twin.matrices.items():
            self.same(name, network.weights[name], matrix.w)
            if name in network.tags and not (lean and name != "w_out"):
                self.same(f"tag {name}", network.tags[name], matrix.tag)
            if name in network.regularisation:
                self.same(f"regularisation {name}", network.regularisation[name], matrix.reg)
            if name in moments_1:  # Adam's
                self.same(f"first moment {name}", moments_1[name], matrix.m)
            if name in moments_2:
                self.same(f"second moment {name}", moments_2[name], matrix.s)
                assert network.updates[name][0] == matrix.updates
        for name, b in twin.feedback.items():
            self.same(name, network.feedback[name], b.w)
        if network.settings.optimiser == "intentional":  # the step of other optimisers is kept only where it varies
            self.same("mean norm", network.state[at.MEAN_NORM], twin.mean_norm)
            self.same("tag norm", network.state[at.TAG_NORM], twin.tag_norm)
            self.same("step size", network.state[at.STEP_SIZE], twin.step_size)


def drive(network: Network, twin: ReferenceNetwork, flow: str, ticks: int = TICKS, lean: bool = False) -> None:
    """Run both on the same random spikes and targets, comparing each tick.

    Asserts also that each layer really spikes and that exactly the matrices change that may: at rest all are equal.
    """
    rng, s = np.random.default_rng(5), network.settings
    before = {key: w.copy() for key, w in (network.weights | network.feedback).items()}
    fired, sight = [0.0] * len(twin.layers), Sight()
    for t in range(ticks):
        x, target = (rng.random(N_IN) < 0.3).astype(float), rng.normal(0.0, 0.5, N_OUT)
        sight.same("y", network.step(x), twin.step(x))
        fired = [f + float(network.spikes(i).mean()) / ticks for i, f in enumerate(fired)]
        for net in (network, twin):
            act(net, flow, t, np.asarray(twin.y - target), float(target[0]))
        sight.compare(network, twin, lean)
    assert all(0.01 < f < 0.6 for f in fired), f"spiking fractions {fired}"
    for key, w in (network.weights | network.feedback).items():
        learns = s.feedback == "adaptive" if key in network.feedback else key == "w_out" or not s.freeze_hidden
        assert np.array_equal(w, before[key]) != learns, key


def act(net: Network | ReferenceNetwork, flow: str, t: int, error: Any, third: float) -> None:
    """What a tick of each flow does after its step."""
    if flow == "learn" or (flow == "skip" and t % 5 in (0, 3)):
        net.learn(error)
    elif flow == "td":
        net.update(third)
        if t % 7 != 3:
            net.tag(error)
        if t % 25 == 24:
            net.reset()
            net.clear()
    elif flow == "interval":
        if t % 20 >= 5:
            net.tag(error)
        if t % 20 == 19:
            net.reset()
            net.update(1.0 / 15.0)
            net.clear()


@pytest.mark.parametrize("name", CASES)
def test_every_tick_equals_the_twin(name: str) -> None:
    """Spikes, voltages, signals, traces, tags, weights and moments equal the twin's, in every flow of learning."""
    settings, flow = CASES[name]
    drive(*make({"weight_max": 1e9, **settings}), flow=flow)


@pytest.mark.parametrize("name", LEAN)
def test_lean_path_equals_the_general_one(name: str) -> None:
    """Learning in one pass gives the weights and traces of tagging and updating, which a weight limit asks for."""
    lean, twin = make(LEARN[name])
    drive(lean, twin, "learn", lean=True)
    general, twin = make({**LEARN[name], "weight_max": 1e9})
    drive(general, twin, "learn")
    assert not np.any(lean.tags["w_in"]), "the lean path was not taken"
    assert np.any(general.tags["w_in"]), "the general path was not taken"
    for ours, theirs in ((lean.weights, general.weights), (lean.traces, general.traces)):
        for key, values in theirs.items():
            Sight().same(key, ours[key], values)


def test_reset_and_clear_drop_what_they_say_and_nothing_else() -> None:
    """`reset` keeps weights and tags, `clear` keeps weights and traces, and a reset network repeats itself."""
    network, twin = make({**ALIF, "tag_decay": 0.9})
    drive(network, twin, "td", ticks=18)
    weights, tags = ({k: a.copy() for k, a in view.items()} for view in (network.weights, network.tags))
    network.reset()
    assert all(
        np.array_equal(network.weights[k], weights[k]) and np.array_equal(network.tags[k], tags[k]) for k in tags
    )
    assert not any(np.any(a) for a in (*network.traces.values(), network.voltage(), network.spikes(), network.y))
    network.clear()
    assert all(np.array_equal(network.weights[k], weights[k]) and not np.any(network.tags[k]) for k in tags)
    fresh = Network(N_IN, n_out=N_OUT, **{**BASE, **ALIF, "tag_decay": 0.9})
    for name, w in fresh.weights.items():
        w[:] = weights[name]
    for x in np.random.default_rng(2).random((20, N_IN)):
        np.testing.assert_array_equal(network.step(x), fresh.step(x))


@pytest.mark.parametrize("name", ["plain", "alif", "exact_reset", "everything", "three_symmetric"])
def test_single_precision_follows_double(name: str) -> None:
    """Float32 readouts and weights stay near float64's for as long as spikes agree, which is at least 30 ticks."""
    double, _ = make(LEARN[name])
    single, _ = make({**LEARN[name], "dtype": "float32"})
    rng, agreed = np.random.default_rng(5), 0
    for x, target in zip(rng.random((TICKS, N_IN)) < 0.3, rng.normal(0.0, 0.5, (TICKS, N_OUT)), strict=True):
        y = double.step(x).copy()
        np.testing.assert_allclose(single.step(x), y, rtol=1e-3, atol=1e-4)
        if any(np.any(double.spikes(i) != single.spikes(i)) for i in range(len(double.settings.n_hidden))):
            break
        double.learn(y - target)
        single.learn(y - target)
        agreed += 1
        for key, w in double.weights.items():
            assert single.weights[key].dtype == np.float32
            np.testing.assert_allclose(single.weights[key], w, rtol=1e-3, atol=1e-3 * np.abs(w).max())
    assert agreed >= 30


@pytest.mark.parametrize("normalisation", ["peak", "area"])
def test_slope_and_learning_rate_set_between_ticks_are_honoured(normalisation: str) -> None:
    """Set at run time, they give the psi, traces and weights of the twin with these from the next tick on."""
    network, twin = make({"normalisation": normalisation, "surrogate": "fast_sigmoid", "weight_max": 1e9})
    for slope, rate in ((0.5, 0.02), (3.0, 0.005), (40.0, 0.001)):
        network.slope = twin.slope = slope
        network.learning_rate = rate
        twin.settings = msgspec.structs.replace(twin.settings, learning_rate=rate)
        assert (network.slope, network.learning_rate) == (slope, rate)
        drive(network, twin, "learn", ticks=20)


@pytest.mark.skipif(not COMPILED, reason="numba is switched off")
def test_one_compilation_per_precision() -> None:
    """Whatever the settings, inputs and commands, `run` is compiled once for float32 and float64, and lanes of them."""
    for dtype in ("float32", "float64"):
        for settings, flow in (({}, "learn"), (EVERYTHING, "td"), ({**THREE, **WHOLE, "tag_decay": 1.0}, "interval")):
            network, _ = make({**settings, "dtype": dtype})
            network.slope, network.learning_rate = 3, np.float32(0.5)
            for x in ([0, 1] * 3 + [1], np.ones(N_IN, np.float32), np.ones(2 * N_IN)[::2], np.ones(N_IN, bool)):
                network.step(x)
                act(network, flow, 20, np.zeros(N_OUT, np.float32), np.float32(1.0))
            network.update(2)
            network.reset()
            network.clear()
    dtypes = sorted(str(signature[0].dtype) for signature in tick.run.signatures)
    assert [dtype for dtype in dtypes if "Lanes" not in dtype] == ["float32", "float64"]
    assert len(set(dtypes)) == len(dtypes)


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc/self/statm")
@pytest.mark.parametrize("name", ["plain", "everything"])
def test_memory_is_flat(name: str) -> None:
    """Neither the process nor the Python heap grows with the number of ticks."""
    network, _ = make({**LEARN[name], "learning_rate": 1e-6})
    xs, error = np.random.default_rng(0).random((1000, N_IN)), np.full(N_OUT, 0.1)

    def ticks(n: int) -> None:
        for t in range(n if COMPILED else n // 1000):
            network.step(xs[t % 1000])
            network.learn(error)

    ticks(5000)
    before = int(STATM.read_text().split()[1])
    ticks(200_000)
    assert (int(STATM.read_text().split()[1]) - before) * os.sysconf("SC_PAGE_SIZE") < 2**20
    tracemalloc.start()
    ticks(1000)
    before = tracemalloc.get_traced_memory()[0]
    ticks(5000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4096
