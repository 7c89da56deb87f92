"""When the online gradient is exact, and when it is not: e-prop against backpropagation through time.

The loss is 1/2 sum_t |y_t - target_t|^2. Networks of one hidden layer are compared with derivatives written by hand,
and, where torch is installed, all kinds with automatic ones. Each comparison first asserts that the neurons spike: on a
silent network all gradients agree.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.gradients import ALIF, APART, EXACT, SLOPES, autodiff, backward, cosine, off, run
from tests.reference import SHAPES


@pytest.mark.parametrize("readout", ["linear", "softmax"])
@pytest.mark.parametrize("slope", SLOPES)
def test_feed_forward_equals_backpropagation(slope: float, readout: str) -> None:
    """One feed-forward LIF layer, reset not differentiated: e-prop is exact, for both readouts' own losses."""
    r = run(slope, readout=readout)
    for name, exact in backward(r).items():
        assert off(r.gradients[name], exact) < EXACT, name


@pytest.mark.parametrize("reset", ["next_tick", "same_tick"])
@pytest.mark.parametrize("slope", SLOPES)
def test_exact_reset_equals_backpropagation_through_the_reset(slope: float, reset: str) -> None:
    """With `exact_reset` e-prop equals backpropagation through the reset."""
    r = run(slope, reset=reset, exact_reset=True)
    for name, exact in backward(r, through_reset=True).items():
        assert off(r.gradients[name], exact) < EXACT, name


@pytest.mark.parametrize("exact_reset", [False, True])
@pytest.mark.parametrize("slope", SLOPES)
def test_recurrent_equals_backpropagation_with_recurrent_spikes_cut(slope: float, exact_reset: bool) -> None:
    """A recurrent LIF layer: e-prop is the gradient that leaves out the paths through other neurons' spikes."""
    r = run(slope, recurrent=True, exact_reset=exact_reset)
    for name, exact in backward(r, through_reset=exact_reset).items():
        assert off(r.gradients[name], exact) < EXACT, name


@pytest.mark.parametrize("slope", SLOPES)
def test_plain_trace_differs_from_the_gradient_through_the_reset(slope: float) -> None:
    """The plain trace only approximates the gradient through the reset, better the steeper the surrogate."""
    r = run(slope)
    exact = backward(r, through_reset=True)
    assert 0.5 < cosine(r.gradients["w_in"], exact["w_in"]) < APART[slope]
    assert off(r.gradients["w_in"], exact["w_in"]) > 0.01
    assert off(r.gradients["w_out"], exact["w_out"]) < EXACT


@pytest.mark.parametrize("slope", SLOPES)
def test_recurrent_differs_from_full_backpropagation(slope: float) -> None:
    """E-prop is not the whole gradient of a recurrent layer."""
    r = run(slope, recurrent=True)
    full = backward(r, through_recurrence=True)
    for name in ("w_in", "w_rec"):
        assert cosine(r.gradients[name], full[name]) < APART[slope], name
        assert off(r.gradients[name], full[name]) > 0.005, name


# --- against automatic differentiation --------------------------------------------------------------------------------


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "lif": ({}, ()),
    "lif_through_reset": ({"exact_reset": True}, ("reset",)),
    "recurrent_cut": ({"recurrent": True}, ()),
    "recurrent_cut_through_reset": ({"recurrent": True, "exact_reset": True}, ("reset",)),
    "alif": (ALIF, ()),
    "alif_through_reset": ({**ALIF, "exact_reset": True}, ("reset",)),
    "alif_recurrent_cut": ({**ALIF, "recurrent": True}, ()),
    "alif_recurrent_cut_through_reset": ({**ALIF, "recurrent": True, "exact_reset": True}, ("reset",)),
}


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("name", CASES)
def test_equals_automatic_differentiation(name: str, slope: float) -> None:
    """LIF and ALIF, feed-forward or with recurrent spikes cut, without and with the reset: e-prop is exact."""
    settings, paths = CASES[name]
    r = run(slope, **settings)
    for matrix, exact in autodiff(r, *paths).items():
        assert off(r.gradients[matrix], exact) < EXACT, matrix


