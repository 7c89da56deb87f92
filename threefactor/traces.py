"""Eligibility traces: presynaptic activity x surrogate derivative of the postsynaptic neuron, filtered.

Source: Bellec et al. 2020, Nat. Commun. 11:3625, equations 13 and 22 to 25. Matrices are (pre, post). The loops over a
row stand in one function on purpose: a call for each row would cost as much as the row.
"""

from __future__ import annotations

from threefactor._arithmetic import fused, take_near_roots, take_wide_vectors, twice_inverse_root
from threefactor._choices import anywhere, like
from threefactor._jit import disjoint, kernel, window
from threefactor.arrays import Array
from threefactor.optimisers import half_unit, least_mean


@kernel
def measured(
    ebar: float, tag: float, mean: float, e: float, signal: float, kappa: float, decay: float, rest: float, least: float
) -> tuple[float, float, float, float, float]:
    """Trace, tag and mean square of a synapse a tick later, (L ebar)^2 and 2 / sqrt(s + least); see `tag_traces`."""
    trace = fused(kappa, ebar, e)
    step = signal * trace
    square = step * step
    mean = fused(rest, square - mean, mean)
    return trace, fused(decay, tag, step), mean, square, twice_inverse_root(mean + least)


@disjoint
def measure_traces(
    tags: Array, ebar: Array, s: Array, norms: Array, tag_norms: Array, psi: Array, signal: Array, zbar: Array,
    decay: float, kappa: float, gain: float, beta_2: float, lift: float, floor: float,
) -> None:  # fmt: skip
    """As `tag_traces` does it `measuring`, for a matrix from below onto LIF neurons, without a mask.

    Two rows at a time, which halves the writing of the norms; all arrays are as there.
    """
    take_wide_vectors()
    take_near_roots()
    rows, one = ebar.shape[0], like(psi, 1)
    rest, unit, least = one - beta_2, half_unit(lift), like(psi, least_mean(floor, lift))
    for i in range(0, rows - 1, 2):
        p, q, k = gain * zbar[i], gain * zbar[i + 1], i + 1
        for j in range(psi.size):
            e, t, m, g, share = measured(
                ebar[i, j], tags[i, j], s[i, j], p * psi[j], signal[j], kappa, decay, rest, least
            )
            e_1, t_1, m_1, g_1, share_1 = measured(
                ebar[k, j], tags[k, j], s[k, j], q * psi[j], signal[j], kappa, decay, rest, least
            )
            ebar[i, j], tags[i, j], s[i, j], ebar[k, j], tags[k, j], s[k, j] = e, t, m, e_1, t_1, m_1
            norms[j] = fused(g_1, share_1, fused(g, share, norms[j]))
            tag_norms[j] = fused(t_1 * t_1, share_1, fused(t * t, share, tag_norms[j]))
    for i in range(rows - rows % 2, rows):
        p = gain * zbar[i]
        for j in range(psi.size):
            e, t, m, g, share = measured(
                ebar[i, j], tags[i, j], s[i, j], p * psi[j], signal[j], kappa, decay, rest, least
            )
            ebar[i, j], tags[i, j], s[i, j] = e, t, m
            norms[j] = fused(g, share, norms[j])
            tag_norms[j] = fused(t * t, share, tag_norms[j])
    for j in range(psi.size):
        norms[j] *= unit
        tag_norms[j] *= unit


