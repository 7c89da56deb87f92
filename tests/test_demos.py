"""Every demo runs with few steps and writes its table and its picture; bad options and missing names are said so."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from threefactor import preset, tick

DEMOS = {
    "cartpole": ("csv", "png"), "tick_cost": ("csv", "png"), "flat_memory": ("csv", "png"), "loop": ("png",),
    "surrogate_family": ("csv", "png"), "slope_depth": ("csv", "png"), "gradient_alignment": ("csv", "png"),
    "deep_credit": ("csv", "png"), "bptt_comparison": ("csv", "png"), "slope_learning": ("csv", "png"),
    "presets": ("csv", "png"),
}  # fmt: skip
pytestmark = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")


def test_every_demo_is_here() -> None:
    """A new demo gets a test."""
    shared = {"__init__", "__main__", "results", "tasks"}
    assert {path.stem for path in Path("demos").glob("*.py")} - shared == set(DEMOS)


@pytest.mark.parametrize("name", DEMOS)
def test_quick(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quick` writes what the demo promises into results/."""
    app = Typer()
    app.command()(importlib.import_module(f"demos.{name}").main)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [] if name == "loop" else ["--quick"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for ending in DEMOS[name]:
        assert (tmp_path / "results" / f"{name}.{ending}").stat().st_size > 100


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--nonsense"], ["--trials", "many"]])
def test_bad_options(options: list[str]) -> None:
    """An impossible number or an unknown option is refused before anything runs."""
    command = [sys.executable, "-m", "demos.gradient_alignment", *options]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert options[0] in found.stderr


def test_unknown_demo() -> None:
    """The error names the demos there are."""
    found = subprocess.run([sys.executable, "-m", "demos", "walking"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "no demo 'walking'" in found.stdout
    assert all(name in found.stdout for name in DEMOS)


def test_unknown_preset() -> None:
    """The error names the presets there are."""
    with pytest.raises(
        ValueError, match=r"unknown preset 'walking'; choose one of supervised, reinforcement, unknown\."
    ):
        preset("walking")
