"""The face of the engine: checks what comes in, calls one kernel, hands views out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from threefactor import layout as at
from threefactor import tick
from threefactor.arrays import Array, Ints
from threefactor.checkpoints import CheckpointError, load_checkpoint, restore, save_checkpoint
from threefactor.initialisers import draw_weights
from threefactor.layout import fill_parameters, number, plan
from threefactor.settings import NetworkSettings, build

REAL = "fiub"  # kinds of numbers that a network takes


class Network:
    """A spiking network that learns online by e-prop, one time step a call.

    Parameters
    ----------
    n_in : int
        Number of inputs; spikes (0 or 1) or currents.
    n_hidden : int or sequence of int
        Neurons of the hidden layer, or of each of a stack.
    n_out : int
        Number of readouts.
    masks : mapping, optional
        Connectivity: arrays of 0 and 1 by the names of `weights`, shaped like them. A missing name is fully connected.
    **settings
        Any other field of `NetworkSettings`.

    Notes
    -----
    All state lives in one buffer of fixed size: memory does not depend on how long the network has run. The arrays
    that `step` and the properties hand out are views into it: copy what you want to keep.

    References
    ----------
    Bellec et al. 2020, "A solution to the learning dilemma for recurrent networks of spiking neurons",
    Nat. Commun. 11:3625.

    Examples
    --------
    >>> import numpy as np
    >>> network = Network(n_in=3, n_hidden=20, n_out=1, learning_rate=0.01, seed=1)
    >>> x = np.array([1.0, 0.0, 1.0])
    >>> for _ in range(200):
    ...     y = network.step(x)
    ...     network.learn(y - 0.5)
    >>> bool(abs(network.step(x)[0] - 0.5) < 0.1)
    True
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int | Sequence[int],
        n_out: int,
        *,
        masks: Mapping[str, npt.ArrayLike] | None = None,
        n_adaptive: int | Sequence[int] = (),
        **settings: Any,
    ) -> None:
        def each(n: int | Sequence[int]) -> list[int]:
            return [int(n)] if isinstance(n, int | np.integer) else [int(m) for m in n]

        sizes = {"n_in": n_in, "n_hidden": each(n_hidden), "n_out": n_out, "n_adaptive": each(n_adaptive)}
        self._lay_out(build(NetworkSettings, **sizes, **settings), masked=bool(masks))
        if masks:
            self._set_masks(masks)
        draw_weights(self.weights, self.feedback, self.settings)
        if masks:
            for name, weight in self.weights.items():
                weight *= self._masks[name]
        self._run(tick.RESET)

    # --- acting and learning ---------------------------------------------------------------------------------------

    def step(self, x: npt.ArrayLike) -> Array:
        """Advance by one tick.

        Parameters
        ----------
        x : array_like, shape (n_in,)
            Input spikes or currents of this tick.

        Returns
        -------
        array, shape (n_out,)
            The readout: a view that the next step overwrites.

        Raises
        ------
        ValueError
            Wrong shape, or an entry that is not finite; nothing has changed.
        """
        if x.__class__ is not np.ndarray or x.shape != self._shape_in or x.dtype.kind not in REAL:
            x = _checked(x, self._shape_in, "input", "n_in")
        self._input[:] = x
        if tick.run(self.state, self.table, tick.FORWARD, 0.0) != tick.DONE:
            raise ValueError(f"input holds a value that is not finite: {np.asarray(x)}; the tick was not taken.")
        return self._y

    def learn(self, error: npt.ArrayLike) -> None:
        """Change the weights at once by the error of the present tick.

        Parameters
        ----------
        error : array_like, shape (n_out,)
            Readout minus target; for a softmax readout probabilities minus one-hot target. In general the gradient of
            the loss with respect to what the readout integrates.

        Raises
        ------
        ValueError
            Wrong shape, or an entry that is not finite; nothing has changed.
        RuntimeError
            No step since the last call: each tick can be learnt from once.
        """
        self._take(error)
        status = tick.run(self.state, self.table, tick.LEARN, 0.0)
        if status != tick.DONE:
            _refuse(status, error)

    def tag(self, error: npt.ArrayLike) -> None:
        """Add the gradient of the present tick to the tags, which keep `tag_decay` of what they held.

        Parameters and errors as in `learn`. `update` turns the tags into a weight change.
        """
        self._take(error)
        status = tick.run(self.state, self.table, tick.TAG, float(self.state[at.TAG_DECAY]))
        if status != tick.DONE:
            _refuse(status, error)

    def update(self, third_factor: float = 1.0) -> None:
        """Descend along `third_factor` times the tags: a TD error, or 1/n for the mean of n summed gradients.

        With an error that is the gradient of a loss, a positive factor descends. Tags stay; `clear` drops them.
        """
        if not np.isfinite(third_factor):
            raise ValueError(f"third_factor is {third_factor}; it must be finite. Nothing was learnt.")
        self._run(tick.UPDATE, float(third_factor))

    def reset(self) -> None:
        """Put the neurons to rest and wipe filters and eligibility traces, as at the start of a sequence."""
        self._run(tick.RESET)

    def clear(self) -> None:
        """Drop the tags."""
        self._run(tick.CLEAR)

    # --- what may be read and set ----------------------------------------------------------------------------------

    @property
    def slope(self) -> float:
        """Slope of the surrogate [1/voltage]; may be set between any two ticks."""
        return float(self.state[at.SLOPE])

    @slope.setter
    def slope(self, value: float) -> None:
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"slope is {value}; it must be positive and finite.")
        self.state[at.SLOPE] = value

    @property
    def learning_rate(self) -> float:
        """Learning rate; may be set between any two ticks."""
        return float(self.state[at.LEARNING_RATE])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"learning_rate is {value}; it must be finite and not negative.")
        self.state[at.LEARNING_RATE] = value

    @property
    def y(self) -> Array:
        """Readout of the last step, shape (n_out,)."""
        return self._y

    @property
    def weights(self) -> dict[str, Array]:
        """Writable views [post, pre]: w_in, w_rec, w_out; in a stack w_in_1, w_rec_1 and so on above the first."""
        return self._matrices(at.W)

    @property
    def tags(self) -> dict[str, Array]:
        """Views of the tags, named and shaped like `weights`; a frozen layer has none."""
        return self._matrices(at.TAG)

    @property
    def regularisation(self) -> dict[str, Array]:
        """Writable views of the gradients that the regularisers gathered since the last update, like `weights`."""
        return self._matrices(at.REG)

    @property
    def traces(self) -> dict[str, Array]:
        """Views of the filtered eligibility traces of the hidden layers, named and shaped like `weights`."""
        return self._matrices(at.EBAR)

    @property
    def moments(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Views of Adam's first and second moments, named and shaped like `weights`."""
        return self._matrices(at.M), self._matrices(at.S)

    @property
    def updates(self) -> dict[str, Ints]:
        """Writable views, one number each, of how many updates Adam's bias correction has counted, like `weights`."""
        counts = {}
        for name in self.weights:
            kind, _, layer = name.removeprefix("w_").partition("_")
            block = len(self.settings.n_hidden) if kind == "out" else int(layer or 0)
            place = at.N_SWITCHES + block * at.BLOCK + at.STEPS + (kind == "rec")
            counts[name] = self.table[place : place + 1]
        return counts

    @property
    def feedback(self) -> dict[str, Array]:
        """Writable views of the feedback weights (n_hidden, n_out), w_feedback and so on; none if symmetric."""
        found = {}
        for block, n in enumerate(self.settings.n_hidden):
            flat = self._view(block, at.B)
            if flat.size:
                found[_name("w_feedback", block)] = flat.reshape(-1, n).T
        return found

    @property
    def w_in(self) -> Array:
        """Input weights (n_hidden, n_in), a writable view."""
        return self.weights["w_in"]

    @property
    def w_rec(self) -> Array:
        """Recurrent weights (n_hidden, n_hidden) of the first layer, a writable view."""
        return self.weights["w_rec"]

    @property
    def w_out(self) -> Array:
        """Readout weights (n_out, n_hidden), a writable view."""
        return self.weights["w_out"]

    def spikes(self, layer: int = -1) -> Array:
        """Spikes of a hidden layer in the last tick, a view of shape (n_hidden,)."""
        return self._layer(layer, at.Z)

    def voltage(self, layer: int = -1) -> Array:
        """Membrane voltages, a view of shape (n_hidden,); before the reset of this tick's spikes."""
        return self._layer(layer, at.V)

    def adaptation(self, layer: int = -1) -> Array:
        """Adaptation of the thresholds, a view of shape (n_hidden,); 0 for LIF neurons."""
        return self._layer(layer, at.A)

    def psi(self, layer: int = -1) -> Array:
        """Surrogate derivatives, a view of shape (n_hidden,)."""
        return self._layer(layer, at.PSI)

    def learning_signal(self, layer: int = -1) -> Array:
        """Learning signal that the last `learn` or `tag` sent, a view of shape (n_hidden,)."""
        return self._layer(layer, at.SIGNAL)

    @property
    def readout_voltage(self) -> Array:
        """What the readout has integrated, before a softmax; a view of shape (n_out,)."""
        return self._view(len(self.settings.n_hidden), at.V)

    def __repr__(self) -> str:
        s = self.settings
        return f"Network({s.n_in} -> {' -> '.join(map(str, s.n_hidden))} -> {s.n_out}, {s.optimiser}, {s.dtype})"

    @property
    def fast(self) -> Array:
        """View of everything that lives from tick to tick but for traces: voltages, spikes, filters."""
        return self._layout.fast.of(self.state)

    # --- inside ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": msgspec.to_builtins(self.settings), "state": self.state, "table": self.table}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._lay_out(build(NetworkSettings, **saved["settings"]), masked=bool(saved["table"][at.MASKED]))
        self.put(saved)

    def put(self, arrays: Mapping[str, Array]) -> None:
        """Take over `state` and `table` of a network of the same settings; checks before it changes anything.

        Raises
        ------
        CheckpointError
            They belong to a network of other settings or to another version's layout.
        """
        fresh = Network.__new__(Network)
        fresh._lay_out(self.settings, masked=bool(self.table[at.MASKED]))
        restore(fresh.state, arrays, "state")
        restore(fresh.table, arrays, "table")
        planned, counters = plan(self.settings, masked=bool(self.table[at.MASKED])).table, at.counters(fresh.table)
        if not np.array_equal(np.delete(fresh.table, counters), np.delete(planned, counters)):
            raise CheckpointError(
                "the saved layout is not the one of these settings; it was written by another version."
            )
        self.state[:] = fresh.state
        self.table[:] = fresh.table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint from which `load` goes on exactly here, traces and tags included."""
        save_checkpoint(path, "Network", {"state": self.state, "table": self.table}, self.about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Network from a checkpoint.

        Raises
        ------
        FileNotFoundError, CheckpointError
            No such file; not a network's checkpoint, or a damaged one.
        """
        arrays, about = load_checkpoint(path, "Network")
        network = cls.__new__(cls)
        network._lay_out(build(NetworkSettings, **about["settings"]), masked=about["masked"])
        network.put(arrays)
        return network

    @property
    def about(self) -> dict[str, Any]:
        """Description that goes into a checkpoint."""
        return {"settings": msgspec.to_builtins(self.settings), "masked": bool(self.table[at.MASKED])}

    def _lay_out(self, settings: NetworkSettings, masked: bool) -> None:
        self.settings = settings
        self._layout = plan(settings, masked)
        self.table = self._layout.table
        self.state = np.zeros(self._layout.size, dtype=settings.dtype)
        fill_parameters(self.state, self.table, settings)
        self._cut_views()

    def _run(self, command: int, given: float = 0.0) -> int:
        return tick.run(self.state, self.table, command, given)

    def _cut_views(self) -> None:
        last = len(self.settings.n_hidden)
        self._input, self._error = self._view(0, at.INPUT), self._view(last, at.ERROR)
        self._shape_in, self._shape_out = self._input.shape, self._error.shape
        self._y = self._view(last, at.Y)
        self._y.flags.writeable = False

    def _view(self, block: int, field: int) -> Array:
        place = at.N_SWITCHES + block * at.BLOCK + 2 * field
        return self.state[self.table[place] : self.table[place + 1]]

    def _layer(self, layer: int, field: int) -> Array:
        block = range(len(self.settings.n_hidden))[layer]
        return self._view(block, field)[: self.settings.n_hidden[block]]

    def _matrices(self, field: int) -> dict[str, Array]:
        """Views [post, pre] of a field over all blocks."""
        found = {}
        last = len(self.settings.n_hidden)
        for block in range(last + 1):
            columns = int(number(self.table, block, at.N_PRE if block == last else at.N_POST))
            for name, shift in (("w_out", 0),) if block == last else (("w_in", 0), ("w_rec", 1)):
                flat = self._view(block, field + shift)
                if flat.size:
                    stored = flat.reshape(-1, columns)
                    found["w_out" if block == last else _name(name, block)] = stored if block == last else stored.T
        return found

    @property
    def _masks(self) -> dict[str, Array]:
        return self._matrices(at.MASK)

    def _set_masks(self, masks: Mapping[str, npt.ArrayLike]) -> None:
        for mask in self._masks.values():
            mask[:] = 1
        for name, given in masks.items():
            values = np.asarray(given)
            if name not in self._masks:
                raise ValueError(f"unknown mask {name!r}; this network has {', '.join(self._masks)}.")
            if values.shape != self._masks[name].shape or not np.isin(values, (0, 1)).all():
                raise ValueError(
                    f"mask {name!r} must hold 0 and 1 in shape {self._masks[name].shape}, got {values.shape}."
                )
            self._masks[name][:] = values

    def _take(self, error: npt.ArrayLike) -> None:
        """Write an error into its slot; what does not fit raises and is not written."""
        if error.__class__ is not np.ndarray or error.shape != self._shape_out or error.dtype.kind not in REAL:
            error = _checked(error, self._shape_out, "error", "n_out")
        self._error[:] = error


def _checked(values: npt.ArrayLike, shape: tuple[int, ...], what: str, size: str) -> Array:
    given = np.asarray(values)
    if given.shape != shape:
        raise ValueError(
            f"{what} has shape {given.shape}, this network takes {shape}; build it with {size}={given.size}."
        )
    if given.dtype.kind not in REAL:
        raise ValueError(f"{what} holds {given.dtype}; give real numbers.")
    return given


def _refuse(status: int, error: npt.ArrayLike) -> NoReturn:
    if status == tick.NOT_FINITE:
        raise ValueError(f"error holds a value that is not finite: {np.asarray(error)}; nothing was learnt.")
    raise RuntimeError("this tick was already learnt from, or none was taken; call step first.")


def _name(base: str, block: int) -> str:
    return base if block == 0 else f"{base}_{block}"
