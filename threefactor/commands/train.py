"""The commands that train and evaluate."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import msgspec
import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import envs  # noqa: F401  (registers the worlds)
from controllers import ActorCritic, ActorCriticSettings, Episode, Loop, Watched, evaluate, solved
from threefactor.live import Driven
from threefactor.runs import Run, RunError, read_toml
from threefactor.settings import build
from threefactor.terminal import JSON, WATCH, console, fail, print_address, print_values
from threefactor.watch import WatchError

app = typer.Typer()

CHECKPOINT_SECONDS = 60.0


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration file of `train` may hold: [agent] and [environment] (keywords of `gymnasium.make`)."""

    agent: ActorCriticSettings = ActorCriticSettings()
    environment: dict[str, Any] = {}


def _make_env(env_id: str, keywords: dict[str, Any]) -> gym.Env[Any, Any]:
    try:
        env: gym.Env[Any, Any] = gym.make(env_id, **keywords)
    except (gym.error.Error, ImportError, TypeError) as error:
        raise RunError(f"cannot make the environment {env_id!r}: {error}") from None
    space = env.observation_space
    if space.is_np_flattenable and not (isinstance(space, gym.spaces.Box) and len(space.shape) == 1):
        env = gym.wrappers.FlattenObservation(env)
    return env


def _threshold(env: gym.Env[Any, Any]) -> float | None:
    return env.spec.reward_threshold if env.spec is not None else None


