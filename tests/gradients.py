"""Gradients to compare with: by hand for one hidden layer, and by torch for all kinds.

The loss is 1/2 sum_t |y_t - target_t|^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.reference import SHAPES, adaptation_of
from threefactor import Network

Floats = npt.NDArray[np.float64]
TICKS, N_IN, N_HIDDEN, N_OUT = 80, 12, 20, 3
EXACT = 1e-12
# cosines below which two gradients count as different, by slope: the steeper, the nearer
APART = {1.0: 0.99, 10.0: 0.999, 25.0: 0.9997, 100.0: 0.99999}
SLOPES = [1.0, 10.0, 25.0, 100.0]
ALIF = {"n_adaptive": 12, "adaptation_strength": 0.2, "tau_adaptation": 40.0, "tau_adaptation_longest": 90.0}


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


# --- against automatic differentiation --------------------------------------------------------------------------------


def autodiff(r: Run, *paths: str, cost: Any = None) -> dict[str, Floats]:
    """Gradients by torch, through spikes onto the readout, onto the adaptation, between layers, and `paths`.

    `paths` may hold "reset" and "recurrence". `cost` maps voltages and spikes of the first layer to a further loss.
    Asserts that the spikes are those of the network.
    """
    torch = pytest.importorskip("torch", reason="automatic differentiation needs torch: install threefactor[bptt]")
    s = r.network.settings
    alpha, kappa = (math.exp(-s.dt / tau) for tau in (s.tau_m, s.tau_out))

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
            rho, beta = (torch.from_numpy(x) for x in adaptation_of(s, n_alif, n))
            a[i] = rho * a[i] + z[i]
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
