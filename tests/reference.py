"""A slow network, written from the equations in plain NumPy, that the engine is compared with.

Matrices are [post, pre], all is float64, and what the engine folds together stands here as the equations have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from threefactor.settings import NetworkSettings

Floats = npt.NDArray[np.float64]
Named = Mapping[str, npt.ArrayLike]


def _bell(u: Any, deviation: float = 1.0) -> Any:
    return np.exp(-0.5 * (u / deviation) ** 2) / (deviation * math.sqrt(2.0 * math.pi))


def _multi_gaussian(u: Any) -> Any:
    """(1 + h) N(u; 0, 1) - h N(u; 1, s) - h N(u; -1, s) with h = 0.15, s = 6; its area is 1 - h."""
    return 1.15 * _bell(u) - 0.15 * _bell(u - 1.0, 6.0) - 0.15 * _bell(u + 1.0, 6.0)


# surrogate: f(u) with peak 1 at u = 0, and its integral
SHAPES: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "piecewise_linear": (lambda u: np.maximum(0.0, 1.0 - np.abs(u)), 1.0),
    "box": (lambda u: np.where(np.abs(u) <= 1.0, 1.0, 0.0), 2.0),
    "fast_sigmoid": (lambda u: (1.0 + np.abs(u)) ** -2.0, 2.0),
    "exponential": (lambda u: np.exp(-np.abs(u)), 2.0),
    "arctan": (lambda u: 1.0 / (1.0 + u**2), math.pi),
    "logistic": (lambda u: np.cosh(np.clip(u, -700.0, 700.0) / 2.0) ** -2.0, 4.0),
    "gaussian": (lambda u: np.exp(-(u**2) / 2.0), math.sqrt(2.0 * math.pi)),
    "multi_gaussian": (lambda u: _multi_gaussian(u) / _multi_gaussian(0.0), 0.85 / _multi_gaussian(0.0)),
}


def decay_of(dt: float, tau: float) -> float:
    """exp(-dt / tau); 0 for no time constant at all."""
    return math.exp(-dt / tau) if tau > 0.0 else 0.0


class Matrix:
    """A weight matrix [post, pre] with its gradient and its optimiser: tag, what regularisers gathered, moments."""

    def __init__(self, w: npt.ArrayLike, mask: npt.ArrayLike | None, decay: float) -> None:
        self.w = np.array(w, dtype=np.float64)
        self.mask = np.ones_like(self.w) if mask is None else np.array(mask, dtype=np.float64)
        self.decay = decay
        self.tag, self.reg, self.m, self.s, self.g = (np.zeros_like(self.w) for _ in range(5))
        self.updates = 0

    def add_to_tag(self, gradient: Floats, keep: float) -> None:
        """tag <- keep tag + gradient, where there is a synapse."""
        self.g = gradient * self.mask
        self.tag = keep * self.tag * self.mask + self.g

    def root(self, s: NetworkSettings) -> Floats:
        """Root of the gradient's mean square over all tags so far."""
        return np.sqrt(self.s / (1.0 - s.beta_2**self.updates) + s.epsilon**2)

    def measure(self, s: NetworkSettings) -> tuple[float, float]:
        """Advance the mean square, and give the norms of gradient and tag in units of its root."""
        self.updates += 1
        self.s = s.beta_2 * self.s + (1.0 - s.beta_2) * self.g**2
        self.m = 1.0 / self.root(s)
        return float(np.sum(self.g**2 * self.m)), float(np.sum(self.tag**2 * self.m))

    def descend(self, gradient: Floats, s: NetworkSettings, step: float) -> None:
        """w <- w - step g - learning_rate decay w, or g / root, or Adam's, epsilon outside the bias correction."""
        g = np.clip(gradient, -s.clip_value, s.clip_value)
        if s.optimiser == "adam":
            self.updates += 1
            self.m = s.beta_1 * self.m + (1.0 - s.beta_1) * g
            self.s = s.beta_2 * self.s + (1.0 - s.beta_2) * g**2
            correction = math.sqrt(1.0 - s.beta_2**self.updates) / (1.0 - s.beta_1**self.updates)
            change = s.learning_rate * correction * self.m / (np.sqrt(self.s) + s.epsilon)
        elif s.optimiser == "intentional":
            change = step * g * self.m
        else:
            change = step * g
        self.w = np.clip(self.w - change - s.learning_rate * self.decay * self.w, s.weight_min, s.weight_max)
        self.reg = np.zeros_like(self.w)


