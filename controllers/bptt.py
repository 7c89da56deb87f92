"""Backpropagation through time on the engine's own networks: what an online rule is compared with.

The network steps as ever; each tick's inputs, spikes and surrogate derivatives are kept, and at the end of the window
the errors run backwards through them. Memory grows with the window; that is the point of the comparison.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from threefactor import Network, tick
from threefactor import layout as at
from threefactor._jit import kernel
from threefactor.arrays import Array, Ints
from threefactor.layout import matrix, number, vector, view


@kernel
def backpropagate(
    state: Array, table: Ints, inputs: Array, z: Array, psi: Array, errors: Array, cost: Array, room: Array, ticks: int,
    through_reset: bool, through_recurrence: bool,
) -> None:  # fmt: skip
    """Write the gradient of a recorded window into the tags of the network.

    With dy_t = error_t + kappa dy_{t+1}, from the last tick to the first and from the last layer to the first::

        dz_t = (zeta_out W_out^T dy_t, or zeta W_above^T dv_above_t) + cost + da_{t+1}
               + zeta W_rec^T dv_{t+1} (through the recurrence) - v_reset dv_{t+1} (through the reset)
        dv_t = psi_t dz_t + alpha dv_{t+1} ;  da_t = rho da_{t+1} - beta psi_t dz_t (adaptive neurons)
        g_in += zeta dv_t pre_t^T ;  g_rec += zeta dv_t z_{t-1}^T ;  g_out += zeta_out dy_t z_t^T

    Parameters
    ----------
    inputs : (ticks, inputs), read
        With the bias unit, if there is one.
    z, psi : (ticks + 1, units) and (ticks, units), read
        Spikes, from the tick before the window on, and surrogate derivatives; the layers side by side, each followed
        by its bias unit, if there is one.
    errors : (ticks, out), read
    cost : (units,), read
        Derivative of further costs with respect to a spike.
    room : (4 units + out,), written
        dv, da, dz of the layers, a product of theirs, and dy.
    """
    last, units = table[at.N_LAYERS], psi.shape[1]
    dv, da, dz = room[:units], room[units : 2 * units], room[2 * units : 3 * units]
    sums, dy = room[3 * units : 4 * units], room[4 * units :]
    room[:] = 0
    zeta, zeta_out = state[at.ZETA], state[at.ZETA_OUT]
    for back in range(ticks):
        t = ticks - 1 - back
        end = units
        for up in range(last):
            block = last - 1 - up
            n, n_units = number(table, block, at.N_POST), vector(state, table, block, at.Z).size
            first = end - n_units
            above = block + 1
            for j in range(first, first + n):
                dz[j] = cost[j] + da[j] - (state[at.V_RESET] * dv[j] if through_reset else dv[j] * 0)
            if table[at.RECURRENT] and through_recurrence:
                np.dot(matrix(state, table, block, at.W_REC, n), dv[first : first + n], sums[:n])
                for i in range(n):
                    dz[first + i] += zeta * sums[i]
            if up == 0:
                w = matrix(state, table, last, at.W, n_units)
                tags = matrix(state, table, last, at.TAG, n_units)
                for o in range(dy.size):
                    dy[o] = errors[t, o] + state[at.KAPPA_OUT] * dy[o]
                    for i in range(n_units):
                        tags[o, i] += zeta_out * dy[o] * z[t + 1, first + i]
                    for i in range(n):
                        dz[first + i] += zeta_out * dy[o] * w[o, i]
            else:
                columns = number(table, above, at.N_POST)
                np.dot(matrix(state, table, above, at.W, columns), dv[end : end + columns], sums[:n_units])
                for i in range(n):
                    dz[first + i] += zeta * sums[i]
            adaptive = first + n - number(table, block, at.N_ADAPTIVE)
            for j in range(first, first + n):
                dv[j] = psi[t, j] * dz[j] + state[at.ALPHA] * dv[j]
            rho = vector(state, table, block, at.RHO)
            for j in range(adaptive, first + n):
                da[j] = rho[j - first] * da[j] - state[at.BETA] * psi[t, j] * dz[j]
            below = inputs[t] if block == 0 else z[t + 1, first - vector(state, table, block, at.PRE).size : first]
            add_outer(matrix(state, table, block, at.TAG, n), below, dv[first : first + n], zeta)
            if table[at.RECURRENT]:
                tags = matrix(state, table, block, at.TAG_REC, n)
                add_outer(tags, z[t, first : first + n], dv[first : first + n], zeta)
            end = first


@kernel
def add_outer(tags: Array, pre: Array, dv: Array, zeta: float) -> None:
    """Tags += zeta pre dv^T, skipping silent rows."""
    for i in range(pre.size):
        if pre[i] != 0:
            amount = zeta * pre[i]
            for j in range(dv.size):
                tags[i, j] += amount * dv[j]


class BPTT:
    """Teach a `Network` by backpropagation through time, full or truncated.

    The gradient goes where the online rule puts its own, so that the network's optimiser, clipping and bounds do the
    rest. `step`, `learn` and `reset` are called as on the network itself.

    Parameters
    ----------
    network : Network
        With LIF or ALIF neurons, in any number of layers. Its traces stand still meanwhile.
    window : int or None
        Ticks after which the stored history is turned into one update and dropped; the state of the neurons goes on.
        None: a whole sequence, turned into an update by `update`.
    through_reset, through_recurrence : bool
        Whether the gradient passes through the reset, and through the recurrent spikes. The path through the
        adaptation of a neuron's own threshold, which e-prop has too, is always kept.

    Raises
    ------
    ValueError
        The network normalises its currents, is frozen, or has a regulariser other than `spike_l1` and a homeostasis
        over the whole sequence (`rate_tau` infinite).

    References
    ----------
    Werbos 1990, Proc. IEEE 78:1550. Neftci, Mostafa, Zenke 2019, IEEE Signal Process. Mag. 36:51 (surrogates).

    Examples
    --------
    >>> network = Network(n_in=3, n_hidden=20, n_out=1, learning_rate=0.01, seed=1)
    >>> teacher = BPTT(network, window=10)
    >>> for _ in range(400):
    ...     y = teacher.step([1.0, 0.0, 1.0])
    ...     teacher.learn(y - 0.5)
    >>> bool(abs(teacher.step([1.0, 0.0, 1.0])[0] - 0.5) < 0.1)
    True
    """

    def __init__(
        self,
        network: Network,
        window: int | None = None,
        *,
        through_reset: bool = True,
        through_recurrence: bool = True,
    ) -> None:
        s = network.settings
        finite_rate = bool(s.rate_strength) and not math.isinf(s.rate_tau)
        if s.normalise_current or s.freeze_hidden or s.voltage_l2 or finite_rate:
            raise ValueError(
                "BPTT takes networks without normalise_current, freeze_hidden, voltage_l2 and running homeostasis; "
                "build the network without them (rate_tau=inf is possible)."
            )
        if network.table[at.SPARSE]:
            raise ValueError("BPTT takes no sparse networks; give the masks as arrays.")
        if window is not None and window < 1:
            raise ValueError(f"window is {window}; give at least one tick, or None for whole sequences.")
        self.network, self.window = network, window
        self.through_reset, self.through_recurrence = bool(through_reset), bool(through_recurrence)
        self._ticks, self._learnt = 0, True
        self._units = sum(s.n_hidden) + len(s.n_hidden) * s.bias
        self._allocate(window or 64)
        self._z[0] = self._spikes()

    @property
    def nbytes(self) -> int:
        """Bytes of the stored history: what the online rule does without."""
        return sum(a.nbytes for a in (self._inputs, self._z, self._psi, self._errors))

    @property
    def ticks(self) -> int:
        """Ticks in the stored history."""
        return self._ticks

    def step(self, x: npt.ArrayLike) -> Array:
        """Advance by one tick and store it. Takes, returns and raises what `Network.step` does."""
        y = self.network.step(x)
        self.network._run(tick.SKIP)  # no eligibility traces here
        if self._ticks == len(self._errors):
            self._grow()
        self._inputs[self._ticks] = self._pre
        self._z[self._ticks + 1] = self._spikes()
        place = 0
        for psi in self._layers_psi:
            self._psi[self._ticks, place : place + psi.size] = psi
            place += psi.size + self.network.settings.bias
        self._errors[self._ticks] = 0
        self._ticks, self._learnt = self._ticks + 1, False
        return y

    def learn(self, error: npt.ArrayLike) -> None:
        """Store the error of the present tick; at the end of a window, learn. Ticks without a call have no error.

        Raises
        ------
        ValueError, RuntimeError
            As `Network.learn`; nothing has changed.
        """
        if self._learnt:
            raise RuntimeError("this tick was already learnt from, or none was taken; call step first.")
        given = np.asarray(error)
        if given.shape != self._errors.shape[1:] or not np.isfinite(given).all():
            raise ValueError(f"error is {given}; it must be finite, of shape {self._errors.shape[1:]}.")
        self._errors[self._ticks - 1] = given
        self._learnt = True
        if self._ticks == self.window:
            self.update()

    def gradients(self) -> dict[str, Array]:
        """Gradient of the stored history, by the names of `Network.weights`: views of the network's tags."""
        network = self.network
        network.clear()
        cost = self._cost()
        room = np.zeros(4 * self._units + network.settings.n_out, network.state.dtype)
        backpropagate(
            network.state, network.table, self._inputs, self._z, self._psi, self._errors, cost, room, self._ticks,
            self.through_reset, self.through_recurrence,
        )  # fmt: skip
        tags = network.tags
        for name, tag in tags.items():
            if name.startswith("w_rec"):
                np.fill_diagonal(tag, 0)
            if name in network.masks:
                tag *= network.masks[name]
        return tags

    def update(self, scale: npt.ArrayLike = 1.0) -> None:
        """Descend along the gradient of `scale` times the stored errors, and of costs of spiking; drop the history.

        `scale` is one number, or one for each stored tick, such as the advantages of a policy gradient.
        """
        given = np.asarray(scale, np.float64)
        if given.shape not in ((), (self._ticks,)) or not np.isfinite(given).all():
            raise ValueError(f"scale is {given}; it must be finite, one or {self._ticks}. Nothing was learnt.")
        if self._ticks:
            self._errors[: self._ticks] *= given.reshape(-1, 1)
            self.gradients()
            self.network.update()
            self.network.clear()
        self._forget()

    def reset(self) -> None:
        """Put the neurons to rest and drop the history."""
        self.network.reset()
        self._forget()

    def _forget(self) -> None:
        self._z[0] = self._spikes()
        self._ticks, self._learnt = 0, True

    def _cost(self) -> Array:
        """Derivative of the costs of spiking with respect to each spike."""
        s = self.network.settings
        rate = self._z[1 : self._ticks + 1].mean(0) if self._ticks else np.zeros(self._units)
        per_tick = s.rate_target / 1000.0 * s.dt
        cost = s.spike_l1 + s.rate_strength * (rate - per_tick) / max(self._ticks, 1) * bool(s.rate_strength)
        return np.asarray(cost, self.network.state.dtype)

    def _spikes(self) -> Array:
        return np.concatenate(self._layers_z)

    def _allocate(self, ticks: int) -> None:
        network, last = self.network, len(self.network.settings.n_hidden)
        self._pre = view(network.state, network.table, 0, at.PRE)
        self._layers_z = [view(network.state, network.table, block, at.Z) for block in range(last)]
        self._layers_psi = [view(network.state, network.table, block, at.PSI) for block in range(last)]
        dtype = network.state.dtype
        self._inputs = np.zeros((ticks, self._pre.size), dtype)
        self._z, self._psi = np.zeros((ticks + 1, self._units), dtype), np.zeros((ticks, self._units), dtype)
        self._errors = np.zeros((ticks, network.settings.n_out), dtype)

    def _grow(self) -> None:
        """Twice the room."""
        old = self._inputs, self._z, self._psi, self._errors
        self._allocate(2 * len(self._errors))
        for new, before in zip((self._inputs, self._z, self._psi, self._errors), old, strict=True):
            new[: len(before)] = before
