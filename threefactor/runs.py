"""A training run as a folder: settings, episodes, checkpoint, picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from threefactor.checkpoints import write_atomically
from threefactor.pictures import draw_learning_curve

COLUMNS = ("episode", "end", "length", "return", "td_error", "slope", "firing_rate")


class RunError(ValueError):
    """A folder or a configuration file that a run cannot use; says what to do."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary."""
    try:
        content: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"there is no configuration file {path}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"{path} is not valid TOML: {error}.") from None
    return content


class Run:
    """The files of one run.

    Parameters
    ----------
    folder : Path
        Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[tuple[float, ...]] = []

    @property
    def settings_file(self) -> Path:
        """Settings, TOML."""
        return self.folder / "settings.toml"

    @property
    def checkpoint_file(self) -> Path:
        """The agent, safetensors."""
        return self.folder / "checkpoint.safetensors"

    @property
    def episodes_file(self) -> Path:
        """One row an episode, CSV."""
        return self.folder / "episodes.csv"

    @property
    def picture_file(self) -> Path:
        """Learning curve, PNG."""
        return self.folder / "learning_curve.png"

    def start(self, settings: dict[str, Any]) -> None:
        """Make the folder of a new run; refuses one that holds a run already."""
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder} is a file; give a folder with --out.")
        for file in (self.settings_file, self.checkpoint_file, self.episodes_file):
            if file.exists():
                raise RunError(
                    f"{self.folder} already holds a run; go on with --resume, or give another folder with --out."
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.settings_file, tomli_w.dumps(settings).encode())

    def read_settings(self) -> dict[str, Any]:
        """Settings of the run in this folder."""
        if not self.settings_file.is_file():
            raise RunError(f"{self.folder} holds no run; train one there first.")
        return read_toml(self.settings_file)

    def read_episodes(self, until: int) -> None:
        """Take the rows of episodes that had ended by step `until`."""
        if not self.episodes_file.is_file():
            return
        try:
            with self.episodes_file.open(newline="") as file:
                rows = [tuple(float(row[name]) for name in COLUMNS) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.episodes_file} is damaged ({error}); move it away to go on without it.") from None
        self.rows = [row for row in rows if row[1] <= until]

    def write_episodes(self) -> None:
        """Write all rows."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            writer.writerow([int(n) for n in row[:3]] + [f"{value:.6g}" for value in row[3:]])
        write_atomically(self.episodes_file, text.getvalue().encode())

    def column(self, name: str) -> list[float]:
        """One column of the episodes."""
        place = COLUMNS.index(name)
        return [row[place] for row in self.rows]

    def draw(self, title: str, threshold: float | None) -> None:
        """Write the picture of the learning curve."""
        draw_learning_curve(self.picture_file, title, self.column("end"), self.column("return"), threshold)