@pytest.mark.parametrize("slope", [1.0, 10.0])
@pytest.mark.parametrize("surrogate", SHAPES)
def test_every_surrogate_equals_automatic_differentiation(surrogate: str, slope: float) -> None:
    """Exactness does not hang on the surrogate."""
    r = run(slope, surrogate=surrogate, **ALIF)
    for matrix, exact in autodiff(r).items():
        assert off(r.gradients[matrix], exact) < EXACT, matrix


@pytest.mark.parametrize("exact_reset", [False, True])
@pytest.mark.parametrize("kind", ["spike_l1", "voltage_l2"])
def test_costs_of_spikes_and_voltages_equal_automatic_differentiation(kind: str, exact_reset: bool) -> None:
    """What the regularisers gather is the gradient of c sum z, and of c / 2 sum v^2, with or without the reset."""
    r, paths = run(5.0, exact_reset=exact_reset, **{kind: 0.2}, **ALIF), ("reset",) * exact_reset
    cost = (lambda v, z: 0.2 * z.sum()) if kind == "spike_l1" else (lambda v, z: 0.1 * (v**2).sum())
    for matrix, exact in autodiff(r, *paths, cost=cost).items():
        assert off(r.gradients[matrix], exact) < EXACT, matrix
    assert off(r.gradients["w_in"], autodiff(r, *paths)["w_in"]) > 0.01, "the cost weighs too little to be seen"


def test_homeostasis_over_a_sequence_equals_automatic_differentiation() -> None:
    """An infinite `rate_tau` gives the gradient of c / 2 sum_j (n_j / T - f)^2 at the end of the sequence."""
    r = run(5.0, rate_strength=400.0, rate_target=30.0, rate_tau=math.inf, **ALIF)
    r.network.reset()
    found = {name: r.network.tags[name] + r.network.regularisation.get(name, 0.0) for name in r.gradients}
    exact = autodiff(r, cost=lambda v, z: 200.0 * ((z.mean(0) - 0.03) ** 2).sum())
    for matrix in exact:
        assert off(found[matrix], exact[matrix]) < EXACT, matrix
    assert off(found["w_in"], r.gradients["w_in"]) > 0.01, "homeostasis weighs too little to be seen"


@pytest.mark.parametrize("settings", [{}, ALIF], ids=["lif", "alif"])
@pytest.mark.parametrize("slope", SLOPES)
def test_recurrent_differs_from_full_automatic_differentiation(slope: float, settings: dict[str, Any]) -> None:
    """With all paths kept, a recurrent layer's gradient is another than e-prop's; the readout's is the same."""
    r = run(slope, recurrent=True, **settings)
    full = autodiff(r, "reset", "recurrence")
    for name in ("w_in", "w_rec"):
        assert cosine(r.gradients[name], full[name]) < APART[slope], name
        assert off(r.gradients[name], full[name]) > 0.005, name
    assert off(r.gradients["w_out"], full["w_out"]) < EXACT


@pytest.mark.parametrize("slope", SLOPES)
def test_hand_written_equals_automatic(slope: float) -> None:
    """The two references agree with each other, the whole recurrent gradient included."""
    r = run(slope, recurrent=True)
    automatic, by_hand = autodiff(r, "reset", "recurrence"), backward(r, True, True)
    for name, exact in automatic.items():
        assert off(by_hand[name], exact) < 1e-10, name


@pytest.mark.parametrize("slope", SLOPES)
def test_stack_is_exact_at_the_top_and_approximate_below(slope: float) -> None:
    """Two feed-forward layers: readout and last layer exact; the first points the same way without being equal."""
    r = run(slope, n_hidden=(30, 20), w_in_scale=1.2)
    exact = autodiff(r)
    assert off(r.gradients["w_out"], exact["w_out"]) < EXACT
    assert off(r.gradients["w_in_1"], exact["w_in_1"]) < EXACT
    print(f"slope {slope}: cosine {cosine(r.gradients['w_in'], exact['w_in']):.3f}", end=", ")
    print(f"norm {np.linalg.norm(r.gradients['w_in']) / np.linalg.norm(exact['w_in']):.3g}")
    assert 0.85 < cosine(r.gradients["w_in"], exact["w_in"]) < 0.9999
    assert off(r.gradients["w_in"], exact["w_in"]) > 1e-3