class Connection(Matrix):
    """Synapses onto hidden neurons: a matrix with eligibility traces.

    dv/dw is `eps_v`, da/dw is `eps_a`, dz/dw is `e = psi (eps_v - beta eps_a)`; `ebar` is e under the readout's filter.
    Without `exact_reset`, eps_v leaves out the reset and so is the filtered presynaptic activity.
    """

    def rest(self) -> None:
        """Traces at the start of a sequence."""
        self.eps_v, self.eps_a, self.e, self.ebar, self.e_slow, self.e_sum = (np.zeros_like(self.w) for _ in range(6))
        self.pre: Floats = np.zeros(self.w.shape[1])

    def advance(self, layer: Layer, s: NetworkSettings) -> None:
        """One tick of the traces. `layer.beta` is 0 for LIF neurons."""
        arriving = layer.scale * np.outer(np.ones(layer.n), self.pre)
        through_reset = self.e if s.exact_reset else np.zeros_like(self.e)
        self.eps_a = layer.rho[:, None] * self.eps_a + self.e
        if s.reset == "next_tick":
            self.eps_v = layer.alpha * self.eps_v + arriving - s.threshold * through_reset
        else:
            self.eps_v = layer.alpha * (self.eps_v - s.threshold * through_reset) + arriving
        self.e = layer.psi[:, None] * (self.eps_v - layer.beta[:, None] * self.eps_a)
        self.ebar = layer.kappa * self.ebar + layer.trace_gain * self.e
        slow = decay_of(s.dt, s.rate_trace_tau) if s.rate_strength else 0.0
        self.e_slow = slow * self.e_slow + (1.0 - slow) * self.e
        self.e_sum = self.e_sum + self.e

    def gather(self, layer: Layer, s: NetworkSettings) -> None:
        """Gradients of the regularisers at this tick: firing rate, number of spikes, squared voltage."""
        g = s.voltage_l2 * layer.v[:, None] * self.eps_v
        if math.isfinite(s.rate_tau):
            g = g + (s.rate_strength * (layer.rate - s.rate_target / 1000.0) + s.spike_l1)[:, None] * self.e_slow
        self.reg = self.reg + self.mask * g

    def gather_sequence(self, layer: Layer, s: NetworkSettings) -> None:
        """fr_j sum_k e_ji, fr = strength (n / T - f dt) / T, and the cost of each spike, over a whole sequence."""
        ticks = len(layer.history)
        off = np.sum(layer.history, axis=0) / ticks - s.rate_target * s.dt / 1000.0
        self.reg = self.reg + self.mask * (s.rate_strength * off / ticks + s.spike_l1)[:, None] * self.e_sum


def adaptation_of(s: NetworkSettings, n_alif: int, n: int) -> tuple[Floats, Floats]:
    """Decay and strength of each neuron's adaptation: those of the last `n_alif`, 0 before."""
    rho, beta = np.zeros(n), np.where(np.arange(n) < n - n_alif, 0.0, s.adaptation_strength)
    ratio = 1.0 if s.tau_adaptation_longest is None else s.tau_adaptation_longest / s.tau_adaptation
    for k in range(n_alif):
        rho[n - n_alif + k] = decay_of(s.dt, s.tau_adaptation * ratio ** (k / max(n_alif - 1, 1)))
    return rho, beta


