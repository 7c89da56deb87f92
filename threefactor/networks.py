"""Many networks at once: seeds side by side in the lanes of the processor's vectors, one tick of all in a call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numba
import numpy as np
import numpy.typing as npt
from numba.core import types

from threefactor import abreast, tick
from threefactor import layout as at
from threefactor._bare import HOLDS, Bare
from threefactor._jit import entry
from threefactor._lanes import LANES
from threefactor._seeds import Lanes
from threefactor.arrays import Array, zeros
from threefactor.checkpoints import CheckpointError, Kept, restore
from threefactor.layout import plan
from threefactor.network import REAL, Network
from threefactor.settings import NetworkSettings, build

COMPILED = hasattr(tick.run, "overloads")  # not under NUMBA_DISABLE_JIT=1


class Networks(Kept):
    """Networks of one shape that run in step, each with weights, parameters and a world of its own.

    Small networks leave most of a vector, and most of the time of a call, unused; 16 of them side by side take little
    longer than one. What each does is what it would do alone, but that no change of its weights waits
    (`threefactor.deferral`): a large network that rarely spikes is faster alone.

    Parameters
    ----------
    networks : iterable of Network
        They may differ in seed, weights, state, and every number of their settings; not in sizes and switches, nor in
        how many ticks they have run. They are copied.

    Raises
    ------
    ValueError
        None at all, or some that cannot run in step.
    RuntimeError
        numba is switched off, or this Python keeps its arrays in a way unknown to us.

    Notes
    -----
    Kept in memory that does not grow. As with `Network`, calls let go of Python's lock: several of these in threads
    use several cores, and give the same numbers.

    Examples
    --------
    >>> import numpy as np
    >>> networks = Networks(Network(n_in=3, n_hidden=20, n_out=1, learning_rate=0.01, seed=k) for k in range(10))
    >>> x = np.ones((10, 3))
    >>> for _ in range(200):
    ...     y = networks.step(x)
    ...     networks.learn(y - 0.5)
    >>> bool(np.all(np.abs(networks.step(x) - 0.5) < 0.1))
    True
    >>> networks[3]
    Network(3 -> 20 -> 1, sgd, float32)
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        given = list(networks)
        if not given:
            raise ValueError("networks is empty; give one Network for each seed.")
        self._lay_out([network.settings for network in given], bool(given[0].table[at.MASKED]))
        self._tables[:, abreast.counted(self._table)] = given[0].table[abreast.counted(self._table)]
        for k in range(self._by_network.shape[0] * LANES):  # lanes to spare run along as the last network does
            self._put(divmod(k, LANES), given[min(k, len(given) - 1)])

    # --- acting and learning ----------------------------------------------------------------------------------------

    def step(self, x: npt.ArrayLike) -> Array:
        """Advance all by one tick.

        Parameters
        ----------
        x : array_like, shape (networks, n_in)
            Input spikes or currents of this tick.

        Returns
        -------
        array, shape (networks, n_out)
            The readouts, which the next step overwrites.

        Raises
        ------
        ValueError
            Wrong shape, or an entry that is not finite; nothing has changed.
        """
        self._run(tick.FORWARD, self._rows(x, "input", self._n_in), self._numbers)
        return self._y

    def learn(self, error: npt.ArrayLike) -> None:
        """Change all weights at once by the errors of the present tick, (networks, n_out); see `Network.learn`."""
        self._run(tick.LEARN, self._numbers, self._rows(error, "error", self._n_out))

    def learn_and_step(self, error: npt.ArrayLike, x: npt.ArrayLike) -> Array:
        """`learn` from the present tick and take the next by `step`, in one crossing into compiled code."""
        self._run(tick.LEARN_FORWARD, self._rows(x, "input", self._n_in), self._rows(error, "error", self._n_out))
        return self._y

    def tag(self, error: npt.ArrayLike) -> None:
        """Add the gradients of the present tick to the tags, which keep their `tag_decay`; see `Network.tag`."""
        self._run(tick.TAG, self._numbers, self._rows(error, "error", self._n_out))

    def update(self, third_factor: npt.ArrayLike = 1.0) -> None:
        """Descend along each network's tags times its third factor, one number or an array of shape (networks,)."""
        factors = np.asarray(third_factor, dtype=np.float64)
        if factors.shape not in ((), (len(self),)) or not np.isfinite(factors).all():
            raise ValueError(
                f"third_factor is {third_factor!r}; give one finite number, or {len(self)}. Nothing was learnt."
            )
        self._factors[: len(self)] = factors
        self._run(tick.UPDATE, self._numbers, self._numbers)

    def reset(self, which: npt.ArrayLike = True) -> None:
        """Put the neurons to rest and wipe filters and traces, of all networks or of those where `which` is true."""
        chosen, table = self._chosen(which), self._table
        if chosen.all():
            self._run(tick.RESET, self._numbers, self._numbers)
            return
        if table[at.REGULARISED] and table[at.RATE_PER_SEQUENCE]:
            raise ValueError("sequences whose firing rate is regulated have to end together; reset all at once.")
        self._by_network[chosen, table[at.FAST] : table[at.TAGS]] = 0
        for block in range(table[at.N_LAYERS] + 1 if table[at.BIAS] else 0):
            self._of(block, at.PRE)[chosen, -1] = 1

    def clear(self, which: npt.ArrayLike = True) -> None:
        """Drop the tags of all networks, or of those where `which` is true."""
        self._by_network[self._chosen(which), self._table[at.TAGS] : self._table[at.TAGS_END]] = 0

    # --- what may be read and set -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.settings)

    def __getitem__(self, k: int) -> Network:
        """Network k as it is now: a copy, which goes on by itself."""
        k, table = range(len(self))[k], self._table
        network, counters = Network.__new__(Network), abreast.counted(table)
        network._lay_out(self.settings[k], bool(table[at.MASKED]), {})
        network.table[counters] = table[counters]
        abreast.carry(self._by_network[divmod(k, LANES)], table, network.state, network.table)
        if network.table[at.DEFERS] != at.NOTHING:  # its rows wait from here on
            network.table[at.WAITING] = 1
            network._settle()
        return network

    def __setitem__(self, k: int, network: Network) -> None:
        """Make network k what this one is now; it must be of the same shape and have run as many ticks."""
        k = range(len(self))[k]
        self._put(divmod(k, LANES), network)
        self.settings[k] = network.settings

    @property
    def y(self) -> Array:
        """Readouts of the last step, shape (networks, n_out)."""
        return self._y

    def spikes(self, layer: int = -1) -> Array:
        """Spikes of a hidden layer in the last tick, shape (networks, n_hidden), a copy."""
        block = range(self._table[at.N_LAYERS])[layer]
        return self._all(self._of(block, at.Z)[..., : at.number(self._table, block, at.N_POST)])

    @property
    def learning_rate(self) -> Array:
        """Learning rates, shape (networks,), a copy; may be set between any two ticks, to one number or as many."""
        return self._all(self._by_network[..., at.LEARNING_RATE])

    @learning_rate.setter
    def learning_rate(self, values: npt.ArrayLike) -> None:
        self._set(at.LEARNING_RATE, values, "learning_rate", 0.0)

    @property
    def slope(self) -> Array:
        """Slopes of the surrogate [1/voltage], shape (networks,), as `learning_rate`."""
        return self._all(self._by_network[..., at.SLOPE])

    @slope.setter
    def slope(self, values: npt.ArrayLike) -> None:
        self._set(at.SLOPE, values, "slope", float(np.finfo(np.float32).tiny))

    # --- keeping ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        settings = [msgspec.to_builtins(s) for s in self.settings]
        arrays = {"state": self._state.copy(), "table": self._table.copy()}
        return {"arrays": arrays, "about": {"settings": settings, "masked": bool(self._table[at.MASKED])}}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        about, arrays = saved["about"], saved["arrays"]
        self._lay_out([build(NetworkSettings, **s) for s in about["settings"]], about["masked"])
        planned = self._tables[:1].copy()
        restore(self._state, arrays, "state")
        restore(self._table, arrays, "table")
        if not at.same_layout(planned, self._tables[:1]):
            raise CheckpointError("the saved layout is not the one of these settings; another version wrote it.")
        self._tables[:] = self._table

    # --- inside -----------------------------------------------------------------------------------------------------

    def _lay_out(self, settings: list[NetworkSettings], masked: bool) -> None:
        if not (COMPILED and HOLDS):
            raise RuntimeError("networks side by side need numba switched on and CPython of 64 bits; run each alone.")
        self.settings = settings
        first, blocks = settings[0], -(-len(settings) // LANES)
        planned = plan(first, masked, waits=False)
        self._tables = np.repeat(planned.tables, blocks, axis=0)
        self._table = self._tables[0]
        self._state = zeros(blocks * planned.size * LANES, first.dtype).reshape(blocks, planned.size, LANES)
        self._by_network = self._state.transpose(0, 2, 1)
        self._numbers, self._factors = self._state.reshape(-1), zeros(blocks * LANES, first.dtype)
        self._n_in, self._n_out = first.n_in, first.n_out
        self._y = np.zeros((len(settings), first.n_out), first.dtype)
        row, lanes = Bare(numba.from_dtype(self._state.dtype)), Bare(Lanes(numba.from_dtype(self._state.dtype)))
        self._enter = entry(
            abreast.run, row, lanes, Bare(types.int64), row, row, row, lanes, types.int64, types.int64
        )  # fmt: skip
        self._held = self._numbers, self._numbers, self._tables.reshape(-1)
        self._kept = self._y.reshape(-1), self._factors, len(settings)

    def _of(self, block: int, field: int) -> Array:
        """View of a field, (blocks of lanes, lanes, entries)."""
        return at.view(self._state.swapaxes(0, 1), self._table, block, field).transpose(1, 2, 0)

    def _all(self, values: Array) -> Array:
        """Of numbers by block and lane those of the networks there are, a copy."""
        return values.reshape(-1, *values.shape[2:])[: len(self)].copy()

    def _run(self, command: int, x: Array, error: Array) -> None:
        status = self._enter(*self._held, x, error, *self._kept, command)
        if status == tick.NOTHING_PENDING:
            raise RuntimeError("this tick was already learnt from, or none was taken; call step first.")
        if status:
            what, given = ("input", x) if status == tick.BAD_INPUT else ("error", error)
            wrong = np.argmin(np.isfinite(given)) // (given.size // len(self))
            raise ValueError(f"{what} of network {wrong} holds a value that is not finite; nothing has changed.")

    def _rows(self, values: npt.ArrayLike, what: str, size: int) -> Array:
        """What compiled code takes: the rows of all networks, laid flat."""
        if values.__class__ is not np.ndarray or values.dtype is not self._state.dtype:
            given = np.asarray(values)
            if given.dtype.kind not in REAL:
                raise ValueError(f"{what} holds {given.dtype}; give real numbers.")
            with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
                values = given.astype(self._state.dtype)
        if values.shape != (len(self.settings), size):
            raise ValueError(f"{what} has shape {values.shape}, these networks take {(len(self), size)}.")
        return values.reshape(-1)

    def _chosen(self, which: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """By block and lane whether a network is meant; lanes to spare are if all are."""
        asked = np.asarray(which)
        if asked.dtype != bool or asked.shape not in ((), (len(self),)):
            raise ValueError(f"which is {which!r}; give one truth, or an array of {len(self)}.")
        chosen = np.full(self._by_network.shape[:2], bool(asked.all()))
        chosen.reshape(-1)[: len(self)] = asked
        return chosen

    def _set(self, place: int, values: npt.ArrayLike, name: str, least: float) -> None:
        given = np.asarray(values, dtype=np.float64)
        if given.shape not in ((), (len(self),)) or not (np.isfinite(given).all() and (given >= least).all()):
            raise ValueError(f"{name} is {values!r}; give one number, or {len(self)}, finite and not below {least:g}.")
        found = np.empty(self._by_network.shape[:2])
        found.reshape(-1)[:] = given if given.ndim == 0 else np.pad(given, (0, found.size - given.size), "edge")
        self._by_network[..., place] = found

    def _put(self, place: tuple[int, int], network: Network) -> None:
        s, counted = network.settings, abreast.counted(self._table)
        if network.table[at.SPARSE]:
            raise ValueError("sparse networks do not run side by side: their rows wait for spikes of their own.")
        found = plan(s, bool(network.table[at.MASKED]), waits=False).tables
        if s.dtype != self.settings[0].dtype or not at.same_layout(self._tables[:1], found):
            raise ValueError(f"{network!r} differs from the others in sizes or switches; build them alike.")
        if (network.table[counted] != self._table[counted]).any():
            raise ValueError(f"{network!r} has not run as many ticks, or updates, as the others; they go in step.")
        network._settle()
        abreast.carry(network.state, network.table, self._by_network[place], self._table)
