"""When the online gradient is exact, and when it is not: e-prop against backpropagation through time.

The loss is 1/2 sum_t |y_t - target_t|^2. Networks of one hidden layer are compared with derivatives written by hand,
and, where torch is installed, all kinds with automatic ones. Each comparison first asserts that the neurons spike: on a
silent network all gradients agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.reference import SHAPES
from threefactor import Network

Floats = npt.NDArray[np.float64]
TICKS, N_IN, N_HIDDEN, N_OUT = 80, 12, 20, 3
EXACT = 1e-12
# cosines below which two gradients count as different, by slope: the steeper, the nearer
APART = {1.0: 0.99, 10.0: 0.999, 25.0: 0.9997, 100.0: 0.99999}
SLOPES = [1.0, 10.0, 25.0, 100.0]
ALIF = {"n_adaptive": 12, "adaptation_strength": 0.2, "tau_adaptation": 40.0}


@dataclass
class Run:
    """What a network did with random spikes and targets, and its gradient: the sum of its tags over the sequence."""

    network: Network
    xs: Floats
    targets: Floats
    gradients: dict[str, Floats]
    v: list[Floats]
    z: list[Floats]
    psi: list[Floats]
    errors: Floats


def run(slope: float, **settings: Any) -> Run:
    """Run a network that sums its gradient over a sequence; asserts that 1 to 60 % of its neurons spike in a tick."""
    given: dict[str, Any] = {
        "n_hidden": N_HIDDEN, "recurrent": False, "surrogate": "fast_sigmoid", "slope": slope, "tag_decay": 1.0,
        "dtype": "float64", "tau_m": 12.0, "tau_out": 9.0, "w_in_scale": 1.2, "w_rec_scale": 0.8, "seed": 4,
    }  # fmt: skip
    network = Network(N_IN, n_out=N_OUT, **{**given, **settings})
    rng = np.random.default_rng(8)
    xs, targets = (rng.random((TICKS, N_IN)) < 0.25).astype(float), rng.normal(0.0, 0.5, (TICKS, N_OUT))
    layers = range(len(network.settings.n_hidden))
    v, z, psi = ([np.zeros((TICKS, n)) for n in network.settings.n_hidden] for _ in range(3))
    errors = np.zeros((TICKS, N_OUT))
    for t in range(TICKS):
        errors[t] = network.step(xs[t]) - targets[t]
        network.tag(errors[t])
        for i in layers:
            v[i][t], z[i][t], psi[i][t] = network.voltage(i), network.spikes(i), network.psi(i)
    for spikes in z:
        assert 0.01 < spikes.mean() < 0.6, f"spiking fraction {spikes.mean()}"
    # costs of spikes and voltages gather apart from the tags
    gradients = {name: tag + network.regularisation.get(name, 0.0) for name, tag in network.tags.items()}
    return Run(network, xs, targets, gradients, v, z, psi, errors)


def off(ours: Floats, exact: Floats) -> float:
    """Largest difference relative to the largest entry of the exact gradient."""
    assert np.abs(exact).max() > 1e-6
    return float(np.abs(ours - exact).max() / np.abs(exact).max())


def cosine(a: Floats, b: Floats) -> float:
    """Cosine of the angle between two gradients."""
    return float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))


def backward(r: Run, through_reset: bool = False, through_recurrence: bool = False) -> dict[str, Floats]:
    """Derivatives of one hidden LIF layer, written by hand.

    With dy_t = error_t + kappa dy_{t+1} and dv_t = psi_t dz_t + alpha dv_{t+1}, where
    dz_t = zeta_out W_out^T dy_t - v_reset dv_{t+1} (through the reset) + W_rec^T dv_{t+1} (through the recurrence):
    g_in = sum_t dv_t x_t^T, g_rec = sum_t dv_t z_{t-1}^T, g_out = zeta_out sum_t dy_t z_t^T.
    """
    s, w = r.network.settings, r.network.weights
    alpha, kappa = math.exp(-s.dt / s.tau_m), math.exp(-s.dt / s.tau_out)
    v_reset = s.threshold * (1.0 if s.reset == "next_tick" else alpha)
    z, psi = r.z[0], r.psi[0]
    dv, dy = np.zeros(N_HIDDEN), np.zeros(N_OUT)
    g = {name: np.zeros_like(matrix) for name, matrix in w.items()}
    for t in reversed(range(TICKS)):
        dy = r.errors[t] + kappa * dy
        dz = (1.0 - kappa) * w["w_out"].T @ dy
        if through_reset:
            dz = dz - v_reset * dv
        if through_recurrence:
            dz = dz + w["w_rec"].T @ dv
        dv = psi[t] * dz + alpha * dv
        g["w_in"] += np.outer(dv, r.xs[t])
        g["w_out"] += (1.0 - kappa) * np.outer(dy, z[t])
        if "w_rec" in g and t > 0:
            g["w_rec"] += np.outer(dv, z[t - 1]) * (1.0 - np.eye(N_HIDDEN))
    return g


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


def autodiff(r: Run, *paths: str, cost: Any = None) -> dict[str, Floats]:
    """Gradients by torch, through spikes onto the readout, onto the adaptation, between layers, and `paths`.

    `paths` may hold "reset" and "recurrence". `cost` maps voltages and spikes of the first layer to a further loss.
    Asserts that the spikes are those of the network.
    """
    torch = pytest.importorskip("torch", reason="automatic differentiation needs torch: install threefactor[bptt]")
    s = r.network.settings
    alpha, rho, kappa = (math.exp(-s.dt / tau) for tau in (s.tau_m, s.tau_adaptation, s.tau_out))

    class Spike(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, above: Any) -> Any:
            ctx.save_for_backward(above)
            return (above >= 0).to(above.dtype)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (above,) = ctx.saved_tensors
            return grad * s.height * torch.from_numpy(SHAPES[s.surrogate][0](s.slope * above.numpy()))

    def kept(z: Any, path: str) -> Any:
        return z if path in paths else z.detach()

    w = {name: torch.tensor(np.ascontiguousarray(a), requires_grad=True) for name, a in r.network.weights.items()}
    zeros = [torch.zeros(n, dtype=torch.float64) for n in s.n_hidden]
    v, a, z = list(zeros), list(zeros), list(zeros)
    y, loss, voltages, spikes = torch.zeros(N_OUT, dtype=torch.float64), 0.0, [], []
    for t in range(TICKS):
        below = torch.from_numpy(r.xs[t])
        for i, n in enumerate(s.n_hidden):
            end, n_alif = f"_{i}" if i else "", s.n_adaptive[i] if s.n_adaptive else 0
            current = w[f"w_in{end}"] @ below
            if s.recurrent:
                current = current + w[f"w_rec{end}"] @ kept(z[i], "recurrence")
            v[i] = alpha * v[i] + current - s.threshold * kept(z[i], "reset")
            a[i] = rho * a[i] + z[i]
            beta = torch.tensor([0.0] * (n - n_alif) + [s.adaptation_strength] * n_alif, dtype=torch.float64)
            z[i] = below = Spike.apply(v[i] - s.threshold - beta * a[i])
            np.testing.assert_array_equal(z[i].detach().numpy(), r.z[i][t])
        voltages.append(v[0])
        spikes.append(z[0])
        y = kappa * y + (1.0 - kappa) * w["w_out"] @ z[-1]
        loss = loss + 0.5 * torch.sum((y - torch.from_numpy(r.targets[t])) ** 2)
    if cost is not None:
        loss = loss + cost(torch.stack(voltages), torch.stack(spikes))
    loss.backward()
    found = {name: matrix.grad.numpy() for name, matrix in w.items()}
    return {k: g * (1.0 - np.eye(len(g))) if k.startswith("w_rec") else g for k, g in found.items()}


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
