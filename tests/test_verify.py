"""Replay of reference recordings: those of NEST and TensorFlow where they are, and those of `tests.replay` anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.replay import SURROGATES, Case, online_case, sequences_case
from threefactor.references import ReferenceFileError as BadReference
from threefactor.verify import tolerance_for, verify_file

FOLDER = Path(os.environ.get("THREEFACTOR_REFERENCE", Path(__file__).parents[2] / "shared" / "reference" / "nest"))
SHIPPED = (
    "case_a_regression_lif_sgd", "case_b_regression_alif_adam_reg", "case_c_evidence_b1", "case_d_online_lif_sgd",
    "tf_regression_100",
)  # fmt: skip
ADAM = {"optimizer": "adam", "eta": 0.01}
EVIDENCE = {"loss": "cross_entropy", "LW": 60, "average_gradient": True}
ZETA = {"regular_spike_arrival": False, "eta": 0.5}

MADE_SEQUENCES: dict[str, Case] = {
    "batch_of_two": {}, "batch_of_three_adam": {"batch_size": 3, "n_iter": 2, **ADAM},
    "batch_of_one": {"batch_size": 1},
    **{f"surrogate_{name}": {"sg_fn": name, "sg_width": 0.3} for name in SURROGATES},
    **{f"surrogate_{name}_evidence": {"sg_fn": name, **EVIDENCE, **ADAM} for name in SURROGATES},
    "cross_entropy_sgd": {**EVIDENCE, "average_gradient": False, "eta": 0.01},
    "cross_entropy_sgd_averaged": {**EVIDENCE, "eta": 0.5}, "cross_entropy_whole_window": {**EVIDENCE, "LW": 150},
    "cross_entropy_adam_three_outputs": {**EVIDENCE, **ADAM, "n_out": 3},
    "averaged_mse": {"average_gradient": True, "eta": 0.1}, "short_window_mse": {"LW": 40},
    "short_window_averaged_mse": {"LW": 40, "average_gradient": True, **ADAM}, "one_output": {"n_out": 1},
    "readout_of_unit_gain": {"regular_spike_arrival_out": True}, "both_of_low_gain": ZETA,
    "low_gain_then_unit_gain": {**ZETA, "regular_spike_arrival_out": True, **ADAM}, "all_lif": {"n_reg": 9, "n_ad": 0},
    "all_alif": {"n_reg": 0, "n_ad": 9}, **{f"t_ref_{n}": {"t_ref_steps": n} for n in (0, 1, 3, 7)},
    "no_regularisation": {"c_reg": 0.0}, "strong_regularisation": {"c_reg": 3e4},
    "bounded": {"Wmin": -0.5, "Wmax": 0.3}, "coarse_step": {"dt_ms": 2.0},
    "spikes_in_the_second_frame": {"spike_in_second_frame": True, "eta": 0.01},
    "spikes_in_the_second_frame_adam": {"spike_in_second_frame": True, **ADAM, **EVIDENCE},
}  # fmt: skip
MADE_ONLINE: dict[str, Case] = {
    "lif_sgd": {}, "lif_adam": ADAM, "alif_sgd": {"adaptive": True}, "alif_adam": {"adaptive": True, **ADAM},
    **{f"surrogate_{name}": {"sg_fn": name, "adaptive": True} for name in SURROGATES},
    **{f"t_ref_{n}": {"t_ref_steps": n} for n in (0, 1, 5)}, "no_regularisation": {"c_reg": 0.0},
    "one_output": {"n_out": 1}, "filters": {"kappa": 0.5, "kappa_reg": 0.99},
    "no_filters": {"kappa": 0.0, "kappa_reg": 0.0}, "bounded": {"Wmin": -0.3, "Wmax": 0.4},
    "odd_length": {"T": 333},
}  # fmt: skip


def shipped(name: str) -> Path:
    """A file of the reference folder, or a skip."""
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no reference data at {path}; set THREEFACTOR_REFERENCE to their folder")
    return path


@cache
def made(kind: str) -> Case:
    """One recording of either family, made once."""
    return {"sequences": sequences_case, "online": online_case}[kind](seed=3)


def written(folder: Path, case: Case) -> Path:
    """The case as a file."""
    path = folder / "case.npz"
    np.savez(path, **case)
    return path


def assert_verified(errors: dict[str, float], quantities: set[str]) -> None:
    """Every quantity was compared and is within its tolerance."""
    assert quantities <= set(errors), f"not compared: {quantities - set(errors)}"
    assert {name: off for name, off in errors.items() if not off <= tolerance_for(name, 1e-9)} == {}
    assert errors["spikes"] == 0.0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_references_are_met(name: str) -> None:
    """Every quantity of the recordings is met to 1e-9, losses of float32 code to 2e-7, and no spike is off."""
    quantities = {"loss"} if name.startswith("tf") else {"v", "psi", "y", "W_in", "W_rec", "W_out", "loss"}
    errors = verify_file(shipped(name))
    assert_verified(errors, quantities | {"spikes"})
    assert ("loss (float32)" in errors) == name.startswith("tf")
    assert errors.get("loss (float32)", 0.0) <= 2e-7


@pytest.mark.parametrize("name", MADE_SEQUENCES)
def test_sequences_are_met(name: str, tmp_path: Path) -> None:
    """Gradients summed over sequences, in every setting of the format: the independent replay is met to 1e-9."""
    case = sequences_case(seed=len(name), **MADE_SEQUENCES[name])
    assert 0.02 < case["nest_z"].mean() < 0.4, "the case hardly spikes"
    quantities = {"spikes", "v", "psi", "y", "err", "L", "loss"}
    quantities |= {f"{what}_{key}" for what in ("W", "grad", "W_end") for key in ("in", "rec", "out")}
    quantities |= {"adapt"} if case["n_ad"] else set()
    quantities |= {"adam_m_in", "adam_v_rec", "adam_v_out"} if case["optimizer"] == "adam" else set()
    assert_verified(verify_file(written(tmp_path, case)), quantities)


@pytest.mark.parametrize("name", MADE_ONLINE)
def test_online_variant_is_met(name: str, tmp_path: Path) -> None:
    """One update a frame, in every setting of the format: the independent replay is met to 1e-9."""
    case = online_case(seed=len(name), **MADE_ONLINE[name])
    assert 0.02 < case["nest_z"].mean() < 0.4, "the case hardly spikes"
    quantities = {"spikes", "v", "psi", "y", "err", "v_out", "L"} | ({"adapt"} if case["adaptive"] else set())
    quantities |= {f"{what}_{key}" for what in ("W", "W_end") for key in ("in", "rec", "out")}
    assert_verified(verify_file(written(tmp_path, case)), quantities | ({"loss"} if case["T"] % 200 == 0 else set()))


# --- what must not pass ----------------------------------------------------------------------------------------------


def _scale(case: Case, name: str, place: Any, factor: float) -> None:
    case[name] = case[name].copy()
    case[name][place] *= factor


def _flip(case: Case) -> None:
    case["nest_z"] = case["nest_z"].copy()
    place = (0,) * (case["nest_z"].ndim - 2) + (37, 2)
    case["nest_z"][place] = 1 - case["nest_z"][place]


def _largest(values: Any) -> Any:
    return np.unravel_index(np.abs(np.nan_to_num(values)).argmax(), values.shape)


def _largest_off(name: str) -> Callable[[Case], None]:
    return lambda case: _scale(case, name, _largest(case[name]), 1.0 + 1e-8)


# perturbation, and a quantity that must show it
WRONG: dict[str, tuple[str, Callable[[Case], None], str]] = {
    **{
        f"sequences_{name}": ("sequences", _largest_off(f"nest_{name}"), name)
        for name in ("grad_in", "grad_rec", "grad_out", "W_in", "W_rec", "v", "psi", "L", "y", "loss", "adapt")
    },
    **{
        f"online_{name}": ("online", _largest_off(f"nest_{name}"), name)
        for name in ("v", "psi", "v_out", "y", "W_end_in", "W_end_rec", "W_end_out")
    },
    "online_row": ("online", _largest_off("nest_wr_rec_w"), "W_rec"),
    "sequences_spike": ("sequences", _flip, "spikes"), "online_spike": ("online", _flip, "spikes"),
    "sequences_window": ("sequences", lambda case: case.update(LW=case["LW"] - 30), "grad_out"),
    "online_window": ("online", lambda case: case.update(window=np.roll(case["window"], 1)), "err"),
    "surrogate": ("sequences", lambda case: case.update(sg_fn="exponential"), "psi"),
    "refractory": ("sequences", lambda case: case.update(t_ref_steps=3), "psi"),
    "regularisation": ("sequences", lambda case: case.update(c_reg=31.0), "grad_in"),
    "filter": ("online", lambda case: case.update(kappa=0.95), "W_end_in"),
    "nan_in_ours": ("sequences", lambda case: _scale(case, "W0_in", (0, 0), np.nan), "v"),
    "nan_in_ours_online": ("online", lambda case: _scale(case, "W0_in", (0, 0), np.nan), "v"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(name: str, tmp_path: Path) -> None:
    """A recording off by 1e-8 in one number, one spike, one frame or one setting does not pass; nor does NaN."""
    kind, spoil, quantity = WRONG[name]
    case = dict(made(kind))
    spoil(case)
    errors = verify_file(written(tmp_path, case))
    assert not errors[quantity] <= tolerance_for(quantity, 1e-9)


@pytest.mark.parametrize(
    ("name", "spoil", "quantity"),
    [
        ("case_a_regression_lif_sgd", _flip, "spikes"),
        ("case_b_regression_alif_adam_reg", _largest_off("nest_grad_rec"), "grad_rec"),
        ("case_c_evidence_b1", lambda case: case.update(LW=149), "grad_in"),
        ("case_d_online_lif_sgd", lambda case: case.update(window=np.roll(case["window"], 1)), "err"),
        ("case_a_regression_lif_sgd", lambda case: _scale(case, "W0_rec", (0, 1), np.nan), "v"),
    ],
)
def test_what_is_wrong_in_a_shipped_file_is_found(
    name: str, spoil: Callable[[Case], None], quantity: str, tmp_path: Path
) -> None:
    """So it is for the recordings of the reference folder."""
    with np.load(shipped(name)) as archive:
        case = dict(archive)
    spoil(case)
    assert not verify_file(written(tmp_path, case))[quantity] <= 1e-9


# --- files that cannot be replayed -----------------------------------------------------------------------------------

UNUSABLE: dict[str, tuple[str, Callable[[Case], Any], str]] = {
    "no_weights": ("sequences", lambda case: case.pop("W0_rec"), "W0_rec"),
    "no_rate": ("online", lambda case: case.pop("eta"), "eta"),
    "unknown_surrogate": ("sequences", lambda case: case.update(sg_fn="triangle"), "triangle.*piecewise_linear"),
    "crossed_bounds": ("online", lambda case: case.update(Wmin=200.0), "weight_min"),
    "too_few_inputs": ("online", lambda case: case.update(x=case["x"][:, :-1]), "shape"),
    "too_few_frames": ("online", lambda case: case.update(x=case["x"][:-5]), r"\bx\b|frames|shape"),
    "too_few_sequences": ("sequences", lambda case: case.update(x=case["x"][:-1]), r"\bx\b|sequences|shape"),
    "too_few_records": ("sequences", lambda case: case.update(nest_z=case["nest_z"][:-1]), "nest_z|spikes|shape"),
    "weights_of_another_shape": ("sequences", lambda case: case.update(W0_in=case["W0_in"][:, :4]), "W0_in|shape"),
    "unknown_optimiser": ("sequences", lambda case: case.update(optimizer="momentum"), "momentum"),
    "unknown_loss": ("sequences", lambda case: case.update(loss="hinge"), "hinge"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files_are_refused(name: str, tmp_path: Path) -> None:
    """What lacks an entry, or holds one that cannot be, is an error that names it, never a wrong result."""
    kind, spoil, message = UNUSABLE[name]
    case = dict(made(kind))
    spoil(case)
    with pytest.raises(ValueError, match=message):
        verify_file(written(tmp_path, case))


def test_what_is_no_reference_file_is_refused(tmp_path: Path) -> None:
    """Missing, empty, foreign, truncated and pickled files are errors that name the file."""
    whole = written(tmp_path, made("online")).read_bytes()
    contents = {"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2], "flipped": bytes(200) + whole[200:]}
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    np.save(tmp_path / "array.npz.npy", np.zeros(3))
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", S=np.array([{}], dtype=object))
    names = [*(f"{name}.npz" for name in (*contents, "missing", "foreign", "pickled")), "array.npz.npy"]
    for name in names:
        with pytest.raises(BadReference, match=name):
            verify_file(tmp_path / name)
