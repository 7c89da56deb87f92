"""Worlds whose step is a kernel: cheap one step at a time, and ready for loops that are compiled themselves."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from envs.sequences import require
from threefactor._jit import address, call, entry, kernel

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TINY, MOST = math.ulp(0.0), float(np.finfo(np.float64).max)
WORDS = {(TINY, MOST): "finite and above 0", (0.0, MOST): "finite and 0 or more", (-MOST, MOST): "finite"}
N_TRAIL = 100  # steps that a picture can look back


class Range(NamedTuple):
    """Where a parameter stands in `world`, and what it may be."""

    place: int  #: the first of its entries
    shape: tuple[int, ...]
    least: float
    most: float

    @property
    def entries(self) -> slice:
        """Its part of `world`."""
        return slice(self.place, self.place + math.prod(self.shape))

    @property
    def words(self) -> str:
        """What its entries may be."""
        spoken = "above 0 and at most" if self.least == TINY else f"{self.least:g} to"
        return WORDS.get((self.least, self.most), f"{spoken} {self.most:g}")


@kernel
def step_rows(
    step_at: int, worlds: Floats, commands: Floats, observations: Floats, rewards: Floats, ends: Bools
) -> None:
    """Call the step at an address for each row; writes what `CompiledEnv.step_all` says.

    One kernel serves all worlds: in compiled code a row of `worlds` looks as the row that a step was compiled for.
    """
    for i in range(len(worlds)):
        told = call(step_at, (0.0, False, False), worlds[i], commands[i], observations[i])
        rewards[i], ends[i, 0], ends[i, 1] = told


@functools.cache
def batched(step: Any) -> tuple[Any, Any]:
    """`step_rows` as machine code, and the address of a world's step, to call it with."""
    row, rows = np.zeros(1), np.zeros((1, 1))
    step_at = address(step, row, row, row)
    return entry(step_rows, step_at, rows, rows, rows, row, np.zeros((1, 2), np.bool_)), step_at


