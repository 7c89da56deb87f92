"""`threefactor train`: files, JSON, resuming and refusals."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from typer.testing import CliRunner

from controllers import ActorCritic
from tests.checks import assert_same, snapshot
from threefactor.cli import app

FILES = {"settings.toml", "episodes.csv", "checkpoint.safetensors", "learning_curve.png"}
KEYS = [
    "env", "seed", "steps", "episodes", "solved_at", "solved_from", "mean_return_last_100", "microseconds_per_step",
]  # fmt: skip
CARTPOLE = ("train", "CartPole-v1", "--steps", "1500")


def run(*arguments: str | int | Path) -> Any:
    """The command in this process; nothing but an exit may come out of it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result


def last_json(result: Any) -> dict[str, Any]:
    """The last line of the standard output."""
    assert result.exit_code == 0, result.output

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1], parse_constant=refuse)
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    """The episodes of a run."""
    with (folder / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(result: Any, *words: str) -> None:
    """Exit code 2 and a message that holds the words."""
    message = " ".join(result.output.split())
    assert result.exit_code == 2, message
    for word in words:
        assert word in message.replace(" ", "") or word in message, message


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A short run on CartPole and what it printed; not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "out"
    return folder, last_json(run(*CARTPOLE, "--seed", "3", "--out", folder, "--json"))


def copy_of(folder: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be changed."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in contents(folder).items():
        (copy / name).write_bytes(content)
    return copy


# --- train -----------------------------------------------------------------------------------------------------------


def test_train_writes_its_files(trained: tuple[Path, dict[str, Any]]) -> None:
    """Settings, episodes, checkpoint and picture, and nothing else, all readable and in agreement."""
    folder, printed = trained
    assert set(contents(folder)) == FILES
    settings = tomllib.loads((folder / "settings.toml").read_text())
    assert settings["env"] == "CartPole-v1" and settings["seed"] == 3 and settings["agent"]["n_hidden"] > 0
    episodes = rows(folder)
    assert [int(row["episode"]) for row in episodes] == list(range(1, len(episodes) + 1))
    assert sum(int(row["length"]) for row in episodes) == int(episodes[-1]["end"]) <= 1500
    assert all(float(row["return"]) == int(row["length"]) for row in episodes)
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert ActorCritic.load(folder / "checkpoint.safetensors").steps == 1500
    assert printed["episodes"] == len(episodes)
    assert printed["mean_return_last_100"] == pytest.approx(np.mean([float(r["return"]) for r in episodes[-100:]]))


def test_train_prints_json(trained: tuple[Path, dict[str, Any]]) -> None:
    """The last line has exactly the promised keys, in their order; null where there is nothing to say."""
    _, printed = trained
    assert list(printed) == KEYS
    assert (printed["env"], printed["seed"], printed["steps"]) == ("CartPole-v1", 3, 1500)
    assert printed["solved_at"] is None and printed["solved_from"] is None
    assert 0.0 < printed["microseconds_per_step"] < 1e5


def test_train_without_json_prints_a_table(tmp_path: Path) -> None:
    """People get the same names and numbers, and the folder by name."""
    result = run("train", "CartPole-v1", "--steps", "60", "--out", tmp_path / "out")
    assert result.exit_code == 0
    for word in ("CartPole-v1", *KEYS):
        assert word in result.stdout, f"{word} cannot be read in 80 columns"
    assert set(contents(tmp_path / "out")) == FILES


def test_same_seed_same_episodes(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A run of the same seed has the same episodes, of another seed others."""
    for seed, same in (("3", True), ("4", False)):
        run(*CARTPOLE, "--seed", seed, "--out", tmp_path / seed, "--json")
        assert (rows(tmp_path / seed) == rows(trained[0])) == same


def test_folder_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --out the run is in runs/ENV_ID-SEED."""
    monkeypatch.chdir(tmp_path)
    assert run("train", "envs:threefactor/DelayedCue-v0", "--steps", "30", "--seed", "2").exit_code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "envs_threefactor_DelayedCue-v0-2" and set(contents(folder)) == FILES


@pytest.mark.parametrize(
    "env_id",
    [
        "envs:threefactor/DelayedCue-v0", "threefactor/DelayedCue-v0", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1",
    ],
)  # fmt: skip
def test_other_environments_train(env_id: str, tmp_path: Path) -> None:
    """Module ids, own worlds, continuous actions, discrete observations and tuples: all go the same way."""
    printed = last_json(run("train", env_id, "--steps", "450", "--out", tmp_path / "out", "--json"))
    assert printed["env"] == env_id and printed["steps"] == 450 and printed["episodes"] >= 2
    assert last_json(run("evaluate", tmp_path / "out", "--episodes", "2", "--json"))["mean_return"] is not None


def test_run_shorter_than_an_episode(tmp_path: Path) -> None:
    """No episode, no mean: null, and a folder that goes on."""
    printed = last_json(run("train", "Pendulum-v1", "--steps", "5", "--out", tmp_path / "out", "--json"))
    assert printed["episodes"] == 0 and printed["mean_return_last_100"] is None
    printed = last_json(run("train", "Pendulum-v1", "--steps", "250", "--out", tmp_path / "out", "--resume", "--json"))
    assert printed["steps"] == 250 and printed["episodes"] == 1


def test_config_is_used_and_kept(tmp_path: Path) -> None:
    """[agent] and [environment] of the file reach the agent, the environment and settings.toml."""
    config = tmp_path / "config.toml"
    config.write_text("[agent]\nn_hidden = 12\nslope_schedule = {rule = 'interval'}\n[environment]\ndelay = 4\n")
    folder = tmp_path / "out"
    last_json(run("train", "threefactor/DelayedCue-v0", "--steps", "60", "--config", config, "--out", folder, "--json"))
    assert {int(row["length"]) for row in rows(folder)} == {6}
    settings = tomllib.loads((folder / "settings.toml").read_text())
    assert settings["agent"]["n_hidden"] == 12 and settings["environment"] == {"delay": 4}
    assert ActorCritic.load(folder / "checkpoint.safetensors").settings.slope_schedule.rule == "interval"


# --- resume ----------------------------------------------------------------------------------------------------------


def test_resume_goes_on_to_the_total(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The steps asked for are the total; old episodes stay, new ones follow; the seed is that of the run."""
    folder = copy_of(trained[0], tmp_path)
    printed = last_json(run("train", "CartPole-v1", "--steps", "2500", "--out", folder, "--resume", "--json"))
    assert (printed["steps"], printed["seed"]) == (2500, 3) and printed["episodes"] > trained[1]["episodes"]
    old, new = rows(trained[0]), rows(folder)
    assert new[: len(old)] == old and printed["episodes"] == len(new)
    assert [int(row["episode"]) for row in new] == list(range(1, len(new) + 1))
    assert int(new[len(old)]["end"]) > 1500
    assert ActorCritic.load(folder / "checkpoint.safetensors").steps == 2500
    assert contents(folder)["settings.toml"] == contents(trained[0])["settings.toml"]


def test_resume_with_nothing_left_to_do(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A total that is reached already changes neither the agent nor the episodes."""
    folder = copy_of(trained[0], tmp_path)
    printed = last_json(run("train", "CartPole-v1", "--steps", "1000", "--out", folder, "--resume", "--json"))
    assert printed["steps"] == 1500 and printed["microseconds_per_step"] is None
    assert rows(folder) == rows(trained[0])
    before, after = (ActorCritic.load(each / "checkpoint.safetensors") for each in (trained[0], folder))
    assert_same(snapshot(before), snapshot(after))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*CARTPOLE,), ("--resume", "--out")), (("train", "Acrobot-v1", "--resume"), ("environment",)),
        ((*CARTPOLE, "--resume", "--seed", "5"), ("seed3",)),
        ((*CARTPOLE, "--resume", "--config", "x.toml"), ("--config",)),
    ],
)  # fmt: skip
def test_a_finished_run_is_not_overwritten(
    arguments: tuple[str, ...], words: tuple[str, ...], trained: tuple[Path, dict[str, Any]]
) -> None:
    """A new run, another environment, seed or configuration in its folder: refused, and no byte changes."""
    before = contents(trained[0])
    assert_refused(run(*arguments, "--out", trained[0]), *words)
    assert contents(trained[0]) == before


