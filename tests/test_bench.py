"""The benchmark: its peers do the work that `Network` does, and its rows say what they ought to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.reference import ReferenceNetwork
from threefactor import bench, tick
from threefactor.bench import Floor, Fused, Own, measure, summarise
from threefactor.cli import app
from threefactor.peers import PEERS, System, Work, installed
from threefactor.peers.by_jax import JaxSystem
from threefactor.peers.by_numpy import NumpySystem
from threefactor.peers.by_torch import EagerTorchSystem
from threefactor.peers.work import COUNT_EVERY

KEYS = {
    "system", "version", "neurons", "inputs", "recurrent", "synapses", "ticks", "median_us", "p99_us", "spiking",
    "state_bytes", "cores",
}  # fmt: skip
COMMAND = (sys.executable, "-c", "from threefactor.cli import main; main()", "bench")
pytestmark = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
TICKS = 150


@pytest.fixture(scope="module")
def work() -> Work:
    """A small network that learns fast enough for its changes to stand out from rounding."""
    return Work(40, inputs=20, learning_rate=1e-2, seed=3)


@pytest.fixture(scope="module")
def expected(work: Work) -> dict[str, Any]:
    """What the slow twin of the engine comes to after some ticks, in double precision, and how often it spiked."""
    twin = ReferenceNetwork(work.network().settings, work.weights, {})
    inputs, targets = work.draw(TICKS)
    spikes = np.zeros(TICKS)
    for k in range(TICKS):
        twin.learn(twin.step(inputs[k]) - targets[k])
        spikes[k] = np.mean(twin.layers[0].z)
    weights = {"w_in": twin.matrices["w_in"].w, "w_rec": twin.matrices["w_rec"].w, "w_out": twin.matrices["w_out"].w}
    return {"weights": weights, "spiking": spikes[::COUNT_EVERY].mean()}


def assert_agrees(system: System, work: Work, expected: dict[str, Any], fused: bool = False) -> None:
    """The weight changes are the twin's to float32's precision, and there were spikes to learn from."""
    spiking = system.block(*work.draw(TICKS), np.zeros(TICKS))
    if fused:  # it has not learnt from the last tick
        system.network.learn(system.error)  # type: ignore[attr-defined]
    assert spiking == pytest.approx(expected["spiking"], abs=1e-6) and 0.01 < spiking < 0.2
    for name, weight in system.weights().items():
        change, right = np.asarray(weight) - work.weights[name], expected["weights"][name] - work.weights[name]
        largest = np.abs(right).max()
        assert largest > 1e-3
        np.testing.assert_allclose(change, right, rtol=0.0, atol=2e-4 * largest, err_msg=name)


@pytest.mark.parametrize("kind", [Own, NumpySystem])
def test_agrees_with_the_twin(kind: type[System], work: Work, expected: dict[str, Any]) -> None:
    """What needs no extra does the very work."""
    assert_agrees(kind(work), work, expected)


def test_fused_agrees_with_the_twin(work: Work, expected: dict[str, Any]) -> None:
    """A tick later, as it learns at the start of the next; the tick of zeros that it begins with leaves no trace."""
    assert_agrees(Fused(work), work, expected, fused=True)


def test_jax_agrees_with_the_twin(work: Work, expected: dict[str, Any]) -> None:
    """JAX does the very work."""
    pytest.importorskip("jax")
    assert_agrees(JaxSystem(work), work, expected)


def test_torch_agrees_with_the_twin(work: Work, expected: dict[str, Any]) -> None:
    """PyTorch does the very work."""
    pytest.importorskip("torch")
    assert_agrees(EagerTorchSystem(work), work, expected)


@pytest.mark.parametrize("neurons", [100, 500])
def test_about_one_in_twenty_spikes(neurons: int) -> None:
    """The share of inputs and neurons that spike is what the benchmark promises."""
    work = Work(neurons)
    inputs, targets = work.draw(300)
    assert inputs.mean() == pytest.approx(0.05, abs=0.005)
    assert Own(work).block(inputs, targets, np.zeros(300)) == pytest.approx(0.05, abs=0.015)


def test_statistics() -> None:
    """Median over ticks, or over the means of windows; the percentile is over ticks always."""
    spent = np.full(1000, 2000.0)
    spent[99::100] = 102_000.0
    assert summarise(spent) == (2.0, pytest.approx(2.0 + 100.0 * (np.percentile(spent, 99) - 2000.0) / 100_000.0))
    assert summarise(spent, 100)[0] == 3.0
    assert summarise(np.arange(1.0, 102.0) * 1e3) == (51.0, 100.0)


def test_floor_touches_everything() -> None:
    """Each entry of both arrays is read and written once, whatever the length of the pieces."""
    floor = Floor(Work(50))
    floor.tick(*(a[0] for a in Work(50).draw(1)))
    assert all((array == 1.0).all() and array.size == 50 * 150 for array in floor.arrays())


def test_rows_of_numpy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A peer's row holds its ratio; one that is missing is named on stderr, with the way to get it."""
    monkeypatch.setattr(bench, "installed", lambda kind: kind in (Own, Fused, Floor, NumpySystem))
    found = {row["system"]: row for row in measure(Work(30), 100, peers=True)}
    assert set(found) == {"threefactor", "threefactor_fused", "dense_floor", "numpy"}
    assert all(set(row) >= KEYS for row in found.values())
    peer, own, floor = (found[name] for name in ("numpy", "threefactor", "dense_floor"))
    assert peer["ratio"] == pytest.approx(peer["median_us"] / own["median_us"], abs=0.01) and peer["version"]
    assert floor["gb_per_s"] > 0.0 and floor["spiking"] is None and "ratio" not in own
    assert 'jax: not installed; pip install "threefactor[peers]"' in capsys.readouterr().err


def test_json() -> None:
    """Nothing but a row of JSON a line on stdout; without --peers the rows are ours."""
    done = subprocess.run([*COMMAND, "--json", "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["neurons"] for row in found] == [100] * 3 + [500] * 3
    assert {row["system"] for row in found} == {"threefactor", "threefactor_fused", "dense_floor"}
    for row in found:
        assert set(row) >= KEYS and row["p99_us"] >= row["median_us"] > 0.0 and row["state_bytes"] > 0
        assert row["spiking"] is None or 0.03 < row["spiking"] < 0.07


def test_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json there is a table of the same rows."""
    row = dict.fromkeys(KEYS, 1) | {"system": "threefactor_fused", "spiking": 0.05, "state_bytes": 2_000_000}

    def some(*_: Any) -> Iterator[dict[str, Any]]:
        yield row
        yield row | {"system": "dense_floor", "spiking": None}

    monkeypatch.setattr("threefactor.commands.bench.rows", some)
    shown = CliRunner().invoke(app, ["bench"]).output
    assert "threefactor_fused" in shown and "dense_floor" in shown and "5.0%" in shown and "2.00" in shown


def test_no_peers_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for peers where none is installed is refused, with the way to get them."""
    monkeypatch.setattr(bench, "installed", lambda kind: kind is NumpySystem)
    refused = CliRunner().invoke(app, ["bench", "--peers", "--json"])
    assert refused.exit_code == 2 and "threefactor[peers]" in refused.output.replace("\n", "")


def test_names_are_unique() -> None:
    """Rows are told apart by the system's name; NumPy is always there."""
    names = [kind.name for kind in (Own, Fused, Floor, *PEERS)]
    assert len(set(names)) == len(names)
    assert installed(NumpySystem)
