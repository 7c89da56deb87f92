"""A cursor that is moved by decoded neurons: a simulated brain-computer interface, compiled."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from envs import cursor_dynamics as places
from envs.compiled import MOST, TINY, CompiledEnv, Floats, Range
from envs.cursor_dynamics import EDGE, step
from envs.generator import first_state
from envs.sequences import require
from threefactor._jit import entry

GOLDEN = math.pi * (3.0 - math.sqrt(5.0))  # angle whose multiples spread evenly, however many there are [rad]
FASTEST = 1000.0  # [1/s], of a neuron
FARTHEST = 0.8  # where targets are drawn, along each axis


def ranges(n_units: int) -> dict[str, Range]:
    """Parameters of a world of so many units."""
    first, each = places.UNITS, (n_units,)
    return {
        "preferred": Range(first, each, -MOST, MOST),
        "baseline": Range(first + n_units, each, 0.0, FASTEST), "depth": Range(first + 2 * n_units, each, 0.0, FASTEST),
        "gain": Range(first + 3 * n_units, each, 0.0, 10.0), "drift": Range(places.DRIFT, (), 0.0, MOST),
        "top_speed": Range(places.TOP_SPEED, (), TINY, MOST), "slowing": Range(places.SLOWING, (), TINY, MOST),
        "interval": Range(places.INTERVAL, (), TINY, 0.1),
    }  # fmt: skip


class Cursor(CompiledEnv):
    """Decode from spikes where a user wants to move a cursor.

    Description
    -----------
    A user wants to bring a cursor to a target in the square from -1 to 1 and to hold it there. Units of motor cortex
    fire with the velocity that the user intends; what acts here is the decoder, which turns their spikes into the
    cursor's velocity. An episode is one trial.

    The user sees the cursor `delay` steps late, as s, and intends the velocity v = (target - s) / max(|target - s|,
    `slowing`), as a share of the top speed. Unit i fires as a Poisson process of the rate `gain` max(0, `baseline` +
    `depth` p . v), with the direction p, of length 1, that it prefers: cosine tuning.

    The parameters from `preferred` to `interval` may be changed amid a trial by `change`; so do `lose` and
    `gain_units`. They stay as they are over a reset, also where `drift` has led the preferred directions to.

    Action Space
    ------------
    ``Box(-1, 1, (2,), float32)``: the cursor's velocity, as a share of `top_speed`. What is beyond is taken as the
    nearest. The cursor stops at the edge of the square.

    Observation Space
    -----------------
    ``Box(0, inf, (n_units,), float32)``: how often each unit spiked in this bin.

    `info` holds ``"intention"``, v above, from which these counts come, ``"target"``, ``"cursor"`` and ``"hit"``.

    Rewards
    -------
    Minus the distance of the cursor from the target after each step; 10 more for a hit.

    Starting State
    --------------
    The target is drawn among those that the cursor is not in. The cursor begins in the middle, or where the last trial
    left it; in the middle also after a reset with a seed.

    Episode End
    -----------
    Termination, a hit, once the cursor has been within `radius` of the target for `hold` steps on end; truncation, a
    miss, after `limit` steps.

    Arguments
    ---------
    n_units : int
        1 or more.
    preferred : sequence of n_units floats, optional
        Directions [rad]; by default they are spread evenly, neighbours far apart.
    baseline, depth : float or sequence of n_units floats
        [1/s], 0 to 1000.
    gain : float or sequence of n_units floats
        Factor on a unit's rate, 0 to 10; 0 is a lost unit.
    drift : float
        Of the random walk of the preferred directions [rad / sqrt(min)], 0 or more: its standard deviation after a
        minute.
    top_speed : float
        [1/s], above 0.
    slowing : float
        Distance under which the user intends to go slower, above 0.
    interval : float
        Of a step, the length of a bin [s], above 0 and at most 0.1.
    delay : int
        Steps after which the user sees the cursor, 0 or more.
    n_targets : int
        Targets, evenly on a circle of radius 0.7, the first to the right; 0 draws them from the square from -0.8 to
        0.8.
    recentre : bool
        Whether each trial begins in the middle.
    radius : float
        Of a target, above 0 and at most 0.3.
    hold : int
        Steps, 1 or more.
    limit : int
        Steps of a trial.
    render_mode : str, optional
        "rgb_array" or "human".

    Version History
    ---------------
    v0: first version. A decoder fitted by least squares to counts averaged over some 100 ms returns -4 and hits always;
    the reward threshold is -10.

    Raises
    ------
    ValueError
        An argument outside its range, or of another shape.

    Examples
    --------
    A third of the units is lost, and the rest begins to drift:

    >>> from envs import Cursor
    >>> env = Cursor()
    >>> counts, info = env.reset(seed=0)
    >>> env.lose(range(32))
    >>> env.change("drift", 0.5)
    >>> counts, reward, terminated, truncated, info = env.step(info["intention"])
    >>> counts.shape, float(counts[:32].sum())
    ((96,), 0.0)

    References
    ----------
    Georgopoulos, Kalaska, Caminiti, Massey 1982, J. Neurosci. 2:1527: cosine tuning. Gilja et al. 2012, Nat. Neurosci.
    15:1752: the user who always aims at the target.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "human"], "render_fps": 50}  # type: ignore[misc]
    kernel = staticmethod(step)

    def __init__(
        self, n_units: int = 96, preferred: npt.ArrayLike | None = None, baseline: npt.ArrayLike = 10.0,
        depth: npt.ArrayLike = 10.0, gain: npt.ArrayLike = 1.0, drift: float = 0.0, top_speed: float = 1.0,
        slowing: float = 0.3, interval: float = 0.02, delay: int = 5, n_targets: int = 8, recentre: bool = True,
        radius: float = 0.12, hold: int = 15, limit: int = 200, render_mode: str | None = None,
    ) -> None:  # fmt: skip
        counts = {"n_units": (n_units, 1), "delay": (delay, 0), "n_targets": (n_targets, 0), "hold": (hold, 1)}
        for name, (count, least) in (counts | {"limit": (limit, 1)}).items():
            require(name, count, count >= least and count == int(count), f"{least} or more")
        require("radius", radius, 0.0 < radius <= 0.3, "above 0 and at most 0.3")
        self.n_units, self.n_targets, self.recentre = int(n_units), int(n_targets), bool(recentre)
        self.ranges = ranges(self.n_units)
        each = {"baseline": baseline, "depth": depth, "gain": gain}
        given: dict[str, Any] = {name: np.full(n_units, x) if np.ndim(x) == 0 else x for name, x in each.items()}
        given["preferred"] = GOLDEN * np.arange(n_units) % (2.0 * math.pi) if preferred is None else preferred
        given |= {"drift": drift, "top_speed": top_speed, "slowing": slowing, "interval": interval}
        super().__init__(np.zeros(places.size(self.n_units, int(delay))), 2, self.n_units, given, render_mode)
        row = self.world
        row[places.DELAY], row[places.RADIUS], row[places.HOLD], row[places.LIMIT] = delay, radius, hold, limit
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        largest = np.finfo(np.float32).max  # checkers do not like infinity
        self.observation_space = gym.spaces.Box(0.0, largest, (self.n_units,), np.float32)

    def _compile(self) -> None:
        super()._compile()
        self._observe = entry(places.observe, self.world, self._seen)

    def lose(self, units: npt.ArrayLike) -> None:
        """Have units fall silent, of these numbers, from the next bin on.

        Raises
        ------
        ValueError
            There is no such unit.
        """
        gain = self.parameter("gain")
        gain[self._numbers(units)] = 0.0
        self.change("gain", gain)

    def gain_units(self, units: npt.ArrayLike, preferred: npt.ArrayLike | None = None) -> None:
        """Have units, of these numbers, come back with a gain of 1; or others in their places.

        Parameters
        ----------
        units : array_like of int
        preferred : array_like, optional
            Their directions [rad], if they are others.

        Raises
        ------
        ValueError
            There is no such unit; or as many directions as units were not given, or not finite ones.
        """
        numbers, gain, directions = self._numbers(units), self.parameter("gain"), self.parameter("preferred")
        gain[numbers] = 1.0
        if preferred is not None:
            if np.shape(preferred) != numbers.shape:
                raise ValueError(f"preferred has shape {np.shape(preferred)}; it must be {numbers.shape}, as units.")
            directions[numbers] = preferred
            self.change("preferred", directions)
        self.change("gain", gain)

    def _numbers(self, units: npt.ArrayLike) -> npt.NDArray[np.intp]:
        numbers = np.asarray(units)
        if not np.issubdtype(numbers.dtype, np.integer) or ((numbers < 0) | (numbers >= self.n_units)).any():
            raise ValueError(f"units is {units!r}; it must be numbers from 0 to {self.n_units - 1}.")
        return numbers.astype(np.intp)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin a trial."""
        if seed is not None or self.recentre:
            self.world[places.CURSOR : places.CURSOR + 2] = 0.0
        return super().reset(seed=seed, options=options)

    def _drawn(self, rng: np.random.Generator) -> Floats:
        """A target (2,) that the cursor is not in."""
        cursor, radius = self.world[places.CURSOR : places.CURSOR + 2], self.world[places.RADIUS]
        if self.n_targets:
            angles = 2.0 * math.pi * np.arange(self.n_targets) / self.n_targets
            targets = 0.7 * np.stack([np.cos(angles), np.sin(angles)], 1)
            away = targets[np.hypot(*(targets - cursor).T) > radius]
            chosen: Floats = rng.choice(away if len(away) else targets)
            return chosen
        while True:
            target = rng.uniform(-FARTHEST, FARTHEST, 2)
            if math.hypot(*(target - cursor)) > radius:
                return target

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """A new target for the cursor where it is, which the user has looked at for a while."""
        world = self.world
        cursor = world[places.CURSOR : places.CURSOR + 2]
        world[places.STEPS], world[places.HELD] = 0.0, 0.0
        world[places.TARGET : places.TARGET + 2] = self._drawn(rng)
        world[places.DRAW : places.DRAW + 2] = first_state(rng)
        world[places.UNITS + places.N_PER_UNIT * self.n_units :].reshape(-1, 2)[:] = cursor
        self._observe(world, seen)

    def watch(self, cursor: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Take the next bin with cursor and target where another world has them: user and neurons alone go on.

        Parameters
        ----------
        cursor, target : array_like, shape (2,)
            The user sees the target at once, the cursor `delay` steps late.

        Returns
        -------
        array, float32, shape (n_units,)
            How often each unit spiked.

        Raises
        ------
        gymnasium.error.ResetNeeded
            The world was never reset, or its own trial has ended.
        ValueError
            Another shape, or not finite. Then nothing has changed.
        """
        if self._over:
            raise gym.error.ResetNeeded("the user and the neurons have no state yet; call reset() first.")
        for name, given in {"cursor": cursor, "target": target}.items():
            if np.shape(given) != (2,) or not np.isfinite(given).all():
                raise ValueError(f"{name} is {given!r}; it must be two finite numbers.")
        row = self.world
        row[places.CURSOR : places.CURSOR + 2], row[places.TARGET : places.TARGET + 2] = cursor, target
        self.command[:] = 0.0  # the step leaves the cursor where it is
        self._enter(row, self.command, self._seen)
        self._follow()
        return self._seen.astype(np.float32)

    def aim(self) -> Floats:
        """What a user who aims at the target intends, inferred from where the cursor is now, (2,) of the top speed."""
        row = self.world
        way: Floats = row[places.TARGET : places.TARGET + 2] - row[places.CURSOR : places.CURSOR + 2]
        intended: Floats = way / max(math.hypot(*way), row[places.SLOWING])
        return intended

    def info(self) -> dict[str, Any]:
        """See the class."""
        row = self.world
        names = {"intention": places.INTENTION, "target": places.TARGET, "cursor": places.CURSOR}
        told: dict[str, Any] = {name: row[place : place + 2].copy() for name, place in names.items()}
        told["hit"] = bool(row[places.HELD] >= row[places.HOLD])
        return told

    def draw(self, axes: Any) -> None:
        """Draw the cursor, its trail, the target and what the user intends."""
        from matplotlib.patches import Circle

        from threefactor.pictures import BLUE, GREY, LIGHT, RED

        row, told = self.world, self.info()
        axes.add_patch(Circle(told["target"], row[places.RADIUS], fill=bool(row[places.HELD]), color=RED))
        axes.plot(*self.trail[:, places.CURSOR : places.CURSOR + 2].T, color=LIGHT, linewidth=1)
        axes.plot(*np.array([told["cursor"], told["cursor"] + 0.2 * told["intention"]]).T, color=GREY, linewidth=2)
        axes.plot(*told["cursor"], "o", color=BLUE, markersize=8)
        axes.set(xlim=(-1.05 * EDGE, 1.05 * EDGE), ylim=(-1.05 * EDGE, 1.05 * EDGE), aspect="equal")
        axes.set(xlabel="x", ylabel="y", title=f"{row[places.STEPS] * row[places.INTERVAL]:.2f} s")
