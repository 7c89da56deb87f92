"""A recording of e-prop as another simulator would make it: plain NumPy, frame by frame, and nothing of the engine.

Written from the description of the reference data (its sections 2 to 6): neurons, gradients, optimisers, losses and
artefacts of NEST's two families of e-prop models. Matrices are [post, pre], times in ms, rates in Hz.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Case = dict[str, Any]

SURROGATES = {
    "piecewise_linear": lambda u: np.maximum(0.0, 1.0 - np.abs(u)),
    "exponential": lambda u: np.exp(-np.abs(u)),
    "fast_sigmoid_derivative": lambda u: (1.0 + np.abs(u)) ** -2.0,
    "arctan_derivative": lambda u: 1.0 / (1.0 + u**2),
}
SHARED: Case = {
    "n_in": 6, "n_out": 2, "dt_ms": 1.0, "tau_m": 20.0, "V_th": 0.6, "t_ref_steps": 2, "sg_height": 0.5,
    "sg_width": 0.6, "sg_fn": "piecewise_linear", "c_reg": 30.0, "f_target": 20.0, "tau_m_out": 15.0,
    "optimizer": "gradient_descent", "eta": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "Wmin": -100.0,
    "Wmax": 100.0,
}  # fmt: skip
ALIF: Case = {"adapt_tau": 120.0, "adapt_beta": 0.08}
SEQUENCES: Case = SHARED | ALIF | {
    "S": 150, "LW": 150, "n_iter": 3, "batch_size": 2, "n_reg": 5, "n_ad": 4, "regular_spike_arrival": True,
    "regular_spike_arrival_out": False, "tau_m_readout": 12.0, "loss": "mean_squared_error", "average_gradient": False,
    "spike_in_second_frame": False,
}  # fmt: skip
ONLINE: Case = SHARED | {"T": 400, "n_rec": 9, "adaptive": False, "kappa": 0.94, "kappa_reg": 0.9, "eta": 1e-4}


def _weights(rng: np.random.Generator, case: Case, n: int, gain: float) -> Case:
    w_rec = rng.normal(0.0, gain / np.sqrt(n), (n, n))
    np.fill_diagonal(w_rec, 0.0)
    return {
        "W0_in": rng.normal(0.15, 1.0, (n, case["n_in"])) * gain, "W0_rec": w_rec,
        "W0_out": rng.normal(0.0, 1.0 / np.sqrt(n), (case["n_out"], n)), "W_fb": rng.normal(size=(n, case["n_out"])),
    }  # fmt: skip


class Optimiser:
    """SGD or Adam on one matrix, clipped to [Wmin, Wmax]; `n` counts updates, from an offset for the online models."""

    def __init__(self, case: Case, w: Floats, n: int = 0) -> None:
        self.case, self.w, self.n = case, w.copy(), n
        self.m, self.v = np.zeros_like(w), np.zeros_like(w)

    def step(self, g: Floats) -> None:
        """W <- W - eta G, or Adam's step with epsilon outside the bias correction."""
        c, self.n = self.case, self.n + 1
        if c["optimizer"] == "adam":
            b1, b2 = c["beta_1"], c["beta_2"]
            self.m, self.v = b1 * self.m + (1 - b1) * g, b2 * self.v + (1 - b2) * g**2
            step = c["eta"] * np.sqrt(1 - b2**self.n) / (1 - b1**self.n)
            change = step * self.m / (np.sqrt(self.v) + c["epsilon"])
        else:
            change = c["eta"] * g
        self.w = np.clip(self.w - change, c["Wmin"], c["Wmax"])