@disjoint
def tag_traces(
    tags: Array, reg: Array, ebar: Array, eps_a: Array, eps_v: Array, averaged: Array, e: Array,
    psi: Array, signal: Array, regular: Array, v: Array, zbar: Array, pre: Array, mask: Array,
    scale: float, decay: float, kappa: float, gain: float, alpha: float, reset: float, beta: float, rho: Array,
    averaged_decay: float, averaged_gain: float, voltage: float, recurrent: bool,
    measuring: bool, s: Array, norms: Array, tag_norms: Array, beta_2: float, lift: float, floor: float,
) -> None:  # fmt: skip
    """Advance the traces of one matrix by a tick and add trace x learning signal to its tags.

    For the synapse from i to j::

        e    = psi (zbar - beta eps_a) ;  eps_a <- rho eps_a + e          (LIF: no eps_a)
        ebar <- kappa ebar + gain e
        tag  <- decay tag + L ebar
        reg  <- reg + R e + voltage v zbar

    and `measuring`, for the intentional step, as `optimisers.measure_outputs` does::

        s <- beta_2 s + (1 - beta_2) (L ebar)^2 ;  m = 1 / sqrt(lift s + floor)

    With the gradient carried through the reset, zbar gives way to ``eps_v <- alpha eps_v - reset e_prev + scale pre``,
    one entry a synapse.

    Parameters
    ----------
    tags, ebar : (pre, post), read and written
        Tags and filtered traces.
    reg, averaged : (pre, post) or (0, post), read and written
        What the regularisers gather, and the filtered e that homeostasis multiplies instead of e.
    eps_a : (pre, adaptive), read and written
        Eligibility vector of the adaptation, for the last neurons of the layer.
    eps_v : (pre, post) or (0, post), read and written
        alpha eps_v - reset e, where the trace through the reset is wanted.
    e : (post,), written
        Room for the traces of one row.
    psi, signal, regular, v, rho : (post,), read; `signal` is as before in the end
        Surrogate derivative, learning signal L, signal R of the regularisers, membrane voltage, decay of the
        adaptation.
    zbar, pre : (pre,), read
        Presynaptic activity, filtered and scaled, and as it is; `scale` is what the membrane multiplies it with.
    mask : (pre, post) or without rows, read if `measuring`
        1 where there is a synapse; a `recurrent` matrix has no autapses either.
    s : (pre, post), read and written if `measuring`
        Mean squares.
    norms, tag_norms : (post,), written if `measuring`
        Sums over the rows of m (L ebar)^2 and of m tag^2.
    """
    first = psi.size - (eps_a.shape[1] if eps_a.shape[0] > 0 else 0)
    # most ticks of a task that asks at its end have no learning signal: their tags need not be touched
    tagging, costing, volting = anywhere(decay != 1), False, reg.shape[0] > 0 and anywhere(voltage != 0)
    for j in range(psi.size):
        tagging = tagging or anywhere(signal[j] != 0)
        costing = costing or (reg.shape[0] > 0 and anywhere(regular[j] != 0))
    # of adaptive neurons alone: the compiler takes an index of two terms for one that may be negative
    shape, own, kept = window(psi, first, psi.size), window(e, first, psi.size), window(rho, first, psi.size)
    take_wide_vectors()
    take_near_roots()
    masked, one = mask.shape[0] > 0, like(psi, 1)
    lift = lift if measuring else one  # which is 0 for other optimisers
    rest, unit, least = one - beta_2, half_unit(lift), like(psi, least_mean(floor, lift))
    # where a row's traces are one number times psi, they need no room of their own
    plain = eps_v.shape[0] == 0 and first == psi.size and reg.shape[0] == 0
    source = psi if plain else e
    for i in range(ebar.shape[0]):
        amount = gain
        if plain:
            amount = gain * zbar[i]
        elif eps_v.shape[0] > 0:
            for j in range(psi.size):
                eps_v[i, j] += scale * pre[i]
                e[j] = psi[j] * eps_v[i, j]
            for j in range(first, psi.size):
                e[j] -= psi[j] * beta * eps_a[i, j - first]
                eps_a[i, j - first] = rho[j] * eps_a[i, j - first] + e[j]
            if volting:
                for j in range(psi.size):
                    reg[i, j] += voltage * v[j] * eps_v[i, j]
            for j in range(psi.size):
                eps_v[i, j] = alpha * eps_v[i, j] - reset * e[j]
        else:
            z = zbar[i]
            for j in range(first):
                e[j] = psi[j] * z
            for k in range(shape.size):
                own[k] = shape[k] * (z - beta * eps_a[i, k])
                eps_a[i, k] = kept[k] * eps_a[i, k] + own[k]
            if volting:
                for j in range(psi.size):
                    reg[i, j] += voltage * v[j] * z
        if measuring:
            itself = signal[i] if recurrent else one
            if recurrent:
                signal[i] = 0
            for j in range(psi.size):
                heard = signal[j] * mask[i, j] if masked else signal[j]
                trace, tag, mean, square, share = measured(
                    ebar[i, j], tags[i, j], s[i, j], amount * source[j], heard, kappa, decay, rest, least
                )
                ebar[i, j], tags[i, j], s[i, j] = trace, tag, mean
                norms[j] = fused(square, share, norms[j])
                tag_norms[j] = fused(tag * tag, share, tag_norms[j])
            if recurrent:
                signal[i] = itself
        elif tagging:
            for j in range(psi.size):
                trace = fused(kappa, ebar[i, j], amount * source[j])
                ebar[i, j] = trace
                tags[i, j] = fused(decay, tags[i, j], signal[j] * trace)
        else:
            for j in range(psi.size):
                ebar[i, j] = fused(kappa, ebar[i, j], amount * source[j])
        if averaged.shape[0] > 0:
            for j in range(psi.size):
                e[j] = averaged_decay * averaged[i, j] + averaged_gain * e[j]
                averaged[i, j] = e[j]
        if costing:
            for j in range(psi.size):
                reg[i, j] += regular[j] * e[j]
    if measuring:
        for j in range(psi.size):
            norms[j] *= unit
            tag_norms[j] *= unit


@disjoint
def tag_outputs(tags: Array, error: Array, zbar: Array, decay: float) -> None:
    """Tag <- decay tag + error_o zbar_i, for weights onto the readout. `tags` is (out, pre)."""
    for o in range(error.size):
        amount = error[o]
        for i in range(tags.shape[1]):
            tags[o, i] = decay * tags[o, i] + amount * zbar[i]


@kernel
def keep_connected(values: Array, mask: Array, recurrent: bool) -> None:
    """Zero what belongs to no synapse: autapses of a recurrent matrix, and where `mask`, if there is one, is 0."""
    if values.shape[0] == 0:
        return
    if recurrent:
        for i in range(values.shape[0]):
            values[i, i] = 0
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            values[i, j] *= mask[i, j]