class CompiledEnv(gym.Env[npt.NDArray[np.float32], Any]):
    """What compiled worlds have in common.

    A subclass names its `kernel`, ``(world, command, observation) -> (reward, terminated, truncated)``, which moves
    `world` on and writes the observation; `begin` writes a first state and its observation. If it names render modes
    in its metadata, it has `draw`.

    Attributes
    ----------
    world : array, float64
        State and parameters. Whoever changes a parameter in here changes the world at once; `change` checks it, too.
    command : array, float64, shape (entries of an action,)
        The last action.
    ranges : mapping from str to Range
        The parameters that `parameter` and `change` know.
    trail : array, float64, shape (k, entries of `world`)
        `world` at the last reset or after each of the last 100 steps since, if there is a `render_mode`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    kernel: ClassVar[Any]
    projection: ClassVar[str | None] = None  #: of the axes that `draw` gets
    ranges: Mapping[str, Range] = {}

    def __init__(
        self, world: Floats, n_command: int, n_observation: int, given: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:  # fmt: skip
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f'render_mode is {render_mode!r}; it must be None, "rgb_array" or "human".')
        self.world, self.command, self._seen = world, np.zeros(n_command), np.zeros(n_observation)
        if given is not None:
            for name in self.ranges:
                self._write(world, name, given[name])
        self.agree(world)
        self.render_mode, self._trail = render_mode, deque[Floats](maxlen=N_TRAIL)
        self._figure: Any = None
        self._compile()
        self._over = True

    def _compile(self) -> None:
        """Have all machine code made that the world calls; after a copy, too, which takes none along."""
        self._enter = entry(type(self).kernel, self.world, self.command, self._seen)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: all but the machine code and the window."""
        kept = {name: value for name, value in vars(self).items() if not isinstance(value, type(self._enter))}
        return kept | {"_figure": None}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Go on as the one that was copied."""
        vars(self).update(saved)
        self._compile()

    def parameter(self, name: str) -> Floats:
        """Value of a parameter of `ranges`, in an array of its own; of shape () if it is one number.

        Raises
        ------
        ValueError
            There is no such parameter.
        """
        known = self._range(name)
        return self.world[known.entries].reshape(known.shape).copy()

    def change(self, name: str, value: npt.ArrayLike) -> None:
        """Change a parameter of `ranges`, at once and for good: amid an episode, too, and over resets.

        Raises
        ------
        ValueError
            There is no such parameter; or its value has another shape, is outside its range or does not go with the
            other parameters. Then nothing was changed.
        """
        entries, changed = self._range(name).entries, self.world.copy()
        self._write(changed, name, value)
        self.agree(changed)
        self.world[entries] = changed[entries]

    def agree(self, world: Floats) -> None:
        """Refuse parameters that are each within their ranges but do not go together."""

    def _range(self, name: str) -> Range:
        if name not in self.ranges:
            raise ValueError(f"there is no parameter {name!r}; this world has {', '.join(self.ranges) or 'none'}.")
        return self.ranges[name]

    def _write(self, world: Floats, name: str, value: npt.ArrayLike) -> None:
        known, row = self._range(name), np.asarray(value, np.float64)
        if row.shape != known.shape:
            raise ValueError(f"{name} has shape {row.shape}; it must be {known.shape}.")
        inside = (row >= known.least) & (row <= known.most)
        if not inside.all():
            require(name, row[~inside][0], False, known.words)
        world[known.entries] = row.reshape(-1)

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """Write the first state of an episode into `world`, and its observation into `seen`."""
        raise NotImplementedError

    def info(self) -> dict[str, Any]:
        """What `reset` and `step` tell beside the observation."""
        return {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.begin(self.np_random, self._seen)
        self._over = False
        self._trail.clear()
        self._follow()
        return self._seen.astype(np.float32), self.info()

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move on by one step.

        Raises
        ------
        gymnasium.error.ResetNeeded
            No episode is under way.
        ValueError
            An action of another shape, or not finite.
        """
        if self._over:
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() first.")
        given = np.asarray(action, dtype=np.float64)
        row = given.reshape(-1)
        known = given.shape == self.action_space.shape or given.shape == self.command.shape
        if not known or not all(map(math.isfinite, row.tolist())):  # of a few numbers faster than NumPy
            raise ValueError(f"action is {action!r}; it must be finite, of shape {self.action_space.shape}.")
        self.command[:] = row
        reward, terminated, truncated = self._enter(self.world, self.command, self._seen)
        self._over = bool(terminated or truncated)
        self._follow()
        return self._seen.astype(np.float32), float(reward), bool(terminated), bool(truncated), self.info()

    def step_all(self, worlds: Floats, commands: Floats, observations: Floats, rewards: Floats, ends: Bools) -> None:
        """Move each of n worlds on by a step, in compiled code; none is begun anew.

        Parameters
        ----------
        worlds : array, float64, shape (n, entries of `world`)
            Copies of `world`, each begun by `reset`; changed in place. This world itself stays as it is.
        commands : array, float64, shape (n, entries of an action)
            Read as they are: what is not finite is not refused.
        observations : array, float64, shape (n, entries of an observation)
            Written.
        rewards : array, float64, shape (n,)
            Written.
        ends : array, bool, shape (n, 2)
            Written: terminated, truncated.

        Raises
        ------
        ValueError
            An array of another type or shape, or not contiguous. Then nothing was changed.
        """
        n, given = len(worlds), (worlds, commands, observations, rewards, ends)
        shapes = (n, self.world.size), (n, self.command.size), (n, self._seen.size), (n,), (n, 2)
        names = ("worlds", "commands", "observations", "rewards", "ends")
        for name, array, shape in zip(names, given, shapes, strict=True):
            dtype = np.dtype(np.bool_ if name == "ends" else np.float64)
            if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
                wanted = f"{dtype} of shape {shape}, contiguous"
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; it must be {wanted}.")
        enter, step_at = batched(type(self).kernel)
        enter(step_at, *given)

    def _follow(self) -> None:
        if self.render_mode is not None:
            self._trail.append(self.world.copy())
            if self.render_mode == "human":
                self.render()

    @property
    def trail(self) -> Floats:
        """See the class."""
        return np.array(self._trail, np.float64).reshape(-1, self.world.size)

    def draw(self, axes: Any) -> None:
        """Draw the world into empty matplotlib axes."""
        raise NotImplementedError

    def render(self) -> Any:
        """Draw the world as it is.

        Returns
        -------
        array, uint8, shape (400, 400, 3)
            With `render_mode` "rgb_array"; else nothing.
        """
        if self.render_mode is None:
            gym.logger.warn('there is no picture without a render_mode; make the world with render_mode="rgb_array".')
            return None
        if self._figure is None:
            self._figure = _display() if self.render_mode == "human" else _canvas()
            self._figure.add_subplot(projection=self.projection)
        axes = self._figure.axes[0]
        axes.clear()
        self.draw(axes)
        self._figure.canvas.draw()
        if self.render_mode == "human":
            self._figure.canvas.flush_events()
            return None
        return np.asarray(self._figure.canvas.buffer_rgba())[:, :, :3].copy()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._figure is not None and self.render_mode == "human":
            import matplotlib.pyplot as plt

            plt.close(self._figure)
        self._figure = None


def _canvas() -> Any:
    from threefactor.pictures import new_figure  # matplotlib takes longer to import than all else here

    return new_figure(4.0, 4.0)


def _display() -> Any:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(4.0, 4.0))
    figure.show(warn=False)
    return figure
