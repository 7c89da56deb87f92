"""Recordings: what is read and refused, the scores, `threefactor decode`, and two recordings of motor cortex."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers import Decoder, RecursiveLeastSquares
from tests.test_cli import assert_refused, last_json, run
from threefactor import tick
from threefactor.recordings import LEAST_BINS, pearson, prequential, r_squared, read_recording, taps

FOLDER = Path(os.environ.get("THREEFACTOR_RECORDINGS", Path(__file__).parents[2] / "shared" / "reference" / "m1"))
DECODERS = ("decoder", "decoder_frozen", "rls", "kalman", "wiener", "last_label")
jitted = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")


def recorded(name: str) -> Path:
    """A file of the folder of recordings, or a skip."""
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no recording at {path}; set THREEFACTOR_RECORDINGS to their folder")
    return path


def made(bins: int = 600, units: int = 20) -> dict[str, Any]:
    """Counts of units tuned to a slow velocity in two directions."""
    rng = np.random.default_rng(0)
    velocity = np.column_stack([np.sin(np.arange(bins) / 9.0), np.cos(np.arange(bins) / 13.0)])
    rates = np.maximum(1.5 + velocity @ rng.normal(size=(2, units)), 0.0)
    return {"spikes": rng.poisson(rates).astype(np.uint8), "vel": velocity.astype(np.float32)}


def written(folder: Path, **arrays: Any) -> Path:
    """The arrays as a file; those that are None are left out."""
    path = folder / "recording.npz"
    np.savez(path, **{name: array for name, array in (made() | arrays).items() if array is not None})
    return path


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_and_taps() -> None:
    """As NumPy has them; means over columns; a constant is worth nothing."""
    rng = np.random.default_rng(1)
    wanted = rng.normal(size=(50, 3))
    decoded = wanted + rng.normal(size=(50, 3)) * [0.1, 0.5, 2.0]
    each = [1.0 - np.mean((decoded[:, k] - wanted[:, k]) ** 2) / wanted[:, k].var() for k in range(3)]
    np.testing.assert_allclose(r_squared(decoded, wanted), np.mean(each), rtol=1e-12)
    each = [np.corrcoef(decoded[:, k], wanted[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(pearson(decoded, wanted), np.mean(each), rtol=1e-12)
    assert pearson(np.ones((50, 3)), wanted) == 0.0
    assert abs(r_squared(np.tile(wanted.mean(0), (50, 1)), wanted)) < 1e-12
    rows = taps(wanted, 4)
    assert rows.shape == (50, 12)
    np.testing.assert_array_equal(rows[10].reshape(4, 3), wanted[10:6:-1])


def test_prequential_predicts_before_it_updates() -> None:
    """The first bin is decoded in ignorance, and no bin from `until` on is learnt from."""

    class Echo:
        said, heard = 0.0, 0

        def step(self, counts: Any) -> Any:
            return [self.said]

        def learn(self, wanted: Any) -> None:
            self.said, self.heard = float(wanted[0]), self.heard + 1

    echo, wanted = Echo(), np.arange(1.0, 7.0)[:, None]
    assert prequential(echo, np.zeros((6, 2)), wanted, until=4)[:, 0].tolist() == [0, 1, 2, 3, 4, 4]
    assert echo.heard == 4


# --- the command -----------------------------------------------------------------------------------------------------


@jitted
def test_decode_prints_scores_of_all_decoders(tmp_path: Path) -> None:
    """JSON with each decoder, a picture, twice the same; the seed changes the spiking one alone."""
    path, picture = written(tmp_path), tmp_path / "traces.png"
    first = last_json(run("decode", path, "--json", "--figure", picture))
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert first == last_json(run("decode", path, "--json"))
    assert (first["bins"], first["units"], first["outputs"], first["scored_bins"]) == (600, 20, 2, 120)
    assert tuple(first["decoders"]) == DECODERS
    for score in first["decoders"].values():
        assert 0.3 < score["r2"] <= 1.0 and 0.5 < score["pearson"] <= 1.0
    several = last_json(run("decode", path, "--json", "--seed", 0, "--seeds", 2))
    ours = several["decoders"].pop("decoder")
    assert ours["r2_of_seeds"][0] == first["decoders"]["decoder"]["r2"] != ours["r2_of_seeds"][1]
    assert ours["r2"] == pytest.approx(np.mean(ours["r2_of_seeds"])) and several["seeds"] == [0, 1]
    assert several["decoders"]["wiener"] == first["decoders"]["wiener"]
    assert "recursive least squares" in run("decode", path).output


@jitted
def test_decode_takes_any_unit_and_name(tmp_path: Path) -> None:
    """Raw integer codes, one output, other names, units that are silent at first: scores as of the plain recording."""
    arrays = made()
    codes = np.round(8000 + 3000 * arrays["vel"][:, 0]).astype(np.uint16)
    counts = np.column_stack([arrays["spikes"], np.zeros(600), np.where(np.arange(600) < 500, 0, 3)])
    path = written(tmp_path, rates=counts, stick=codes, spikes=None, vel=None)
    found = last_json(run("decode", path, "--spikes", "rates", "--velocity", "stick", "--json"))
    assert found["units"] == 22 and found["outputs"] == 1
    assert found["decoders"]["decoder"]["r2"] > 0.6


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no_velocity": ({"vel": None, "speed": np.ones(600)}, ("no array 'vel'", "spikes (600, 20), speed (600,)")),
    "no_spikes": ({"spikes": None}, ("no array 'spikes'", "vel (600, 2)")),
    "lengths": ({"vel": np.ones((599, 2))}, ("(600, 20)", "(599, 2)", "as many bins")),
    "transposed": ({"spikes": np.ones((20, 600))}, ("(20, 600)", "as many bins")),
    "flat_spikes": ({"spikes": np.ones(600)}, ("(600,)", "(bins, units)")),
    "cube": ({"vel": np.ones((600, 2, 2))}, ("(600, 2, 2)", "(bins, outputs)")),
    "no_units": ({"spikes": np.ones((600, 0))}, ("(600, 0)",)),
    "nan": ({"vel": np.where(np.arange(1200).reshape(600, 2) == 7, np.nan, 1.0)}, ("'vel'", "1 values", "(3, 1)")),
    "infinite": ({"spikes": np.full((600, 20), np.inf)}, ("'spikes'", "not finite")),
    "words": ({"vel": np.full((600, 2), "fast")}, ("'vel'", "real numbers")),
    "complex": ({"vel": np.full((600, 2), 1j)}, ("'vel'", "complex128")),
    "objects": ({"vel": np.array([None] * 600)}, ("cannot be read",)),
    "short": ({"spikes": np.ones((LEAST_BINS - 1, 3)), "vel": np.ones((LEAST_BINS - 1, 1))}, ("too few",)),
    "still": ({"vel": np.where(np.arange(600) < 480, np.arange(600), 0.0)}, ("column 0", "never changes in the last")),
    "still_at_first": ({"vel": np.where(np.arange(600) < 480, 0.0, np.arange(600))}, ("changes before the last",)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_decode_refuses_wrong_arrays(name: str, tmp_path: Path) -> None:
    """Exit code 2, and a message that says what there is and what was wanted."""
    arrays, words = BAD[name]
    assert_refused(run("decode", written(tmp_path, **arrays)), *words)


def test_decode_refuses_what_is_no_recording(tmp_path: Path) -> None:
    """No file, a text, a single array, a damaged archive."""
    assert_refused(run("decode", tmp_path / "absent.npz"), "there is no file")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    path = written(tmp_path)
    (tmp_path / "damaged.npz").write_bytes(path.read_bytes()[:-2000])
    for other in ("text.npz", "array.npy", "damaged.npz"):
        assert_refused(run("decode", tmp_path / other), "cannot be read")
    assert read_recording(path).spikes.shape == (600, 20)


# --- motor cortex ----------------------------------------------------------------------------------------------------


@jitted
@pytest.mark.slow
def test_centre_out_reaches() -> None:
    """84 units of macaque motor cortex, one pass, defaults, mean of five seeds: R2 of velocity on the last 20 %."""
    found = last_json(run("decode", recorded("m1_centerout84"), "--seeds", 5, "--json"))["decoders"]
    print({name: round(score["r2"], 3) for name, score in found.items()})
    assert found["decoder"]["r2"] >= 0.78
    assert found["decoder_frozen"]["r2"] > found["rls"]["r2"] > found["kalman"]["r2"]


@jitted
@pytest.mark.slow
def test_units_that_drift_over_sessions() -> None:
    """Sixteen units over twelve sessions of a joystick: online, squared errors below those of least squares in each."""
    with np.load(recorded("m1_joystick_set_1"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    counts, codes, session = arrays["spikes"].astype(float), arrays["joystick"].astype(float), arrays["session"]
    decoder = Decoder(16, 2, seed=0)
    ours = prequential(decoder, counts, codes)
    first, inputs = session == 0, taps(np.sqrt(counts), 6)
    scaled = (codes - codes[first].mean(0)) / codes[first].std(0)
    rivals = RecursiveLeastSquares(inputs.shape[1], 2, forgetting=0.999)
    theirs = codes[first].mean(0) + codes[first].std(0) * prequential(rivals, inputs, scaled)
    used = [k for k in range(1, 12) if arrays["session_mode"][k] < 2]
    better = {}
    for k in range(1, 12):
        off = [float(np.mean((decoded[session == k] - codes[session == k]) ** 2)) for decoded in (ours, theirs)]
        scores = [r_squared(decoded[session == k], codes[session == k]) for decoded in (ours, theirs)]
        better[k] = off[0] < off[1]
        print(arrays["session_no"][k], arrays["session_mode"][k], np.round(scores, 3), np.round(off))
    assert all(better[k] for k in used) and sum(better.values()) >= 8
