"""A decoder that is learnt while it is used: spikes of a bin in, velocity out, an error whenever there is one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from controllers.population import Population
from controllers.population_settings import PopulationSettings
from controllers.scale import Scale
from threefactor import layout as at
from threefactor import tick
from threefactor.arrays import Array
from threefactor.checkpoints import Kept, restore
from threefactor.settings import build

DEFAULTS: dict[str, Any] = {
    "n_hidden": 192, "n_fields": 0, "recurrent": True, "readout_decay": 0.5, "learning_rate": 0.06,
}  # fmt: skip
WINDOW = 2000.0  # bins over which the statistics of the counts are taken
LEAST_DEVIATION = 0.25  # added to each unit's deviation, in units of all units' deviations: some are silent at first
LARGEST_INPUT, LARGEST_ERROR = 5.0, 4.0  # in deviations
LARGEST_LABEL = 1e100  # whose square is finite, too


class Decoder(Kept):
    """Spiking decoder of velocity, or of any other numbers, from counts of spikes, learnt online by e-prop.

    The population sees the square roots of the counts, whose variance hardly depends on the rate, as deviations from
    their running mean; what it is to decode is scaled by its own running mean and deviation, so that neither the unit
    nor an offset matters. All running statistics, as the weights, move with the bins that are learnt from alone.

    Labels may be missing, and may come late. The neurons that learn then lag behind those that decode, which share the
    weights: they go through a bin when its label comes, or when it is too old for one. So each label meets the neurons,
    and the eligibility traces, as the spikes of its own bin left them.

    Parameters
    ----------
    n_units, n_out : int
        Units whose spikes are counted, and numbers to decode.
    seed : int
        Of the initial weights.
    most_late : int
        Bins that a label may come late, at most; so many rows of counts are kept. Above 0 a bin costs two ticks.
    **settings
        Any field of `PopulationSettings`; by default 192 neurons, recurrent, without receptive fields, with a readout
        that keeps half from bin to bin, and a learning rate of 0.06.

    Attributes
    ----------
    learning : bool
        Whether `learn` does; may be set at any time.
    most_late : int
        As given.

    Raises
    ------
    ValueError
        A setting that does not exist or is out of its range.

    References
    ----------
    Bellec et al. 2020, Nat. Commun. 11:3625. Square roots of counts: Bartlett 1936, Suppl. J. R. Stat. Soc. 3:68.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> decoder, off = Decoder(20, 1, seed=1), []
    >>> for t in range(2000):
    ...     velocity = np.sin(t / 30.0)
    ...     y = decoder.step(rng.poisson(1.0 + 0.9 * velocity * (-1.0) ** np.arange(20)))
    ...     off.append(y[0] - velocity)
    ...     decoder.learn([velocity])
    >>> bool(np.mean(np.square(off[-500:])) < 0.05)  # of a velocity whose variance is 0.5
    True
    """

    def __init__(self, n_units: int, n_out: int = 2, seed: int = 0, *, most_late: int = 0, **settings: Any) -> None:
        if not isinstance(most_late, int | np.integer) or most_late < 0:
            raise ValueError(f"most_late is {most_late!r}; it must be a whole number of bins, 0 or more.")
        self.settings = build(PopulationSettings, **{**DEFAULTS, **settings})
        self.n_units, self.n_out, self.seed, self.most_late = int(n_units), int(n_out), int(seed), int(most_late)
        own = msgspec.structs.replace(self.settings, normalise_observations=False)  # it is done here
        self.population = Population(self.n_units, self.n_out, self.seed, own)
        self.learning = True
        self._inputs, self._outputs = Scale(self.n_units, WINDOW, LEAST_DEVIATION), Scale(self.n_out)
        self._rows = np.zeros((self.most_late + 1, self.n_units))  # of the last bins, the newest over the oldest
        self._rest = self.population.network.fast.copy()
        self._ahead = self._rest.copy()  # the neurons that decode, where those that learn lag behind
        self._decoded = self._passed = 0  # bins, by those that decode and by those that learn
        self._waits = False  # whether the last bin that was passed may still be learnt from

    # --- in the loop ------------------------------------------------------------------------------------------------

    def step(self, counts: npt.ArrayLike) -> Array:
        """Decode a bin.

        Parameters
        ----------
        counts : array_like, shape (n_units,)
            Spikes, or other sizes of any unit; the root of a negative one is that of its size, and negative.

        Returns
        -------
        array, shape (n_out,)

        Raises
        ------
        ValueError
            Another number of counts, or one that is not finite; nothing has changed.
        """
        row = self.population.check(counts, "the row of counts")
        if self._decoded - self._passed == len(self._rows):  # the oldest bin gives its place to this one
            self._pass_on()
        kept = self._rows[self._decoded % len(self._rows)]
        np.copysign(np.sqrt(np.abs(row)), row, out=kept)
        self._decoded += 1
        if self.most_late:
            y = self._look_ahead(kept)
        else:
            y = self._pass_on()
        decoded: Array = self._outputs.mean + self._outputs.deviation * y
        return decoded

    def learn(self, wanted: npt.ArrayLike, late: int = 0) -> None:
        """Learn what a bin should have been decoded as.

        Labels come in the order of their bins. Bins without a call are not learnt from, and while there is none,
        nothing that was learnt changes.

        Parameters
        ----------
        wanted : array_like, shape (n_out,)
        late : int
            Bins since then: 0 for the last one, up to `most_late`.

        Raises
        ------
        ValueError
            Another number of entries, or one that is not finite; later than `most_late`. Nothing was learnt.
        RuntimeError
            No such bin since the start or `reset`, or it or a later one was learnt from: each bin can be once.
        """
        given = np.array(wanted, np.float64).reshape(-1)
        if given.size != self.n_out or not (np.abs(given) < LARGEST_LABEL).all():
            raise ValueError(f"wanted is {given}; it must be {self.n_out} finite numbers. Nothing was learnt.")
        if not isinstance(late, int | np.integer) or not 0 <= late <= self.most_late:
            raise ValueError(
                f"late is {late!r}; this decoder takes 0 to {self.most_late} bins. Build it with a larger most_late."
            )
        number = self._decoded - 1 - int(late)
        if number < max(self._passed - self._waits, 0):
            raise RuntimeError(
                f"the bin of {late} steps ago, or a later one, was already learnt from, or none was decoded; "
                "call step first, and learn once from each bin, in their order."
            )
        while self._passed <= number:
            self._pass_on()
        self._waits = False
        if self.learning:
            self._outputs.take(given)
            self._inputs.take(self._rows[number % len(self._rows)])
            error = self.population.network.y - self._outputs.standard(given)
            self.population.learn(np.clip(error, -LARGEST_ERROR, LARGEST_ERROR))

    def reset(self) -> None:
        """Put the neurons to rest, as after a break; what was learnt stays, bins without a label are dropped."""
        self.population.network.reset()
        self._ahead[:] = self._rest
        self._decoded, self._passed, self._waits = 0, 0, False

    @property
    def slope(self) -> float:
        """Slope of the surrogate; may be set at any time."""
        return self.population.network.slope

    @slope.setter
    def slope(self, value: float) -> None:
        self.population.network.slope = value

    # --- keeping ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        about = {
            "n_units": self.n_units, "n_out": self.n_out, "seed": self.seed, "most_late": self.most_late,
            "settings": msgspec.to_builtins(self.settings), "learning": self.learning,
            "decoded": self._decoded, "passed": self._passed, "waits": self._waits,
        }  # fmt: skip
        own = {name: array.copy() for name, array in self._own().items()}
        return {"arrays": {**self.population.arrays(), **own}, "about": about}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        about = saved["about"]
        sizes = {name: about[name] for name in ("n_units", "n_out", "seed", "most_late")}
        Decoder.__init__(self, **sizes, **about["settings"])
        self.population.put(saved["arrays"])
        self._inputs.put(saved["arrays"], "inputs")
        self._outputs.put(saved["arrays"], "outputs")
        for name, array in {"rows": self._rows, "ahead": self._ahead}.items():
            restore(array, saved["arrays"], name)
        self._decoded, self._passed = int(about["decoded"]), int(about["passed"])
        self.learning, self._waits = bool(about["learning"]), bool(about["waits"])

    def _own(self) -> dict[str, Array]:
        scales = {**self._inputs.arrays("inputs"), **self._outputs.arrays("outputs")}
        return {**scales, "rows": self._rows, "ahead": self._ahead}

    # --- inside -----------------------------------------------------------------------------------------------------

    def _look(self, row: Array) -> Array:
        seen = row
        if self.settings.normalise_observations:
            seen = np.clip(self._inputs.standard(row), -LARGEST_INPUT, LARGEST_INPUT)
        return self.population.look(seen, learns=False)

    def _pass_on(self) -> Array:
        """Have the neurons that learn take their next bin."""
        y = self._look(self._rows[self._passed % len(self._rows)])
        self._passed, self._waits = self._passed + 1, True
        return y

    def _look_ahead(self, row: Array) -> Array:
        """Have the neurons that decode take the newest bin, and leave traces and the neurons that learn alone."""
        network = self.population.network
        network._run(tick.SETTLE)
        fast, table = network.fast, network.table
        behind, kept = fast.copy(), table.copy()
        fast[:] = self._ahead
        table[at.PENDING], table[at.DEFERS] = 0, at.NOTHING
        y = self._look(row).astype(np.float64)
        self._ahead[:] = fast
        fast[:], table[:] = behind, kept
        return y