class Layer:
    """Hidden neurons: v <- alpha v + zeta (W_in x + W_rec z_prev) - reset; spike at v >= A = v_th + beta a."""

    def __init__(self, s: NetworkSettings, block: int, connections: dict[str, Connection]) -> None:
        self.s, self.n, self.connections = s, s.n_hidden[block], connections
        self.alpha = decay_of(s.dt, s.tau_m)
        # layers below the last see the readout through the membranes above, too: one longer filter of the same area
        below = len(s.n_hidden) - 1 - block if s.credit == "layerwise" else 0
        tau = s.tau_out if s.tau_trace is None else s.tau_trace
        self.kappa = decay_of(s.dt, tau + below * s.tau_m)
        area = 1.0 / (1.0 - decay_of(s.dt, tau)) if s.trace_gain == "unit" else 1.0
        self.trace_gain = (1.0 - self.kappa) * area / (1.0 - self.alpha) ** below
        self.adaptive = np.arange(self.n) >= self.n - (s.n_adaptive[block] if s.n_adaptive else 0)
        self.rho, self.beta = adaptation_of(s, int(self.adaptive.sum()), self.n)

    def rest(self) -> None:
        """State at the start of a sequence."""
        self.v, self.a, self.z, self.wait, self.psi, self.rate, self.psi_bar = (np.zeros(self.n) for _ in range(7))
        self.zbar_out, self.signal = np.zeros(self.n + self.s.bias), np.zeros(self.n)
        self.scale, self.history = 1.0, list[Floats]()
        for connection in self.connections.values():
            connection.rest()

    def forward(self, below: Floats, slope: float) -> None:
        """Advance by a tick; `below` are the spikes, or inputs, that arrive."""
        s, z_prev = self.s, self.z
        current = np.zeros(self.n)
        for connection, pre in zip(self.connections.values(), (below, z_prev), strict=False):
            connection.pre = pre.copy()
            current = current + connection.w @ pre
        self.scale = 1.0 if s.current_gain == "unit" else 1.0 - self.alpha
        arriving = self.scale * current
        if s.normalise_current:
            deviation = math.sqrt(current.var() + 1e-5)
            arriving = self.scale * (current - current.mean()) / deviation
            self.scale /= deviation
        if s.reset == "next_tick":
            self.v = self.alpha * self.v + arriving - s.threshold * z_prev
        else:
            self.v = self.alpha * (self.v - s.threshold * z_prev) + arriving
        self.a = np.where(self.adaptive, self.rho * self.a + z_prev, 0.0)
        above, self.wait = self.v - (s.threshold + self.beta * self.a), np.maximum(self.wait - 1.0, 0.0)
        free = self.wait == 0.0
        f, area = SHAPES[s.surrogate]
        height = s.height if s.normalisation == "peak" else s.height * slope / area
        self.psi = np.where(free, height * f(slope * above), 0.0)
        self.z = np.where(free & (above >= 0.0), 1.0, 0.0)
        self.wait = np.where(self.z > 0.0, round(s.refractory / s.dt), self.wait)
        self._filter(s)

    def _filter(self, s: NetworkSettings) -> None:
        """Low-passes of what the tick brought: running rate [1/ms], surrogate, spikes as the readout sees them."""
        kappa_out, slow = decay_of(s.dt, s.tau_out), decay_of(s.dt, s.rate_tau)
        self.rate = slow * self.rate + (1.0 - slow) * self.z / s.dt
        self.psi_bar = self.kappa * self.psi_bar + (1.0 - self.kappa) * self.psi
        gain = 1.0 if s.readout_gain == "unit" else 1.0 - kappa_out
        self.zbar_out = kappa_out * self.zbar_out + gain * with_bias(self.z, s)
        self.history.append(self.z.copy())


def with_bias(x: Floats, s: NetworkSettings) -> Floats:
    """Append the unit that is always 1, where there is one."""
    return np.append(x, 1.0) if s.bias else x.copy()