@contextmanager
def _interruptible() -> Iterator[list[bool]]:
    """Ctrl-C sets a flag, so that a run ends between two steps; pressed again it interrupts at once."""
    stopped: list[bool] = []

    def stop(number: int, frame: Any) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Training:
    """One run of `train`: the loop, the files and the progress bar."""

    def __init__(
        self, env_id: str, seed: int, steps: int, run: Run, resume: bool, settings: TrainSettings, watch: bool
    ) -> None:  # fmt: skip
        self.env_id, self.seed, self.until, self.run, self.settings = env_id, seed, steps, run, settings
        self._watches = watch
        self.env = _make_env(env_id, settings.environment)
        if resume:
            self.agent = ActorCritic.load(run.checkpoint_file)
            done = self.agent.steps
            run.read_episodes(done)
            # a fresh world for the steps to come, the same one each time the run is resumed from here
            self.loop = Loop(
                self.agent,
                self.env,
                int(np.random.SeedSequence([seed, done]).generate_state(1)[0]),
                done,
                len(run.rows),
            )
        else:
            self.agent = ActorCritic.for_env(self.env, seed=seed, **msgspec.to_builtins(settings.agent))
            self.loop = Loop(self.agent, self.env, seed)
            used = {"agent": msgspec.to_builtins(self.agent.settings)}  # with what they leave to the kind of action
            run.start({"env": env_id, "seed": seed} | msgspec.to_builtins(settings) | used)

    def go(self) -> bool:
        """Train; returns whether the run was interrupted."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("return {task.fields[mean]:.1f}  |TD error| {task.fields[td]:.3f}  "
                       "slope {task.fields[slope]:.3g}  firing {task.fields[rate]:.1%}"),
        )  # fmt: skip
        with _interruptible() as stopped, self._watched(stopped), Progress(*columns, console=console) as progress:
            bar = progress.add_task(self.env_id, total=self.until, completed=self.loop.steps, **self._fields())
            self._saved = shown = time.monotonic()

            def on_step() -> bool:
                nonlocal shown
                if self.loop.steps % 256 == 0 and time.monotonic() - shown > 0.2:
                    shown = time.monotonic()
                    progress.update(bar, completed=self.loop.steps, **self._fields())
                return not stopped

            try:
                for episode in self.loop.run(self.until, on_step):
                    self._note(episode)
                    if stopped:
                        break
            finally:
                self.save()
                progress.update(bar, completed=self.loop.steps, **self._fields())
        return bool(stopped)

    def _watched(self, stopped: list[bool]) -> AbstractContextManager[Any]:
        """The page, if there is to be one; the loop is led past it."""
        if not self._watches:
            return nullcontext()
        driven = Driven(self.agent)
        title = f"{self.env_id}, seed {self.seed}"
        watched = Watched(self.env, driven, title, self._save_at_once, lambda: bool(stopped))
        self.loop.agent, self.loop.env = driven, watched
        print_address(watched.watch.url)
        return watched.watch

    def _save_at_once(self) -> str:
        self.save()
        return f"saved to {self.run.folder}"

    def _note(self, episode: Episode) -> None:
        agent = self.agent
        row = (episode.number, episode.end, episode.length, episode.episode_return)
        self.run.rows.append((*row, agent.mean_td_error, agent.slope, agent.firing_rate))
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.save()

    def save(self) -> None:
        """Write episodes, checkpoint and picture."""
        self.run.write_episodes()
        self.agent.save(self.run.checkpoint_file)
        self.run.draw(f"{self.env_id}, seed {self.seed}", _threshold(self.env))
        self._saved = time.monotonic()

    def _fields(self) -> dict[str, Any]:
        returns = self.run.column("return")[-100:]
        mean = float(np.mean(returns)) if returns else float("nan")
        return {"mean": mean, "td": self.agent.mean_td_error, "slope": self.agent.slope, "rate": self.agent.firing_rate}

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        returns = self.run.column("return")
        solved_at, solved_from = solved(self.run.column("end"), returns, _threshold(self.env))
        speed = self.loop.microseconds_per_step
        return {
            "env": self.env_id, "seed": self.seed, "steps": self.loop.steps, "episodes": len(returns),
            "solved_at": solved_at, "solved_from": solved_from,
            "mean_return_last_100": float(np.mean(returns[-100:])) if returns else None,
            "microseconds_per_step": round(speed, 3) if np.isfinite(speed) else None,
        }  # fmt: skip


@app.command()
def train(
    env_id: Annotated[str, typer.Argument(help="Gymnasium id, or module:id.")],
    steps: Annotated[int, typer.Option(min=1, help="Environment steps in all.")] = 100_000,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, exploration and environment. \\[default: 0]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with tables \\[agent] and \\[environment].")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. \\[default: runs/ENV_ID-SEED]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
    watch: WATCH = False,
    as_json: JSON = False,
) -> None:
    """Train a spiking actor-critic on an environment while it acts."""
    try:
        run = Run(out or Path("runs") / f"{env_id.replace('/', '_').replace(':', '_')}-{seed or 0}")
        if resume:
            if config is not None:
                raise RunError("--config cannot change a run that is resumed; leave it out.")
            kept = run.read_settings()
            if "env" not in kept or "seed" not in kept:
                raise RunError(f"{run.settings_file} names no env and seed; it is not the file that train wrote.")
            if kept.pop("env") != env_id:
                raise RunError(f"{run.folder} holds a run of another environment; name that one, or another --out.")
            if seed not in (None, kept["seed"]):
                raise RunError(f"{run.folder} holds a run of seed {kept['seed']}; leave --seed out.")
            seed = kept.pop("seed")
            settings = build(TrainSettings, **kept)
        else:
            seed = seed or 0
            settings = build(TrainSettings, **(read_toml(config) if config else {}))
        training = _Training(env_id, seed, steps, run, resume, settings, watch)
        console.print(f"writing to {run.folder}", highlight=False)
        interrupted = training.go()
    except (ValueError, OSError, WatchError) as error:
        fail(error)
    print_values(training.summary(), as_json)
    if interrupted:
        console.print(f"stopped; go on with: threefactor train {env_id} --out {run.folder} --resume", highlight=False)
        raise typer.Exit(130)


@app.command("evaluate")
def evaluate_run(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    episodes: Annotated[int, typer.Option(min=1, help="Greedy episodes.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environment.")] = 0,
    as_json: JSON = False,
) -> None:
    """Greedy returns of a trained agent; it learns nothing."""
    try:
        run = Run(folder)
        settings = run.read_settings()
        env = _make_env(settings["env"], settings.get("environment", {}))
        returns = evaluate(ActorCritic.load(run.checkpoint_file), env, episodes, seed)
    except (ValueError, OSError, KeyError) as error:
        fail(error)
    print_values({"mean_return": float(np.mean(returns)), "std_return": float(np.std(returns))}, as_json)
