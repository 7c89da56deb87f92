"""Reference files of e-prop: reading them, and the network that one of them describes.

A reference file is an npz archive with the inputs, targets, initial weights and parameters of a run of another e-prop
implementation, and what that implementation computed: spikes, voltages, surrogate derivatives, readouts, gradients,
weights, losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.network import Network

SURROGATE_NAMES = {
    "piecewise_linear": "piecewise_linear",
    "exponential": "exponential",
    "fast_sigmoid_derivative": "fast_sigmoid",
    "arctan": "arctan",
    "arctan_derivative": "arctan",
}
MATRICES = {"in": "w_in", "rec": "w_rec", "out": "w_out"}


class ReferenceFileError(ValueError):
    """A reference file that cannot be replayed; says which and why."""


def load_reference(path: Path) -> dict[str, Any]:
    """Read a reference file; scalars become Python numbers and strings."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key].item() if archive[key].ndim == 0 else archive[key] for key in archive.files}
    except Exception as error:  # zipfile, zlib and numpy each raise kinds of their own for a damaged archive
        raise ReferenceFileError(f"{path} is not a readable npz archive: {error}") from None


def shared_settings(case: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a network that sequence and step-by-step recordings state in the same way."""
    if case["sg_fn"] not in SURROGATE_NAMES:
        raise ReferenceFileError(f"surrogate {case['sg_fn']!r} is unknown; known: {', '.join(SURROGATE_NAMES)}.")
    if case["optimizer"] not in ("adam", "gradient_descent"):
        raise ReferenceFileError(f"optimizer {case['optimizer']!r} is unknown; known: adam, gradient_descent.")
    adam = case["optimizer"] == "adam"
    settings = {
        "n_in": case["n_in"], "dt": case["dt_ms"], "tau_m": case["tau_m"], "tau_out": case["tau_m_out"],
        "threshold": case["V_th"], "refractory": case["t_ref_steps"] * case["dt_ms"],
        "surrogate": SURROGATE_NAMES[case["sg_fn"]],
        "slope": 1.0 / case["sg_width"], "height": case["sg_height"], "feedback": "random",
        "optimiser": "adam" if adam else "sgd", "learning_rate": case["eta"], "weight_min": case["Wmin"],
        "weight_max": case["Wmax"],
        "rate_strength": case["c_reg"], "rate_target": case["f_target"], "dtype": "float64",
    }  # fmt: skip
    if adam:
        settings |= {"beta_1": case["beta_1"], "beta_2": case["beta_2"], "epsilon": case["epsilon"]}
    if "adapt_tau" in case:
        settings |= {"tau_adaptation": case["adapt_tau"], "adaptation_strength": case["adapt_beta"]}
    return settings


def set_weights(network: Network, case: Mapping[str, Any]) -> None:
    """Give a network the initial weights of a recording."""
    for key, name in MATRICES.items():
        network.weights[name][:] = case[f"W0_{key}"]
    network.feedback["w_feedback"][:] = case["W_fb"]


def check_shape(case: Mapping[str, Any], key: str, wanted: tuple[int, ...]) -> None:
    """Refuse an array that does not begin with the wanted sizes."""
    if key in case and np.shape(case[key])[: len(wanted)] != wanted:
        raise ReferenceFileError(f"{key} has shape {np.shape(case[key])}, the file's own sizes ask for {wanted}.")


def inputs_and_targets(case: Mapping[str, Any]) -> tuple[Array, Array]:
    """Inputs (sequence, frame, input) and targets (sequence, frame, output) of a recording, unpacked."""
    n_seq, ticks, n_out = case["n_seq"], case["S"], case["W0_out"].shape[0]
    check_shape(case, "x", (n_seq, ticks, case["n_in"]))
    check_shape(case, "target", (n_seq, ticks, n_out))
    check_shape(case, "target_one", (ticks, n_out))
    check_shape(case, "label", (n_seq, n_out))
    for key in ("nest_z", "nest_z_count", "nest_y", "nest_err", "nest_v_out"):
        check_shape(case, key, (n_seq,))
    if "x" in case:
        x = np.array(case["x"], np.float64)
    else:
        shape = tuple(int(n) for n in case["x_shape"])
        x = np.unpackbits(case["x_packbits"])[: math.prod(shape)].reshape(shape).astype(np.float64)
    if "target" in case:
        target = case["target"]
    elif "label" in case:
        target = np.broadcast_to(np.asarray(case["label"])[:, None, :], (n_seq, ticks, n_out))
    else:
        target = np.broadcast_to(case["target_one"], (n_seq, ticks, n_out))
    x[:, 0] = 0.0  # the recorded simulator drops what arrives in a sequence's first frame
    return x, target
