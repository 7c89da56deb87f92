"""Rows whose neuron spikes, where bases are few: brought to the present, sent into the currents, set back to a base.

With a base every `stride` ticks alone, a row cannot wait from the present tick on. It is given the values at the latest
base, n ticks ago, from which the composites C, P, D of that base (`deferral`) would have led to those of now::

    zbar_0 = alpha^-n zbar ;  e_0 = kappa^-n (e - zbar_0 P) ;  x_0 = x - C e_0 - zbar_0 D

A handful of composites are carried on so, and a row is read and written once.
"""

from __future__ import annotations

from threefactor._arithmetic import fused, take_wide_vectors
from threefactor._jit import disjoint, kernel, window
from threefactor.arrays import Array
from threefactor.deferral import BASES, C, D, P


@kernel
def row(x: Array, i: int, n: int) -> Array:
    """Row i of a matrix with n columns."""
    return window(x, i * n, i * n + n)


@kernel
def moved(
    x: float, e: float, c: float, p: float, d: float, c_0: float, p_0: float, d_0: float, zbar: float, zbar_0: float,
    keep: float, grown: float,
) -> tuple[float, float, float]:  # fmt: skip
    """A weight as it is now, and its trace and itself at the latest base::

        w = x + C e + zbar D ;  e_0 = keep e + grown (zbar P - zbar_0 P_0) ;  x_0 = w - C_0 e_0 - zbar_0 D_0

    with composites, activity, trace and weight of the row's own base, and those of the latest, as C_0 and so on.
    """
    now = fused(zbar, d, fused(c, e, x))
    trace = fused(-grown * zbar_0, p_0, fused(grown * zbar, p, keep * e))
    return now, trace, fused(-zbar_0, d_0, fused(-c_0, trace, now))


@disjoint
def pass_rows(
    current: Array, w: Array, ebar: Array, age: Array, base_zbar: Array, zbar: Array, pre: Array, due: Array,
    composites: Array, kappa_powers: Array, alpha_powers: Array, slot: int, stride: int, recurrent: bool,
) -> None:  # fmt: skip
    """Add to the currents what the rows of `due` send, and let them wait from the latest base on.

    Rows with the same base go three at a time: their composites are read a third as often, and the compiler would not
    ask of more than three whether they overlap. All are read before any is written, or reading would wait.

    current : (post,), w, ebar : (pre x post,), read and written; matrices at the base of their row, no autapses
    age, base_zbar : (pre,), read and written: how many ticks ago the base of each row was, and its zbar then
    zbar, pre : (pre,), read: filtered and present activity
    due : (pre + 1,), read and written: rows and how many they are; in the end in another order
    composites : (3 x BASES x post,), kappa_powers, alpha_powers : (horizon + 1,), slot : read, as in `carry_on`
    """
    take_wide_vectors()
    n, latest, first, end = current.size, slot // stride, 0, 0
    since, one = slot - latest * stride, current.dtype.type(1)
    grown, risen = one / kappa_powers[since], one / alpha_powers[since]
    new = row(composites, latest, 3 * n)
    c_0, p_0, d_0 = row(new, C, n), row(new, P, n), row(new, D, n)
    for base in range(BASES):
        waiting = since + base * stride
        keep, old = grown * kappa_powers[waiting], row(composites, (latest - base) % BASES, 3 * n)
        c, p, d = row(old, C, n), row(old, P, n), row(old, D, n)
        for k in range(first, int(due[age.size])):  # a function of its own for this costs 4 % at 100 neurons
            i = int(due[k])
            if age[i] == waiting:
                due[k], due[end] = due[end], i
                end += 1
        for k in range(first, end - 2, 3):
            i, g, h = int(due[k]), int(due[k + 1]), int(due[k + 2])
            x, x_1, x_2 = row(w, i, n), row(w, g, n), row(w, h, n)
            e, e_1, e_2 = row(ebar, i, n), row(ebar, g, n), row(ebar, h, n)
            z, z_1, z_2 = base_zbar[i], base_zbar[g], base_zbar[h]
            back, back_1, back_2 = risen * zbar[i], risen * zbar[g], risen * zbar[h]
            sent, sent_1, sent_2 = pre[i], pre[g], pre[h]
            if recurrent:  # no neuron sends to itself
                current[i] -= sent * (c[i] * e[i] + z * d[i])
                current[g] -= sent_1 * (c[g] * e_1[g] + z_1 * d[g])
                current[h] -= sent_2 * (c[h] * e_2[h] + z_2 * d[h])
            for j in range(n):
                a, b, f, a_0, b_0, f_0 = c[j], p[j], d[j], c_0[j], p_0[j], d_0[j]
                now, q, r = moved(x[j], e[j], a, b, f, a_0, b_0, f_0, z, back, keep, grown)
                now_1, q_1, r_1 = moved(x_1[j], e_1[j], a, b, f, a_0, b_0, f_0, z_1, back_1, keep, grown)
                now_2, q_2, r_2 = moved(x_2[j], e_2[j], a, b, f, a_0, b_0, f_0, z_2, back_2, keep, grown)
                current[j] = fused(sent_2, now_2, fused(sent_1, now_1, fused(sent, now, current[j])))
                e[j], x[j], e_1[j], x_1[j], e_2[j], x_2[j] = q, r, q_1, r_1, q_2, r_2
        for k in range(end - (end - first) % 3, end):
            i = int(due[k])
            x, e = row(w, i, n), row(ebar, i, n)
            if recurrent:
                current[i] -= pre[i] * (c[i] * e[i] + base_zbar[i] * d[i])
            for j in range(n):
                now, e[j], x[j] = moved(
                    x[j], e[j], c[j], p[j], d[j], c_0[j], p_0[j], d_0[j], base_zbar[i], risen * zbar[i], keep, grown
                )
                current[j] = fused(pre[i], now, current[j])
        for k in range(first, end):
            i = int(due[k])
            age[i], base_zbar[i] = since, risen * zbar[i]
            if recurrent:  # numba would drop a last write to a view, such as x[i]
                w[i * n + i] = 0
        first = end