class ReferenceNetwork:
    """The twin of `threefactor.Network`; weights, feedback and masks are copied from one."""

    def __init__(self, settings: NetworkSettings, weights: Named, feedback: Named, masks: Named | None = None) -> None:
        self.settings, self.slope, masks = settings, settings.slope, masks or {}
        self.matrices: dict[str, Matrix] = {}
        self.layers: list[Layer] = []
        for block, n in enumerate(settings.n_hidden):
            end = f"_{block}" if block else ""
            names = (f"w_in{end}", f"w_rec{end}") if settings.recurrent else (f"w_in{end}",)
            own = {name: Connection(weights[name], masks.get(name), settings.weight_decay) for name in names}
            if settings.recurrent:  # no autapses
                own[names[1]].mask *= 1.0 - np.eye(n)
            self.matrices.update(own)
            self.layers.append(Layer(settings, block, own))
        self.matrices["w_out"] = Matrix(weights["w_out"], masks.get("w_out"), settings.weight_decay)
        self.feedback = {k: Matrix(b, None, settings.feedback_decay) for k, b in feedback.items()}
        self.pending = False
        self.mean_norm, self.tag_norm, self.step_size = 0.0, 0.0, 0.0
        self._rest()

    def step(self, x: npt.ArrayLike) -> Floats:
        """Advance by a tick: y <- kappa y + zeta W_out z, then softmax where asked for."""
        s = self.settings
        self._let_go()
        below = with_bias(np.asarray(x, dtype=np.float64), s)
        for layer in self.layers:
            layer.forward(below, self.slope)
            below = with_bias(layer.z, s)
        kappa = decay_of(s.dt, s.tau_out)
        self.v_out = (
            kappa * self.v_out + (1.0 if s.readout_gain == "unit" else 1.0 - kappa) * self.matrices["w_out"].w @ below
        )
        exponential = np.exp(self.v_out - self.v_out.max())
        self.y = exponential / exponential.sum() if s.readout == "softmax" else self.v_out.copy()
        self.pending = True
        return self.y

    def learn(self, error: npt.ArrayLike) -> None:
        """Gradient of this tick, and a step along it."""
        self._tag(np.asarray(error, dtype=np.float64), 0.0)
        self.update(1.0)

    def tag(self, error: npt.ArrayLike) -> None:
        """tag <- tag_decay tag + gradient of this tick."""
        self._tag(np.asarray(error, dtype=np.float64), self.settings.tag_decay)

    def update(self, third: float = 1.0) -> None:
        """Step along third x tag + what the regularisers gathered, bounded by norm, by entry or by overshoot."""
        s, learns, tags = self.settings, self.matrices.values(), self.matrices["w_out"].updates
        if s.optimiser == "intentional" and tags == 0:
            return
        l1, squares = (
            sum(np.abs(m.tag).sum() for m in learns),
            sum(np.sum((third * m.tag + m.reg) ** 2) for m in learns),
        )
        scale = min(1.0, s.clip_norm / math.sqrt(squares)) if squares else 1.0
        step = s.learning_rate
        if s.optimiser == "obgd":
            step /= max(1.0, s.learning_rate * s.overshoot * max(abs(third), 1.0) * l1)
        if s.optimiser == "intentional":
            step /= max(math.sqrt(self.mean_norm * self.tag_norm), self.mean_norm, self.tag_norm / 10.0, 1e-8)
        self.step_size = step
        for name, m in self.matrices.items():
            if name == "w_out" or not s.freeze_hidden:
                m.descend(scale * (third * m.tag + m.reg), s, step)
        for b in self.feedback.values() if s.feedback == "adaptive" else ():
            b.descend(scale * third * b.tag, s, step)

    def reset(self) -> None:
        """End the sequence: a rate taken over all of it gives its gradient now; then everything is at rest."""
        s = self.settings
        self._let_go()
        if math.isinf(s.rate_tau) and not s.freeze_hidden and self.layers[0].history:
            for layer in self.layers:
                for connection in layer.connections.values():
                    connection.gather_sequence(layer, s)
        self._rest()

    def clear(self) -> None:
        """Drop the tags and what the regularisers gathered."""
        for m in (*self.matrices.values(), *self.feedback.values()):
            m.tag, m.reg = np.zeros_like(m.w), np.zeros_like(m.w)

    def _rest(self) -> None:
        self.v_out, self.y, self.pending = np.zeros(self.settings.n_out), np.zeros(self.settings.n_out), False
        for layer in self.layers:
            layer.rest()

    def _let_go(self) -> None:
        """A tick that nobody learnt from still moves its traces, and its regularisers still count."""
        if self.pending:
            for layer in self.layers:
                layer.signal = np.zeros(layer.n)
            self._advance(1.0)

    def _tag(self, error: Floats, keep: float) -> None:
        assert self.pending, "each tick can be learnt from once"
        if not self.settings.freeze_hidden:
            self._send_signals(error)
        self._advance(keep)
        self.matrices["w_out"].add_to_tag(np.outer(error, self.layers[-1].zbar_out), keep)
        for block, layer in enumerate(self.layers):
            b = self.feedback.get(f"w_feedback_{block}" if block else "w_feedback")
            if b is not None:
                b.add_to_tag(np.outer(layer.zbar_out[: layer.n], error), keep)
        if self.settings.optimiser == "intentional":
            self._measure()

    def _measure(self) -> None:
        """Norms of gradient and tag over the whole network: a running mean of the one, the last of the other."""
        s = self.settings
        learns = [m for name, m in self.matrices.items() if name == "w_out" or not s.freeze_hidden]
        learns += self.feedback.values() if s.feedback == "adaptive" else []
        norms = np.sum([m.measure(s) for m in learns], axis=0)
        tags = self.matrices["w_out"].updates
        self.mean_norm += max(1.0 - s.norm_decay, 1.0 / tags) * (norms[0] - self.mean_norm)
        self.tag_norm = norms[1]

    def _send_signals(self, error: Floats) -> None:
        """L = B error, or for lower layers of a stack L_i = scale sum_j W_ji psi_bar_j L_j from the layer above."""
        for block, layer in reversed(list(enumerate(self.layers))):
            b = self.feedback.get(f"w_feedback_{block}" if block else "w_feedback")
            if b is not None:
                layer.signal = b.w @ error
            elif layer is self.layers[-1]:
                layer.signal = self.matrices["w_out"].w[:, : layer.n].T @ error
            else:
                above = self.layers[block + 1]
                w = above.connections[f"w_in_{block + 1}"].w[:, : layer.n]
                layer.signal = above.scale * w.T @ (above.psi_bar * above.signal)

    def _advance(self, keep: float) -> None:
        self.pending = False
        for layer in self.layers if not self.settings.freeze_hidden else ():
            for connection in layer.connections.values():
                connection.advance(layer, self.settings)
                connection.add_to_tag(layer.signal[:, None] * connection.ebar, keep)
                connection.gather(layer, self.settings)
