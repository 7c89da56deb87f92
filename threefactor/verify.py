"""Replay of e-prop reference recordings through the very kernels that learn elsewhere.

Two kinds of recording are known: gradients summed over sequences, and one update a step (the online variant). Files
and the networks they describe: `threefactor.references`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.network import Network
from threefactor.references import (
    MATRICES,
    ReferenceFileError,
    check_shape,
    inputs_and_targets,
    load_reference,
    set_weights,
    shared_settings,
)

# The original code computes losses in float32; they agree with double precision to this and no further.
FLOAT32_LOSS_TOLERANCE = 2e-7


class Comparison:
    """Largest error of each quantity relative to its largest reference value."""

    def __init__(self) -> None:
        self.errors: dict[str, float] = {}
        self._largest: dict[str, float] = {}
        self._off: dict[str, float] = {}

    def add(self, quantity: str, ours: Array, reference: Array) -> None:
        """Compare one array; several of one quantity count together."""
        ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
        if ours.shape != reference.shape:
            raise ReferenceFileError(
                f"{quantity} has shape {reference.shape} in the file, the replay gives {ours.shape}."
            )
        known = ~np.isnan(reference)
        off = np.abs(ours - reference)[known]
        # NaN of ours where the reference has a number must not pass
        self._off[quantity] = max(self._off.get(quantity, 0.0), float(np.nan_to_num(off, nan=np.inf).max(initial=0.0)))
        self._largest[quantity] = max(
            self._largest.get(quantity, 0.0), float(np.abs(reference[known]).max(initial=0.0))
        )
        self.errors[quantity] = self._off[quantity] / (self._largest[quantity] or 1.0)


def tolerance_for(quantity: str, tolerance: float) -> float:
    """Tolerance of one quantity: losses of float32 code cannot be met any closer than their own rounding."""
    return max(tolerance, FLOAT32_LOSS_TOLERANCE) if quantity == "loss (float32)" else tolerance


def verify_file(path: Path) -> dict[str, float]:
    """Replay one reference file; returns the largest relative error of each quantity.

    Raises
    ------
    ReferenceFileError
        The file is no reference file, or lacks an entry; says which.
    """
    case = load_reference(path)
    try:
        return (_replay_online(case) if "S" not in case else _replay_sequences(case)).errors
    except KeyError as error:
        raise ReferenceFileError(f"{path} lacks the entry {error}; it is no reference file known here.") from None
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        raise ReferenceFileError(f"{path} does not fit together: {error}") from None


# --- gradients summed over sequences ------------------------------------------------------------------------------


def _sequence_network(case: Mapping[str, Any]) -> Network:
    gains = {True: "unit", False: "one_minus_decay"}
    if case["loss"] not in ("mean_squared_error", "cross_entropy"):
        raise ReferenceFileError(f"loss {case['loss']!r} is unknown; known: mean_squared_error, cross_entropy.")
    network = Network(
        n_hidden=case["n_reg"] + case["n_ad"], n_adaptive=case["n_ad"], n_out=case["W0_out"].shape[0],
        tau_trace=case["tau_m_readout"], current_gain=gains[case["regular_spike_arrival"]],
        readout_gain=gains[case["regular_spike_arrival_out"]], tag_decay=1.0, rate_tau=math.inf,
        readout="softmax" if case["loss"] == "cross_entropy" else "linear", **shared_settings(case),
    )  # fmt: skip
    set_weights(network, case)
    return network


class _Record:
    """What one sequence showed, frame by frame."""

    def __init__(self, ticks: int, n: int, n_out: int) -> None:
        self.z, self.v, self.psi, self.L, self.a = (np.zeros((ticks, n)) for _ in range(5))
        self.y, self.error, self.v_out = (np.zeros((ticks, n_out)) for _ in range(3))

    def take(self, k: int, network: Network, error: Array) -> None:
        self.z[k], self.v[k], self.psi[k] = network.spikes(), network.voltage(), network.psi()
        self.L[k], self.a[k], self.error[k] = network.learning_signal(), network.adaptation(), error
        self.y[k], self.v_out[k] = network.y, network.readout_voltage


def _play_sequence(network: Network, case: Mapping[str, Any], x: Array, target: Array, late: Array) -> _Record:
    """Run one sequence and tag its gradient.

    `late` marks inputs whose last frame's gradient the recorded simulator loses: an input spike in the second frame
    of the next sequence makes it update those synapses before that frame's error has arrived.
    """
    ticks, window = case["S"], case["S"] - case["LW"]
    record = _Record(ticks, network.settings.n_hidden[0], network.settings.n_out)
    for k in range(ticks):
        y = network.step(x[k])
        error = y - target[k] if k >= window else np.zeros_like(y)
        before = network.tags["w_in"][:, late].copy() if k == ticks - 1 else None
        network.tag(error)
        if before is not None:
            network.tags["w_in"][:, late] = before
        record.take(k, network, error)
        if k < window:
            record.y[k] = 0.0
    network.reset()
    return record


def _compare_sequence(found: Comparison, case: Mapping[str, Any], q: int, record: _Record) -> None:
    found.add(
        "spikes", record.z.sum(0) if "nest_z" not in case else record.z, case.get("nest_z", case.get("nest_z_count"))[q]
    )
    for quantity, ours in (("y", record.y), ("err", record.error)):
        if f"nest_{quantity}" in case:
            found.add(quantity, ours, case[f"nest_{quantity}"][q])
    if "nest_v_out" in case:
        found.add("v_out", record.v_out, case["nest_v_out"][q])
    for quantity in ("v", "psi", "L", "adapt"):
        kept = list(case.get(f"nest_{quantity}_seq", ()))
        if q in kept:
            ours = record.a[:, case["n_reg"] :] if quantity == "adapt" else getattr(record, quantity)
            found.add(quantity, ours, case[f"nest_{quantity}"][kept.index(q)])


def _loss(case: Mapping[str, Any], records: list[_Record], targets: list[Array]) -> float:
    window, total = case["S"] - case["LW"], 0.0
    for record, target in zip(records, targets, strict=True):
        if case["loss"] == "cross_entropy":
            total -= float((target[window:] * np.log(record.y[window:])).sum()) / case["LW"]
        else:
            total += 0.5 * float(np.square(record.error).sum()) / record.error.shape[1]
    return total / len(records)


def _compare_update(found: Comparison, case: Mapping[str, Any], network: Network, n: int, scale: float) -> None:
    """Compare gradients, weights and moments around update `n` (0-based), which this carries out."""
    for key, name in MATRICES.items():
        if f"nest_grad_{key}" in case:
            gradient = network.tags[name] + network.regularisation.get(name, 0.0)
            found.add(f"grad_{key}", gradient * scale, case[f"nest_grad_{key}"][n])
    for gathered in network.regularisation.values():
        gathered *= scale
    network.update(scale)
    network.clear()
    for key, name in MATRICES.items():
        if f"nest_W_{key}" in case:
            found.add(f"W_{key}", network.weights[name], case[f"nest_W_{key}"][n + 1])
        for moment, values in zip("mv", network.moments, strict=True):
            if f"nest_adam_{moment}_{key}" in case:
                found.add(f"adam_{moment}_{key}", values[name], case[f"nest_adam_{moment}_{key}"][n])


def _replay_sequences(case: Mapping[str, Any]) -> Comparison:
    network, found = _sequence_network(case), Comparison()
    (x, target), batch = inputs_and_targets(case), case["batch_size"]
    losses = []
    for n in range(case["n_iter"]):
        records = []
        for q in range(n * batch, (n + 1) * batch):
            late = x[q + 1, 1] > 0 if q + 1 < case["n_seq"] else np.zeros(case["n_in"], bool)
            records.append(_play_sequence(network, case, x[q], target[q], late))
            _compare_sequence(found, case, q, records[-1])
        losses.append(_loss(case, records, list(target[n * batch : (n + 1) * batch])))
        _compare_update(found, case, network, n, 1.0 / (batch * (case["LW"] if case["average_gradient"] else 1)))
    _compare_ends(found, case, network)
    found.add("loss", np.array(losses), case["nest_loss"])
    if "loss_tf_testsuite" in case:
        found.add("loss (float32)", np.array(losses), case["loss_tf_testsuite"])
    return found


def _compare_ends(found: Comparison, case: Mapping[str, Any], network: Network) -> None:
    for key, name in MATRICES.items():
        if f"nest_W_end_{key}" in case:
            found.add(f"W_end_{key}", network.weights[name], case[f"nest_W_end_{key}"])


# --- one update a step --------------------------------------------------------------------------------------------


def _tau(decay: float, dt: float) -> float:
    """Time constant with this decay a tick; a decay of 0 is met by one far shorter than a tick."""
    if not 0.0 <= decay < 1.0:
        raise ReferenceFileError(f"a decay of {decay} a step is not in [0, 1).")
    return -dt / math.log(decay) if decay > 0.0 else dt / 1000.0


def _online_network(case: Mapping[str, Any]) -> Network:
    dt = case["dt_ms"]
    n_hidden = case["n_rec"]
    network = Network(
        n_hidden=n_hidden, n_adaptive=case.get("n_ad", n_hidden if case.get("adaptive") else 0),
        n_out=case["W0_out"].shape[0], reset="same_tick", current_gain="unit", readout_gain="unit", trace_gain="unit",
        tau_trace=_tau(case["kappa"], dt), rate_tau=_tau(case["kappa_reg"], dt),
        rate_trace_tau=_tau(case["kappa_reg"], dt), **shared_settings(case),
    )  # fmt: skip
    set_weights(network, case)
    # Adam's bias correction counts the recorded simulator's own steps, which start before the first frame.
    for name, count in network.updates.items():
        count[:] = 3 if name == "w_out" else 2
    return network


def _replay_online(case: Mapping[str, Any]) -> Comparison:
    """Frame k uses weights that hold the gradients up to frame k - 2: update before the tag of each frame."""
    network, found = _online_network(case), Comparison()
    ticks = case["T"]
    for key in ("x", "target", "window", "nest_z", "nest_v", "nest_psi", "nest_y", "nest_err", "nest_v_out"):
        check_shape(case, key, (ticks,))
    record = _Record(ticks, case["n_rec"], network.settings.n_out)
    used: dict[str, dict[int, Array]] = {key: {} for key in MATRICES}
    for k in range(ticks):
        for key, name in MATRICES.items():
            if (case.get(f"nest_wr_{key}_frame", np.array([])) == k).any():
                used[key][k] = network.weights[name].copy()
        y = network.step(case["x"][k])
        error = (y - case["target"][k]) * case["window"][k]
        if k > 0:
            network.update()
        network.tag(error)
        record.take(k, network, error)
    network.update()
    record.v -= case["V_th"] * record.z  # recorded after the reset
    record.y *= case["window"][:, None]
    pairs = {"spikes": (record.z, "z"), "v_out": (record.v_out, "v_out"), "err": (record.error, "err")}
    pairs |= {"v": (record.v, "v"), "psi": (record.psi, "psi"), "y": (record.y, "y"), "adapt": (record.a, "adapt")}
    for quantity, (ours, key) in pairs.items():
        if f"nest_{key}" in case:
            found.add(
                quantity, ours[:, -case[f"nest_{key}"].shape[1] :] if key == "adapt" else ours, case[f"nest_{key}"]
            )
    if "nest_L_first4" in case:
        found.add("L", record.L[:, :4], case["nest_L_first4"])
    for key, weights in used.items():
        rows = zip(case.get(f"nest_wr_{key}_frame", ()), case.get(f"nest_wr_{key}_pre", ()), strict=True)
        for (frame, pre), reference in zip(rows, case.get(f"nest_wr_{key}_w", ()), strict=True):
            found.add(f"W_{key}", weights[frame][:, pre], reference)
    _compare_ends(found, case, network)
    losses = 0.5 * np.square(record.error).mean(1).reshape(-1, 200).sum(1) if ticks % 200 == 0 else None
    if "nest_loss_per_200_frames" in case and losses is not None:
        found.add("loss", losses, case["nest_loss_per_200_frames"])
    return found