class Neurons:
    """State of the recurrent layer and of the traces of both matrices onto it."""

    def __init__(self, case: Case, n: int, adaptive: Floats) -> None:
        self.c, self.alpha = case, np.exp(-case["dt_ms"] / case["tau_m"])
        self.rho = np.exp(-case["dt_ms"] / case["adapt_tau"]) if "adapt_tau" in case else 0.0
        self.beta = adaptive * case.get("adapt_beta", 0.0)
        self.v, self.a, self.z, self.r = (np.zeros(n) for _ in range(4))
        sizes = {"in": case["n_in"], "rec": n}
        self.zbar = {key: np.zeros(size) for key, size in sizes.items()}
        self.eps, self.ebar, self.slow = ({k: np.zeros((n, s)) for k, s in sizes.items()} for _ in range(3))
        self.off_diagonal = {"in": 1.0, "rec": 1.0 - np.eye(n)}

    def spike(self, v: Floats) -> None:
        """Adaptation, surrogate and spikes at membrane voltage `v`."""
        c = self.c
        self.r = np.maximum(self.r - 1, 0)
        self.a = self.rho * self.a + self.z
        distance = v - (c["V_th"] + self.beta * self.a)
        self.psi = np.where(self.r > 0, 0.0, c["sg_height"] * SURROGATES[c["sg_fn"]](distance / c["sg_width"]))
        self.z = np.where((distance >= 0) & (self.r == 0), 1.0, 0.0)
        self.r = np.where(self.z > 0, c["t_ref_steps"], self.r)

    def trace(self, key: str, arriving: Floats, zeta: float) -> Floats:
        """Eligibility e = psi (zbar - beta eps) of this frame; no autapses."""
        self.zbar[key] = self.alpha * self.zbar[key] + zeta * arriving
        e = self.psi[:, None] * (self.zbar[key][None, :] - self.beta[:, None] * self.eps[key]) * self.off_diagonal[key]
        self.eps[key] = self.rho * self.eps[key] + e
        return e


# --- one gradient a sequence -----------------------------------------------------------------------------------------


def sequences_case(seed: int = 0, **changed: Any) -> Case:
    """A reference file's content: `n_iter` batches of sequences, with settings of `SEQUENCES` changed."""
    case = SEQUENCES | changed
    rng, n, n_out = np.random.default_rng(seed), case["n_reg"] + case["n_ad"], case["n_out"]
    if not case["n_ad"]:
        case = {key: value for key, value in case.items() if key not in ALIF}
    case["n_seq"], ticks = case["n_iter"] * case["batch_size"], case["S"]
    zeta = 1.0 if case["regular_spike_arrival"] else 1.0 - np.exp(-case["dt_ms"] / case["tau_m"])
    case |= _weights(rng, case, n, 0.4 / zeta)
    case["x"] = (rng.random((case["n_seq"], ticks, case["n_in"])) < 0.12).astype(np.uint8)
    case["x"][:, :2] = 0
    if case.pop("spike_in_second_frame"):
        case["x"][1::2, 1, :2] = 1
    if case["loss"] == "cross_entropy":
        case["target"] = np.repeat(np.eye(n_out)[rng.integers(n_out, size=case["n_seq"])][:, None], ticks, 1)
    else:
        case["target"] = rng.normal(0.0, 0.5, (case["n_seq"], ticks, n_out))
    return case | _record_sequences(case)


def _record_sequences(case: Case) -> Case:
    batch, keys = case["batch_size"], ("in", "rec", "out")
    weights = {key: Optimiser(case, case[f"W0_{key}"]) for key in keys}
    kept: dict[str, list[Any]] = {f"nest_W_{key}": [weights[key].w.copy()] for key in keys}
    for n in range(case["n_iter"]):
        played = []
        for q in range(n * batch, (n + 1) * batch):
            early = case["x"][q + 1, 1] > 0 if q + 1 < case["n_seq"] else np.zeros(case["n_in"], bool)
            played.append(_play(case, {k: o.w for k, o in weights.items()}, case["x"][q], case["target"][q], early))
            for name, values in played[-1][0].items():
                kept.setdefault(f"nest_{name}", []).append(values)
        kept.setdefault("nest_loss", []).append(np.mean([loss for _, _, loss in played]))
        for key in keys:
            gradient = np.mean([g[key] for _, g, _ in played], axis=0)
            weights[key].step(gradient)
            kept.setdefault(f"nest_grad_{key}", []).append(gradient)
            kept[f"nest_W_{key}"].append(weights[key].w.copy())
            for moment in "mv" if case["optimizer"] == "adam" else "":
                kept.setdefault(f"nest_adam_{moment}_{key}", []).append(getattr(weights[key], moment).copy())
    arrays: Case = {name: np.array(values) for name, values in kept.items()}
    if case["loss"] != "cross_entropy":
        del arrays["nest_v_out"]
    sequences = {f"nest_{name}_seq": np.arange(case["n_seq"]) for name in ("v", "psi", "L", "adapt")}
    return arrays | sequences | {f"nest_W_end_{key}": weights[key].w for key in keys}