def _flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


DAMAGE = {
    "flipped_bit": ("checkpoint.safetensors", _flip), "no_checkpoint": ("checkpoint.safetensors", None),
    "cut_checkpoint": ("checkpoint.safetensors", lambda content: content[:1000]),
    "foreign_checkpoint": ("checkpoint.safetensors", lambda _: b"hello"),
    "broken_settings": ("settings.toml", lambda content: content + b"]["), "no_settings": ("settings.toml", None),
    "empty_settings": ("settings.toml", lambda _: b""),
    "unknown_setting": ("settings.toml", lambda content: content.replace(b"n_hidden", b"n_hiden")),
    "broken_episodes": ("episodes.csv", lambda content: content + b"1,2\n"),
    "foreign_episodes": ("episodes.csv", lambda _: b"a,b\n1,2\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_runs_are_refused(name: str, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Whatever of a run is damaged, --resume says so and leaves every file as it is."""
    folder = copy_of(trained[0], tmp_path)
    file, spoil = DAMAGE[name]
    if spoil is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(spoil((folder / file).read_bytes()))
    before = contents(folder)
    assert_refused(run("train", "CartPole-v1", "--steps", "2000", "--out", folder, "--resume"), "error:")
    assert contents(folder) == before


# --- refusals --------------------------------------------------------------------------------------------------------


class NotFlat(gym.Env[Any, Any]):
    """Observations of any length."""

    observation_space, action_space = gym.spaces.Sequence(gym.spaces.Discrete(3)), gym.spaces.Discrete(2)


NOT_FLAT = gym.envs.registration.EnvSpec("NotFlat-v0", entry_point=NotFlat)
REFUSED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown_env": ("NoSuchWorld-v0", "", ("NoSuchWorld",)), "unknown_version": ("CartPole-v99", "", ("CartPole",)),
    "no_module": ("no_such_module:World-v0", "", ("no_such_module",)), "malformed_id": ("a b c", "", ("a b c",)),
    "unknown_setting": ("CartPole-v1", "[agent]\nn_hiden = 3", ("n_hiden",)),
    "unknown_table": ("CartPole-v1", "[agnt]\nn_hidden = 3", ("agnt",)),
    "wrong_type": ("CartPole-v1", "[agent]\nn_hidden = 'many'", ("n_hidden",)),
    "out_of_range": ("CartPole-v1", "[agent]\ndiscount = 1.5", ("discount",)),
    "not_finite": ("CartPole-v1", "[agent]\nentropy = inf", ("entropy",)),
    "unknown_surrogate": ("CartPole-v1", "[agent]\nsurrogate = 'triangle'", ("triangle",)),
    "broken_toml": ("CartPole-v1", "[agent\nn_hidden", ("TOML", "config.toml")),
    "unknown_argument": ("threefactor/DelayedCue-v0", "[environment]\ndelays = 3", ("delays",)),
    "bad_argument": ("threefactor/DelayedCue-v0", "[environment]\ndelay = -3", ("delay",)),
    "not_flat": ("NotFlat-v0", "", ("observation space", "Sequence")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, a message that names what is wrong, and no half-made folder."""
    env_id, toml, words = REFUSED[name]
    monkeypatch.setitem(gym.registry, NOT_FLAT.id, NOT_FLAT)
    (tmp_path / "config.toml").write_text(toml)
    config = ("--config", str(tmp_path / "config.toml")) if toml else ()
    assert_refused(run("train", env_id, "--steps", "50", "--out", tmp_path / "out", *config), "error:", *words)
    assert not (tmp_path / "out").exists()


def test_missing_config_and_file_for_a_folder_are_refused(tmp_path: Path) -> None:
    """A configuration that is not there, and a file where the folder should be."""
    assert_refused(run(*CARTPOLE, "--config", tmp_path / "no.toml", "--out", tmp_path / "out"), "no.toml")
    (tmp_path / "file").write_text("mine")
    assert_refused(run(*CARTPOLE, "--out", tmp_path / "file"), "--out")
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [("train",), ("train", "CartPole-v1", "--steps", "0"), ("fly",), ("verify",)])
def test_wrong_usage_is_refused(arguments: tuple[str, ...]) -> None:
    """Missing arguments, unknown commands and numbers out of range: exit code 2."""
    assert run(*arguments).exit_code == 2


# --- worlds that misbehave -------------------------------------------------------------------------------------------


class Misbehaves(gym.Env[Any, Any]):
    """From step 30 on it gives a bad sample of the kind asked for."""

    observation_space, action_space = gym.spaces.Box(-1.0, 1.0, (2,)), gym.spaces.Discrete(2)
    SAMPLES: ClassVar[dict[str, tuple[float, float]]] = {
        "reward": (0.1, np.nan), "observation": (np.nan, 1.0), "outside": (3.0, 1.0)
    }  # fmt: skip

    def __init__(self, kind: str) -> None:
        self.kind, self.t = kind, 0

    def reset(self, **_: Any) -> Any:
        """Zeros."""
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        """Episodes of ten steps."""
        self.t += 1
        x, reward = self.SAMPLES[self.kind] if self.t >= 30 else (0.1, 1.0)
        return np.full(2, x, np.float32), reward, self.t % 10 == 0, False, {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("reward", "reward is nan"), ("observation", "not finite"), ("outside", "outside its space")],
)
@pytest.mark.filterwarnings("ignore")  # gymnasium's own checks warn, too
def test_bad_samples_end_a_run_and_keep_what_was_learnt(kind: str, words: str, tmp_path: Path) -> None:
    """The run ends with an error that names the sample; its checkpoint holds all that was learnt before it."""
    name = f"Misbehaves{kind}-v0"
    gym.register(name, entry_point=lambda: Misbehaves(kind))
    try:
        assert_refused(run("train", name, "--steps", "100", "--out", tmp_path / "out"), words)
    finally:
        gym.registry.pop(name)
    assert set(contents(tmp_path / "out")) == FILES
    agent = ActorCritic.load(tmp_path / "out" / "checkpoint.safetensors")
    assert agent.steps == 29 and len(rows(tmp_path / "out")) == 2
    assert all(np.isfinite(w).all() for net in (agent.actor, agent.critic) for w in net.weights.values())
