"""`threefactor evaluate` and `verify`, and Ctrl-C in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from controllers import ActorCritic
from tests.replay import Case, online_case, sequences_case
from tests.test_cli import FILES, assert_refused, contents, last_json, rows, run

COMMAND = (sys.executable, "-c", "from threefactor.cli import main; main()")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on CartPole; not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "out"
    last_json(run("train", "CartPole-v1", "--steps", "800", "--out", folder, "--json"))
    return folder


# --- evaluate --------------------------------------------------------------------------------------------------------


def test_evaluate_prints_greedy_returns(trained: Path) -> None:
    """Mean and deviation of the returns, twice the same, and nothing of the run is touched."""
    before = contents(trained)
    first, second = (last_json(run("evaluate", trained, "--episodes", "5", "--json")) for _ in range(2))
    assert first == second and {"mean_return", "std_return"} <= set(first)
    assert first["mean_return"] >= 8.0 and first["std_return"] >= 0.0
    assert last_json(run("evaluate", trained, "--episodes", "5", "--seed", "9", "--json")) != first
    assert run("evaluate", trained, "--episodes", "1").exit_code == 0
    assert contents(trained) == before


def test_evaluate_refuses_what_is_no_run(trained: Path, tmp_path: Path) -> None:
    """No folder, an empty one, and one whose checkpoint or settings are damaged: exit code 2 and a message."""
    assert_refused(run("evaluate", tmp_path / "absent"), "absent", "norun")
    assert_refused(run("evaluate", tmp_path), "norun")
    for file, content in (("checkpoint.safetensors", b"x"), ("settings.toml", b"["), ("settings.toml", b"seed = 1\n")):
        for name, kept in contents(trained).items():
            (tmp_path / name).write_bytes(content if name == file else kept)
        assert_refused(run("evaluate", tmp_path, "--episodes", "1"), "error:")


# --- verify ----------------------------------------------------------------------------------------------------------


def written(path: Path, case: Case) -> Path:
    """The case as a file."""
    np.savez(path, **case)
    return path


def test_verify_passes_with_exit_code_0(tmp_path: Path) -> None:
    """Files that are met: every file and quantity in the JSON, and in the table."""
    files = [written(tmp_path / "one.npz", sequences_case()), written(tmp_path / "two.npz", online_case())]
    found = last_json(run("verify", *files, "--json"))
    assert found["passed"] is True and list(found["files"]) == ["one.npz", "two.npz"]
    for errors in found["files"].values():
        assert {"spikes", "v", "psi", "y", "W_in", "loss"} <= set(errors) and max(errors.values()) <= 1e-9
    result = run("verify", *files)
    assert result.exit_code == 0 and "one.npz" in result.stdout and "spikes" in result.stdout


def test_verify_fails_with_exit_code_1(tmp_path: Path) -> None:
    """One number off in one file of two fails, says where, and passes with a tolerance above it."""
    case = sequences_case()
    case["nest_loss"] = case["nest_loss"] * (1.0 + 1e-6)
    files = [written(tmp_path / "good.npz", sequences_case()), written(tmp_path / "bad.npz", case)]
    result = run("verify", *files, "--json")
    assert result.exit_code == 1 and '"passed": false' in result.stdout
    result = run("verify", *files)
    assert result.exit_code == 1 and "too large" in result.stdout
    assert run("verify", *files, "--tolerance", "1e-5").exit_code == 0


def test_verify_fails_on_nan_with_readable_json(tmp_path: Path) -> None:
    """NaN in the replay where the recording has numbers: exit code 1, and output that JSON allows."""
    case = sequences_case()
    case["W0_in"][0, 0] = np.nan
    result = run("verify", written(tmp_path / "nan.npz", case), "--json")
    assert result.exit_code == 1 and "Infinity" not in result.stdout and "NaN" not in result.stdout


def test_verify_refuses_what_it_cannot_replay(tmp_path: Path) -> None:
    """Missing, foreign and inconsistent files: exit code 2 and the file's name, without a traceback."""
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    assert_refused(run("verify", tmp_path / "absent.npz"), "absent.npz")
    assert_refused(run("verify", tmp_path / "text.npz"), "text.npz")
    assert_refused(run("verify", tmp_path / "foreign.npz"), "foreign.npz")
    case = online_case()
    assert_refused(run("verify", written(tmp_path / "short.npz", case | {"x": case["x"][:-1]})), "short.npz")


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def start(folder: Path) -> subprocess.Popen[str]:
    """A long training run in a process of its own, under way for a moment."""
    process = subprocess.Popen(
        [*COMMAND, "train", "CartPole-v1", "--steps", "100000000", "--out", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"COLUMNS": "200", "TERM": "dumb"},
    )  # fmt: skip
    deadline = time.monotonic() + 240.0  # kernels may have to be compiled first
    while not (folder / "settings.toml").exists():
        assert time.monotonic() < deadline and process.poll() is None, "training did not start"
        time.sleep(0.05)
    time.sleep(2.0)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "term"])
def test_ctrl_c_leaves_a_run_that_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """Exit code 130, all files, a checkpoint, a hint, no traceback; --resume goes on from there."""
    folder = tmp_path / "out"
    process = start(folder)
    try:
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, output
    assert "Traceback" not in output and "--resume" in output
    assert set(contents(folder)) == FILES
    steps, episodes = ActorCritic.load(folder / "checkpoint.safetensors").steps, rows(folder)
    assert steps > 0 and all(int(row["end"]) <= steps for row in episodes)
    printed = last_json(run("train", "CartPole-v1", "--steps", steps + 400, "--out", folder, "--resume", "--json"))
    assert printed["steps"] == steps + 400 and rows(folder)[: len(episodes)] == episodes