def _play(case: Case, w: Case, x: Floats, target: Floats, early: npt.NDArray[np.bool_]) -> tuple[Case, Case, float]:
    """One sequence: what is recorded of it, its gradients and its loss.

    `early` marks inputs that spike in the second frame of the next sequence, which costs them the last frame's term.
    """
    n, ticks, first, dt = w["rec"].shape[0], case["S"], case["S"] - case["LW"], case["dt_ms"]
    cells = Neurons(case, n, (np.arange(n) >= case["n_reg"]).astype(float))
    kappa_out, kappa = np.exp(-dt / case["tau_m_out"]), np.exp(-dt / case["tau_m_readout"])
    zeta = 1.0 if case["regular_spike_arrival"] else 1.0 - cells.alpha
    zeta_out = 1.0 if case["regular_spike_arrival_out"] else 1.0 - kappa_out
    g = {"in": np.zeros((n, case["n_in"])), "rec": np.zeros((n, n)), "out": np.zeros((case["n_out"], n))}
    summed = {key: np.zeros_like(g[key]) for key in ("in", "rec")}
    v_out, zbar_out, loss = np.zeros(case["n_out"]), np.zeros(n), 0.0
    rows: dict[str, list[Floats]] = {name: [] for name in ("z", "v", "psi", "L", "adapt", "y", "err", "v_out")}
    for k in range(ticks):
        arriving = {"in": x[k] * float(k > 0), "rec": cells.z}
        current = w["in"] @ arriving["in"] + w["rec"] @ arriving["rec"]
        cells.v = cells.alpha * cells.v + zeta * current - case["V_th"] * cells.z
        cells.spike(cells.v)
        v_out = kappa_out * v_out + zeta_out * w["out"] @ cells.z
        y = np.exp(v_out) / np.exp(v_out).sum() if case["loss"] == "cross_entropy" else v_out
        y, error = (y, y - target[k]) if k >= first else (np.zeros_like(y), np.zeros_like(y))
        if k >= first:
            squares = 0.5 * np.mean(error**2)
            loss += squares if case["loss"] != "cross_entropy" else -float(target[k] @ np.log(y)) / case["LW"]
        signal = case["W_fb"] @ error
        zbar_out = kappa_out * zbar_out + zeta_out * cells.z
        g["out"] += np.outer(error, zbar_out)
        for key in ("in", "rec"):
            e = cells.trace(key, arriving[key], zeta)
            summed[key] += e
            cells.ebar[key] = kappa * cells.ebar[key] + (1.0 - kappa) * e
            term = signal[:, None] * cells.ebar[key]
            if key == "in" and k == ticks - 1:
                term[:, early] = 0.0
            g[key] += term
        shown = (cells.z, cells.v, cells.psi, signal, cells.a[case["n_reg"] :], y, error, v_out)
        for name, values in zip(rows, shown, strict=True):
            rows[name].append(values.copy())
    rate = np.mean(rows["z"], axis=0)
    for key in ("in", "rec"):
        g[key] += (case["c_reg"] * (rate - case["f_target"] * dt / 1000.0) / ticks)[:, None] * summed[key]
    shrink = case["LW"] if case["average_gradient"] else 1.0
    return {k: np.array(v) for k, v in rows.items()}, {k: v / shrink for k, v in g.items()}, float(loss)


# --- one update a frame ----------------------------------------------------------------------------------------------


