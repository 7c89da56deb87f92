"""The face of the engine: checks what comes in, calls one kernel, hands views out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from threefactor import layout as at
from threefactor import tick
from threefactor.arrays import Array
from threefactor.buffer import Buffer
from threefactor.initialisers import draw_weights
from threefactor.settings import NetworkSettings, build
from threefactor.sparse import compressed
from threefactor.tick import FORWARD, LEARN, LEARN_FORWARD, TAG

REAL = "fiub"  # kinds of numbers that a network takes
ArrayType = np.ndarray  # looked up each tick


class Network(Buffer):
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
        Of a matrix whose mask is a sparse array of scipy only the entries that the mask names are kept, and a tick
        costs what the spikes reach; it takes plain descent, by `learn`, or by `tag` and `update` where tags decay.
    **settings
        Any other field of `NetworkSettings`.

    Notes
    -----
    All state lives in one buffer of fixed size: memory does not depend on how long the network has run. The arrays
    that `step` and the properties hand out are views into it: copy what you want to keep.

    Under plain descent, by `learn` or by `tag` and `update`, and where gradients are summed (`tag_decay` 1), changes
    are carried out when they are needed (`threefactor.deferral`): by the spike of the presynaptic neuron, or by your
    look at `weights`, `traces` or `tags`. A look so may change a last digit of what follows.

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
        masks: Mapping[str, Any] | None = None,
        n_adaptive: int | Sequence[int] = (),
        **settings: Any,
    ) -> None:
        def each(n: int | Sequence[int]) -> list[int]:
            return [int(n)] if isinstance(n, int | np.integer) else [int(m) for m in n]

        sizes = {"n_in": n_in, "n_hidden": each(n_hidden), "n_out": n_out, "n_adaptive": each(n_adaptive)}
        sparse = {name: mask for name, mask in (masks or {}).items() if scipy.sparse.issparse(mask)}
        dense = {name: mask for name, mask in (masks or {}).items() if name not in sparse}
        s = build(NetworkSettings, **sizes, **settings)
        columns = compressed(s, sparse)
        self._lay_out(s, masked=bool(dense), starts={key: column.indptr for key, column in columns.items()})
        for (block, rec), column in columns.items():
            self._view(block, at.TARGETS + rec)[:] = column.indices
        if dense:
            self._set_masks(dense)
        draw_weights(self.weights, self.feedback, self.settings)
        if dense:
            for name, weight in self.weights.items():
                weight *= self.masks[name]
        for table in self.tables:
            self._enter(self.state, table, self.state, self.state, tick.RESET, 0.0)

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
        state = self.state
        if x.__class__ is not ArrayType or x.dtype is not self._plain:
            x = self._row(x, self._input, "input", "n_in")
        if self._enter(state, self.table, x, state, FORWARD, 0.0):
            self._again(x, None, FORWARD)
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
        state = self.state
        if error.__class__ is not ArrayType or error.dtype is not self._plain:
            error = self._row(error, self._error, "error", "n_out")
        if self._enter(state, self.table, state, error, LEARN, 0.0):
            self._again(None, error, LEARN)

    def learn_and_step(self, error: npt.ArrayLike, x: npt.ArrayLike) -> Array:
        """`learn` from the present tick and take the next by `step`, in one crossing into compiled code.

        Parameters, returned view and errors are those of the two; if either is refused, nothing has changed.
        """
        if error.__class__ is not ArrayType or error.dtype is not self._plain:
            error = self._row(error, self._error, "error", "n_out")
        if x.__class__ is not ArrayType or x.dtype is not self._plain:
            x = self._row(x, self._input, "input", "n_in")
        if self._enter(self.state, self.table, x, error, LEARN_FORWARD, 0.0):
            self._again(x, error, LEARN_FORWARD)
        return self._y

    def tag(self, error: npt.ArrayLike) -> None:
        """Add the gradient of the present tick to the tags, which keep `tag_decay` of what they held.

        Parameters and errors as in `learn`. `update` turns the tags into a weight change.
        """
        state, decay = self.state, float(self.state[at.TAG_DECAY])
        if error.__class__ is not ArrayType or error.dtype is not self._plain:
            error = self._row(error, self._error, "error", "n_out")
        if self._enter(state, self.table, state, error, TAG, decay):
            self._again(None, error, TAG, decay)

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

    def __repr__(self) -> str:
        s = self.settings
        return f"Network({s.n_in} -> {' -> '.join(map(str, s.n_hidden))} -> {s.n_out}, {s.optimiser}, {s.dtype})"

    def _row(self, values: npt.ArrayLike, place: Array, what: str, size: str) -> Array:
        """What compiled code takes: a contiguous row of the network's own numbers, as many as `place` has."""
        given = np.asarray(values)
        if given.shape != place.shape:
            raise ValueError(
                f"{what} has shape {given.shape}, this network takes {place.shape}; build it with {size}={given.size}."
            )
        if given.dtype.kind not in REAL:
            raise ValueError(f"{what} holds {given.dtype}; give real numbers.")
        with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
            return np.ascontiguousarray(given, self.state.dtype)

    def _again(self, x: npt.ArrayLike | None, error: npt.ArrayLike | None, command: int, number: float = 0.0) -> None:
        """Carry out what was refused for its strides; say why for any other reason."""
        state = self.state
        x = state if x is None else self._row(x, self._input, "input", "n_in")
        error = state if error is None else self._row(error, self._error, "error", "n_out")
        status = self._enter(state, self.table, x, error, command, number)
        if status == tick.BAD_INPUT:
            raise ValueError(f"input holds a value that is not finite: {x}; the tick was not taken.")
        if status == tick.BAD_ERROR:
            raise ValueError(f"error holds a value that is not finite: {error}; nothing was learnt.")
        if status == tick.NOTHING_PENDING:
            raise RuntimeError("this tick was already learnt from, or none was taken; call step first.")
        if status == tick.NO_TAGS:
            raise RuntimeError("a sparse network keeps no tags unless they decay; call learn, or set tag_decay.")
