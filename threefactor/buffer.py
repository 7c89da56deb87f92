"""The holder of a network's state: two arrays, named views into them, and checkpoints of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse

from threefactor import layout as at
from threefactor import tick
from threefactor._bare import HOLDS
from threefactor._jit import entry
from threefactor.arrays import Array, Ints, zeros
from threefactor.checkpoints import CheckpointError, describing, load_checkpoint, restore, save_checkpoint
from threefactor.layout import fill_parameters, number, plan, view
from threefactor.settings import NetworkSettings, build


class Buffer:
    """Everything that a network is, and nothing that it does.

    Attributes
    ----------
    settings : NetworkSettings
    state : array, float32 or float64
        Parameters, neurons, traces, tags, weights; see `threefactor.layout`.
    table : array, int64
        Switches, counters, and where each field lies in `state`.
    tables : array, int64, (copies, entries of a table)
        The tables of all copies; `table` is the first row.
    """

    settings: NetworkSettings
    state: Array
    table: Ints
    tables: Ints

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
        """Writable views [post, pre]: w_in, w_rec, w_out; in a stack w_in_1, w_rec_1 and so on above the first.

        Those of sparse matrices are scipy's `csc_array`, whose `data` is the view.

        Ask anew after each tick: where a change of weights may wait until it is needed, it is carried out now, and a
        view taken earlier lags behind.
        """
        self._settle()
        return self._matrices(at.W)

    @property
    def tags(self) -> dict[str, Array]:
        """Views of the tags, named and shaped like `weights`, ask anew; a frozen layer has none."""
        self._settle()
        return self._matrices(at.TAG)

    @property
    def regularisation(self) -> dict[str, Array]:
        """Writable views of the gradients that the regularisers gathered since the last update, like `weights`."""
        return self._matrices(at.REG)

    @property
    def traces(self) -> dict[str, Array]:
        """Views of the filtered eligibility traces of the hidden layers, named and shaped like `weights`; ask anew."""
        self._settle()
        return self._matrices(at.EBAR)

    @property
    def moments(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Views of Adam's first and second moments, like `weights`.

        The intentional step has mean squares, in the second, and no others.
        """
        return self._matrices(at.M), self._matrices(at.S)

    @property
    def updates(self) -> dict[str, Ints]:
        """Writable views, one number each, of how many updates Adam's bias correction has counted, like `weights`.

        Intentional steps count tags, once for all matrices: all these views are the same number.
        """
        counts = {}
        for name in self.weights:
            kind, _, layer = name.removeprefix("w_").partition("_")
            if self.settings.optimiser == "intentional":
                kind, layer = "out", ""
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

    @property
    def fast(self) -> Array:
        """View of everything that lives from tick to tick but for traces: voltages, spikes, filters."""
        return self._layout.fast.of(self.state)

    # --- keeping ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": msgspec.to_builtins(self.settings), **self.arrays()}

    def arrays(self) -> dict[str, Array]:
        """What a checkpoint keeps: `state`, and the tables of all copies as one row."""
        return {"state": self.state, "table": self.tables.reshape(-1)}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        s, table = build(NetworkSettings, **saved["settings"]), saved["table"]
        self._lay_out(s, bool(table[at.MASKED]), at.starts_in(s, table))
        self.put(saved)

    def put(self, arrays: Mapping[str, Array]) -> None:
        """Take over `state` and `table` of a network of the same settings; checks before it changes anything.

        Raises
        ------
        CheckpointError
            They belong to a network of other settings or to another version's layout.
        """
        fresh = Buffer.__new__(Buffer)
        masked, starts = bool(self.table[at.MASKED]), at.starts_in(self.settings, self.table)
        fresh._lay_out(self.settings, masked, starts)
        restore(fresh.state, arrays, "state")
        restore(fresh.tables.reshape(-1), arrays, "table")
        if not at.same_layout(plan(self.settings, masked, starts).tables, fresh.tables):
            raise CheckpointError(
                "the saved layout is not the one of these settings; it was written by another version."
            )
        self.state[:] = fresh.state
        self.tables[:] = fresh.tables

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint from which `load` goes on exactly here, traces and tags included."""
        save_checkpoint(path, "Network", self.arrays(), self.about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Network from a checkpoint.

        Raises
        ------
        FileNotFoundError, CheckpointError
            No such file; not a network's checkpoint, or a damaged one.
        """
        arrays, about = load_checkpoint(path, "Network")
        network = cls.__new__(cls)
        with describing(path):
            network.__setstate__({"settings": about["settings"], **arrays})
        return network

    @property
    def about(self) -> dict[str, Any]:
        """Description that goes into a checkpoint."""
        return {"settings": msgspec.to_builtins(self.settings)}

    def _lay_out(self, settings: NetworkSettings, masked: bool, starts: at.Starts) -> None:
        self.settings = settings
        self._layout = plan(settings, masked, starts)
        self.tables = self._layout.tables
        self.table = self.tables[0]
        self.state = zeros(self._layout.size, settings.dtype)
        fill_parameters(self.state, self.table, settings)
        self._enter = entry(tick.run, self.state, self.table, self.state, self.state, tick.SETTLE, 0.0)
        self._cut_views()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _run(self, command: int, given: float = 0.0) -> int:
        return self._enter(self.state, self.table, self.state, self.state, command, given)

    def _settle(self) -> None:
        """Have weights and traces brought up to date."""
        self._run(tick.SETTLE)

    def _cut_views(self) -> None:
        last = len(self.settings.n_hidden)
        self._input, self._error = self._view(0, at.INPUT), self._view(last, at.ERROR)
        # dtype of arrays that compiled code may take as they come; others are looked at first
        self._plain = self.state.dtype if HOLDS and self._enter is not tick.run else None
        self._y = self._view(last, at.Y)
        self._y.flags.writeable = False

    def _view(self, block: int, field: int) -> Array:
        return view(self.state, self.table, block, field)

    def _layer(self, layer: int, field: int) -> Array:
        block = range(len(self.settings.n_hidden))[layer]
        return self._view(block, field)[: self.settings.n_hidden[block]]

    def _matrices(self, field: int) -> dict[str, Any]:
        """Views [post, pre] of a field over all blocks."""
        found = {}
        last = len(self.settings.n_hidden)
        for block in range(last + 1):
            columns = int(number(self.table, block, at.N_PRE if block == last else at.N_POST))
            for name, shift in (("w_out", 0),) if block == last else (("w_in", 0), ("w_rec", 1)):
                flat = self._view(block, field + shift)
                targets = self._view(block, at.TARGETS + shift) if field in (at.W, at.EBAR, at.TAG) else flat[:0]
                if targets.size:
                    starts = at.starts_of(self.table, block, shift)
                    matrix = scipy.sparse.csc_array(
                        (flat, targets.astype(np.int64), starts), (columns, starts.size - 1)
                    )
                    matrix.data = flat  # it took a copy
                    found[_name(name, block)] = matrix
                elif flat.size:
                    stored = flat.reshape(-1, columns)
                    found["w_out" if block == last else _name(name, block)] = stored if block == last else stored.T
        return found

    @property
    def masks(self) -> dict[str, Array]:
        """Views of the connectivity, named and shaped like `weights`; none where all is connected."""
        return self._matrices(at.MASK)

    def _set_masks(self, masks: Mapping[str, npt.ArrayLike]) -> None:
        for mask in self.masks.values():
            mask[:] = 1
        for name, given in masks.items():
            values = np.asarray(given)
            if name not in self.masks:
                raise ValueError(f"unknown mask {name!r}; this network has {', '.join(self.masks)}.")
            if values.shape != self.masks[name].shape or not np.isin(values, (0, 1)).all():
                raise ValueError(
                    f"mask {name!r} must hold 0 and 1 in shape {self.masks[name].shape}, got {values.shape}."
                )
            self.masks[name][:] = values


def _name(base: str, block: int) -> str:
    return base if block == 0 else f"{base}_{block}"