def online_case(seed: int = 0, **changed: Any) -> Case:
    """A reference file's content for the model that learns every frame, with settings of `ONLINE` changed."""
    case = ONLINE | changed
    rng, ticks = np.random.default_rng(seed), case["T"]
    case |= (ALIF if case["adaptive"] else {}) | _weights(rng, case, case["n_rec"], 0.4)
    case["x"] = (rng.random((ticks, case["n_in"])) < 0.12).astype(np.uint8)
    case["target"], case["window"] = rng.normal(0.0, 0.5, (ticks, case["n_out"])), np.ones(ticks)
    case["window"][20:50] = 0.0
    return case | _record_online(case)


def _record_online(case: Case) -> Case:
    n, keys = case["n_rec"], ("in", "rec", "out")
    cells = Neurons(case, n, np.full(n, float(case["adaptive"])))
    kappa, slow, rate = case["kappa"], case["kappa_reg"], np.zeros(n)
    kappa_out = np.exp(-case["dt_ms"] / case["tau_m_out"])
    weights = {key: Optimiser(case, case[f"W0_{key}"], 3 if key == "out" else 2) for key in keys}
    history = {key: [o.w, o.w] for key, o in weights.items()}  # the weights of frame k hold gradients up to k - 2
    v_out, zbar_out = np.zeros(case["n_out"]), np.zeros(n)
    rows: dict[str, list[Floats]] = {name: [] for name in ("z", "v", "psi", "L_first4", "adapt", "y", "err", "v_out")}
    seen: dict[str, list[tuple[int, int, Floats]]] = {key: [] for key in keys}
    for k in range(case["T"]):
        w = {key: history[key][k] for key in keys}
        arriving = {"in": case["x"][k].astype(float), "rec": cells.z}
        cells.v = cells.alpha * cells.v + w["in"] @ arriving["in"] + w["rec"] @ arriving["rec"]
        cells.spike(cells.v)
        cells.v = cells.v - case["V_th"] * cells.z
        rate = slow * rate + (1.0 - slow) * cells.z / case["dt_ms"]
        v_out = kappa_out * v_out + w["out"] @ cells.z
        error = (v_out - case["target"][k]) * case["window"][k]
        signal, zbar_out = case["W_fb"] @ error, kappa_out * zbar_out + cells.z
        g = {"out": np.outer(error, zbar_out)}
        for key in ("in", "rec"):
            e = cells.trace(key, arriving[key], 1.0)
            cells.ebar[key] = kappa * cells.ebar[key] + e
            cells.slow[key] = slow * cells.slow[key] + (1.0 - slow) * e
            regular = case["c_reg"] * (rate - case["f_target"] / 1000.0)
            g[key] = signal[:, None] * cells.ebar[key] + regular[:, None] * cells.slow[key]
        for key, sent in (arriving | {"out": cells.z}).items():
            seen[key] += [(k, int(i), w[key][:, i]) for i in np.flatnonzero(sent)]
        for key in keys:
            weights[key].step(g[key])
            history[key].append(weights[key].w)
        y = v_out * case["window"][k]
        shown = (cells.z, cells.v, cells.psi, signal[:4], cells.a, y, error, v_out)
        for name, values in zip(rows, shown, strict=True):
            rows[name].append(values.copy())
    arrays: Case = {f"nest_{k}": np.array(v) for k, v in rows.items() if case["adaptive"] or k != "adapt"}
    for key in keys:
        frame, pre, row = (np.array(column) for column in zip(*seen[key], strict=True))
        if key == "rec":
            row[np.arange(len(row)), pre] = np.nan  # no autapses
        arrays |= {f"nest_wr_{key}_frame": frame, f"nest_wr_{key}_pre": pre, f"nest_wr_{key}_w": row}
        arrays[f"nest_W_end_{key}"] = weights[key].w
    squares = 0.5 * np.mean(arrays["nest_err"] ** 2, axis=1)
    return arrays | ({"nest_loss_per_200_frames": squares.reshape(-1, 200).sum(1)} if case["T"] % 200 == 0 else {})
