"""Every demo runs with few steps and writes its table and its picture; bad options and missing names are said so."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from controllers import ActorCritic, Loop
from demos import control, control_table, control_wrappers
from threefactor import preset, tick

DEMOS = {
    "cartpole": ("csv", "png"), "speed": ("csv", "png"), "flat_memory": ("csv", "png"), "loop": ("png",),
    "surrogate_family": ("csv", "png"), "slope_depth": ("csv", "png"), "gradient_alignment": ("csv", "png"),
    "deep_credit": ("csv", "png"), "bptt_comparison": ("csv", "png"), "slope_learning": ("csv", "png"),
    "presets": ("csv", "png"), "scaling": ("csv", "png"), "control_table": ("csv", "png"),
    "control_ablation": ("csv", "png"), "arm_force_field": ("csv", "png"), "change_point": ("csv", "png"),
    "cursor_drift": ("csv", "png"), "quadrotor_hover": ("csv", "png"), "quadrotor_motor_loss": ("csv", "png"),
    "live_latency": ("csv", "png"), "worlds": ("csv", "png"), "closed_loop": ("csv", "png"),
    "stream_roundtrip": ("csv", "png"), "watch_cost": ("csv", "png"),
}  # fmt: skip
STREAMED = {"closed_loop", "stream_roundtrip"}  # they need the extra lsl
SHARED = {  # no demos
    "__init__", "__main__", "results", "tasks", "control", "control_tasks", "control_wrappers", "flight", "watching",
}  # fmt: skip
WRITES = {"control_table": "control"}  # where the files have another name
pytestmark = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")


def test_every_demo_is_here() -> None:
    """A new demo gets a test."""
    assert {path.stem for path in Path("demos").glob("*.py")} - SHARED == set(DEMOS)


@pytest.mark.parametrize("name", DEMOS)
def test_quick(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quick` writes what the demo promises into results/."""
    if name in STREAMED:
        pytest.importorskip("pylsl", reason="streams need the extra lsl")
    app = Typer()
    app.command()(importlib.import_module(f"demos.{name}").main)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [] if name == "loop" else ["--quick"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for ending in DEMOS[name]:
        assert (tmp_path / "results" / f"{WRITES.get(name, name)}.{ending}").stat().st_size > 100
    assert not list((tmp_path / "results").glob("*.jsonl"))


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


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["--tasks", "Walking"], "no task 'Walking'"), (["--tasks", ""], "known are: CartPole-v1, Acrobot-v1"),
        (["--conditions", "default,cold"], "no condition 'cold'"), (["--seeds", "0"], "--seeds"),
        (["--tasks", "CartPole-v1,LunarLander-v3"], 'pip install "threefactor[control]"'),
    ],
)  # fmt: skip
def test_control_refuses(options: list[str], answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown names are answered with the known ones, missing packages with the extra that brings them."""
    monkeypatch.setitem(control.TASKS, "LunarLander-v3", control.TASKS["LunarLander-v3"]._replace(needs="no_box"))
    app = Typer()
    app.command()(control_table.main)
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, options)
    assert result.exit_code == 2
    assert answer in result.output


def test_control_leaves_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without names, tasks whose packages are missing are left out, and that is said."""
    monkeypatch.setitem(control.TASKS, "LunarLander-v3", control.TASKS["LunarLander-v3"]._replace(needs="no_box"))
    assert "LunarLander-v3" not in control.choose_tasks(None, quick=False)
    assert 'pip install "threefactor[control]"' in capsys.readouterr().err.replace("\n", " ")


def test_other_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--others` writes files of its own; each changed world differs from that of the table in what its title says."""
    app = Typer()
    app.command()(control_table.main)
    monkeypatch.chdir(tmp_path)
    options = ["--others", "--quick", "--conditions", "default"]
    assert CliRunner().invoke(app, options, catch_exceptions=False).exit_code == 0
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"control_others.csv", "control_others.png"}
    worlds = {name: control.TASKS[name].make() for name in ("CartPole-v1", "CartPole-gravity", "CartPole-long")}
    states = []
    for env in worlds.values():
        env.reset(seed=0)
        states.append(np.array([env.step(1)[0] for _ in range(5)]))
    assert all(np.abs(states[0][-1] - other[-1]).max() > 1e-3 for other in states[1:])


def test_control_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that solves its task goes on to twice that step; stored runs are not done again, broken lines are."""
    easy = control.TASKS["DelayedCue-10"]._replace(threshold=-2.0, window=10)  # solved with the tenth episode
    monkeypatch.setitem(control.TASKS, "DelayedCue-10", easy)
    jobs = [control.Job("DelayedCue-10", "default", seed, 180, {}) for seed in (0, 1)]
    store = tmp_path / "runs.jsonl"
    first = control.run_all(jobs[:1], store)
    assert (first[0]["solved_from"], first[0]["solved_at"], first[0]["curve"][0][-1]) == (0, 120, 240)
    assert first[0]["stays_solved"]
    store.write_text(store.read_text() + store.read_text()[:50])
    both = control.run_all(jobs, store)
    assert [row["seed"] for row in both] == [0, 1]
    assert both[0] == first[0]
    stored = store.read_text()
    assert control.run_all([*jobs, jobs[0]._replace(settings={"n_hidden": 0})], store) == both
    assert store.read_text() == stored
    assert "failed: Job(task='DelayedCue-10'" in capsys.readouterr().err
    monkeypatch.setattr(control, "VERSION", "another")
    assert control.key_of(control.identity(jobs[0])) not in control.load_runs(store)


def test_differences_of_the_peer() -> None:
    """The wrapper that shows the peer what changed shows what the agent sees by its setting, to the last bit."""
    weights = []
    for make, settings in ((lambda env: env, {"differences": True}), (control_wrappers.Differences, {})):
        env = make(control.TASKS["Pendulum-positions"].make())
        agent = ActorCritic.for_env(env, seed=1, n_hidden=16, **settings)
        assert [episode.length for episode in Loop(agent, env, 1).run(500)] == [200, 200]
        weights.append(agent.actor.weights | {f"critic.{name}": w for name, w in agent.critic.weights.items()})
    for name, ours in weights[0].items():
        np.testing.assert_array_equal(ours, weights[1][name], err_msg=name)


def test_irrelevant_entries() -> None:
    """What is observed comes through; what stands behind it is noise, the same for the same seed."""
    env, plain = control_wrappers.Irrelevant(gym.make("CartPole-v1"), 4), gym.make("CartPole-v1")
    runs = []
    for _ in range(2):
        seen = [env.reset(seed=3)[0], *(env.step(k % 2)[0] for k in range(8))]
        assert all(env.observation_space.contains(x) for x in seen)
        runs.append(np.array(seen))
    np.testing.assert_array_equal(*runs)
    assert len(np.unique(runs[0][:, 4:])) == 9 * 4
    shown = [plain.reset(seed=3)[0], *(plain.step(k % 2)[0] for k in range(8))]
    np.testing.assert_array_equal(runs[0][:, :4], shown)


def test_sparse_rewards() -> None:
    """A return is 1 if the world ended by itself, and 0 if it was cut off."""
    returns = {}
    for steps in (5, 500):
        env = control_wrappers.Sparse(gym.wrappers.TimeLimit(gym.make("CartPole-v1"), steps))
        env.reset(seed=0)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, _ = env.step(0)
            rewards.append(reward)
            over = terminated or truncated
        assert rewards[-1] == terminated
        returns[steps] = sum(rewards)
    assert returns == {5: 0.0, 500: 1.0}


def test_control_unsolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not solve its task ends at the budget."""
    hard = control.TASKS["DelayedCue-10"]._replace(threshold=2.0, window=10)
    monkeypatch.setitem(control.TASKS, "DelayedCue-10", hard)
    row = control.train(control.Job("DelayedCue-10", "default", 0, 180, {}))
    assert (row["solved_at"], row["stays_solved"], row["curve"][0][-1]) == (None, None, 180)
    assert row["final_mean"] == row["mean_last_window"]
